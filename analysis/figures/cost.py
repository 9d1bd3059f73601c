"""What a step of training takes, and how much memory a run, against depth."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from analysis.looks import LOOKS
from analysis.style import INK, WIDTH, key, script, styled


def draw(table: pd.DataFrame) -> plt.Figure:
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.8))
    # A layer is gone through once in each step.
    step = 1000 * table["depth"] / table["layers"]
    table = table.assign(step=step * table["seconds"], fitted=step * table["fitted_seconds"])
    hosts = {name for name in table["variant"] if LOOKS[name].host == name}
    compared = table["variant"].isin(hosts)
    for axes, column in zip(panels, ("step", "peak_memory_mb"), strict=True):
        others = table[~compared]
        axes.scatter(others["depth"], others[column], s=9, color=INK, alpha=0.45, linewidths=0)
        sns.lineplot(
            table[compared], x="depth", y=column, hue="variant", style="variant", **styled(hosts),
            ax=axes, legend=False,
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
