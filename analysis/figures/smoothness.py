"""Draw loss and effective smoothness along the gradient, by training step, greater depth."""

import matplotlib.pyplot as plt

from analysis.style import COLOURS, WIDTH, Table, deepest, key, line, lines, ordered, with_steps

TABLE = "smoothness"
LARGEST = 1e3  # nats; a loss that overflows would leave no room for the others


def draw(table: Table) -> plt.Figure:
    table = with_steps(deepest(table))
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.6))
    ends = table.groupby(["variant", "step"])["loss"].agg(["min", "max"])
    for name in ordered(table["variant"]):
        low, high = ends.loc[name]["min"], ends.loc[name]["max"]
        panels[0].fill_between(low.index, low, high, color=COLOURS[name], alpha=0.15)
        panels[0].plot(low.index, ends.loc[name], **line(name))
    betas = table.groupby(["variant", "seed", "step"])["beta"].max().reset_index()
    lines(panels[1], betas, "step", "beta")
    panels[0].set(title="Loss along the gradient", xlabel="Step", ylabel="Range (nats)")
    panels[0].set(yscale="log", ylim=(None, min(table["loss"].max(), LARGEST)))
    panels[1].set(title="Effective smoothness", xlabel="Step", ylabel="Constant", yscale="log")
    panels[1].set(ylim=(None, min(2 * betas["beta"].max(), 10 * LARGEST)))
    key(figure, table["variant"])
    return figure
