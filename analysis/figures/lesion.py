"""Rise of the error when trained networks lose or swap blocks, at the greater depth."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import INK, WIDTH, deepest, key, lines, script


def draw(table: pd.DataFrame) -> plt.Figure:
    table = deepest(table)
    table = table[table["checkpoint"] == "end"].assign(error=lambda rows: 100 * rows["error"])
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 2.6))
    whole = table[table["kind"] == "whole"].rename(columns={"error": "whole"})
    keys = ["variant", "seed"]
    one = table[table["kind"] == "one"].merge(whole[[*keys, "whole"]], on=keys)
    lines(panels[0], one.assign(rise=one["error"] - one["whole"]), "block", "rise")
    panels[0].axhline(0, color=INK, linewidth=0.7, dashes=(1, 2))
    panels[0].set(title="One deleted", xlabel="Block", ylabel="Rise of the error (points)")
    for axes, kind, title, number in (
        (panels[1], "several", "Several deleted", "Blocks deleted"),
        (panels[2], "permute", "Blocks swapped", "Swaps"),
    ):
        lines(axes, table[table["kind"].isin(["whole", kind])], "k", "error")
        axes.set(title=title, xlabel=number, ylabel="Training error (%)", ylim=(0, 100))
    key(figure, set(table["variant"]))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
