"""Draw the error of trained networks that lose or swap blocks, at the greater depth."""

import matplotlib.pyplot as plt

from analysis.style import INK, WIDTH, Table, deepest, key, lines

TABLE = "lesion"


def draw(table: Table) -> plt.Figure:
    table = deepest(table, "end").assign(error=lambda rows: 100 * rows["error"])
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 2.6))
    whole = table[table["kind"] == "whole"].set_index(["variant", "seed"])["error"]
    one = table[table["kind"] == "one"].join(whole.rename("whole"), on=["variant", "seed"])
    lines(panels[0], one.assign(rise=one["error"] - one["whole"]), "block", "rise")
    panels[0].axhline(0, color=INK, linewidth=0.7, dashes=(1, 2))
    panels[0].set(title="One deleted", xlabel="Block", ylabel="Rise of the error (points)")
    for axes, kind, title, label in (
        (panels[1], "several", "Several deleted", "Blocks deleted"),
        (panels[2], "permute", "Blocks swapped", "Swaps"),
    ):
        lines(axes, table[table["kind"].isin(["whole", kind])], "k", "error", xlabel=label)
        axes.set(title=title, ylabel="Training error (%)", ylim=(0, 100))
    key(figure, table["variant"])
    return figure
