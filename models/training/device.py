"""Where a run computes: repeatably, on a GPU of its own, with steps as CUDA graphs."""

import gc
import os
import tempfile
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor

HELD: list[FileLock] = []  # a process keeps its GPU until it ends, however it ends


def deterministic(threads: int, device: str) -> str:
    """Make this process repeat itself bit by bit, and return the processor that it computes on.

    `device` is "cpu", "cuda", or "auto", which is a GPU if there is one.
    """
    # Modules stay imported: the collector would take a quarter of a second to look through them
    # when the process ends.
    gc.freeze()
    torch.set_num_threads(threads)
    # "error" does what use_deterministic_algorithms(True) does, without its import of the compiler,
    # which takes a second. cuBLAS is deterministic only with a workspace of its own.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("error")
    # Every tensor is written before it is read. Filling tensors with NaN takes a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32 on a GPU too
    torch.set_flush_denormal(True)  # denormal numbers would make a dying network slow
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    device = claim()
    torch.cuda.set_device(device)
    return device


def claim() -> str:
    """Return a GPU that no other job of this user has, as PyTorch names it.

    If all GPUs are taken, the result is one of those with the fewest jobs. Jobs know of each other
    by locks in the folder for temporary files.
    """
    if not torch.cuda.is_available():
        raise ValueError("device: cuda was asked for, and PyTorch sees no GPU")
    seen, visible = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",")[:seen] if visible else range(seen)
    folder = Path(tempfile.gettempdir())
    for turn in count():
        for index, name in enumerate(names):
            lock = FileLock(folder / f"degradation-{os.getuid()}-gpu{name}-{turn}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            except (OSError, NotImplementedError):  # no locks on this file system: jobs share
                return f"cuda:{index}"
            HELD.append(lock)
            return f"cuda:{index}"


class Graphed:
    """A function that is launched on the current GPU as one CUDA graph.

    Small networks compute faster than Python can launch their kernels one by one. The function gets
    tensors and numbers, of the same shapes at each call, and receives the numbers as tensors of
    single precision. It returns nothing, changes tensors in place that stay where they are, and
    reads no number back from the GPU. It may draw random numbers from `draws`.
    """

    WARM = 3  # calls before the graph is made, in which libraries set themselves up

    def __init__(self, function: Callable[..., None], draws: Sequence[torch.Generator] = ()):
        self.function = function
        self.draws = draws
        self.calls = 0
        self.stream = torch.cuda.Stream()  # a graph cannot be made on the default stream

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
            for generator in self.draws:
                self.graph.register_generator_state(generator)
            with torch.cuda.graph(self.graph, stream=self.stream):
                self.function(*self.held)
        for held, value in zip(self.held, given, strict=True):
            held.copy_(value)
        self.graph.replay()
