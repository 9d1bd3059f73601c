"""One GPU for each job, where jobs run side by side on a machine."""

import os
import tempfile
from itertools import count
from pathlib import Path

import torch
from filelock import FileLock, Timeout

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
