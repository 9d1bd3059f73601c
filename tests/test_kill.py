"""Test that the whole workflow survives a kill."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from conftest import QUICK, copy_project, snakemake

CELLS = [  # the last network grows from plain_bn
    f"results/quick/cells/{name}/depth{depth}.json"
    for name in ("plain", "plain_bn", "plain_bn_constructed")
    for depth in (8, 14)
]


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """Start Snakemake in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True, start_new_session=True,
    )  # fmt: skip


def trained(results: Path) -> dict[Path, int]:
    """Return when each finished run was written, those that tried a learning rate too."""
    return {path: path.stat().st_mtime_ns for path in results.rglob("metrics.json")}


def half_done(results: Path) -> list[Path]:
    """Return the folders of those cells whose runs of the first budget alone are done."""
    cells = [path.parents[2] for path in results.glob("runs/*/*/budget1/seed1/metrics.json")]
    return [cell for cell in cells if not (cell / "budget2").exists()]


def test_a_killed_workflow_is_finished_by_the_same_command(
    quick_study: Path, tmp_path: Path
) -> None:
    """Send SIGKILL to all of its processes, which is what they see of a power cut."""
    folder = copy_project(tmp_path)
    results = folder / "results/quick"
    study = (*QUICK, "--", *CELLS)
    first = start(folder, *study)
    while not (list(results.glob("cells/*/*.json")) and half_done(results)):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert half_done(results)
    done = trained(results)
    refused = snakemake(folder, *study)  # over its lock, or a file whose end it has not noted
    assert refused.returncode == 1
    assert re.search("LockException|IncompleteFilesException", refused.stderr)
    assert snakemake(folder, *QUICK, "--unlock").returncode == 0
    again = snakemake(folder, "--rerun-incomplete", *study)
    assert again.returncode == 0, again.stderr[-3000:]
    networks = {cell.split("/")[3] for cell in CELLS}
    undisturbed = [path for name in networks for path in quick_study.glob(f"*/{name}/**/*.*")]
    files = [path for path in undisturbed if path.name in ("checkpoint.pt", "history.csv")]
    assert len(files) > 3 * 2 * 2 * 2  # networks, depths, budgets, seeds
    for path in files:
        again = results / path.relative_to(quick_study)
        assert path.read_bytes() == again.read_bytes(), path
    # A run is written again only if it was being written, after all of its steps.
    for path in [path for path, when in done.items() if path.stat().st_mtime_ns != when]:
        metrics = json.loads(path.read_text())
        assert metrics["record"]["resumed_after_step"] == metrics["steps"], path
    assert not list(folder.rglob("*resume.pt"))


def test_ctrl_c_ends_everything_and_nothing_is_lost(tmp_path: Path) -> None:
    """Interrupt Snakemake and its job at once, as a terminal does."""
    folder = copy_project(tmp_path)
    config = folder / "workflow/config/quick.yaml"
    config.write_text(config.read_text().replace("budgets: [1, 2]", "budgets: [300]"))
    job = (*QUICK, "--", "results/quick/cells/plain/depth14.json")
    first = start(folder, *job)
    log = folder / "results/quick/logs/cell/plain/depth14.log"
    while not log.exists() or "it/s" not in log.read_text():
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.05)
    group = psutil.Process(first.pid).children(recursive=True)
    os.killpg(first.pid, signal.SIGINT)
    said = first.communicate(timeout=60)[1]
    assert first.returncode == 1
    assert "Traceback" not in said
    assert not psutil.wait_procs(group, timeout=20)[1]
    assert "told to end: saved after step" in log.read_text()
    saved = [path.name for path in (folder / "results/quick/cells").rglob("*.*")]
    assert saved == ["depth14.resume.pt"]

    again = start(folder, *job)
    while not log.exists() or "going on after step" not in log.read_text():
        assert again.poll() is None, again.stderr.read()
        time.sleep(0.05)
    os.killpg(again.pid, signal.SIGINT)
    again.communicate(timeout=60)
