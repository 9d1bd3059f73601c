"""Test reports of studies of which any part is there."""

import functools
import random
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from conftest import QUICK, ROOT, copy_project, in_process, snakemake

from analysis import figure, provenance, rank_correlation, tables
from models.files import read_yaml
from models.folders import cell_place
from models.origin import of_files, specification
from report import claims
from report.render import document
from report.results import Results
from report.text import markdown
from workflow.config import load_study
from workflow.plan import Plan, import_closure

STUDY = load_study([ROOT / "workflow/config/quick.yaml"], {"partial": True})
PLAN = Plan(STUDY)
read_once = functools.cache(read_yaml)
RUNS = [(*cell, budget, seed) for cell in PLAN.cells() for budget in (1, 2) for seed in (0, 1)]


def cut_short(quick: Path, folder: Path, runs: set, measured: set) -> Path:
    """Return the results of the quick study with some of its runs and measurements alone."""
    results = folder / "results/quick"
    shutil.copytree(quick.parent / "data", results.parent / "data")
    links = [PLAN.run(*each).removeprefix("results/quick/") for each in runs]
    links += [f"measures/{name}" for name in measured] + ["tuning", "tables/errata.csv"]
    for name, depth in PLAN.cells():
        if {(name, depth, budget, seed) for budget in (1, 2) for seed in (0, 1)} <= runs:
            links.append(f"cells/{cell_place(name, depth)}.json")
    for link in links:
        (results / link).parent.mkdir(parents=True, exist_ok=True)
        (results / link).symlink_to(quick / link)
    shutil.copy(quick / "registered_claims.yaml", results)
    return results


def report(results: Path, drawn: bool) -> str:
    """Make the report of a partial study, and return its text."""
    cells = [f"{cell_place(*cell)}={specification(PLAN.cell(*cell))}" for cell in PLAN.cells()]
    measurements = [f"{name}={PLAN.measurement(name)}" for name in PLAN.names]
    in_process(
        tables, "--results", results, "--settings", STUDY.model_dump_json(exclude_none=True),
        "--data", results.parent / "data/mnist1d.json", "--cells", *cells,
        "--code", of_files(import_closure("models.training.cell")), "--measurements", *measurements,
    )  # fmt: skip
    in_process(provenance, "--results", results, "--code", ROOT / "Snakefile")
    claims_file = ("--claims", ROOT / "report/claims.yaml", "--results", results)
    in_process(rank_correlation, *claims_file, "--out", results / "tables/rank_correlation.csv")
    in_process(claims, *claims_file)
    for name in PLAN.figures() if drawn else ():
        in_process(figure, name, "--results", results, "--out", results / f"figures/{name}.svg")
        plt.close()
    return markdown(Results(results), ROOT / "report/sections", {})


BASE, OTHERS = STUDY.variants, STUDY.interventions
CASES = {  # which runs are there, and which networks are measured
    "no intervention": (lambda name, *run: name in BASE, BASE),
    "the deep one alone": (lambda name, depth, *run: depth == 14, ["plain_bn"]),
    "the short budget alone": (lambda name, depth, budget, seed: budget == 1, ["residual"]),
    "interventions alone": (lambda name, *run: name in OTHERS, OTHERS),
    "a baseline without its shallow depth, and measures of interventions alone": (
        lambda name, depth, *run: (name, depth) != ("plain_bn", 8), OTHERS,
    ),
    "the shallow depth alone": (lambda name, depth, *run: depth == 8, ["plain"]),
}  # fmt: skip
DRAWN = list(CASES)[-3:]


@pytest.fixture(autouse=True)
def read_claims_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("report.claims.read_yaml", read_once)


@pytest.mark.parametrize("case", CASES)
def test_a_study_that_is_cut_short_has_a_report(
    case: str, quick_study: Path, tmp_path: Path
) -> None:
    kept, measured = CASES[case]
    runs = {run for run in RUNS if kept(*run)}
    text = report(cut_short(quick_study, tmp_path, runs, set(measured)), case in DRAWN)
    assert "# What is missing" in text
    assert "Some results are out of date" not in text
    document(text)


def test_a_finished_study_misses_nothing(quick_study: Path) -> None:
    assert "What is missing" not in (quick_study / "report/index.html").read_text()


@pytest.mark.parametrize("seed", range(4))
def test_any_runs_have_a_report(seed: int, quick_study: Path, tmp_path: Path) -> None:
    draw = random.Random(seed)
    cells, lost, measured = (
        set(draw.sample(among, draw.randint(least, most)))
        for among, least, most in [(PLAN.cells(), 1, 12), (RUNS, 0, 12), (PLAN.names, 1, 6)]
    )
    runs = {run for run in RUNS if run[:2] in cells} - lost or {RUNS[0]}
    text = report(cut_short(quick_study, tmp_path, runs, measured), drawn=False)
    assert "# What is missing" in text
    document(text)


def test_nothing_has_no_report(tmp_path: Path) -> None:
    done = snakemake(copy_project(tmp_path), *QUICK, "--config", "partial=True", "study=other")
    line = "error: results/other: no network has been trained and measured yet"
    assert (done.returncode, done.stderr.splitlines()) == (1, [line])
