"""Draw training and test error at the end of training against depth."""

import math

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from analysis.style import COLOURS, DASHES, MARKERS, VARIANTS, WIDTH, deepest, styled
from analysis.summary import band

TABLE = "runs"
ROWS = ("variants", "depths")


def draw(table: pd.DataFrame) -> plt.Figure:
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.7), sharey=True)
    table = table.assign(train=100 * table["train_error"], test=100 * table["test_error"])
    style = {**styled(table["variant"]), "dashes": DASHES, "markers": MARKERS}
    for axes, split in zip(panels, ("train", "test"), strict=True):
        sns.lineplot(table, x="depth", y=split, **style, errorbar=band, ax=axes)
        axes.set(xlabel="Depth (weight layers)", xticks=sorted(set(table["depth"])))
    panels[0].set(title="Training", ylabel="Error (%)", ylim=(0, 100))
    panels[1].set(title="Test")
    # The label of each line stands next to its end, without overlap.
    figure.canvas.draw()
    size, lowest = plt.rcParams["legend.fontsize"], -math.inf  # points; pixels
    ends = deepest(table).groupby("variant")[["depth", "test"]].mean().sort_values("test")
    for name, x, y in ends.itertuples():
        _, height = panels[1].transData.transform((x, y))
        lowest = max(height, lowest + 1.25 * size * figure.dpi / 72)
        panels[1].annotate(
            VARIANTS[name].label, (x, y), xytext=(7, (lowest - height) * 72 / figure.dpi),
            textcoords="offset points", va="center", color=COLOURS[name], fontsize=size,
            annotation_clip=False,
        )  # fmt: skip
    return figure
