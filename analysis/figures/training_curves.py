"""Draw the error during training at two depths (He et al. 2016, Figure 6)."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from analysis.style import COLOURS, VARIANTS, WIDTH
from analysis.summary import band

TABLE = "history"


def draw(table: pd.DataFrame) -> plt.Figure:
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.7), sharey=True)
    widths = dict(zip(sorted(set(table["depth"])), (0.9, 2.2), strict=True))
    dashes = {"train_error": "", "test_error": (2, 1.5)}
    curves = table.melt(["variant", "depth", "step", "seed"], list(dashes), "split", "error")
    curves = curves.assign(error=100 * curves["error"])
    for axes, name in zip(panels, ("plain_bn", "residual_bn"), strict=True):
        sns.lineplot(
            curves[curves["variant"] == name], x="step", y="error", size="depth", sizes=widths,
            style="split", dashes=dashes, color=COLOURS[name], errorbar=band, legend=False, ax=axes,
        )  # fmt: skip
        axes.set(title=VARIANTS[name].label, xlabel="Step", ylabel="Error (%)", ylim=(0, 100))
    looks = {f"depth {depth}": {"linewidth": width} for depth, width in widths.items()}
    looks |= {"training": {}, "test": {"linestyle": (0, dashes["test_error"])}}
    handles = [plt.Line2D([], [], **look, color="grey", label=name) for name, look in looks.items()]
    panels[1].legend(handles=handles)
    return figure
