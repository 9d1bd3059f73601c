"""Gather finished runs into tables, one tidy CSV each.

    python -m analysis.collect --runs DIR ... --tuning DIR ... --out results/<study>/tables

runs.csv     one row a run: what it was and how it ended (errors are fractions)
history.csv  one row a run and epoch
tuning.csv   one row a tuning run
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from models.files import replacing
from models.variant import read_run

RUNS = [
    "dataset",
    "variant",
    "depth",
    "seed",
    "lr",
    "width",
    "epochs",
    "steps",
    "batch_size",
    "parameters",
    "status",
    "train_loss",
    "train_error",
    "test_loss",
    "test_error",
    "train_seconds",
]
TUNING = ["dataset", "variant", "depth", "lr", "seed", "train_loss", "train_error", "status"]


def row(folder: Path) -> dict:
    """What a run was and how it ended, as one row."""
    run = read_run(folder / "run.json")
    metrics = json.loads((folder / "metrics.json").read_text())
    record = metrics.pop("record")
    return {
        "dataset": run.dataset,
        "variant": run.variant,
        "depth": run.depth,
        "seed": run.seed,
        "lr": run.train.lr,
        "width": run.width,
        "batch_size": run.train.batch_size,
        "train_seconds": record["train_seconds"],
        **metrics,
    }


def runs_table(folders: Iterable[Path], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame([row(folder) for folder in folders], columns=columns)


def history_table(folders: Iterable[Path]) -> pd.DataFrame:
    parts = []
    for folder in folders:
        run = read_run(folder / "run.json")
        history = pd.read_csv(folder / "history.csv")
        for name in ("seed", "depth", "variant", "dataset"):
            history.insert(0, name, getattr(run, name))
        parts.append(history)
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--tuning", type=Path, nargs="*", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    tables = {
        "runs": runs_table(arguments.runs, RUNS),
        "history": history_table(arguments.runs),
        "tuning": runs_table(arguments.tuning, TUNING),
    }
    for name, table in tables.items():
        with replacing(arguments.out / f"{name}.csv") as path:
            table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
