"""Write all tables of a study from its finished runs and measurements.

    python -m analysis.tables --results results/<study> --settings JSON --data MANIFEST \
        --cells plain/depth8=DIGEST ... --measurements plain=DIGEST ... --code DIGEST

tables/runs.csv          one row per run: what it was and how it ended (errors are fractions)
tables/history.csv       one row per run and recorded step
tables/tuning.csv        one row per run that tried a learning rate
tables/steps_to_fit.csv  one row per network, seed and training error that it has to reach
tables/growth.csv        two laws of how these steps grow with depth (analysis/growth.py)
tables/cost.csv          one row per variant and depth: seconds and memory that training took
tables/missing.csv       one row per cell and measurement that is not finished, with the reason, or
                         that is out of date: of another specification, code or data
tables/<measure>.csv     the rows of a measure, of all variants; quantities.csv likewise
config.json              the settings of the study
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.growth import growth_table
from analysis.summary import steps_to_fit
from models.files import read_json, replacing
from models.folders import cell_place, run_folder, tuning_folder
from models.logs import last_line
from models.origin import of_files, specification
from models.variant import read_run

KEYS = ["dataset", "variant", "depth", "budget", "seed"]
ENDS = ["status", "train_loss", "train_error", "test_loss", "test_error", "train_seconds", "device"]
TRAINED = ["lr", "width", "epochs", "steps", "batch_size", "parameters", *ENDS]
TUNING = [*KEYS[:-1], "lr", "seed", "train_loss", "train_error", "status"]
NETWORK = ["dataset", "variant", "depth", "seed"]
MISSING = ["kind", "variant", "depth", "runs", "reason"]
THRESHOLDS = (0.05, 0.1, 0.2)  # training errors
FILES = ("run.json", "history.csv", "metrics.json")  # of a run that has ended


class Expected(NamedTuple):
    """The digests that a study's results have when they are up to date."""

    cells: dict[str, str]  # `specification` of each cell
    measurements: dict[str, str]  # `of_json` of each network's measures and their code
    code: str  # that trains
    data: str


def read_result(folder: Path) -> dict:
    """Return the columns of runs.csv for one run, its cost, and the digests of its origin."""
    run = read_run(folder / "run.json")
    metrics = read_json(folder / "metrics.json")
    try:
        record = metrics["record"]
        facts = {**record, **metrics, **dict(run), "batch_size": run.train.batch_size}
        result = {key: facts[key] for key in [*KEYS, *TRAINED, "peak_memory_mb", "code", "data"]}
        # On a CPU, the processor's own seconds leave out the time that other jobs took.
        seconds = record["cpu_seconds" if record["device"] == "cpu" else "train_seconds"]
        return {**result, "seconds": seconds, "specification": specification(run)}
    except KeyError as error:
        raise ValueError(f"{folder / 'metrics.json'}: {error} is missing") from None


def cost_table(runs: pd.DataFrame, tuning: pd.DataFrame) -> pd.DataFrame:
    """Return all seconds of each network's runs, their peak memory, and all seconds of tuning."""
    table = runs.groupby(["variant", "depth", "width"], sort=False).agg(
        runs=("seconds", "size"),
        seconds=("seconds", "sum"),
        peak_memory_mb=("peak_memory_mb", "max"),
    )
    sums = tuning.groupby(["variant", "depth"])["seconds"].sum().rename("tuning_seconds")
    return table.reset_index().join(sums, on=["variant", "depth"]).fillna({"tuning_seconds": 0.0})


def steps_to_fit_table(runs: pd.DataFrame, budgets: int) -> pd.DataFrame:
    """Return the steps to each threshold, of those networks that have been trained at all budgets.

    A run that diverged did not take all of its steps, but they are the ones that were not enough.
    """
    steps_of_epoch = (runs["steps"] / runs["epochs"]).max()
    rows = []
    for network, trained in runs.groupby(NETWORK, sort=False):
        trained = trained.sort_values("budget")
        steps, errors = trained["epochs"] * steps_of_epoch, trained["train_error"]
        for threshold in THRESHOLDS if len(trained) == budgets else ():
            rows.append((*network, threshold, *steps_to_fit(steps, errors, threshold)))
    return pd.DataFrame(rows, columns=[*NETWORK, "threshold", "steps", "reached"])


def unfinished(runs: list[Path], unmeasured: list[str], logs: Path) -> Iterator[tuple]:
    """Yield for each cell how many runs are not finished, and each such measurement, with why."""
    for (variant, depth), count in Counter(folder.parts[-4:-2] for folder in runs).items():
        why = last_line(logs / f"cell/{variant}/{depth}.log")
        yield "run", variant, int(depth.removeprefix("depth")), count, why
    for name in unmeasured:
        yield "measurement", name, None, None, last_line(logs / f"measure/{name}.log")


