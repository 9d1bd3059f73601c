"""A run that is killed and started again ends with the bits of one that was never stopped."""

import json
import math
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch
from conftest import ROOT, command
from test_variant import RUN, replaced
from test_variant import SETTINGS as USUAL

from models import tensors
from models.data.prepare import Dataset, load
from models.files import replacing, sweep
from models.initialise import build
from models.training import device
from models.training.evaluate import final_metrics
from models.training.loop import train
from models.training.state import RESUME, TOLD_TO_END, Resume, fingerprint, leave_when_told
from models.training.train import train_and_write
from models.variant import Factors, Run, to_json

SETTINGS = replaced(USUAL, epochs=6, batch_size=8, augmentation="crop_and_flip", record_every=7)
# Noise and augmentation draw random numbers at each step.
NOISE = {"variant": "plain_bn_noisy", "factors": Factors(norm="noisy_batch")}
NOISY = replaced(RUN, **NOISE, train=SETTINGS, checkpoints=["init", "step5", "end"])
TOTAL = 6 * 6
LONGER = replaced(NOISY, train=replaced(SETTINGS, epochs=20))
TRAIN = "models.training.train"
OUTPUTS = ("run.json", "history.csv", "checkpoint.pt")


def images() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(64) % 2
    inputs = torch.randn(64, 1, 8, 8, generator=generator) + targets[:, None, None, None]
    return Dataset(inputs[:48], targets[:48], inputs[48:], targets[48:], classes=2)


def results(folder: Path) -> dict[str, bytes]:
    """Return the bytes that a run left, except for its cost."""
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics.pop("record")
    whole = {name: (folder / name).read_bytes() for name in OUTPUTS}
    return {**whole, "metrics": json.dumps(metrics).encode()}


