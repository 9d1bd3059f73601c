"""Killed and started again, a run ends with the bits of one that was never stopped."""

import dataclasses
import hashlib
import io
import json
import math
import multiprocessing
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import time
import zipfile
from itertools import count
from pathlib import Path

import pytest
import torch
from conftest import ROOT, command

from models import checkpoint, gpu
from models.data import Dataset
from models.files import replacing, sweep
from models.resume import RESUME, TOLD_TO_END, Resume, fingerprint, leave_when_told
from models.train import build, perform, train
from models.variant import Run, TrainSpec, Variant, to_json

SPEC = TrainSpec(
    epochs=6, batch_size=8, lr=0.05, schedule="cosine", warmup_steps=4, momentum=0.9,
    weight_decay=1e-4, gradient="raw", gradient_clip=1.0, augmentation="crop_and_flip",
    precision="float32", record_every=7, evaluation_batch_size=64,
)  # fmt: skip
# Noise and augmentation draw random numbers at each step.
NOISY = Run(
    "made", "plain_bn_noisy", Variant(norm="noisy_batch"), 8, 4, 0, SPEC, ("init", "step5", "end")
)
TOTAL = 6 * 6
LONGER = dataclasses.replace(NOISY, train=dataclasses.replace(SPEC, epochs=20))
OUTPUTS = ("run.json", "history.csv", "checkpoint.pt")


def images() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(64) % 2
    inputs = torch.randn(64, 1, 8, 8, generator=generator) + targets[:, None, None, None]
    return Dataset(inputs[:48], targets[:48], inputs[48:], targets[48:], classes=2)


def results(folder: Path) -> dict[str, bytes]:
    """The bytes that a run left, but for what it says of its cost."""
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics.pop("record")
    whole = {name: (folder / name).read_bytes() for name in OUTPUTS}
    return {**whole, "metrics": json.dumps(metrics).encode()}


@pytest.mark.parametrize(
    "run",
    [
        NOISY,
        dataclasses.replace(NOISY, factors=Variant("none", norm="none"),
                            train=dataclasses.replace(SPEC, gradient="clipped")),
        dataclasses.replace(NOISY, factors=Variant(norm="none", branch_scale="fixup")),
        dataclasses.replace(NOISY, train=dataclasses.replace(SPEC, gradient="layerwise")),
    ],
    ids=["noise", "clipped", "fixup", "layerwise"],
)  # fmt: skip
def test_training_goes_on_from_any_step_with_the_same_bits(run: Run, tmp_path: Path) -> None:
    data = images()
    network = build(run, data)
    whole = train(
        network, run, data,
        lambda step, snapshot: checkpoint.write(tmp_path / f"{step}.pt", snapshot()),
    )  # fmt: skip
    for step in (1, 6, 7, 17, TOTAL):
        again = build(run, data)
        torch.manual_seed(step)  # what was drawn before must not matter
        assert train(again, run, data, saved=checkpoint.read(tmp_path / f"{step}.pt")) == whole
        for name, value in again.state_dict().items():
            assert torch.equal(value, network.state_dict()[name]), (step, name)


def test_a_diverged_run_is_not_trained_on(tmp_path: Path) -> None:
    run = dataclasses.replace(
        NOISY, factors=Variant("none", norm="none"), train=dataclasses.replace(SPEC, lr=1e20)
    )
    data, seen = images(), []
    history = train(
        build(run, data), run, data,
        lambda step, snapshot: (seen.append(step), checkpoint.write(tmp_path / "s.pt", snapshot())),
    )  # fmt: skip
    assert not math.isfinite(history[-1].train_loss)
    assert seen[-1] == history[-1].step < TOTAL
    saved = checkpoint.read(tmp_path / "s.pt")
    again = train(build(run, data), run, data, lambda step, _: seen.append(step), saved)
    assert seen[-1] == history[-1].step
    assert str(again) == str(history)  # NaN is not equal to itself


