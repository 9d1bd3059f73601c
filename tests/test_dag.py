"""Test what an edit reruns, by dry runs of the finished quick study."""

import re
from pathlib import Path

import pytest
from conftest import QUICK, ROOT, copy_project, snakemake


def planned(folder: Path) -> dict[str, int]:
    """Return how many jobs of each rule a rerun of the quick study would start."""
    dry = snakemake(folder, *QUICK, "--dry-run", "--quiet", "rules")
    assert dry.returncode == 0, dry.stderr
    jobs = re.findall(r"^(?!total|all)(\w+) +(\d+)$", dry.stdout + dry.stderr, re.MULTILINE)
    return {rule: int(n) for rule, n in jobs}


FIGURES = len(list((ROOT / "analysis/figures").glob("[a-z]*.py")))
WRITING = {"claims": 1, "rank_correlation": 1, "render": 1}
TABLES = {"tables": 1, "figure": FIGURES, **WRITING}
COMMENT = ('"""', '"""Really. ')

EDITS = {
    "nothing": ("Snakefile", "", "", {}),
    "a sentence": ("report/sections/limitations.md", "\n\n", "\n\nMore.\n\n", {"render": 1}),
    "the rounding of values": ("report/values.py", *COMMENT, {"render": 1}),
    "a claim": (
        "report/claims.yaml", "smallest_effect: 1", "smallest_effect: 2", {"figure": 1, **WRITING},
    ),
    "a figure": ("analysis/figures/interventions.py", *COMMENT, {"figure": 1, "render": 1}),
    "the tables": ("analysis/tables.py", *COMMENT, TABLES),
    "the training": (
        "models/training/evaluate.py", *COMMENT, {"cell": 12, "measure": 6, **TABLES},
    ),
    "a measure": ("analysis/measures/ntk.py", *COMMENT, {"measure": 6, **TABLES}),
    "a setting of a measure": (
        "workflow/config/default.yaml", "vectors: 1", "vectors: 2", {"measure": 6, **TABLES},
    ),
    "one more seed": (  # it is measured as well
        "workflow/config/quick.yaml", "seeds: [0, 1]", "seeds: [0, 1, 2]",
        {"cell": 12, "measure": 6, **TABLES},
    ),
    "one more budget": (
        "workflow/config/quick.yaml", "budgets: [1, 2]", "budgets: [1, 2, 3]",
        {"cell": 12, "measure": 6, **TABLES},
    ),
    "one more rate": (
        "workflow/config/quick.yaml", "lrs: [0.1, 0.3]", "lrs: [0.03, 0.1, 0.3]",
        {"cell": 12, "measure": 6, **TABLES},
    ),
    "the factors of a variant": (
        "workflow/config/variants.yaml", "{shortcut: none, norm: none}", "{norm: none}",
        {"cell": 2, "measure": 1, **TABLES},
    ),
    "the label of a variant": (
        "workflow/config/variants.yaml", "label: plain + BN\n", "label: plain with BN\n",
        {"figure": FIGURES, **WRITING},
    ),
    "a variant that the study does not have": (
        "workflow/config/variants.yaml",
        "plain_dirac:\n", "other: {label: o, baseline: plain}\nplain_dirac:\n",
        {"figure": FIGURES, **WRITING},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_reruns_what_depends_on_it_and_no_more(finished: Path, name: str) -> None:
    file, old, new, jobs = EDITS[name]
    path = finished / file
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new, 1))
    assert planned(finished) == jobs


def test_a_failing_job_is_told_with_its_log_even_when_quiet(finished: Path) -> None:
    path = finished / "report/claims.yaml"
    path.write_text(path.read_text().replace("variant: plain_bn", "variant: plain_nb", 1))
    failed = snakemake(finished, "claims", *QUICK, "--quiet", "all")
    assert failed.returncode == 1
    assert "results/quick/logs/claims.log" in failed.stderr
    assert "Traceback" not in failed.stderr
    log = (finished / "results/quick/logs/claims.log").read_text()
    assert re.fullmatch(r"error: report/claims\.yaml: .*plain_nb.*; did you mean plain_bn\?\n", log)


def test_only_a_study_for_gpus_waits_for_one(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    for device, gpu in (("cpu", "gpu=0"), ("cuda", "gpu=1")):
        dry = snakemake(project, *QUICK, "--dry-run", f"--config=device={device}").stdout
        limited = [line for line in dry.splitlines() if "runtime=" in line]
        assert len(limited) == 12 + 6  # trained, measured
        assert all(f"{gpu}," in line for line in limited)


def test_a_dry_run_of_a_long_study_tells_its_forecast(tmp_path: Path) -> None:
    long = ("--configfile", "workflow/config/cifar10.yaml", "--config", "device=cuda")
    dry = snakemake(copy_project(tmp_path), "--cores", "2", *long, "--dry-run", "--quiet", "all")
    pattern = r"^jobs: 20 cell, 4 measure; about \d+ GPU-hours$"
    assert len(re.findall(pattern, dry.stderr, re.MULTILINE)) == 1