def outdated(
    folder: Path, runs: pd.DataFrame, tuning: dict, measured: list[str], expected: Expected
) -> Iterator[tuple]:
    """Yield for each cell how many runs are out of date, and each such measurement, with why."""
    for (variant, depth), cell in runs.groupby(["variant", "depth"], sort=False):
        place = cell_place(variant, depth)
        path = folder / f"cells/{place}.json"  # not there while the cell is trained
        tuned = read_json(path)["spec"]["tuning"] if path.exists() else tuning
        now = {"specification": expected.cells[place], "code": expected.code, "data": expected.data}
        differs = cell[list(now)] != pd.Series(now)
        differs["specification"] |= tuned != tuning
        if differs.any(axis=None):
            why = " and ".join(differs.columns[differs.any()])
            yield "outdated run", variant, depth, differs.any(axis=1).sum(), f"differs in {why}"
    for name in measured:
        path = folder / f"measures/{name}/measured.json"
        then = read_json(path) if path.exists() else {"expected": "", "runs": {}}
        specs = {folder / run / "run.json": sha for run, sha in then["runs"].items()}
        if then["expected"] != expected.measurements[name]:
            yield "outdated measurement", name, None, None, "differs in specification or code"
        elif any(spec.exists() and of_files([spec]) != sha for spec, sha in specs.items()):
            yield "outdated measurement", name, None, None, "measured other runs"


def read_missing(path: Path) -> pd.DataFrame:
    """Return missing.csv; a reason is text even if it is "NA" or "nan"."""
    return pd.read_csv(path, keep_default_na=False, na_values={"depth": "", "runs": ""})


def concatenate(parts: list[Path], partial: bool) -> pd.DataFrame:
    """Return the rows of CSV files as they stand. A network without rows has an empty file.

    Of a partial study, a file may be missing, or be of another code with other columns.
    """
    there = [part for part in parts if (part.exists() or not partial) and part.stat().st_size]
    tables = [pd.read_csv(part, dtype=str, keep_default_na=False) for part in there]
    headers = {",".join(table) for table in tables}
    if len(headers) > 1 and not partial:
        raise ValueError(f"{parts[0].name}: columns differ between networks: {sorted(headers)}")
    return pd.concat(tables or [pd.DataFrame(columns=[*KEYS, "checkpoint"])])


def tuning_runs(folder: Path, cell: str) -> list[Path]:
    """Return the folders of the runs that chose the learning rates of a finished cell."""
    path = folder / f"cells/{cell}.json"
    content = read_json(path) if path.exists() else {"tuning": {}}
    return [
        folder / tuning_folder(cell, budget, seed, float(lr))
        for budget, losses in content["tuning"].items()
        for lr in losses
        for seed in content["spec"]["tuning"]["seeds"]
    ]


def finished(folders: Iterable[Path]) -> dict[Path, dict]:
    """Return the results of those runs that have ended, by their folders."""
    there = [path for path in folders if all((path / file).exists() for file in FILES)]
    return {path: read_result(path) for path in there}


def write_tables(folder: Path, study: dict, expected: Expected) -> None:
    """Write all tables of a study from its settings and cells, in the order of the rows."""
    cells = list(expected.cells)
    names = [*study["variants"], *study["interventions"]]
    planned = [
        folder / run_folder(cell, budget, seed)
        for cell, budget, seed in product(cells, study["budgets"], study["seeds"])
    ]
    trials = [path for cell in cells for path in tuning_runs(folder, cell)]
    runs, tuning = finished(planned), finished(trials)
    measured = [name for name in names if (folder / f"measures/{name}/quantities.csv").exists()]
    if not runs or not measured:
        raise ValueError(f"{folder}: no network has been trained and measured yet")
    missing = [run for run in planned if run not in runs]
    lost = [*missing, *(trial for trial in trials if trial not in tuning)]
    if lost and not study["partial"]:  # Snakemake sees that the cell's file is there, and no more
        _, variant, depth, *_ = lost[0].relative_to(folder).parts
        cell = folder / f"cells/{variant}/{depth}.json"
        raise ValueError(f"{lost[0]}: is missing; delete {cell} and it is made again")

    histories = [
        pd.DataFrame([result])[KEYS].merge(pd.read_csv(run / "history.csv"), how="cross")
        for run, result in runs.items()
    ]
    trained = pd.DataFrame(runs.values())
    tried = pd.DataFrame(tuning.values(), columns=trained.columns)
    reasons = [
        *unfinished(missing, [name for name in names if name not in measured], folder / "logs"),
        *outdated(folder, trained, study["tuning"], measured, expected),
    ]
    steps = steps_to_fit_table(trained, len(study["budgets"]))
    tables = {
        "runs": trained[[*KEYS, *TRAINED]],
        "history": pd.concat(histories),
        "tuning": tried[TUNING],
        "steps_to_fit": steps,
        "growth": growth_table(steps),
        "cost": cost_table(trained, tried),
        "missing": pd.DataFrame(reasons, columns=MISSING, dtype=object),
    }
    for name in sorted(study["measures"].keys() - {"seeds"} | {"quantities"}):
        parts = [folder / f"measures/{network}/{name}.csv" for network in measured]
        tables[name] = concatenate(parts, study["partial"])
    texts = {f"tables/{name}.csv": table.to_csv(index=False) for name, table in tables.items()}
    texts["config.json"] = json.dumps(study, indent=2, sort_keys=True) + "\n"
    for name, text in texts.items():
        with replacing(folder / name) as path:
            path.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, required=True)
    parser.add_argument("--data", type=Path, required=True, help="manifest of the data set")
    parser.add_argument("--code", required=True)
    for name in ("--cells", "--measurements"):
        parser.add_argument(name, nargs="+", required=True, type=lambda text: text.split("="))
    arguments = parser.parse_args()
    cells, measurements = dict(arguments.cells), dict(arguments.measurements)
    try:
        data = read_json(arguments.data)["sha256"]
        expected = Expected(cells, measurements, arguments.code, data)
        write_tables(arguments.results, arguments.settings, expected)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
