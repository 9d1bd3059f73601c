"""Internal covariate shift by training step at the greater depth, mean over layers."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import WIDTH, deepest, key, lines, script


def draw(table: pd.DataFrame) -> plt.Figure:
    table = deepest(table).assign(
        step=lambda rows: rows["checkpoint"].replace("init", "step0").str[4:].astype(int)
    )
    seeds = table.groupby(["variant", "seed", "step"])[["relative", "cosine"]].mean().reset_index()
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.6))
    for axes, column in zip(panels, ("relative", "cosine"), strict=True):
        lines(axes, seeds, "step", column)
        axes.set(xlabel="Step")
    panels[0].set(title="Change of the gradient", ylabel="Relative to its norm", yscale="log")
    panels[1].set(title="Before and after", ylabel="Cosine", ylim=(-0.3, 1.03))
    key(figure, set(table["variant"]))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
