"""Draw cosines between inputs and effective rank by layer, at initialisation, greater depth."""

import matplotlib.pyplot as plt

from analysis.style import COLOURS, WIDTH, Table, deepest, key, lines, ordered

TABLE = "forward_propagation"


def draw(table: Table) -> plt.Figure:
    table = deepest(table, "init")
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.6))
    lines(panels[0], table, "layer", "cosine_mean", xlabel="Block", ylabel="Mean and spread")
    means = table.groupby(["variant", "layer"])[["cosine_mean", "cosine_std"]].mean()
    for name in ordered(table["variant"]):
        mean, std = means.loc[name]["cosine_mean"], means.loc[name]["cosine_std"]
        look = {"color": COLOURS[name], "alpha": 0.15, "linewidth": 0}
        panels[0].fill_between(mean.index, mean - std, mean + std, **look)
    lines(panels[1], table, "layer", "effective_rank", xlabel="Block")
    panels[0].set(title="Cosine between inputs")
    panels[1].set(title="Effective rank", ylabel="Of all representations")
    key(figure, table["variant"])
    return figure
