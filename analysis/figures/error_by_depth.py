"""Draw training and test error at the end of training against depth."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from analysis.style import COLOURS, DASHES, MARKERS, VARIANTS, WIDTH, deepest, label_ends, styled
from analysis.summary import band

TABLE = "runs"
ROWS = ("variants", "depths")


def draw(table: pd.DataFrame) -> plt.Figure:
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.7), sharey=True)
    table = table.assign(train=100 * table["train_error"], test=100 * table["test_error"])
    depths = sorted(set(table["depth"]))
    style = {**styled(table["variant"]), "dashes": DASHES, "markers": MARKERS}
    for axes, split in zip(panels, ("train", "test"), strict=True):
        sns.lineplot(table, x="depth", y=split, **style, errorbar=band, ax=axes)
        axes.set(xlabel="Depth (weight layers)", xscale="log", xticks=depths, xticklabels=depths)
        axes.minorticks_off()
    panels[0].set(title="Training", ylabel="Error (%)", ylim=(0, 100))
    panels[1].set(title="Test")
    ends = deepest(table).groupby("variant")[["depth", "test"]].mean()
    labels = [(x, y, VARIANTS[name].label, COLOURS[name]) for name, x, y in ends.itertuples()]
    label_ends(panels[1], labels)
    return figure
