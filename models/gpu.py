"""One GPU for each job, where jobs run side by side on a machine; and steps as CUDA graphs."""

import os
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor

HELD: list[FileLock] = []  # a job keeps its GPU until it ends, however it ends


def claim() -> str:
    """A GPU that no other job of this user has, as PyTorch names it; if each has one, one of those
    that have the fewest. Jobs know of each other by locks in the folder for temporary files.

    Raises:
        ValueError: PyTorch sees no GPU.
    """
    if not torch.cuda.is_available():
        raise ValueError("device: cuda was asked for, and PyTorch sees no GPU")
    everyone = ",".join(map(str, range(torch.cuda.device_count())))
    names = (os.environ.get("CUDA_VISIBLE_DEVICES") or everyone).split(",")
    folder = Path(tempfile.gettempdir())
    for turn in count():
        for index, name in enumerate(names):
            lock = FileLock(folder / f"degradation-{os.getuid()}-gpu{name}-{turn}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            HELD.append(lock)
            return f"cuda:{index}"


class Graphed:
    """A function that is launched on the current GPU as one CUDA graph. Kernel by kernel that takes
    small networks longer than to compute.

    The function gets tensors and numbers, of the same shapes each time, and the numbers as tensors
    of single precision. It returns nothing, changes tensors in place that stay where they are, and
    waits for no number.
    """

    WARM = 3  # calls before the graph is made, in which libraries set themselves up

    def __init__(self, function: Callable[..., None]):
        self.function = function
        self.calls = 0
        self.stream = torch.cuda.Stream()  # beside the usual one, where a graph has to be made

    def __call__(self, *arguments: Tensor | float) -> None:
        given = [
            value if isinstance(value, Tensor) else torch.full((), value, device="cuda")
            for value in arguments
        ]
        self.calls += 1
        if self.calls <= self.WARM:
            usual = torch.cuda.current_stream()
            self.stream.wait_stream(usual)
            with torch.cuda.stream(self.stream):
                self.function(*given)
            usual.wait_stream(self.stream)
            return
        if self.calls == self.WARM + 1:
            self.held = [value.clone() for value in given]
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=self.stream):
                self.function(*self.held)
        for held, value in zip(self.held, given, strict=True):
            held.copy_(value)
        self.graph.replay()
