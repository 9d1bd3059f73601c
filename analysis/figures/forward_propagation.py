"""Cosines between inputs and effective rank by layer, at initialisation, greater depth."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.looks import LOOKS
from analysis.style import WIDTH, deepest, key, lines, ordered, script


def draw(table: pd.DataFrame) -> plt.Figure:
    table = deepest(table)
    table = table[table["checkpoint"] == "init"]
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.6))
    lines(panels[0], table, "layer", "cosine_mean")
    means = table.groupby(["variant", "layer"])[["cosine_mean", "cosine_std"]].mean()
    for name in ordered(set(table["variant"])):
        mean, std = (means.loc[name][column] for column in ("cosine_mean", "cosine_std"))
        panels[0].fill_between(
            mean.index, mean - std, mean + std, color=LOOKS[name].colour, alpha=0.15, linewidth=0
        )
    lines(panels[1], table, "layer", "effective_rank")
    panels[0].set(title="Cosine between inputs", xlabel="Block", ylabel="Mean and spread")
    panels[1].set(title="Effective rank", xlabel="Block", ylabel="Of all representations")
    key(figure, set(table["variant"]))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
