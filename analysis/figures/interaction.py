"""The two-by-two at the deeper depth: what a shortcut buys without BatchNorm and with it."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from analysis.looks import BLUE, ORANGE
from analysis.style import WIDTH, script
from analysis.summary import band

COLUMNS = ["plain", "plain_bn", "residual", "residual_bn"]


def draw(runs: pd.DataFrame) -> plt.Figure:
    runs = runs[(runs["depth"] == runs["depth"].max()) & runs["variant"].isin(COLUMNS)]
    cells = runs.assign(
        norm=runs["variant"].str.endswith("_bn").map({False: "no BN", True: "BN"}),
        shortcut=runs["variant"].str.startswith("residual").map({False: "plain", True: "residual"}),
        error=100 * runs["train_error"],
    )
    figure, axes = plt.subplots(figsize=(0.55 * WIDTH, 2.6))
    look = {"hue": "shortcut", "hue_order": ["plain", "residual"], "palette": [ORANGE, BLUE]}
    order = ["no BN", "BN"]
    sns.stripplot(
        cells, x="norm", y="error", order=order, **look, jitter=False, size=3, alpha=0.5,
        legend=False, ax=axes,
    )  # fmt: skip
    sns.pointplot(
        cells, x="norm", y="error", order=order, **look, errorbar=band, markers=["o", "s"],
        linestyles=["-", "-"], capsize=0.06, err_kws={"linewidth": 1}, legend=False, ax=axes,
    )  # fmt: skip
    for name, colour in zip(look["hue_order"], look["palette"], strict=True):
        end = cells[(cells["norm"] == "BN") & (cells["shortcut"] == name)]["error"].mean()
        axes.annotate(name, (1, end), xytext=(10, 0), textcoords="offset points", va="center",
                      color=colour, annotation_clip=False)  # fmt: skip
    axes.set(xlabel="", ylabel="Training error (%)", ylim=(0, 100))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
