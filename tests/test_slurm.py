"""Run the quick study on a real Slurm with the shipped profile, while things go wrong."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from conftest import QUICK, ROOT, copy_project
from test_kill import trained

from tests.slurm.cluster import Cluster, lacking

pytestmark = pytest.mark.skipif(lacking() is not None, reason=f"no Slurm: {lacking()}")

PROFILE = Path("workflow/profiles/slurm")
# The command of a user, with a question to Slurm every second.
COMMAND = [
    sys.executable, str(ROOT / "tests/slurm/attentive.py"), "--workflow-profile", str(PROFILE),
    "--slurm-init-seconds-before-status-checks=1", "--max-jobs-per-timespan=100/1s",
    *QUICK[2:],
]  # fmt: skip

# Two Snakemakes and a measurement do not fit into 300 MB, but they fit into 600 MB.
SMALL = "rule_measure_wildcards_plain"
TOO_LITTLE = "measure:mem_mb=(300 if wildcards.variant == 'plain' else 2000) * attempt"
# Up to the verdicts: figures and text are made where Snakemake runs, as without Slurm.
VERDICTS = ("--", "claims", "rank_correlation", "errata")
# Cancelled at every attempt, until Snakemake gives up
CANCELLED = "rule_cell_wildcards_residual_bn_orthogonal_14"


class Job(NamedTuple):
    """A job as Slurm lists it. `name` is its rule and the values of its wildcards."""

    number: int
    state: str
    limit: str  # time limit
    memory: str
    name: str


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    # Not pytest's own folder, which is closed to others and too long for the name of a socket.
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder), cpus=4) as slurm:
        yield slurm


def start(cluster: Cluster, project: Path, log: str, *arguments: str) -> subprocess.Popen:
    with (project / log).open("w") as file:
        return subprocess.Popen(
            [*COMMAND, *arguments], cwd=project, stdout=file, stderr=file,
            env=cluster.environment,
        )  # fmt: skip


def finish(run: subprocess.Popen, log: Path, seconds: int = 900) -> int:
    """Return the exit status."""
    try:
        return run.wait(seconds)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"no end in {seconds} s: {log.read_text()[-5000:]}") from None
    finally:
        run.kill()


def jobs(cluster: Cluster) -> list[Job]:
    """Return all jobs, finished ones too, in the order of their submission."""
    text = cluster.ask("squeue", "--states=all", "--noheader", "--format=%i|%T|%l|%m|%k")
    found = [line.strip().split("|") for line in text.splitlines()]
    return sorted(Job(int(number), *rest) for number, *rest in found)


def wait(run: subprocess.Popen, condition: Callable[[], object]) -> object:
    """Return the value of the condition once it is true. Snakemake has to run until then."""
    while not (found := condition()):
        assert run.poll() is None, "it ended before"
        time.sleep(0.1)
    return found


def working(cluster: Cluster, rule: str, without: Iterable[str] = ()) -> tuple[Job, int] | None:
    """Return a job of the rule whose Python command runs, and the process of that command."""
    for job in jobs(cluster):
        if job.state == "RUNNING" and job.name.split("_")[1] == rule and job.name not in without:
            listed = cluster.ask("scontrol", "listpids", str(job.number), check=False)
            for pid in re.findall(r"^\d+", listed, re.MULTILINE):
                try:
                    words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
                except OSError:  # it ended
                    continue
                if words[1:3] == [b"-m", f"models.training.{rule}".encode()]:
                    return job, int(pid)
    return None


def variables(process: int) -> list[str]:
    return Path("/proc", str(process), "environ").read_text().split("\0")


def cancel(cluster: Cluster, name: str, done: threading.Event) -> None:
    """Cancel every job of that name whenever one runs."""
    running = ("squeue", "--states=RUNNING", "--noheader", "--format=%i %k")
    while not done.wait(0.5):
        for line in cluster.ask(*running, check=False).splitlines():
            if line.split()[1] == name:
                cluster.ask("scancel", line.split()[0], check=False)


def assert_same_results(one: Path, other: Path) -> None:
    """Assert that two studies have equal tables, claims and weights."""
    tables = [path for path in one.glob("tables/*.csv") if path.name != "cost.csv"]
    assert len(tables) > 15
    for path in [*tables, one / "claims.json", *one.rglob("checkpoint.pt")]:
        a, b = path, other / path.relative_to(one)
        if path.name == "runs.csv":
            a, b = (pd.read_csv(file).drop(columns="train_seconds") for file in (a, b))
            pd.testing.assert_frame_equal(a, b, check_exact=True)
        else:
            assert a.read_bytes() == b.read_bytes(), path


def test_one_allocation_goes_on_where_another_ended(cluster: Cluster, tmp_path: Path) -> None:
    """Give the README's command for two cells, of which one waits for the other."""
    project, last = copy_project(tmp_path), "cells/plain_bn_constructed/depth14.json"
    quick, results = project / "workflow/config/quick.yaml", project / "results/quick"
    quick.write_text(quick.read_text().replace("budgets: [1, 2]", "budgets: [10]"))
    (command,) = re.findall(r"^ +(sbatch (?:.*\\\n)+.*)", (ROOT / "README.md").read_text(), re.M)
    for old, new in {"32": "2", "full.yaml": f"quick.yaml -- results/quick/{last}"}.items():
        command = command.replace(old, new)
    log = results / "logs/cell/plain_bn_constructed/depth14.log"

    def submit() -> None:
        subprocess.run(command, shell=True, cwd=project, env=cluster.environment, check=True)

    def until(*states: str, says: str) -> None:
        end = time.monotonic() + 600
        while not (
            [job.state for job in jobs(cluster)] == [*states]
            and log.exists()
            and says in log.read_text()
        ):
            assert time.monotonic() < end, "".join(o.read_text() for o in project.glob("*.out"))
            time.sleep(0.1)

    submit()
    submit()
    until("RUNNING", "PENDING", says="it/s")
    before = trained(results / "runs/plain_bn")
    cluster.ask("scancel", "1")  # it is asked to end, as at the end of its time
    until("CANCELLED", "RUNNING", says="going on after step")
    submit()
    for pid in re.findall(r"^\d+", cluster.ask("scontrol", "listpids", "2"), re.MULTILINE):
        os.kill(int(pid), signal.SIGKILL)
    until("CANCELLED", "FAILED", "COMPLETED", says="going on after step")
    assert (results / last).exists()
    assert trained(results / "runs/plain_bn") == before != {}


