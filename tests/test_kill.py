"""The whole workflow is killed in the middle, and run again."""

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

COST = ["train_seconds"]  # a column that no two runs agree in
TIMES = {"cost.csv", "forecast.csv"}  # tables of nothing else


def start(folder: Path, *arguments: str, path: str = "") -> subprocess.Popen:
    """Snakemake in a process group of its own; `path` is searched for programs first."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder, env=environment(path), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True, start_new_session=True,
    )  # fmt: skip


def same_results(one: Path, other: Path) -> int:
    """Assert that two studies have the same tables, claims and weights; how many bytes they are."""
    total = 0
    tables = [path for path in one.glob("tables/*.csv") if path.name not in TIMES]
    names = sorted(path.relative_to(one) for path in tables)
    assert len(names) > 15
    for name in [*names, *sorted(path.relative_to(one) for path in one.rglob("checkpoint.pt"))]:
        a, b = ((folder / name).read_bytes() for folder in (one, other))
        if name.name in ("runs.csv", "tuning.csv"):
            a, b = (
                pd.read_csv(folder / name).drop(columns=COST, errors="ignore").to_csv().encode()
                for folder in (one, other)
            )
        assert a == b, name
        total += len(a)
    assert (one / "claims.json").read_bytes() == (other / "claims.json").read_bytes()
    return total


def test_a_killed_workflow_is_finished_by_the_same_command(
    quick_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL to all of its processes, as when the machine loses power."""
    folder = copy_project(tmp_path)
    runs = folder / "results/quick/runs"
    first = start(folder, *QUICK)
    while len(list(runs.rglob("metrics.json"))) < 3:
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.05)

    second = snakemake(folder, *QUICK)
    assert second.returncode == 1
    assert second.stderr.splitlines()[-1] == (
        "error: another snakemake is at work in this folder; wait until it is done"
    )

    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    done = {path: path.stat().st_mtime_ns for path in runs.rglob("metrics.json")}
    locked = snakemake(folder, *QUICK)
    assert locked.returncode == 1
    assert locked.stderr.splitlines()[-1] == (
        "error: a run in this folder was killed; clear its lock with snakemake --unlock, "
        "then run the same command again with --rerun-incomplete"
    )
    assert snakemake(folder, *QUICK, "--unlock").returncode == 0
    again = snakemake(folder, *QUICK, "--rerun-incomplete")
    assert again.returncode == 0, again.stderr[-3000:]
    compared = same_results(quick_study, folder / "results/quick")
    kept = [path for path, when in done.items() if path.stat().st_mtime_ns == when]
    with capsys.disabled():
        print(
            f"\nkilled with {len(done)} runs done; {len(done) - len(kept)} of them repeated; "
            f"{compared} bytes compared, none differ"
        )
    assert len(done) - len(kept) <= 2  # whose end Snakemake had not noted yet
    assert not list(folder.rglob("resume.pt"))


@pytest.mark.parametrize(("asked", "overlap"), [((), False), (("--resources", "gpu=2"), True)])
def test_two_trainings_share_a_gpu_only_when_asked_to(
    asked: tuple[str, ...], overlap: bool, tmp_path: Path
) -> None:
    """A machine that says it has one GPU, and cores enough for both."""
    folder = copy_project(tmp_path)
    tool = folder / "bin/nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'GPU 0: Make-believe (UUID: GPU-0)'\n")
    tool.chmod(0o755)
    cells = [f"results/quick/tuning/plain/depth{depth}/chosen.json" for depth in (8, 14)]
    job = start(folder, *cells, *QUICK, *asked, path=f"{tool.parent}{os.pathsep}")
    said = job.communicate()[1]
    assert job.returncode == 0, said
    events = re.findall(
        r"^(?:local)?rule tune|^Finished jobid: \d+ \(Rule: tune\)", said, re.MULTILINE
    )
    assert len(events) == 4
    assert ("rule tune" in events[1]) == overlap, events
