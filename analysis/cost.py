"""What training costs, how that grows, and what another study would cost.

    python -m analysis.cost --runs DIR ... --tuning DIR ... --extents JSON --out DIR

cost.csv      one row a (variant, depth): evaluation runs, the mean seconds of one and its peak
              memory; the seconds of tuning; and how long a run would take by the fit
forecast.csv  one row a study and processor: jobs, hours and gigabytes that it would take

Two numbers are fitted: seconds for each time that a layer is gone through, and for each
multiply-add in it, both at least zero, by least squares of the relative error of a run's seconds.
Seconds are the processor's where that is a CPU, and those on the clock otherwise. EXTENTS says how
many layers and multiply-adds each run and each study comes to, what those take on a GPU, and how
many seconds a job takes to begin.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from models.files import replacing
from models.variant import read_run


def spent(folders: Iterable[Path]) -> pd.DataFrame:
    """What each run was, and what it recorded of its cost."""
    rows = []
    for folder in folders:
        run = read_run(folder / "run.json")
        record = json.loads((folder / "metrics.json").read_text())["record"]
        clock = "cpu_seconds" if record["device"] == "cpu" else "train_seconds"
        rows.append(
            {
                "variant": run.variant,
                "depth": run.depth,
                "width": run.width,
                "seconds": record[clock],
                "peak_memory_mb": record["peak_memory_mb"],
            }
        )
    return pd.DataFrame(rows, columns=["variant", "depth", "width", "seconds", "peak_memory_mb"])


def fit(layers: np.ndarray, products: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """Seconds for a layer and for a multiply-add."""
    work = np.stack([layers, products], 1) / seconds[:, None]
    size = work.max(axis=0)  # of one magnitude, for the solver
    found, _ = nnls(work / size, np.ones(len(seconds)))
    return tuple(float(x) for x in found / size)


def cost(
    runs: pd.DataFrame, tuning: pd.DataFrame, work: dict[str, list[float]]
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """The table of cells, and what was fitted to it; `work` has the layers and multiply-adds of a
    run by "<variant>/depth<d>"."""
    groups = runs.groupby(["variant", "depth", "width"], sort=False)
    table = groups.agg(
        runs=("seconds", "size"),
        seconds=("seconds", "mean"),
        peak_memory_mb=("peak_memory_mb", "max"),
    ).reset_index()
    tried = tuning.groupby(["variant", "depth"])["seconds"].sum().rename("tuning_seconds")
    table = table.join(tried, on=["variant", "depth"]).fillna({"tuning_seconds": 0.0})
    each = [work[f"{row.variant}/depth{row.depth}"] for row in table.itertuples()]
    table["layers"], table["products"] = np.array(each, dtype=float).T
    rates = fit(*(table[name].to_numpy() for name in ("layers", "products", "seconds")))
    table["fitted_seconds"] = table["layers"] * rates[0] + table["products"] * rates[1]
    return table, rates


def forecasts(
    studies: dict[str, dict], processors: dict[str, tuple[float, float]], begin: float
) -> Iterable[dict]:
    """Each study on each processor; `processors` has the seconds for a layer and a multiply-add."""
    for study, extent in studies.items():
        rules = extent["rules"]
        jobs = {rule: every["jobs"] for rule, every in rules.items()}
        for processor, (layer, product) in processors.items():
            taken = begin * sum(jobs.values()) + sum(
                every["layers"] * layer + every["products"] * product for every in rules.values()
            )
            yield {
                "study": study,
                "processor": processor,
                "seconds_a_layer": layer,
                "seconds_a_product": product,
                **jobs,
                "hours": taken / 3600,
                "gigabytes": extent["gigabytes"],
            }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--tuning", type=Path, nargs="*", default=[])
    parser.add_argument("--extents", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    extents = arguments.extents
    table, rates = cost(spent(arguments.runs), spent(arguments.tuning), extents["work"])
    processors = {"own": rates, "gpu": tuple(extents["gpu"])}
    rows = forecasts(extents["studies"], processors, extents["begin"])
    tables = {"cost": table, "forecast": pd.DataFrame(rows)}
    for name, rows in tables.items():
        with replacing(arguments.out / f"{name}.csv") as path:
            rows.to_csv(path, index=False)


if __name__ == "__main__":
    main()