def child(folder: Path, every: float) -> None:
    """What a training job does, in a process of its own."""
    torch.set_num_threads(1)
    leave_when_told()
    folder.with_suffix(".started").touch()
    with open(os.devnull, "w") as sys.stderr:
        perform(LONGER, images(), folder, None, Resume(folder / RESUME, "noisy", every), 1)


def test_twenty_kills_at_random_steps_lose_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL with a save after each step, SIGTERM with none but its own."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["models.train"])

    def start(name: str, every: float) -> multiprocessing.Process:
        process = processes.Process(target=child, args=(tmp_path / name, every))
        process.start()
        while not (tmp_path / f"{name}.started").exists():
            time.sleep(0.001)
        return process

    start("first", math.inf).join()  # starts the server, too
    begun = time.monotonic()
    start("whole", math.inf).join()
    seconds = time.monotonic() - begun
    draw = random.Random(0)
    stopped = {signal.SIGKILL: [], signal.SIGTERM: []}  # steps that were done
    for i in count():
        kind = signal.SIGKILL if i % 2 else signal.SIGTERM
        folder = tmp_path / f"killed{i}"
        saved = folder / RESUME
        process = start(folder.name, 0.0 if kind == signal.SIGKILL else math.inf)
        if kind == signal.SIGKILL:
            step = draw.randint(1, 20 * 6 - 1)
            while process.is_alive() and not (
                saved.exists() and checkpoint.read(saved)["state"]["step"] >= step
            ):
                time.sleep(0.001)
        else:
            time.sleep(draw.uniform(0.1, 0.9) * seconds)
        process.kill() if kind == signal.SIGKILL else process.terminate()
        process.join()
        if (folder / "metrics.json").exists():  # it was faster
            continue
        assert process.exitcode == (-kind if kind == signal.SIGKILL else TOLD_TO_END)
        step = checkpoint.read(saved)["state"]["step"] if saved.exists() else 0
        stopped[kind].append(step)
        start(folder.name, math.inf).join()
        assert results(folder) == results(tmp_path / "whole")
        record = json.loads((folder / "metrics.json").read_text())["record"]
        assert record["resumed_after_step"] == step
        assert not list(folder.glob(".*")), "a killed writer's temporary file is left"
        if sum(map(len, stopped.values())) == 20:
            break
    with capsys.disabled():
        for kind, steps in stopped.items():
            print(f"\n{kind.name} {len(steps)} times, after steps {sorted(steps)}: none lost")
    for steps in stopped.values():
        assert len(set(steps)) >= 3, stopped


def small_run(tmp_path: Path) -> tuple[Run, tuple]:
    """A run of MNIST-1D that takes seconds, and the options that point at the data."""
    spec = dataclasses.replace(SPEC, augmentation="none", epochs=10, batch_size=100)
    run = dataclasses.replace(NOISY, dataset="mnist1d", depth=14, train=spec)
    return run, ("--data", tmp_path / "data", "--device", "cpu")


def start_command(module: str, *arguments: object, **options: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stderr=subprocess.PIPE, text=True, cwd=ROOT, **options,
    )  # fmt: skip


