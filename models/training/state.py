"""Resuming: a run that is killed goes on where it stopped, and ends with the same bits.

The state of training is saved once a minute in resume.pt, in the folder of the run's outputs, and
when the process is told to end (by Ctrl-C, or by SIGTERM, which Slurm sends before it kills).
Snakemake deletes the outputs of a job that failed, but it does not know this file.
"""

import hashlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from models import tensors
from models.variant import Run, to_json

RESUME = "resume.pt"
RESUME_START = "resume_start.pt"  # of the run that this one grows from, if it is trained first
SIGNALS = (signal.SIGTERM, signal.SIGINT)
TOLD_TO_END = 128 + signal.SIGTERM  # the exit status of a process that a signal ended
MODELS = Path(__file__).resolve().parent.parent


def leave_when_told() -> None:
    """Let a signal end this process like an error does, so that temporary files are removed."""
    for each in SIGNALS:
        signal.signal(each, lambda *_: sys.exit(TOLD_TO_END))


def forget(folder: Path) -> None:
    """Remove the saved states from the folder of a finished run."""
    for name in (RESUME, RESUME_START):
        (folder / name).unlink(missing_ok=True)


def fingerprint(run: Run, manifest: Path, device: str) -> str:
    """Return a SHA-256 of all that a run's bits depend on; `manifest` describes the data."""
    files = [file.read_bytes() for file in [*sorted(MODELS.rglob("*.py")), manifest]]
    facts = (to_json(run), torch.__version__, torch.device(device).type, torch.get_num_threads())
    return hashlib.sha256(b"".join(files) + repr(facts).encode()).hexdigest()


class Resume:
    """The saved state of one run, and its cost from now on, earlier attempts included."""

    def __init__(self, path: Path, key: str, every: float):
        self.path = path
        self.key = key  # the run's fingerprint
        self.every = every  # seconds between two saves
        self.last_save = time.monotonic()
        self.told_to_end = False
        self.step = 0  # the step after which this attempt goes on
        self.earlier = {"train_seconds": 0.0, "cpu_seconds": 0.0}
        self.start = {"train_seconds": time.perf_counter(), "cpu_seconds": time.process_time()}

    def cost(self) -> dict[str, float]:
        """Return the seconds of wall time and of processor time since the run started."""
        now = {"train_seconds": time.perf_counter(), "cpu_seconds": time.process_time()}
        return {key: self.earlier[key] + now[key] - self.start[key] for key in now}

    def load(self) -> dict | None:
        """Return the state that was saved last, if it is whole and belongs to this run."""
        if not self.path.exists():
            return None
        try:
            contents = tensors.read(self.path)
            if contents.get("key") != self.key:
                other = "is of another specification, code, data, PyTorch or processor"
                raise ValueError(f"{self.path}: {other}")
        except ValueError as error:
            print(f"{error}; starting at the first step", file=sys.stderr)
            return None
        self.earlier = contents["cost"]
        self.step = contents["state"]["step"]
        print(f"{self.path}: going on after step {self.step}", file=sys.stderr)
        return contents["state"]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Make a signal to end wait for the next call of `after_step` while the block runs."""

        def note(*_: object) -> None:
            self.told_to_end = True

        before = [signal.signal(each, note) for each in SIGNALS]
        try:
            yield
        finally:
            for each, handler in zip(SIGNALS, before, strict=True):
                signal.signal(each, handler)

    def after_step(self, snapshot: Callable[[], dict], last: bool) -> None:
        """Save the state that `snapshot` returns, if it is time to; exit if told to end."""
        if not (last or self.told_to_end or time.monotonic() - self.last_save >= self.every):
            return
        state = snapshot()
        tensors.write(self.path, {"key": self.key, "cost": self.cost(), "state": state})
        self.last_save = time.monotonic()
        if self.told_to_end:
            print(f"told to end: saved after step {state['step']}", file=sys.stderr)
            sys.exit(TOLD_TO_END)
