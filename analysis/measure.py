"""Measure finished runs of one network.

    python -m analysis.measure --runs DIR ... --measures JSON --out DIR

JSON gives each measure (a file in analysis/measures/) its settings: `at`, the moments of a run at
which it is taken (init, step<n>, end), `examples`, the number of training images it looks at, and
what its `measure` takes beside. OUT receives <measure>.csv for each, and quantities.csv: the
scalars that each makes of its rows, for the tables that compare networks.
"""

import argparse
import csv
import importlib
import json
from collections.abc import Iterable
from pathlib import Path

import torch

from analysis.run import OFFSET, Finished, Subject, read, restored
from models.data import FOLDER, load
from models.files import replacing
from models.train import deterministic
from models.variant import Run, read_run


def identity(run: Run, moment: str) -> dict:
    """The columns that say which network a row is about."""
    return {
        "dataset": run.dataset,
        "variant": run.variant,
        "depth": run.depth,
        "seed": run.seed,
        "checkpoint": moment,
    }


def take(name: str, subject: Subject, settings: dict) -> tuple[list[dict], dict[str, float]]:
    """Rows and scalars of one measure; it leaves its subject as it is."""
    module = importlib.import_module(f"analysis.measures.{name}")
    settings = dict(settings)
    if "examples" in settings:
        subject = subject.sample(settings.pop("examples"))
    with restored(subject.network):
        torch.manual_seed(OFFSET + subject.run.seed)  # of noise that is part of the network
        rows = list(module.measure(subject, **settings))
    return rows, module.scalars(rows) if rows else {}


def measure(runs: list[Finished], measures: dict[str, dict]) -> dict[str, list[dict]]:
    """The table of each measure, and that of all their scalars, "quantities"."""
    tables: dict[str, list[dict]] = {name: [] for name in (*measures, "quantities")}
    moments = {moment: None for settings in measures.values() for moment in settings["at"]}
    for finished in runs:
        other = another(finished, runs)
        for moment in moments:
            if moment not in finished.weights:  # it ended before
                continue
            subject = finished.subject(moment, other)
            who = identity(finished.run, moment)
            for name, settings in measures.items():
                if moment not in settings["at"]:
                    continue
                chosen = {key: value for key, value in settings.items() if key != "at"}
                rows, found = take(name, subject, chosen)
                tables[name] += [{**who, **row} for row in rows]
                tables["quantities"] += [
                    {**who, "quantity": f"{name}.{key}", "value": value}
                    for key, value in found.items()
                ]
    return tables


def another(finished: Finished, runs: list[Finished]) -> Finished | None:
    """The run of the next seed at the same depth; that of the first, for the last seed."""
    seeds = [run for run in runs if run.run.depth == finished.run.depth]
    following = seeds[(seeds.index(finished) + 1) % len(seeds)]
    return following if following is not finished else None


def write(path: Path, rows: Iterable[dict]) -> None:
    """Rows as CSV; an empty file if there are none."""
    rows = list(rows)
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        if rows:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="one network's seeds")
    parser.add_argument("--measures", type=json.loads, required=True)
    parser.add_argument("--data", type=Path, default=FOLDER)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        device = deterministic(arguments.threads, arguments.device)
        data = load(read_run(arguments.runs[0] / "run.json").dataset, arguments.data).to(device)
        runs = [read(folder, data) for folder in arguments.runs]
        for name, rows in measure(runs, arguments.measures).items():
            write(arguments.out / f"{name}.csv", rows)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