def wait_for(condition: object, process: subprocess.Popen, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_job_told_to_end_saves_leaves_and_goes_on(told: signal.Signals, tmp_path: Path) -> None:
    run, options = small_run(tmp_path)
    job = ("--spec", to_json(run), "--out", tmp_path / "run", *options)
    first = start_command("models.train", *job, "--save-every", 0)
    saved = tmp_path / "run" / RESUME
    wait_for(saved.exists, first)
    reached = checkpoint.read(saved)["state"]["step"]
    first.send_signal(told)
    _, said = first.communicate()
    assert first.returncode == TOLD_TO_END
    assert reached <= checkpoint_step(said) < 400
    assert "Traceback" not in said
    assert [path.name for path in (tmp_path / "run").iterdir()] == [RESUME]

    again = command("models.train", *job)
    assert again.returncode == 0, again.stderr
    step = checkpoint_step(said)
    assert f"{saved}: going on after step {step}\n" in again.stderr
    whole = command("models.train", "--spec", to_json(run), "--out", tmp_path / "whole", *options)
    assert whole.returncode == 0, whole.stderr
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    assert not saved.exists()
    record = json.loads((tmp_path / "run/metrics.json").read_text())["record"]
    assert record["resumed_after_step"] == step
    assert record["train_seconds"] > 0


def checkpoint_step(said: str) -> int:
    return int(said.split("saved after step ")[1].split()[0])


def test_a_killed_grid_of_rates_does_not_train_again_those_it_has_done(tmp_path: Path) -> None:
    run, options = small_run(tmp_path)
    run = dataclasses.replace(run, checkpoints=())
    job = ("--spec", to_json(run), "--lrs", "0.01", "0.1", "--out", tmp_path / "cell", *options)
    first = start_command("models.tune", *job)
    done = tmp_path / "cell/lr0.01/metrics.json"
    wait_for(done.exists, first)
    first.kill()
    first.communicate()
    before = results_of_rate(tmp_path / "cell/lr0.01")
    for output in ("run.json", "history.csv", "metrics.json"):  # as Snakemake does
        (tmp_path / "cell/lr0.01" / output).unlink()
    again = command("models.tune", *job)
    assert again.returncode == 0, again.stderr
    assert "lr0.01/resume.pt: going on after step 400" in again.stderr
    assert results_of_rate(tmp_path / "cell/lr0.01") == before
    assert json.loads((tmp_path / "cell/chosen.json").read_text())["lr"] in (0.01, 0.1)
    assert not list((tmp_path / "cell").rglob(RESUME))


def results_of_rate(folder: Path) -> tuple[str, float]:
    metrics = json.loads((folder / "metrics.json").read_text())
    return (folder / "history.csv").read_text(), metrics["train_loss"]


def test_a_sweep_takes_what_killed_writers_left_and_no_other_file(tmp_path: Path) -> None:
    """A run may be written to a folder where somebody keeps files of their own."""
    with replacing(tmp_path / "history.csv") as temporary:
        left = temporary.with_name(temporary.name[:-1] + "-")  # as another's that was killed
        left.touch()
    own = [tmp_path / name for name in (".env.local", ".history.csv", "history.csv", ".a.b.c")]
    for path in own:
        path.touch()
    sweep(tmp_path / "history.csv")
    assert sorted(tmp_path.iterdir()) == sorted(own)


def test_what_was_saved_is_of_one_run_code_data_and_processor(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").write_text("{ }")
    key = fingerprint(NOISY, tmp_path / "a.json", "cpu")
    assert key == fingerprint(NOISY, tmp_path / "a.json", "cpu")
    others = {
        fingerprint(dataclasses.replace(NOISY, seed=1), tmp_path / "a.json", "cpu"),
        fingerprint(NOISY, tmp_path / "b.json", "cpu"),
        fingerprint(NOISY, tmp_path / "a.json", "cuda:1"),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    others.add(fingerprint(NOISY, tmp_path / "a.json", "cpu"))
    torch.set_num_threads(threads)
    assert len(others - {key}) == 4


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "damaged, its checksum is wrong"),
        (lambda path: path.write_bytes(b""), "damaged, its checksum is wrong"),
        (lambda path: path.write_bytes(flipped(path.read_bytes(), 700)), "damaged, its checksum"),
        (lambda path: checkpoint.write(path, {"key": "other"}), "is of another specification"),
        (lambda path: hostile(path), "holds more than tensors; nothing in it was run"),
    ],
    ids=["truncated", "empty", "corrupted", "other", "hostile"],
)
def test_what_cannot_be_gone_on_from_is_discarded_and_said_so(
    spoil: object, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / RESUME
    resume = Resume(path, "key", 0)
    resume.after_step(lambda: {"step": 3, "weights": torch.randn(50)}, last=False)
    assert Resume(path, "key", 0).load()["step"] == 3
    capsys.readouterr()
    spoil(path)
    assert Resume(path, "key", 0).load() is None
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(path) in err
    assert said in err
    assert err.endswith("starting at the first step\n")
    assert not (tmp_path / "hacked").exists()


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


class Hostile:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def hostile(path: Path) -> None:
    """A file as `checkpoint.write` makes it, with a command where the tensors should be."""
    checkpoint.write(path, {"key": "key"})
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    trap = pickle.dumps(Hostile(path.parent / "hacked"), protocol=2)  # torch.load knows no other
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, trap if name.endswith("data.pkl") else content)
    content = buffer.getvalue()[:-2] + (64).to_bytes(2, "little")
    path.write_bytes(content + hashlib.sha256(content).hexdigest().encode())


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "flipped.pt"
    checkpoint.write(path, {"end": {"weight": torch.arange(12.0)}})
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(flipped(good, at))
        with pytest.raises(ValueError, match="damaged, its checksum is wrong"):
            checkpoint.read(path)


