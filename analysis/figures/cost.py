"""What a step of training takes, and how much memory a run, against depth."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.looks import LOOKS
from analysis.style import INK, WIDTH, key, ordered, script


def draw(table: pd.DataFrame) -> plt.Figure:
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.8))
    # Steps are of one length where depth and width are: a layer is gone through once in each.
    table = table.assign(step=1000 * table["seconds"] * table["depth"] / table["layers"])
    table = table.assign(fitted=1000 * table["fitted_seconds"] * table["depth"] / table["layers"])
    hosts = {name for name in table["variant"] if LOOKS[name].host == name}
    others = table[~table["variant"].isin(hosts)]
    for axes, column in zip(panels, ("step", "peak_memory_mb"), strict=True):
        axes.scatter(others["depth"], others[column], s=9, color=INK, alpha=0.45, linewidths=0)
        for name in ordered(hosts):
            mine = table[table["variant"] == name].sort_values("depth")
            look = LOOKS[name]
            axes.plot(
                mine["depth"], mine[column], color=look.colour, marker=look.marker,
                linestyle=(0, look.dashes) if look.dashes else "-",
            )  # fmt: skip
        axes.set(xlabel="Depth (weight layers)", xticks=sorted(set(table["depth"])), ylim=(0, None))
    for width, rows in table.groupby("width"):
        line = rows.groupby("depth")["fitted"].first()
        panels[0].plot(line.index, line, color=INK, linewidth=0.7, linestyle=":")
        panels[0].annotate(
            f"width {width}", (line.index[-1], line.iloc[-1]), xytext=(7, 0),
            textcoords="offset points", va="center", fontsize=8, color=INK,
        )  # fmt: skip
    panels[0].set(title="Time", ylabel="Time of a step (ms)")
    panels[1].set(title="Memory", ylabel="Peak memory of a run (MB)")
    key(figure, hosts)
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
