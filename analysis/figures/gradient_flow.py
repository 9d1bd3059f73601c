"""Draw the relative gradient of each layer at three checkpoints, at the greater depth."""

from analysis.style import CHECKPOINTS, Figure, Table, deepest, panels

TABLE = "gradient_flow"


def draw(table: Table) -> Figure:
    # A logarithmic axis has no place for a gradient that is zero, as SkipInit makes some.
    table = deepest(table).query("relative_gradient > 0")
    rows = {"relative_gradient": "Relative gradient"}
    titles = {"init": CHECKPOINTS["init"], "step10": "After ten steps", "end": CHECKPOINTS["end"]}
    figure, grid = panels(table, "layer", rows, "checkpoint", titles)
    grid[0, 0].set(yscale="log")
    return figure
