"""Draw the share of the gradient over paths of each length, at the greater depth."""

from analysis.style import CHECKPOINTS, Figure, Table, deepest, panels

TABLE = "path_gradient"


def draw(table: Table) -> Figure:
    table = deepest(table).assign(part=lambda rows: rows["length"] / rows["blocks"])
    # A plain network has paths of one length only, and nothing to draw.
    table = table[table.groupby("variant")["length"].transform("nunique") > 1]
    rows = {"share": "Share of the gradient"}
    look = {"height": 2.5, "marker": "o", "xlabel": "Length of paths (share of blocks)"}
    return panels(table, "part", rows, "checkpoint", CHECKPOINTS, **look)[0]
