"""Draw the training error during training at two depths (He et al. 2016, Figure 6)."""

import matplotlib.pyplot as plt
import seaborn as sns

from analysis.style import COLOURS, VARIANTS, WIDTH, Table, depths
from analysis.summary import band

TABLE = "history"


def draw(table: Table) -> plt.Figure:
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.7), sharey=True)
    widths = dict(zip(depths(table), (0.9, 2.2), strict=True))
    curves = table.assign(error=100 * table["train_error"])
    look = {"size": "depth", "sizes": widths, "errorbar": band, "legend": False}
    for axes, name in zip(panels, ("plain_bn", "residual_bn"), strict=True):
        mine = curves[curves["variant"] == name]
        sns.lineplot(mine, x="step", y="error", **look, color=COLOURS[name], ax=axes)
        axes.set(title=VARIANTS[name].label, xlabel="Step", xscale="log")
        axes.set(ylabel="Training error (%)", ylim=(0, 100))
    handles = [
        plt.Line2D([], [], color="grey", linewidth=widths[depth], label=title)
        for depth, title in depths(table).items()
    ]
    panels[1].legend(handles=handles)
    return figure
