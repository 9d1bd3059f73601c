"""Resuming: a stack that is killed goes on where it stopped, and ends with the same bits.

The state of training is saved once a minute, and when the process is told to end (by Ctrl-C, or by
SIGTERM, which Slurm sends before it kills). Snakemake deletes the outputs of a job that failed, but
it does not know this file.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from models import tensors
from models.files import sweep
from models.variant import Run, to_json

SIGNALS = (signal.SIGTERM, signal.SIGINT)
TOLD_TO_END = 128 + signal.SIGTERM  # the exit status of a process that a signal ended


def leave_when_told() -> None:
    """Let a signal end this process like an error does, so that temporary files are removed."""
    for each in SIGNALS:
        signal.signal(each, lambda *_: sys.exit(TOLD_TO_END))


class Resume:
    """The saved state of the stack in training, and its cost, earlier attempts included."""

    def __init__(self, path: Path, device: str, every: float):
        self.path = path
        self.every = every  # seconds between two saves
        self.told_to_end = False
        # The bits of a stack depend on these, and on its runs, which name their code and data.
        self.machine = [str(torch.__version__), torch.device(device).type, torch.get_num_threads()]
        sweep(path)

    def begin(self, wanted: Sequence[Run]) -> tuple[list[Run], dict] | None:
        """Start the clocks. Return runs and state of an interrupted stack whose runs are wanted."""
        self.last_save = time.monotonic()
        self.step = 0  # the step after which this attempt goes on
        self.earlier = {"train_seconds": 0.0, "cpu_seconds": 0.0}
        self.start = {"train_seconds": time.perf_counter(), "cpu_seconds": time.process_time()}
        if not self.path.exists():
            return None
        texts = {to_json(run): run for run in wanted}
        try:
            contents = tensors.read(self.path)
            if contents["machine"] != self.machine or not texts.keys() >= set(contents["runs"]):
                other = "is of other runs, code or data, or of another PyTorch or processor"
                raise ValueError(f"{self.path}: {other}")
        except ValueError as error:
            print(f"{error}; starting at the first step", file=sys.stderr)
            return None
        self.earlier, self.step = contents["cost"], contents["state"]["done"]
        print(f"{self.path}: going on after step {self.step}", file=sys.stderr)
        return [texts[text] for text in contents["runs"]], contents["state"]

    def cost(self) -> dict[str, float]:
        """Return the seconds of wall time and of processor time since the stack started."""
        now = {"train_seconds": time.perf_counter(), "cpu_seconds": time.process_time()}
        return {key: self.earlier[key] + now[key] - self.start[key] for key in now}

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

    def after_step(self, runs: Sequence[Run], state: Callable[[], dict], last: bool) -> None:
        """Save the state of the stack of these runs, if it is time to; exit if told to end."""
        if not (last or self.told_to_end or time.monotonic() - self.last_save >= self.every):
            return
        saved = state()
        about = {"machine": self.machine, "runs": [to_json(run) for run in runs]}
        tensors.write(self.path, {**about, "cost": self.cost(), "state": saved})
        self.last_save = time.monotonic()
        if self.told_to_end:
            print(f"told to end: saved after step {saved['done']}", file=sys.stderr)
            sys.exit(TOLD_TO_END)
