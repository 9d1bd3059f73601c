"""A cell that is killed and started again ends with the bits of one that was never stopped."""

import contextlib
import json
import math
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from test_cell import CELL, ends, images, results, train_cell
from test_variant import RUN, SETTINGS, replaced

import models.training.cell
from models import tensors
from models.data.prepare import load
from models.files import read_json, replacing, sweep
from models.training import device
from models.training.lanes import Stack
from models.training.loop import train
from models.training.state import SIGNALS, TOLD_TO_END, Resume, leave_when_told
from models.variant import Factors, Run

TRAIN = replaced(SETTINGS, batch_size=8, augmentation="crop_and_flip")
# Noise and augmentation draw random numbers at each step.
NOISE = {"variant": "plain_bn_noisy", "factors": Factors(norm="noisy_batch")}
NOISY = replaced(RUN, **NOISE, train=TRAIN, epochs=4)
TOTAL = 4 * 6
# A process that this server starts has imported PyTorch and this file.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
PLAIN = Factors(shortcut="none", norm="none")


@pytest.fixture(autouse=True)
def server_finds_this_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))


RUNS = {
    "noise": NOISY,
    "clipped": replaced(NOISY, factors=PLAIN, train=replaced(TRAIN, clipped=True)),
    "fixup": replaced(NOISY, factors=Factors(norm="none", branch_scale="fixup")),
    **{
        rule: replaced(NOISY, train=replaced(TRAIN, optimiser=rule))
        for rule in ("layerwise", "adamw", "muon")
    },
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_training_goes_on_from_any_step_with_the_same_bits(run: Run, tmp_path: Path) -> None:
    data, runs = images(), [run, replaced(run, seed=1, lr=0.02)]
    whole = Stack(runs, data)
    train(whole, lambda: tensors.write(tmp_path / f"{whole.done}.pt", whole.state()))
    for step in (1, 6, 17, TOTAL):
        again = Stack(runs, data)
        torch.manual_seed(step)  # earlier draws must not matter
        again.restore(tensors.read(tmp_path / f"{step}.pt"))
        train(again)
        assert again.histories == whole.histories
        for one, other in zip(again.weights(), whole.weights(), strict=True):
            assert all(map(torch.equal, one.values(), other.values())), step


def test_divergence_ends_a_stack_and_is_recorded(tmp_path: Path) -> None:
    tuning = replaced(CELL.tuning, lrs=[1e20])
    cell = replaced(CELL, factors=PLAIN, tuning=tuning, budgets=[9], measured=0)
    train_cell(cell, tmp_path)
    folder = tmp_path / "runs/plain_bn/depth8/budget9/seed1"
    metrics = json.loads((folder / "metrics.json").read_text())
    end = [metrics[key] for key in ("status", "train_loss", "train_error")]
    assert end == ["diverged", None, 0.5]
    last = (folder / "history.csv").read_text().splitlines()[-1].split(",")
    assert int(last[1]) == metrics["steps"] < 9 * 6
    assert not math.isfinite(float(last[3]))


# Twenty kills of a cell

LONG = replaced(CELL, **NOISE, budgets=[2, 8])
SAVED = "cells/plain_bn_noisy/depth8.resume.pt"


def reached(folder: Path) -> tuple[int, int]:
    """Return the budget and the step after which the cell of a folder was saved, or zeros."""
    try:
        contents = tensors.read(folder / SAVED)
    except FileNotFoundError:  # a stack is finished, or none is saved yet
        return 0, 0
    return json.loads(contents["runs"][0])["budget"], contents["state"]["done"]


def child(folder: Path, every: float) -> None:
    """Train as a job does, in a process of its own."""
    torch.set_num_threads(1)
    leave_when_told()
    folder.with_suffix(".started").touch()
    with open(os.devnull, "w") as sys.stderr:
        train_cell(LONG, folder, every=every)


def start(folder: Path, every: float) -> multiprocessing.Process:
    """Start to train a cell, and return its process."""
    folder.with_suffix(".started").unlink(missing_ok=True)
    process = PROCESSES.Process(target=child, args=(folder, every))
    process.start()
    while not folder.with_suffix(".started").exists():
        time.sleep(0.001)
    return process


def test_twenty_kills_at_random_steps_lose_nothing(tmp_path: Path) -> None:
    """A process that gets SIGKILL saves after each step; SIGTERM makes it save."""
    process = start(tmp_path / "whole", math.inf)
    begun = time.monotonic()
    process.join()
    seconds = time.monotonic() - begun
    whole = results(tmp_path / "whole")
    assert len(whole) > 20
    draw = random.Random(0)
    stopped = {signal.SIGKILL: [], signal.SIGTERM: []}  # where the cell was
    for i in range(20):
        folder = tmp_path / f"killed{i}"
        for kind in 3 * [signal.SIGTERM, signal.SIGKILL]:
            process = start(folder, 0.0 if kind == signal.SIGKILL else math.inf)
            time.sleep(draw.uniform(0.05, 0.4) * seconds)
            process.kill() if kind == signal.SIGKILL else process.terminate()
            process.join()
            if (folder / "cells/plain_bn_noisy/depth8.json").exists():  # it ended before
                break
            assert process.exitcode in (-signal.SIGKILL, TOLD_TO_END)
            stopped[kind].append((len(ends(folder)), reached(folder)))
        start(folder, math.inf).join()
        assert results(folder) == whole
        assert not list(folder.rglob(".*")), "a killed writer's temporary file is left"
        if sum(map(len, stopped.values())) >= 20:
            break
    assert sum(map(len, stopped.values())) >= 20, stopped
    for places in stopped.values():
        assert len(set(places)) >= 3, stopped


# The command


def small_cell(tmp_path: Path, **changes: object) -> tuple:
    """Return the command's options for a cell of MNIST-1D that takes seconds."""
    settings = replaced(TRAIN, augmentation="none", batch_size=100)
    changes = {**NOISE, "tuning": replaced(CELL.tuning, lrs=[0.05]), "measured": 0, **changes}
    sizes = {"dataset": "mnist1d", "depth": 14, "budgets": [4], "train": settings}
    spec = tmp_path / "cell.json"
    spec.write_text(replaced(CELL, **sizes, **changes).model_dump_json())
    return "--spec", spec, "--data", tmp_path / "data", "--device", "cpu"


def run_command(said: Path, limit: int, *arguments: object) -> None:
    """Run the command in this process, whose files may have `limit` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.argv = ["command", *map(str, arguments)]
    models.training.cell.main()


def refused(tmp_path: Path, *arguments: object, limit: int = resource.RLIM_INFINITY) -> str:
    """Run the command in a process of its own, which has to fail, and return what it says."""
    process = PROCESSES.Process(target=run_command, args=(tmp_path / "said", limit, *arguments))
    process.start()
    process.join()
    assert process.exitcode == 1
    return (tmp_path / "said").read_text()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_not_lost_while_a_stack_is_built_which_goes_on(
    told: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told(Stack):
        """A stack whose libraries swallow what a handler of signals raises in them."""

        def __init__(self, *arguments: object) -> None:
            with contextlib.suppress(SystemExit):
                os.kill(os.getpid(), told)
            super().__init__(*arguments)

    cell = replaced(LONG, budgets=[3])
    monkeypatch.setattr(models.training.cell, "Stack", Told)
    before = [signal.getsignal(each) for each in SIGNALS]
    leave_when_told()
    try:
        with pytest.raises(SystemExit, match=str(TOLD_TO_END)):
            train_cell(cell, tmp_path)
    finally:
        for each, handler in zip(SIGNALS, before, strict=True):
            signal.signal(each, handler)
    assert reached(tmp_path) == (3, 1)  # after the first step of the first stack
    monkeypatch.undo()
    train_cell(cell, tmp_path)
    metrics = [read_json(path) for path in tmp_path.rglob("metrics.json")]
    assert {each["record"]["resumed_after_step"] for each in metrics} == {0, 1}


def test_a_sweep_takes_what_killed_writers_left_and_no_other_file(tmp_path: Path) -> None:
    """Somebody may keep files of their own in the folder of a run."""
    with replacing(tmp_path / "history.csv") as temporary:
        left = temporary.with_name(temporary.name[:-1] + "-")  # as a killed process leaves it
        left.touch()
    own = [tmp_path / name for name in (".env.local", ".history.csv", "history.csv", ".a.b.c")]
    for path in own:
        path.touch()
    sweep(tmp_path / "history.csv")
    assert sorted(tmp_path.iterdir()) == sorted(own)


def test_a_state_belongs_to_its_runs_code_data_and_processor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, runs = tmp_path / "resume.pt", [NOISY, replaced(NOISY, seed=1)]
    writer = Resume(path, "cpu", 0)
    assert writer.begin(runs) is None
    writer.after_step(runs, lambda: {"done": 3}, last=False)
    more = [*runs, replaced(NOISY, seed=2)]
    assert Resume(path, "cpu", 0).begin(more) == (runs, {"done": 3})
    capsys.readouterr()
    for device_, wanted in (
        ("cuda:1", runs),
        ("cpu", runs[:1]),
        ("cpu", [replaced(run, code="other") for run in runs]),
        ("cpu", [replaced(run, data="other") for run in runs]),
    ):
        assert Resume(path, device_, 0).begin(wanted) is None
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{path}: is of other runs, code or data, or of another PyTorch")
        assert line.endswith("starting at the first step")
    path.write_bytes(path.read_bytes()[:-100])
    assert Resume(path, "cpu", 0).begin(runs) is None
    assert capsys.readouterr().err.startswith(f"{path}: damaged, its checksum is wrong")


def test_weights_are_files_of_pytorch_in_which_a_flipped_byte_is_found(tmp_path: Path) -> None:
    path, other = tmp_path / "weights.pt", tmp_path / "other.pt"
    for each in (path, other):
        tensors.write(each, {"end": {"weight": torch.arange(12.0)}})
    good = path.read_bytes()
    assert good == other.read_bytes()
    for mmap in (False, True):
        theirs = torch.load(path, weights_only=True, mmap=mmap)
        for read in (theirs, tensors.read(path, mmap)):
            assert torch.equal(read["end"]["weight"], torch.arange(12.0))
    for at in range(0, len(good), 5):
        path.write_bytes(good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :])
        with pytest.raises(ValueError, match="damaged, its checksum is wrong"):
            tensors.read(path)


def test_a_full_disk_and_a_closed_folder_get_one_line(tmp_path: Path) -> None:
    load("mnist1d", tmp_path / "data")
    (tmp_path / "file").touch()
    job = (*small_cell(tmp_path), "--save-every", 0, "--out")
    saved = "study/cells/plain_bn_noisy/depth14.resume.pt"
    large = refused(tmp_path, *job, tmp_path / "study", limit=20_000)
    closed = refused(tmp_path, *job, tmp_path / "file/study")
    for said, message in (
        (large, f"[Errno 27] File too large: '{tmp_path}/{saved}'"),
        (closed, f"[Errno 20] Not a directory: '{tmp_path}/file/study"),
    ):
        (line,) = [line for line in said.splitlines() if "rror" in line]
        assert line.startswith(f"error: {message}")
        assert "Traceback" not in said
    assert not [path for path in (tmp_path / "study").rglob("*") if path.is_file()]


def test_each_job_has_a_gpu_of_its_own_while_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(device, "HELD", [])
    assert [device.claim() for _ in range(5)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    device.HELD[1].release()  # a job ends
    assert device.claim() == "cuda:1"
    # Slurm gives a job the second GPU. The job sees it as the first one.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setattr(device, "HELD", [])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert [device.claim(), device.claim()] == ["cuda:0", "cuda:0"]


def test_without_locks_jobs_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("No locks available")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(device.FileLock, "acquire", refuse)
    assert [device.claim(), device.claim()] == ["cuda:0", "cuda:0"]


def test_a_gpu_that_is_not_there_gets_one_line(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    *options, _ = small_cell(tmp_path)
    said = refused(tmp_path, *options, "cuda", "--out", tmp_path / "study")
    assert said == "error: device: cuda was asked for, and PyTorch sees no GPU\n"
