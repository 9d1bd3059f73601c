"""Loss and effective smoothness along the gradient, by training step, greater depth."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.looks import LOOKS
from analysis.style import WIDTH, deepest, key, lines, ordered, script

LARGEST = 1e3  # nats: what overflows would leave no room for the others


def draw(table: pd.DataFrame) -> plt.Figure:
    table = deepest(table).assign(
        step=lambda rows: rows["checkpoint"].replace("init", "step0").str[4:].astype(int)
    )
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.6))
    ends = table.groupby(["variant", "step"])["loss"].agg(["min", "max"])
    for name in ordered(set(table["variant"])):
        low, high = (ends.loc[name][column] for column in ("min", "max"))
        look = {"color": LOOKS[name].colour, "linestyle": (0, LOOKS[name].dashes or (1, 0))}
        panels[0].fill_between(low.index, low, high, color=LOOKS[name].colour, alpha=0.15)
        panels[0].plot(low.index, low, **look)
        panels[0].plot(high.index, high, **look)
    betas = table.groupby(["variant", "seed", "step"])["beta"].max().reset_index()
    lines(panels[1], betas, "step", "beta")
    panels[0].set(title="Loss along the gradient", xlabel="Step", ylabel="Range (nats)")
    panels[0].set(yscale="log", ylim=(None, min(table["loss"].max(), LARGEST)))
    panels[1].set(title="Effective smoothness", xlabel="Step", ylabel="Constant", yscale="log")
    panels[1].set(ylim=(None, min(2 * betas["beta"].max(), 10 * LARGEST)))
    key(figure, set(table["variant"]))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