PLAIN = Factors(shortcut="none", norm="none")
RUNS = {
    "noise": NOISY,
    "clipped": replaced(NOISY, factors=PLAIN, train=replaced(SETTINGS, gradient="clipped")),
    "fixup": replaced(NOISY, factors=Factors(norm="none", branch_scale="fixup")),
    "layerwise": replaced(NOISY, train=replaced(SETTINGS, gradient="layerwise")),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_training_goes_on_from_any_step_with_the_same_bits(run: Run, tmp_path: Path) -> None:
    data = images()
    network = build(run, data)

    def observe(step: int, snapshot: Callable[[], dict]) -> None:
        tensors.write(tmp_path / f"{step}.pt", snapshot())

    whole = train(network, run, data, observe)
    for step in (1, 6, 7, 17, TOTAL):
        again = build(run, data)
        torch.manual_seed(step)  # earlier draws must not matter
        assert train(again, run, data, saved=tensors.read(tmp_path / f"{step}.pt")) == whole
        for name, value in again.state_dict().items():
            assert torch.equal(value, network.state_dict()[name]), (step, name)


def test_divergence_is_recorded_and_ends_a_run_also_when_it_goes_on(tmp_path: Path) -> None:
    run = replaced(NOISY, factors=PLAIN, train=replaced(SETTINGS, lr=1e20))
    data, seen = images(), []

    def observe(step: int, snapshot: Callable[[], dict]) -> None:
        seen.append(step)
        tensors.write(tmp_path / "saved.pt", snapshot())

    network = build(run, data)
    history = train(network, run, data, observe)
    assert not math.isfinite(history[-1].train_loss)
    assert seen[-1] == history[-1].step < TOTAL
    metrics = final_metrics(network, run, data, history)
    end = [metrics[key] for key in ("status", "train_loss", "train_error")]
    assert end == ["diverged", None, 0.5]
    json.dumps(metrics, allow_nan=False)
    saved = tensors.read(tmp_path / "saved.pt")
    again = train(build(run, data), run, data, observe, saved)
    assert seen[-1] == history[-1].step
    assert str(again) == str(history)  # NaN is not equal to itself


def step_of(folder: Path) -> int:
    """Return the step after which the run of a folder was saved, or 0."""
    saved = folder / RESUME
    return tensors.read(saved)["state"]["step"] if saved.exists() else 0


def child(folder: Path, every: float) -> None:
    """Train as a job does, in a process of its own."""
    torch.set_num_threads(1)
    leave_when_told()
    folder.with_suffix(".started").touch()
    with open(os.devnull, "w") as sys.stderr:
        resume = Resume(folder / RESUME, "noisy", every)
        train_and_write(LONGER, images(), folder, None, resume, 1)


def test_twenty_kills_at_random_steps_lose_nothing(tmp_path: Path) -> None:
    """A process that gets SIGKILL saves after each step; SIGTERM makes it save."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([TRAIN])

    def start(name: str, every: float) -> multiprocessing.Process:
        process = processes.Process(target=child, args=(tmp_path / name, every))
        process.start()
        while not (tmp_path / f"{name}.started").exists():
            time.sleep(0.001)
        return process

    start("first", math.inf).join()  # this starts the server too
    begun = time.monotonic()
    start("whole", math.inf).join()
    seconds = time.monotonic() - begun
    draw = random.Random(0)
    stopped = {signal.SIGKILL: [], signal.SIGTERM: []}  # steps that were done
    for i in count():
        kind = signal.SIGKILL if i % 2 else signal.SIGTERM
        folder = tmp_path / f"killed{i}"
        process = start(folder.name, 0.0 if kind == signal.SIGKILL else math.inf)
        if kind == signal.SIGKILL:
            step = draw.randint(1, 20 * 6 - 1)
            while process.is_alive() and step_of(folder) < step:
                time.sleep(0.001)
            process.kill()
        else:
            time.sleep(draw.uniform(0.1, 0.9) * seconds)
            process.terminate()
        process.join()
        if (folder / "metrics.json").exists():  # it ended before
            continue
        assert process.exitcode == (-kind if kind == signal.SIGKILL else TOLD_TO_END)
        step = step_of(folder)
        stopped[kind].append(step)
        start(folder.name, math.inf).join()
        assert results(folder) == results(tmp_path / "whole")
        record = json.loads((folder / "metrics.json").read_text())["record"]
        assert record["resumed_after_step"] == step
        assert not list(folder.glob(".*")), "a killed writer's temporary file is left"
        if sum(map(len, stopped.values())) == 20:
            break
    for steps in stopped.values():
        assert len(set(steps)) >= 3, stopped


def small_run(tmp_path: Path) -> tuple[Run, tuple]:
    """Return a run of MNIST-1D that takes seconds, and the options that point at the data."""
    settings = replaced(SETTINGS, augmentation="none", epochs=10, batch_size=100)
    run = replaced(NOISY, depth=14, train=settings)
    return run, ("--data", tmp_path / "data", "--device", "cpu")


def start_command(module: str, *arguments: object, **options: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stderr=subprocess.PIPE, text=True, cwd=ROOT, **options,
    )  # fmt: skip


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.01)


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_job_told_to_end_saves_leaves_and_goes_on(told: signal.Signals, tmp_path: Path) -> None:
    run, options = small_run(tmp_path)
    job = ("--spec", to_json(run), "--out", tmp_path / "run", *options)
    first = start_command(TRAIN, *job, "--save-every", 0)
    saved = tmp_path / "run" / RESUME
    wait_for(saved.exists, first)
    reached = step_of(tmp_path / "run")
    first.send_signal(told)
    _, said = first.communicate()
    assert first.returncode == TOLD_TO_END
    step = step_of(tmp_path / "run")
    assert reached <= step < 400
    assert f"told to end: saved after step {step}\n" in said
    assert "Traceback" not in said
    assert [path.name for path in (tmp_path / "run").iterdir()] == [RESUME]

    again = command(TRAIN, *job)
    assert f"{saved}: going on after step {step}\n" in again.stderr
    command(TRAIN, "--spec", to_json(run), "--out", tmp_path / "whole", *options)
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    assert not saved.exists()
    record = json.loads((tmp_path / "run/metrics.json").read_text())["record"]
    assert record["resumed_after_step"] == step
    assert record["train_seconds"] > 0


def test_a_killed_grid_of_rates_does_not_train_again_those_it_has_done(tmp_path: Path) -> None:
    run, options = small_run(tmp_path)
    job = ("--spec", to_json(run), "--lrs", "0.01", "0.1", "--out", tmp_path / "cell", *options)
    first = start_command("models.training.tune", *job)
    folder = tmp_path / "cell/lr0.01"
    wait_for((folder / "metrics.json").exists, first)
    first.kill()
    first.communicate()
    before = results(folder)
    for output in OUTPUTS:  # as Snakemake does
        (folder / output).unlink()
    again = command("models.training.tune", *job)
    assert "lr0.01/resume.pt: going on after step 400" in again.stderr
    assert results(folder) == before
    assert json.loads((tmp_path / "cell/chosen.json").read_text())["lr"] in (0.01, 0.1)
    assert not list((tmp_path / "cell").rglob(RESUME))


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


def test_a_fingerprint_belongs_to_one_run_data_and_processor(tmp_path: Path) -> None:
    data, other = tmp_path / "a.json", tmp_path / "b.json"
    data.write_text("{}")
    other.write_text("{ }")
    first, *others = [(NOISY, data, "cpu"), (LONGER, data, "cpu"), (NOISY, other, "cpu")]
    keys = [fingerprint(*each) for each in (first, *others, (NOISY, data, "cuda:1"))]
    assert fingerprint(*first) == keys[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    keys.append(fingerprint(*first))
    torch.set_num_threads(threads)
    assert len(set(keys)) == 5


@pytest.mark.parametrize("said", ["damaged, its checksum is wrong", "is of another specification"])
def test_a_state_that_cannot_be_used_is_discarded_with_one_line(
    said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / RESUME
    resume = Resume(path, "key", 0)
    resume.after_step(lambda: {"step": 3, "weights": torch.randn(50)}, last=False)
    assert Resume(path, "key", 0).load()["step"] == 3
    capsys.readouterr()
    if "damaged" in said:
        path.write_bytes(path.read_bytes()[:-100])
    else:
        tensors.write(path, {"key": "other"})
    assert Resume(path, "key", 0).load() is None
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith(f"{path}: {said}")
    assert err.endswith("starting at the first step\n")


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
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :])
        with pytest.raises(ValueError, match="damaged, its checksum is wrong"):
            tensors.read(path)


def test_a_full_disk_and_a_closed_folder_get_one_line(tmp_path: Path) -> None:
    run, options = small_run(tmp_path)
    run = replaced(run, train=replaced(run.train, epochs=1))
    load("mnist1d", tmp_path / "data")

    def full() -> None:
        """Limit the size of files, as if the disk were full."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    (tmp_path / "file").touch()
    for folder, limit, message in (
        (tmp_path / "run", full, f"[Errno 27] File too large: '{tmp_path}/run/{RESUME}'"),
        (tmp_path / "file/run", None, f"[Errno 20] Not a directory: '{tmp_path}/file/run'"),
    ):
        job = (TRAIN, "--spec", to_json(run), "--out", folder, *options)
        stopped = start_command(*job, preexec_fn=limit)
        _, said = stopped.communicate()
        assert stopped.returncode == 1
        assert [line for line in said.splitlines() if "rror" in line] == [f"error: {message}"]
        assert "Traceback" not in said
    assert not list((tmp_path / "run").iterdir())


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
    assert [device.claim(), device.claim()] == ["cuda:0", "cuda:0"]


def test_a_gpu_that_is_not_there_gets_one_line(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    options = ("--out", tmp_path / "run", "--device", "cuda")
    refused = command(TRAIN, "--spec", to_json(NOISY), *options)
    assert refused.returncode == 1
    assert refused.stderr == "error: device: cuda was asked for, and PyTorch sees no GPU\n"
