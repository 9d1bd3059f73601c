"""Draw each run's test error against its training error, a point per run."""

import matplotlib.pyplot as plt
import seaborn as sns

from analysis.style import COLOURS, INK, MARKERS, VARIANTS, WIDTH, Table, ordered, styled

TABLE = "runs"
ROWS = ("variants", "depths")


def draw(table: Table) -> plt.Figure:
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 3.0))
    table = table.assign(train=100 * table["train_error"], test=100 * table["test_error"])
    axes.axline((0, 0), slope=1, color=INK, linewidth=0.7, dashes=(1, 2))
    look = {**styled(table["variant"]), "markers": MARKERS, "alpha": 0.75, "linewidth": 0}
    depths = sorted(set(table["depth"]), reverse=True)
    look |= {"size": "depth", "size_order": depths, "sizes": (14, 60)}
    sns.scatterplot(table, x="train", y="test", **look, ax=axes)
    limit = 1.05 * max(table["train"].max(), table["test"].max())
    axes.set(xlabel="Training error (%)", ylabel="Test error (%)", xlim=(-1, limit))
    axes.set(ylim=(-1, limit), aspect="equal")
    looks = {
        VARIANTS[name].label: {"color": COLOURS[name], "marker": MARKERS[name]}
        for name in ordered(table["variant"])
    }
    handles = [plt.Line2D([], [], **look, ls="", label=name) for name, look in looks.items()]
    axes.legend(handles=handles, loc="upper left", handletextpad=0.2)
    return figure
