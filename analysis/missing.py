"""What a study was to have and does not: the runs and measurements that are not finished.

    python -m analysis.missing --runs DIR ... --measures DIR ... --logs DIR --out missing.csv

Columns: kind (run or measurement), variant, depth, seed (empty for the measurements of a variant),
reason: the last line of the job's log, or that there is none.
"""

import argparse
from pathlib import Path

import pandas as pd

from models.files import replacing

LONGEST = 300  # characters of a reason; what wrote more said it first

COLUMNS = ["kind", "variant", "depth", "seed", "reason"]


def reason(log: Path) -> str:
    """The last line that a job wrote before it ended, or why there is none."""
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    said = [line.strip() for line in lines if line.strip()]
    if said:
        return said[-1] if len(said[-1]) <= LONGEST else said[-1][:LONGEST] + " …"
    return "it ended without a word" if log.is_file() else "it has not been started"


def read_missing(path: Path) -> pd.DataFrame:
    """The table; a reason is text even if it is "NA" or "nan"."""
    return pd.read_csv(path, keep_default_na=False, na_values={"depth": "", "seed": ""})


def missing_run(folder: Path, logs: Path) -> tuple:
    """The row of a run that is to be in runs/<variant>/depth<d>/seed<s>."""
    variant, depth, seed = folder.parts[-3:]
    log = (logs / "train" / variant / depth / seed).with_suffix(".log")
    tuned = (logs / "tune" / variant / depth).with_suffix(".log")
    why = reason(log) if log.is_file() else reason(tuned)
    return "run", variant, int(depth.removeprefix("depth")), int(seed.removeprefix("seed")), why


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    parser.add_argument("--measures", type=Path, nargs="*", default=[])
    parser.add_argument("--logs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows = [missing_run(folder, arguments.logs) for folder in arguments.runs]
    for folder in arguments.measures:
        why = reason(arguments.logs / f"measure/{folder.name}.log")
        rows.append(("measurement", folder.name, None, None, why))
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"depth": "Int64", "seed": "Int64"})
    with replacing(arguments.out) as path:
        table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
