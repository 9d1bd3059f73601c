"""Time this project against the usual way to train, and time what an edit costs.

    python -m tests.benchmarks --out results/benchmarks.json

Contenders take turns on one thread, and have to compute the same before they are timed. Times are
seconds of the processor; those of the workflow are seconds on the clock. A figure is the median
over the rounds, with the least and the largest. The machine should do nothing else.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import date
from importlib import metadata
from pathlib import Path

from analysis.provenance import host
from models.files import replacing
from models.training.device import deterministic
from tests.benchmarks import gpu, study, training
from tests.benchmarks.timing import Row
from workflow.malloc import preload

PARTS = {"training": training, "gpu": gpu, "study": study}
PACKAGES = ("torch", "snakemake")
QUIET = {"PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1"}  # for this process and others
COLUMNS = "{:58} {:32} {:22} {:10} {:4} {}".format


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    as_a_job()
    deterministic(threads=1, device="cpu")
    environment = {
        "date": date.today().isoformat(),
        **host(),
        "load": os.getloadavg()[0],
        **{package: metadata.version(package) for package in PACKAGES},
    }
    print(*(f"{key} {value}" for key, value in environment.items()), sep=", ")
    print(COLUMNS("", "against", "figure", "goal", "met", ""))
    rows = []
    for part in arguments.parts:
        for row in PARTS[part].rows(arguments.rounds):
            print(COLUMNS(*cells(row)), flush=True)
            rows.append({**asdict(row), "met": row.met})
    with replacing(arguments.out) as path:
        path.write_text(json.dumps({"environment": environment, "rows": rows}, indent=2) + "\n")


def as_a_job() -> None:
    """Start this process again with the malloc of the project's jobs. Others do not get it."""
    if not QUIET.items() <= os.environ.items():
        os.environ.update(QUIET)
        preload()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    os.environ.pop("LD_PRELOAD", None)


def cells(row: Row) -> list[str]:
    figure = "" if row.figure is None else f"{row.figure:.3g}"
    if row.low is not None:
        figure += f" ({row.low:.3g} to {row.high:.3g})"
    met = {None: "", True: "yes", False: "no"}[row.met]
    return [row.what, row.against, figure, row.goal, met, row.note]


if __name__ == "__main__":
    main()
