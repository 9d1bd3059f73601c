"""Test that the whole workflow survives a kill, and that a GPU runs one job at a time."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import QUICK, copy_project, environment, snakemake

SECONDS = ["train_seconds"]  # a column in which no two runs agree


def start(folder: Path, *arguments: str, path: str = "") -> subprocess.Popen:
    """Start Snakemake in a process group of its own. `path` is searched for programs first."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder, env=environment(path), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True, start_new_session=True,
    )  # fmt: skip


def same_results(one: Path, other: Path) -> int:
    """Assert that two studies have equal tables, claims and weights; return their size in bytes."""
    total = 0
    tables = [path for path in one.glob("tables/*.csv") if path.name != "cost.csv"]
    assert len(tables) > 15
    for path in [*tables, one / "claims.json", *one.rglob("checkpoint.pt")]:
        a, b = path, other / path.relative_to(one)
        if path.name in ("runs.csv", "tuning.csv"):
            a, b = (pd.read_csv(file).drop(columns=SECONDS, errors="ignore") for file in (a, b))
            pd.testing.assert_frame_equal(a, b, check_exact=True)
        else:
            assert a.read_bytes() == b.read_bytes(), path
        total += path.stat().st_size
    return total


def test_a_killed_workflow_is_finished_by_the_same_command(
    quick_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Send SIGKILL to all of its processes, which is what they see of a power cut."""
    folder = copy_project(tmp_path)
    runs = folder / "results/quick/runs"
    first = start(folder, *QUICK)
    while len(list(runs.rglob("metrics.json"))) < 3:
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    done = {path: path.stat().st_mtime_ns for path in runs.rglob("metrics.json")}
    refused = snakemake(folder, *QUICK)  # over its lock, or over files that are half written
    assert refused.returncode == 1
    assert re.search("LockException|IncompleteFilesException", refused.stderr)
    assert snakemake(folder, *QUICK, "--unlock").returncode == 0
    again = snakemake(folder, *QUICK, "--rerun-incomplete")
    assert again.returncode == 0, again.stderr[-3000:]
    compared = same_results(quick_study, folder / "results/quick")
    repeated = sum(path.stat().st_mtime_ns != when for path, when in done.items())
    with capsys.disabled():
        print(f"\nkilled after {len(done)} runs; {repeated} repeated; {compared} bytes are equal")
    assert repeated <= 2  # those whose end Snakemake had not noted yet
    assert not list(folder.rglob("resume.pt"))


@pytest.mark.parametrize(("asked", "overlap"), [((), False), (("--resources", "gpu=2"), True)])
def test_two_trainings_share_a_gpu_only_when_asked_to(
    asked: tuple[str, ...], overlap: bool, tmp_path: Path
) -> None:
    """Run two trainings where nvidia-smi reports one GPU and there are two cores."""
    folder = copy_project(tmp_path)
    tool = folder / "bin/nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'GPU 0: Make-believe (UUID: GPU-0)'\n")
    tool.chmod(0o755)
    cells = [f"results/quick/tuning/plain/depth{depth}/chosen.json" for depth in (8, 14)]
    job = start(folder, *cells, *QUICK, *asked, path=f"{tool.parent}{os.pathsep}")
    said = job.communicate()[1]
    assert job.returncode == 0, said
    pattern = r"^(?:(?:local)?rule tune|Finished jobid: \d+ \(Rule: tune\))"
    events = re.findall(pattern, said, re.MULTILINE)
    assert len(events) == 4
    assert ("rule tune" in events[1]) == overlap, events
