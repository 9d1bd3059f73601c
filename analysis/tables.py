"""Write all tables of a study from its finished runs and measurements.

    python -m analysis.tables --results results/<study> --settings JSON --cells plain/depth8 ...

tables/runs.csv       one row per run: what it was and how it ended (errors are fractions)
tables/history.csv    one row per run and recorded step
tables/tuning.csv     one row per tuning run
tables/cost.csv       one row per variant and depth: seconds and memory that training took
tables/missing.csv    one row per run and per measurement that is not finished, with the reason
tables/<measure>.csv  the rows of a measure, of all variants; quantities.csv likewise
config.json           the settings of the study
provenance.json       the code, packages, machines and seconds behind the results
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from analysis.provenance import provenance
from models.files import read_json, replacing
from models.variant import read_run, read_variants

KEYS = ["dataset", "variant", "depth", "seed"]
ENDS = ["status", "train_loss", "train_error", "test_loss", "test_error"]
TRAINED = ["lr", "width", "epochs", "steps", "batch_size", "parameters", *ENDS, "train_seconds"]
TUNING = ["dataset", "variant", "depth", "lr", "seed", "train_loss", "train_error", "status"]
LONGEST = 300  # characters of a reason; the rest of a longer one is cut


def read_result(folder: Path) -> dict:
    """Return the columns of runs.csv for one run, and what it recorded of its cost."""
    run = read_run(folder / "run.json")
    metrics = read_json(folder / "metrics.json")
    try:
        record = metrics["record"]
        settings = {**dict(run), "lr": run.train.lr, "batch_size": run.train.batch_size}
        facts = {**record, **metrics, **settings}
        return {
            **{key: facts[key] for key in [*KEYS, *TRAINED, "peak_memory_mb", "record"]},
            # On a CPU, the processor's own seconds leave out the time that other jobs took.
            "seconds": record["cpu_seconds" if record["device"] == "cpu" else "train_seconds"],
        }
    except KeyError as error:
        raise ValueError(f"{folder / 'metrics.json'}: {error} is missing") from None


def cost_table(runs: pd.DataFrame, tuning: pd.DataFrame) -> pd.DataFrame:
    """Return mean seconds and peak memory of each network's runs, and all seconds of its tuning."""
    table = runs.groupby(["variant", "depth", "width"], sort=False).agg(
        runs=("seconds", "size"),
        seconds=("seconds", "mean"),
        peak_memory_mb=("peak_memory_mb", "max"),
    )
    sums = tuning.groupby(["variant", "depth"])["seconds"].sum().rename("tuning_seconds")
    return table.reset_index().join(sums, on=["variant", "depth"]).fillna({"tuning_seconds": 0.0})


def reason(log: Path) -> str:
    """Return the last line that a job wrote into its log, or say that there is none."""
    if not log.is_file():
        return "it has not been started"
    last = log.read_text(errors="replace").strip().split("\n")[-1].strip()
    if len(last) > LONGEST:
        last = last[:LONGEST] + " …"
    return last or "it ended without a message"


def missing_table(runs: list[Path], unmeasured: list[str], logs: Path) -> pd.DataFrame:
    """Return the table of what is not finished.

    A run that has not started, because no learning rate was chosen, gets the reason of the tuning.
    """
    rows = []
    for folder in runs:
        variant, depth, seed = folder.parts[-3:]
        numbers = int(depth.removeprefix("depth")), int(seed.removeprefix("seed"))
        log = logs / f"train/{variant}/{depth}/{seed}.log"
        log = log if log.is_file() else logs / f"tune/{variant}/{depth}.log"
        rows.append(("run", variant, *numbers, reason(log)))
    for name in unmeasured:
        rows.append(("measurement", name, None, None, reason(logs / f"measure/{name}.log")))
    table = pd.DataFrame(rows, columns=["kind", "variant", "depth", "seed", "reason"])
    return table.astype({"depth": "Int64", "seed": "Int64"})


def read_missing(path: Path) -> pd.DataFrame:
    """Return the table of `missing_table`; a reason is text even if it is "NA" or "nan"."""
    return pd.read_csv(path, keep_default_na=False, na_values={"depth": "", "seed": ""})


def concatenate(parts: list[Path]) -> str:
    """Return the rows of CSV files under their header. A network without rows has an empty file."""
    tables = [text.splitlines(keepends=True) for part in parts if (text := part.read_text())]
    headers = {table[0] for table in tables}
    if len(headers) > 1:
        raise ValueError(f"{parts[0].name}: columns differ between networks: {sorted(headers)}")
    return "".join([*headers, *[line for table in tables for line in table[1:]]])


def write_tables(folder: Path, study: dict, cells: list[str]) -> None:
    """Write all tables of a study from its settings and cells, in the order of the rows."""
    names, rates = [*study["variants"], *study["interventions"]], study["tuning"]["lrs"]
    planned = [folder / f"runs/{cell}/seed{seed}" for cell in cells for seed in study["seeds"]]
    runs = finished(planned)
    trials = [folder / f"tuning/{cell}/lr{rate}" for cell in cells for rate in rates]
    tuning = finished(trials if len(rates) > 1 else [])  # a single rate is taken without a trial
    # The networks of some tuning runs grow from these, which are in no table.
    variants = read_variants()
    starts = sorted({variants[name].start for name in names} - {None})
    place = f"depth{study['compare_depths']['shallow']}/seed{study['tuning']['seed']}"
    parents = [folder / f"runs/{name}/{place}" for name in starts]
    parts = {name: folder / f"measures/{name}" for name in names}
    measured = [part for part in parts.values() if (part / "quantities.csv").exists()]
    if not runs or not measured:
        raise ValueError(f"{folder}: no network has been trained and measured yet")

    missing = [run for run in planned if run not in runs]
    unmeasured = [name for name, part in parts.items() if part not in measured]
    histories = [
        pd.DataFrame([result])[KEYS].merge(pd.read_csv(run / "history.csv"), how="cross")
        for run, result in runs.items()
    ]
    trained = pd.DataFrame(runs.values())
    tried = pd.DataFrame(tuning.values(), columns=trained.columns)
    tables = {
        "runs": trained[[*KEYS, *TRAINED]],
        "history": pd.concat(histories),
        "tuning": tried[TUNING],
        "cost": cost_table(trained, tried),
        "missing": missing_table(missing, unmeasured, folder / "logs"),
    }
    texts = {f"tables/{name}.csv": table.to_csv(index=False) for name, table in tables.items()}
    for name in sorted(study["measures"].keys() - {"seeds"} | {"quantities"}):
        texts[f"tables/{name}.csv"] = concatenate([part / f"{name}.csv" for part in measured])
    training = [str(run.relative_to(folder / "runs")) for run in [*planned, *parents]]
    jobs = {"tune": cells, "train": training, "measure": names}
    record = provenance(study, runs | tuning | finished(parents), jobs, folder / "benchmarks")
    texts["config.json"] = json.dumps(study, indent=2, sort_keys=True) + "\n"
    texts["provenance.json"] = json.dumps(record, indent=2) + "\n"
    for name, text in texts.items():
        with replacing(folder / name) as path:
            path.write_text(text, encoding="utf-8")


def finished(folders: Iterable[Path]) -> dict[Path, dict]:
    """Return the results of those runs that have ended, by their folders."""
    return {path: read_result(path) for path in folders if (path / "metrics.json").exists()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, required=True)
    parser.add_argument("--cells", nargs="+", required=True)
    arguments = parser.parse_args()
    try:
        write_tables(arguments.results, arguments.settings, arguments.cells)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
