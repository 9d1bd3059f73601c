"""Going on where a killed run stopped.

All that changes while a network trains is saved once a minute, and at once when the process is told
to end (by Ctrl-C, or by SIGTERM, which Slurm sends before it kills), in resume.pt beside the run's
outputs. Snakemake, which deletes the outputs of a job that failed, does not know that file. It
belongs to one specification, code, data, PyTorch, kind of processor and number of threads; the run
that goes on from it ends with the bits of one that was never stopped. For any other it is
discarded.
"""

import hashlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from models import checkpoint
from models.variant import Run, to_json

RESUME = "resume.pt"
SIGNALS = (signal.SIGTERM, signal.SIGINT)
TOLD_TO_END = 128 + signal.SIGTERM  # the exit status of a process that did


def leave_when_told() -> None:
    """Let a signal end this process like an error does, so that temporary files are removed."""
    for each in SIGNALS:
        signal.signal(each, lambda *_: sys.exit(TOLD_TO_END))


def fingerprint(run: Run, manifest: Path, device: str) -> str:
    """SHA-256 of everything that the bits of a run depend on; `manifest` tells its data."""
    digest = hashlib.sha256()
    for file in [*sorted(Path(__file__).parent.glob("*.py")), manifest]:
        digest.update(file.read_bytes())
    kind = torch.device(device).type
    for fact in (to_json(run), torch.__version__, kind, torch.get_num_threads()):
        digest.update(f"{fact}\n".encode())
    return digest.hexdigest()


class Resume:
    """The saved state of one run, in `path`; `key` is the run's fingerprint. Made when the run
    starts, it also counts what the run costs, earlier attempts included."""

    def __init__(self, path: Path, key: str, every: float):
        self.path = path
        self.key = key
        self.every = every  # seconds between two saves
        self.last_save = time.monotonic()
        self.told_to_end = False
        self.step = 0  # after which this attempt goes on
        self.earlier = {"train_seconds": 0.0, "cpu_seconds": 0.0}
        self.start = {"train_seconds": time.perf_counter(), "cpu_seconds": time.process_time()}

    def of_start(self) -> "Resume":
        """That of the run which this one grows from, where it has to be trained first."""
        return Resume(self.path.with_stem(f"{self.path.stem}_start"), self.key, self.every)

    def cost(self) -> dict[str, float]:
        """Seconds of wall time and of the processor."""
        now = {"train_seconds": time.perf_counter(), "cpu_seconds": time.process_time()}
        return {key: self.earlier[key] + now[key] - self.start[key] for key in now}

    def load(self) -> dict | None:
        """The state saved last, if it is of this run and whole."""
        if not self.path.exists():
            return None
        try:
            contents = checkpoint.read(self.path)
        except ValueError as error:
            print(f"{error}; starting at the first step", file=sys.stderr)
            return None
        if contents.get("key") != self.key:
            print(
                f"{self.path}: is of another specification, code, data, PyTorch or processor; "
                "starting at the first step",
                file=sys.stderr,
            )
            return None
        self.earlier = contents["cost"]
        self.step = contents["state"]["step"]
        print(f"{self.path}: going on after step {self.step}", file=sys.stderr)
        return contents["state"]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While the block runs, a signal to end waits for the next call of `after_step`."""

        def note(*_: object) -> None:
            self.told_to_end = True

        before = [signal.signal(each, note) for each in SIGNALS]
        try:
            yield
        finally:
            for each, handler in zip(SIGNALS, before, strict=True):
                signal.signal(each, handler)

    def after_step(self, snapshot: Callable[[], dict], last: bool) -> None:
        """Save what `snapshot` gives, if it is time to. Leaves if the process was told to end."""
        if not (last or self.told_to_end or time.monotonic() - self.last_save >= self.every):
            return
        state = snapshot()
        checkpoint.write(self.path, {"key": self.key, "cost": self.cost(), "state": state})
        self.last_save = time.monotonic()
        if self.told_to_end:
            print(f"told to end: saved after step {state['step']}", file=sys.stderr)
            sys.exit(TOLD_TO_END)

    def forget(self) -> None:
        """Remove what was saved: the run is done."""
        self.path.unlink(missing_ok=True)
        self.of_start().path.unlink(missing_ok=True)
