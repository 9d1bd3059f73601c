"""Each run's test error against its training error: what over-fits lies left of the diagonal."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from analysis.looks import LOOKS
from analysis.style import INK, WIDTH, script, styled


def draw(runs: pd.DataFrame) -> plt.Figure:
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 3.0))
    runs = runs.assign(train=100 * runs["train_error"], test=100 * runs["test_error"])
    style = styled(set(runs["variant"]))
    del style["dashes"]
    axes.axline((0, 0), slope=1, color=INK, linewidth=0.7, dashes=(1, 2))
    depths = sorted(set(runs["depth"]))
    sns.scatterplot(
        runs, x="train", y="test", hue="variant", style="variant", **style, alpha=0.75,
        size="depth", size_order=depths[::-1], sizes=(14, 60), linewidth=0, ax=axes, legend=False,
    )  # fmt: skip
    limit = 1.05 * max(runs["train"].max(), runs["test"].max())
    axes.set(xlabel="Training error (%)", ylabel="Test error (%)", xlim=(-1, limit))
    axes.set(ylim=(-1, limit), aspect="equal")
    handles = [
        plt.Line2D([], [], color=LOOKS[name].colour, marker=LOOKS[name].marker, linestyle="",
                   label=LOOKS[name].label)
        for name in style["hue_order"]
    ]  # fmt: skip
    axes.legend(handles=handles, frameon=False, loc="upper left", handletextpad=0.2)
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
