"""Measure the trained runs of one network.

    python -m analysis.measure --runs DIR ... --measures JSON --origin DIGEST --out DIR

JSON holds the settings of each measure (a file in analysis/measures/): the checkpoints `at` which
it measures, and what its SETTINGS name. DIR receives <measure>.csv of each, and quantities.csv, the
numbers to which they reduce their rows. A number that is not finite is an empty cell.
measured.json comes last, and says what was measured.
"""

import argparse
import copy
import csv
import importlib
import json
import math
from dataclasses import replace
from pathlib import Path

import torch

from analysis.run import Subject, TrainedRun, read
from models.data.prepare import FOLDER, load
from models.files import replacing
from models.origin import measured
from models.streams import number
from models.training.device import deterministic
from models.variant import read_run

# With the checkpoint, these identify a network.
COLUMNS = ("dataset", "variant", "depth", "budget", "seed")


def measure_subject(name: str, subject: Subject, settings: dict) -> tuple[list[dict], dict]:
    """Return the rows and quantities of one measure, which gets a copy of the network to change."""
    module = importlib.import_module(f"analysis.measures.{name}")
    settings = {key: value for key, value in settings.items() if key != "at"}
    if "examples" in settings:
        subject = subject.sample(settings.pop("examples"))
    subject = replace(subject, network=copy.deepcopy(subject.network))
    # Noise that is part of the network is drawn from the global generator.
    torch.manual_seed(number(subject.run.seed, "noise of measuring"))
    rows = list(module.measure(subject, **settings))
    return rows, module.quantities(rows) if rows else {}


def defined(row: dict) -> dict:
    """Return a row in which a number that is not finite is None: an empty cell of the table."""
    return {
        key: None if isinstance(x, float) and not math.isfinite(x) else x for key, x in row.items()
    }


def measure_runs(runs: list[TrainedRun], measures: dict[str, dict]) -> dict[str, list[dict]]:
    """Return the table of each measure, and the table "quantities" of all of them."""
    tables: dict[str, list[dict]] = {name: [] for name in (*measures, "quantities")}
    checkpoints = dict.fromkeys(each for settings in measures.values() for each in settings["at"])
    for trained in runs:
        for checkpoint in [each for each in checkpoints if each in trained.weights]:
            subject = trained.subject(checkpoint)
            columns = {key: getattr(trained.run, key) for key in COLUMNS}
            columns["checkpoint"] = checkpoint
            for name in [each for each in measures if checkpoint in measures[each]["at"]]:
                rows, quantities = measure_subject(name, subject, measures[name])
                tables[name] += [{**columns, **defined(row)} for row in rows]
                tables["quantities"] += [
                    {**columns, "quantity": f"{name}.{key}", "value": value}
                    for key, value in defined(quantities).items()
                ]
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of the runs")
    parser.add_argument("--measures", type=json.loads, required=True, help="settings, as JSON")
    parser.add_argument("--origin", default="", help="digest of code and settings, to record")
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of prepared data sets")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    arguments = parser.parse_args()
    try:
        device = deterministic(arguments.threads, arguments.device)
        first = read_run(arguments.runs[0] / "run.json")
        data = load(first.dataset, arguments.data, first.data).to(device)
        runs = [read(folder, data) for folder in arguments.runs]
        for name, rows in measure_runs(runs, arguments.measures).items():
            table = arguments.out / f"{name}.csv"
            with replacing(table) as path, path.open("w", newline="") as file:
                if rows:  # without rows, the file is empty
                    writer = csv.DictWriter(file, list(rows[0]))
                    writer.writeheader()
                    writer.writerows(rows)
        origin = measured(arguments.origin, arguments.out.parents[1], arguments.runs)
        with replacing(arguments.out / "measured.json") as path:
            path.write_text(json.dumps(origin, indent=2) + "\n")
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
