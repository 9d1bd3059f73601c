"""Draw internal covariate shift by training step at the greater depth, mean over layers."""

import matplotlib.pyplot as plt

from analysis.style import WIDTH, Table, deepest, key, lines, with_steps

TABLE = "ics"


def draw(table: Table) -> plt.Figure:
    table = with_steps(deepest(table))
    means = table.groupby(["variant", "seed", "step"])[["relative", "cosine"]].mean().reset_index()
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.6))
    for axes, column in zip(panels, ("relative", "cosine"), strict=True):
        lines(axes, means, "step", column, xlabel="Step")
    panels[0].set(title="Change of the gradient", ylabel="Relative to its norm", yscale="log")
    panels[1].set(title="Before and after", ylabel="Cosine", ylim=(-0.3, 1.03))
    key(figure, table["variant"])
    return figure