def test_the_study_survives_what_happens_on_a_cluster(
    quick_study: Path, cluster: Cluster, tmp_path: Path
) -> None:
    project, log = copy_project(tmp_path), tmp_path / "first.log"
    # The login node has a GPU. This study runs on any device, so it must not ask for one.
    tool = cluster.folder / "bin/nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: Make-believe (UUID: GPU-0)'\n")
    tool.chmod(0o755)
    run = start(cluster, project, log.name, "--set-resources", TOO_LITTLE, *VERDICTS)
    done = threading.Event()
    canceller = threading.Thread(target=cancel, args=(cluster, CANCELLED, done))
    canceller.start()
    try:
        # A job hangs. It keeps one of the four processors, so that jobs are left for what follows.
        hung, process = wait(run, lambda: working(cluster, "cell", {CANCELLED}))
        assert "CUDA_VISIBLE_DEVICES=" in variables(process)
        os.kill(process, signal.SIGSTOP)
        # A job is cancelled by hand.
        stopped, _ = wait(run, lambda: working(cluster, "cell", {CANCELLED, hung.name}))
        cluster.ask("scancel", str(stopped.number))
        # The node's daemon dies while a job trains, and not while Slurm ends one: a node that fails
        # to end a job takes no others.
        ended = (stopped.number, "CANCELLED")
        wait(run, lambda: ended in [(job.number, job.state) for job in jobs(cluster)])
        wait(run, lambda: working(cluster, "cell", {CANCELLED, hung.name, stopped.name}))
        wait(run, lambda: "COMPLETING" not in [job.state for job in jobs(cluster)])
        cluster.stop("slurmd", signal.SIGKILL)
        time.sleep(3)
        cluster.start("slurmd")
        # The controller is away until a question has gone unanswered.
        wait(run, lambda: working(cluster, "cell", {CANCELLED, hung.name, stopped.name}))
        cluster.stop("slurmctld")
        wait(run, lambda: "Falling back to 'sacct'" in log.read_text())
        cluster.start("slurmctld")
        # The time of the job that hangs is over. Slurm checks that twice a minute.
        soon = (datetime.now() + timedelta(seconds=1)).isoformat(timespec="seconds")
        cluster.ask("scontrol", "update", f"JobId={hung.number}", f"EndTime={soon}")
        assert finish(run, log) == 1, log.read_text()[-5000:]
    finally:
        done.set()
        canceller.join()
        run.kill()
    before = len(jobs(cluster))
    again = start(cluster, project, "second.log")
    assert finish(again, tmp_path / "second.log") == 0, (tmp_path / "second.log").read_text()
    assert_same_results(quick_study, project / "results/quick")
    assert (project / "results/quick/report/report.pdf").read_bytes().startswith(b"%PDF")

    histories: dict[str, list[Job]] = {}
    for job in jobs(cluster):
        histories.setdefault(job.name, []).append(job)
    assert "gres:gpu" not in cluster.ask("scontrol", "show", "jobs")
    # A finished job never runs again. A job that reached a limit gets more of it.
    states = {name: [job.state for job in history] for name, history in histories.items()}
    assert all("COMPLETED" not in tries[:-1] for tries in states.values())
    assert states[stopped.name] == ["CANCELLED", "COMPLETED"]
    assert states[hung.name] == ["TIMEOUT", "COMPLETED"]
    assert histories[hung.name][1].limit == "22:00"  # the first had 11 minutes
    assert states[SMALL] in (["FAILED", "COMPLETED"], ["OUT_OF_MEMORY", "COMPLETED"])
    assert [job.memory for job in histories[SMALL]] == ["300M", "600M"]
    assert states[CANCELLED] == 3 * ["CANCELLED"] + ["COMPLETED"]
    afterwards = [job.name for job in jobs(cluster)[before:]]
    assert afterwards == [CANCELLED, "rule_measure_wildcards_residual_bn_orthogonal"]


@pytest.mark.parametrize(("edited", "asked"), [(False, "TresPerJob"), (True, "TresPerNode")])
def test_a_job_of_a_study_for_gpus_gets_one(
    edited: bool, asked: str, cluster: Cluster, tmp_path: Path
) -> None:
    project, target = copy_project(tmp_path), "results/quick/cells/plain/depth8.json"
    if edited:  # the lines that the profile proposes, except for a GPU that the node lacks
        profile = project / PROFILE / "profile.yaml"
        proposed = r"^#  (?=\w)(?!.*a100)"
        profile.write_text(re.sub(proposed, "  ", profile.read_text(), flags=re.MULTILINE))
    run = start(cluster, project, "log", "--retries=0", "--config=device=cuda", "--", target)
    job, process = wait(run, lambda: working(cluster, "cell"))
    assert "CUDA_VISIBLE_DEVICES=0" in variables(process)  # one of the node's two
    told = cluster.ask("scontrol", "show", "job", "--details", str(job.number))
    assert f"{asked}=gres:gpu:1" in told
    assert "GRES=gpu:1" in told
    assert finish(run, project / "log") == 1  # the node's GPUs are only names
