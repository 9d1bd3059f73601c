"""Error during training at two depths, with and without shortcuts (He et al. 2016, Figure 6)."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from analysis.looks import LOOKS
from analysis.style import WIDTH, script
from analysis.summary import band


def draw(history: pd.DataFrame) -> plt.Figure:
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.7), sharey=True)
    depths = sorted(set(history["depth"]))
    widths = dict(zip(depths, (0.9, 2.2), strict=True))
    dashes = {"train_error": "", "test_error": (2, 1.5)}
    curves = history.melt(
        ["variant", "depth", "step", "seed"], ["train_error", "test_error"], "split", "error"
    )
    curves = curves.assign(error=100 * curves["error"])
    for axes, variant in zip(panels, ("plain_bn", "residual_bn"), strict=True):
        colour = LOOKS[variant].colour
        mine = curves[curves["variant"] == variant]
        sns.lineplot(
            mine, x="step", y="error", size="depth", sizes=widths, style="split", dashes=dashes,
            color=colour, errorbar=band, ax=axes, legend=False,
        )  # fmt: skip
        axes.set(title=LOOKS[variant].label, xlabel="Step", ylabel="Error (%)", ylim=(0, 100))
    handles = [
        plt.Line2D([], [], color="grey", linewidth=width, label=f"depth {depth}")
        for depth, width in widths.items()
    ] + [
        plt.Line2D([], [], color="grey", linestyle=style, label=label)
        for label, style in (("training", "-"), ("test", (0, (2, 1.5))))
    ]
    panels[1].legend(handles=handles, frameon=False)
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
