"""The quick study on a real Slurm, by the profile that users get, while things go wrong."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import QUICK, ROOT, copy_project

from tests.slurm.cluster import Cluster, lacking

pytestmark = pytest.mark.skipif(lacking() is not None, reason=f"no Slurm: {lacking()}")

PROFILE = Path("workflow/profiles/slurm")
# What a user says, and news each second.
COMMAND = [
    sys.executable, str(ROOT / "tests/slurm/attentive.py"), "--workflow-profile", str(PROFILE),
    "--slurm-init-seconds-before-status-checks=1", "--max-jobs-per-timespan=100/1s",
    *QUICK[2:],
]  # fmt: skip

# Two Snakemakes and a measurement do not fit into this; they do into twice as much.
SMALL = "rule_measure_wildcards_plain"
TOO_LITTLE = "measure:mem_mb=(400 if wildcards.variant == 'plain' else 2000) * attempt"
CANCELLED = "rule_train_wildcards_residual_fixup_14_1"  # whenever it runs, until Snakemake gives up


@dataclass
class Job:
    """What Slurm knows of a job. `name` is its rule and the values of its wildcards."""

    number: int
    state: str
    limit: str  # of time
    memory: str
    name: str


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    # Not pytest's own folder, which is closed to others and too long for the name of a socket.
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder), cpus=4) as slurm:
        yield slurm


def start(cluster: Cluster, project: Path, log: str, *arguments: str) -> subprocess.Popen:
    """Snakemake, with this Python first on the path of all jobs."""
    path = [f"{cluster.folder}/bin", str(Path(sys.executable).parent), cluster.environment["PATH"]]
    with (project / log).open("w") as file:
        return subprocess.Popen(
            [*COMMAND, *arguments], cwd=project, stdout=file, stderr=file,
            env={**cluster.environment, "PATH": os.pathsep.join(path)},
        )  # fmt: skip


def finish(run: subprocess.Popen, log: Path, seconds: int = 300) -> int:
    """Its exit status."""
    try:
        return run.wait(seconds)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"no end in {seconds} s: {log.read_text()[-5000:]}") from None
    finally:
        run.kill()


def jobs(cluster: Cluster) -> list[Job]:
    """All that there ever were, in the order of their submission."""
    text = cluster.ask("squeue", "--states=all", "--noheader", "--format=%i|%T|%l|%m|%k")
    found = [line.strip().split("|") for line in text.splitlines()]
    return sorted((Job(int(n), *rest) for n, *rest in found), key=lambda job: job.number)


def wait(run: subprocess.Popen, condition: Callable[[], object]) -> object:
    """What the condition comes to, once it is something, while Snakemake runs."""
    while not (found := condition()):
        assert run.poll() is None, "it ended before"
        time.sleep(0.1)
    return found


def working(cluster: Cluster, rule: str, without: Iterable[str] = ()) -> tuple[Job, int] | None:
    """A job of the rule that is past Snakemake, and its process."""
    for job in jobs(cluster):
        if job.state == "RUNNING" and job.name.split("_")[1] == rule and job.name not in without:
            listed = cluster.ask("scontrol", "listpids", str(job.number), check=False)
            for pid in re.findall(r"^\d+", listed, re.MULTILINE):
                try:
                    words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
                except OSError:  # it ended
                    continue
                if words[1:3] == [b"-m", f"models.{rule}".encode()]:
                    return job, int(pid)
    return None


def variables(process: int) -> list[str]:
    return Path("/proc", str(process), "environ").read_text().split("\0")


def cancel(cluster: Cluster, name: str, enough: threading.Event) -> None:
    """Every job of that name, whenever one runs."""
    running = ("squeue", "--states=RUNNING", "--noheader", "--format=%i %k")
    while not enough.wait(0.5):
        for line in cluster.ask(*running, check=False).splitlines():
            if line.split()[1] == name:
                cluster.ask("scancel", line.split()[0], check=False)


def contents(study: Path) -> dict[str, bytes]:
    """All that must not depend on where jobs ran, or how often: claims, tables, weights."""
    found = {"claims.json": (study / "claims.json").read_bytes()}
    for path in (study / "tables").iterdir():
        found[path.name] = path.read_bytes()
    runs = pd.read_csv(study / "tables/runs.csv", dtype=str).drop(columns="train_seconds")
    found["runs.csv"] = runs.to_csv().encode()
    for path in (study / "runs").glob("**/checkpoint.pt"):
        for moment, weights in torch.load(path, weights_only=True).items():
            for name, values in weights.items():
                key = f"{path.relative_to(study)} {moment} {name}"
                found[key] = values.numpy().tobytes()
    return found


def test_the_study_survives_what_happens_on_a_cluster(
    quick_study: Path, cluster: Cluster, tmp_path: Path
) -> None:
    project, log = copy_project(tmp_path), tmp_path / "first.log"
    begin = time.monotonic()
    run = start(cluster, project, log.name, "--set-resources", TOO_LITTLE)
    enough = threading.Event()
    canceller = threading.Thread(target=cancel, args=(cluster, CANCELLED, enough))
    canceller.start()
    try:
        # A job hangs until its time is over, which Slurm looks for twice a minute.
        hung, process = wait(run, lambda: working(cluster, "train", {CANCELLED}))
        assert "CUDA_VISIBLE_DEVICES=" in variables(process)
        os.kill(process, signal.SIGSTOP)
        soon = (datetime.now() + timedelta(seconds=1)).isoformat(timespec="seconds")
        cluster.ask("scontrol", "update", f"JobId={hung.number}", f"EndTime={soon}")
        # A job is cancelled by hand.
        stopped, _ = wait(run, lambda: working(cluster, "train", {CANCELLED, hung.name}))
        cluster.ask("scancel", str(stopped.number))
        # The node's daemon dies while a job trains.
        wait(run, lambda: working(cluster, "train", {CANCELLED, hung.name, stopped.name}))
        cluster.kill("slurmd")
        time.sleep(3)
        cluster.start("slurmd")
        # The controller is away for so long that a question goes unanswered.
        wait(run, lambda: working(cluster, "train", {CANCELLED, hung.name, stopped.name}))
        cluster.stop("slurmctld")
        wait(run, lambda: "Falling back to 'sacct'" in log.read_text())
        cluster.start("slurmctld")
        assert finish(run, log) == 1, log.read_text()[-5000:]
    finally:
        enough.set()
        canceller.join()
        run.kill()
    first = jobs(cluster)
    seconds = time.monotonic() - begin
    again = start(cluster, project, "second.log")
    assert finish(again, tmp_path / "second.log") == 0, (tmp_path / "second.log").read_text()

    histories: dict[str, list[Job]] = {}
    for job in jobs(cluster):
        histories.setdefault(job.name, []).append(job)
    print(
        {
            n: [(j.state, j.limit, j.memory) for j in h]
            for n, h in histories.items()
            if [j.state for j in h] != ["COMPLETED"]
        }
    )
    print(
        "first %.0f s, both %.0f s" % (seconds, time.monotonic() - begin),
        len(first),
        len(jobs(cluster)),
        len(histories),
    )
    here, there = contents(quick_study), contents(project / "results/quick")
    lost = here.keys() - there.keys()
    differ = [k for k in here.keys() & there.keys() if here[k] != there[k]]
    print(lost, differ)


@pytest.mark.parametrize(
    ("edited", "asked"),
    [(False, "TresPerJob=gres:gpu:1"), (True, "TresPerNode=gres:gpu:1")],
    ids=["gpus", "gres"],
)
def test_a_job_of_a_study_for_gpus_gets_one(
    edited: bool, asked: str, cluster: Cluster, tmp_path: Path
) -> None:
    project, target = copy_project(tmp_path), "results/quick/tuning/plain/depth8/chosen.json"
    if edited:  # what the profile proposes
        profile = project / PROFILE / "profile.yaml"
        profile.write_text(re.sub(r"^#  (?=\w)", "  ", profile.read_text(), flags=re.MULTILINE))
    run = start(cluster, project, "log", "--retries=0", "--config=device=cuda", "--", target)
    job, process = wait(run, lambda: working(cluster, "tune"))
    assert "CUDA_VISIBLE_DEVICES=0" in variables(process)  # of the two that the node has
    told = cluster.ask("scontrol", "show", "job", "--details", str(job.number))
    assert asked in told
    assert "GRES=gpu:1" in told
    assert finish(run, project / "log") == 1  # these are no GPUs