def test_checkpoints_are_files_of_pytorch(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    checkpoint.write(path, {"end": {"weight": torch.arange(12.0)}})
    for read in (
        torch.load(path, weights_only=True),
        torch.load(path, weights_only=True, mmap=True),
        checkpoint.read(path),
        checkpoint.read(path, mmap=True),
    ):
        assert torch.equal(read["end"]["weight"], torch.arange(12.0))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_the_same_contents_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.pt", "other.pt"):
        checkpoint.write(tmp_path / name, {"end": {"weight": torch.ones(3)}})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()


def test_a_full_disk_and_a_closed_folder_get_one_line(tmp_path: Path) -> None:
    run, options = small_run(tmp_path)
    run = dataclasses.replace(run, train=dataclasses.replace(run.train, epochs=1))
    whole = command("models.train", "--spec", to_json(run), "--out", tmp_path / "whole", *options)
    assert whole.returncode == 0, whole.stderr

    def full() -> None:
        """No file may grow beyond this, as if the disk were full."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    job = ("models.train", "--spec", to_json(run), "--out", tmp_path / "run", *options)
    filled = start_command(*job, preexec_fn=full)
    _, said = filled.communicate()
    assert filled.returncode == 1
    errors = [line for line in said.splitlines() if "error" in line]
    assert errors == [f"error: [Errno 27] File too large: '{tmp_path}/run/{RESUME}'"]
    assert "Traceback" not in said
    assert not list((tmp_path / "run").iterdir())

    (tmp_path / "file").write_text("")
    closed = command(
        "models.train", "--spec", to_json(run), "--out", tmp_path / "file/run", *options
    )
    assert closed.returncode == 1
    assert f"error: [Errno 20] Not a directory: '{tmp_path}/file/run'" in closed.stderr
    assert "Traceback" not in closed.stderr


def test_each_job_has_a_gpu_of_its_own_while_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(gpu.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpu, "HELD", [])
    assert [gpu.claim() for _ in range(5)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    gpu.HELD[1].release()  # a job ends
    assert gpu.claim() == "cuda:1"
    # Slurm gives a job the second GPU; it is the first one that the job sees.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setattr(gpu, "HELD", [])
    assert [gpu.claim(), gpu.claim()] == ["cuda:0", "cuda:0"]


def test_a_gpu_that_is_not_there_gets_one_line(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    refused = command(
        "models.train", "--spec", to_json(NOISY), "--out", tmp_path / "run", "--device", "cuda"
    )
    assert refused.returncode == 1
    assert refused.stderr == "error: device: cuda was asked for, and PyTorch sees no GPU\n"
