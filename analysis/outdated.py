"""Tell results that are out of date: of another specification, code or data than the study's."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from models.files import read_json
from models.folders import cell_place
from models.origin import of_files, specification
from models.variant import Run

Outdated = Iterator[tuple[str, str, int | None, int | None, str]]  # rows of tables/missing.csv


class Expected(NamedTuple):
    """The digests that a study's results have when they are up to date."""

    cells: dict[str, str]  # `specification` of each cell
    measurements: dict[str, str]  # `of_json` of each network's measures and their code
    code: str  # that trains
    data: str


def outdated_runs(folder: Path, runs: Iterable[Run], tuning: dict, expected: Expected) -> Outdated:
    """Yield for each cell how many of its runs are out of date, and why."""
    found: dict[tuple, list[list[str]]] = defaultdict(list)  # what differs in each run of a cell
    for run in runs:
        place = cell_place(run.variant, run.depth)
        path = folder / f"cells/{place}.json"  # not there while the cell is trained
        tuned = read_json(path)["spec"]["tuning"] if path.exists() else tuning
        differs = {
            "specification": (specification(run), tuned) != (expected.cells[place], tuning),
            "code": run.code != expected.code,
            "data": run.data != expected.data,
        }
        if any(differs.values()):
            found[run.variant, run.depth].append([name for name in differs if differs[name]])
    for cell, runs_differ in found.items():
        why = " and ".join(dict.fromkeys(chain(*runs_differ)))
        yield ("outdated run", *cell, len(runs_differ), f"differs in {why}")


def outdated_measurements(folder: Path, names: Iterable[str], expected: Expected) -> Outdated:
    """Yield the networks whose measurement is out of date, and why."""
    for name in names:
        path = folder / f"measures/{name}/measured.json"
        then = read_json(path) if path.exists() else {"expected": "", "runs": {}}
        specs = {folder / run / "run.json": sha for run, sha in then["runs"].items()}
        if then["expected"] != expected.measurements[name]:
            yield "outdated measurement", name, None, None, "differs in specification or code"
        elif any(spec.exists() and of_files([spec]) != sha for spec, sha in specs.items()):
            yield "outdated measurement", name, None, None, "measured other runs"
