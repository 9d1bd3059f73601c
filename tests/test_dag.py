"""Test what an edit reruns, by dry runs of the finished quick study."""

import logging
import os
import re
import sys
from io import StringIO
from itertools import accumulate
from pathlib import Path

import pytest
from conftest import QUICK, ROOT, copy_project, snakemake
from snakemake_interface_logger_plugins.common import LogEvent

from workflow.progress import Progress


def planned(folder: Path) -> dict[str, int]:
    """Return how many jobs of each rule a rerun of the quick study would start."""
    dry = snakemake(folder, *QUICK, "--dry-run", "--quiet", "rules")
    assert dry.returncode == 0, dry.stderr
    jobs = re.findall(r"^(?!total|all)(\w+) +(\d+)$", dry.stdout + dry.stderr, re.MULTILINE)
    return {rule: int(n) for rule, n in jobs}


FIGURES = len(list((ROOT / "analysis/figures").glob("[a-z]*.py")))
# Every edit of the code is in the provenance, which the paper prints.
PAPER = {"provenance": 1, "render": 1}
WRITING = {"claims": 1, "rank_correlation": 1, **PAPER}
TABLES = {"tables": 1, "figure": FIGURES, **WRITING}
COMMENT = ('"""', '"""Really. ')

WAITS = """
import json, sys, time
from pathlib import Path

LANES = 16
spec = json.loads(sys.argv[sys.argv.index("--spec") + 1])
time.sleep(1)
Path(f"results/quick/cells/{spec['variant']}/depth{spec['depth']}.json").touch()
"""
EDITS = {  # the planned jobs, then the edits: file, old text, new text
    "nothing": ({},),
    "a sentence": (PAPER, ("report/sections/answer.md", "\n\n", "\n\nMore.\n\n")),
    "the queries of the text": (PAPER, ("report/values.py", *COMMENT)),
    "a claim and a figure": (
        {"figure": 1, **WRITING},
        ("report/claims.yaml", "smallest_effect: 1", "smallest_effect: 2"),
        ("analysis/figures/interventions.py", *COMMENT),
    ),
    "the tables": (TABLES, ("analysis/tables.py", *COMMENT)),
    "the training": (
        {"cell": 12, "measure": 6, **TABLES}, ("models/training/evaluate.py", *COMMENT),
    ),
    "a measure": ({"measure": 6, **TABLES}, ("analysis/measures/ntk.py", *COMMENT)),
    "a setting of a measure": (
        {"measure": 6, **TABLES}, ("workflow/config/default.yaml", "vectors: 1", "vectors: 2"),
    ),
    "one more seed": (  # it is measured as well
        {"cell": 12, "measure": 6, **TABLES},
        ("workflow/config/quick.yaml", "seeds: [0, 1]", "seeds: [0, 1, 2]"),
    ),
    "the factors of a variant": (
        {"cell": 2, "measure": 1, **TABLES},
        ("workflow/config/variants.yaml", "{shortcut: none, norm: none}", "{norm: none}"),
    ),
    "a label, and a variant that the study does not have": (
        {"figure": FIGURES, **WRITING},
        ("workflow/config/variants.yaml", "label: plain + BN\n", "label: plain with BN\n"),
        (
            "workflow/config/variants.yaml",
            "plain_dirac:\n", "other: {label: o, baseline: plain}\nplain_dirac:\n",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_reruns_what_depends_on_it_and_no_more(finished: Path, name: str) -> None:
    jobs, *edits = EDITS[name]
    for file, old, new in edits:
        path = finished / file
        before = path.read_text()
        assert old in before
        path.write_text(before.replace(old, new, 1))
    assert planned(finished) == jobs


def test_the_command_below_a_figure_draws_that_figure_alone(quick_project: Path) -> None:
    page = (quick_project / "results/quick/report/index.html").read_text()
    commands = re.findall(
        r"<code>snakemake (.* --force results/quick/figures/.*\.svg)</code>", page
    )
    assert len(commands) == len(set(commands)) == FIGURES
    dry = snakemake(quick_project, *commands[0].split(), "--dry-run", "--quiet", "rules")
    jobs = re.findall(r"^(\w+) +(\d+)$", dry.stdout, re.MULTILINE)
    assert set(jobs) == {("figure", "1"), ("total", "1")}


@pytest.mark.parametrize("options", [(), ("--quiet", "all")])
def test_a_failing_job_is_told_with_what_is_wrong_and_its_log(
    finished: Path, options: tuple[str, ...]
) -> None:
    path = finished / "report/claims.yaml"
    path.write_text(path.read_text().replace("variant: plain_bn", "variant: plain_nb", 1))
    failed = snakemake(finished, "claims", *QUICK, *options)
    assert failed.returncode == 1
    line = r"claims: error: report/claims\.yaml: .*plain_nb.*; did you mean plain_bn\?; see .*\.log"
    assert len(re.findall(f"(?m)^{line}$", failed.stderr)) == 1, failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_bar_keeps_its_line_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    logger = logging.Logger("snakemake")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    progress = Progress(None, lambda stats: "")
    logger.addFilter(progress.make_room)
    logger.addHandler(progress)
    for message, event in [
        ("", {"event": LogEvent.RUN_INFO, "stats": {"cell": 2}}),
        ("", {"event": LogEvent.JOB_INFO, "rule_name": "cell", "jobid": 1}),
        ("", {"event": LogEvent.JOB_STARTED}),
        ("Select jobs to execute...", {}),
        ("Finished", {"event": LogEvent.JOB_FINISHED, "job_id": 1}),
    ]:
        logger.info(message, extra=event)
    *lines, bar = terminal.getvalue().split("\n")
    # A terminal shows of each line what was written last.
    shown = [line.split("\r")[-1] for line in lines if line]
    assert shown == ["Select jobs to execute...", "Finished"]
    assert re.match(r"jobs:  50%.* 1/2 ", bar.split("\r")[-1])


@pytest.mark.parametrize(("asked", "at_once"), [((), 1), (("--resources", "gpu=2"), 2)])
def test_a_gpu_runs_one_job_at_a_time_unless_asked(
    asked: tuple[str, ...], at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run three cells that only wait, where nvidia-smi reports one GPU and there are four cores."""
    project = copy_project(tmp_path)
    (project / "models/training/cell.py").write_text(WAITS)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: Make-believe (UUID: GPU-0)'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    names = ("plain", "residual", "residual_bn")
    cells = [f"results/quick/cells/{name}/depth8.json" for name in names]
    done = snakemake(project, *cells, *QUICK, "--cores", "4", *asked)
    assert done.returncode == 0, done.stderr
    events = re.findall(r"^(localrule cell|Finished.*Rule: cell)", done.stderr, re.MULTILINE)
    running = list(accumulate(1 if event.startswith("local") else -1 for event in events))
    assert (len(running), max(running)) == (6, at_once)


def test_a_dry_run_of_a_long_study_tells_its_forecast_and_asks_for_gpus(tmp_path: Path) -> None:
    long = ("--configfile", "workflow/config/cifar10.yaml", "--config", "device=cuda")
    dry = snakemake(copy_project(tmp_path), "--cores", "2", *long, "--dry-run")
    pattern = r"^jobs: 20 cell, 4 measure; about \d+ GPU-hours$"
    assert len(re.findall(pattern, dry.stderr, re.MULTILINE)) == 1
    limited = [line for line in dry.stdout.splitlines() if "runtime=" in line]
    assert len(limited) == 20 + 4
    assert all("gpu=1," in line for line in limited)
