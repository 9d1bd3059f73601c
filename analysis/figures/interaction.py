"""Draw what a shortcut changes without BatchNorm and with it, at the greater depth."""

import matplotlib.pyplot as plt
import seaborn as sns

from analysis.style import BASELINES, BLUE, ORANGE, VARIANTS, WIDTH, Table
from analysis.summary import band

TABLE = "runs"
ROWS = ("variants", "deep")


def draw(table: Table) -> plt.Figure:
    table = table[table["variant"].isin(BASELINES)]
    factors = table["variant"].map(lambda name: VARIANTS[name].factors)
    cells = table.assign(
        norm=["no BN" if each.norm == "none" else "BN" for each in factors],
        shortcut=["plain" if each.shortcut == "none" else "residual" for each in factors],
        error=100 * table["train_error"],
    )
    figure, axes = plt.subplots(figsize=(0.55 * WIDTH, 2.6))
    palette = {"plain": ORANGE, "residual": BLUE}
    common = {"x": "norm", "y": "error", "order": ["no BN", "BN"], "legend": False, "ax": axes}
    common |= {"hue": "shortcut", "hue_order": list(palette), "palette": palette}
    sns.stripplot(cells, **common, jitter=False, size=3, alpha=0.5)
    look = {"markers": ["o", "s"], "linestyles": "-", "capsize": 0.06, "err_kws": {"linewidth": 1}}
    sns.pointplot(cells, **common, **look, errorbar=band)
    for name, colour in palette.items():
        end = cells[(cells["norm"] == "BN") & (cells["shortcut"] == name)]["error"].mean()
        axes.annotate(name, (1, end), xytext=(10, 0), textcoords="offset points", va="center",
                      color=colour, annotation_clip=False)  # fmt: skip
    axes.set(xlabel="", ylabel="Training error (%)", ylim=(0, 100))
    return figure
