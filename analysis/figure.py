"""Draw one figure of a study, and write next to it the rows that it draws.

    python -m analysis.figure NAME --results results/<study> --out NAME.svg

NAME is a file of analysis/figures/: `draw` makes the picture from the tables TABLES, and ROWS, by
default ("variants", "compare_depths"), chooses their rows by two settings:

    variants  "variants", or "all" (with the interventions)
    depths    "depths", or "compare_depths"

Of the budgets, it draws the longest, unless its BUDGETS says "all".
"""

import argparse
import gzip
import importlib
from pathlib import Path
from types import ModuleType

import pandas as pd

from analysis.style import apply, nothing
from analysis.summary import at_longest_budget
from models.files import read_json, replacing


def rows_of(figure: ModuleType, table: str, results: Path) -> pd.DataFrame:
    """Return the rows of one of the figure's tables that it draws."""
    study = read_json(results / "config.json")
    rows = pd.read_csv(results / f"tables/{table}.csv")
    pair = [study["compare_depths"]["shallow"], study["compare_depths"]["deep"]]
    chosen = {
        "variants": study["variants"],
        "all": study["variants"] + study["interventions"],
        "depths": study["depths"],
        "compare_depths": pair,
    }
    choices = getattr(figure, "ROWS", ("variants", "compare_depths"))
    for column, choice in zip(("variant", "depth"), choices, strict=True):
        rows = rows[rows[column].isin(chosen[choice])]
    rows = rows if getattr(figure, "BUDGETS", "") == "all" else at_longest_budget(rows, study)
    rows.attrs["pair"] = pair  # of which a study that is not finished may lack one
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="file of analysis/figures/, without .py")
    parser.add_argument("--results", type=Path, required=True, help="folder of the study")
    parser.add_argument("--out", type=Path, required=True, help="SVG; its data go to .csv.gz")
    arguments = parser.parse_args()
    figure = importlib.import_module(f"analysis.figures.{arguments.name}")
    try:
        tables = {name: rows_of(figure, name, arguments.results) for name in figure.TABLES}
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    apply()
    first, *others = tables.values()
    picture = nothing() if first.empty else figure.draw(first, *others)
    with replacing(arguments.out) as path:  # without the date, on no background
        picture.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    with replacing(arguments.out.with_suffix(".csv.gz")) as path:
        rows = pd.concat(tables, names=["table"]).reset_index("table").convert_dtypes()
        path.write_bytes(gzip.compress(rows.to_csv(index=False).encode(), mtime=0))


if __name__ == "__main__":
    main()
