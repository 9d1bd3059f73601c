"""Images a second in training on a GPU, against the usual loop there."""

import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from models.data import Dataset
from models.train import build, train
from models.variant import Run
from tests.benchmarks.rivals import loop
from tests.benchmarks.timing import Row, quiet, ratio
from tests.benchmarks.training import a_run, agree, data_of

STEPS = 60
SETTLED = 20  # of them, before the clock counts
GOAL = ("PyTorch loop", ">= 1 x")


def rows(rounds: int) -> Iterator[Row]:
    if not torch.cuda.is_available():
        yield Row("training on a GPU", *GOAL, None, note="there is none")
        return
    for study, depth in (("default", 20), ("default", 56), ("cifar10", 20), ("cifar10", 56)):
        # Training at a larger rate depends on the eighth digit of the rate, which is single here.
        yield compare(a_run(study, "residual_bn", depth, 1e-6), rounds)


def compare(run: Run, rounds: int) -> Row:
    agree(loop, run, "cuda")
    run = replace(run, train=replace(run.train, record_every=STEPS))
    data = data_of(run, STEPS).to("cuda")
    gpu = torch.cuda.get_device_name()
    what = f"training on {gpu}, {run.dataset}, {run.variant}, depth {run.depth}"
    row = ratio(what, *GOAL, lambda: ours(run, data), lambda: theirs(run, data), rounds)
    images = (STEPS - SETTLED) * run.train.batch_size
    return replace(row, note=f"{row.note} for {images} images")


def ours(run: Run, data: Dataset) -> float:
    """Seconds on the clock."""
    times = []

    def observe(step: int, snapshot: object) -> None:
        if step in (SETTLED, STEPS):
            torch.cuda.synchronize()
            times.append(time.perf_counter())

    with quiet():
        train(build(run, data), run, data, observe)
    return times[1] - times[0]


def theirs(run: Run, data: Dataset) -> float:
    """The same of the usual loop, with PyTorch as it comes: TensorFloat-32, and nothing to make it
    repeat itself."""
    torch.backends.cudnn.allow_tf32 = True
    torch.set_deterministic_debug_mode("default")
    times = loop(build(run, data), run, data, time.perf_counter)[1]
    torch.backends.cudnn.allow_tf32 = False
    torch.set_deterministic_debug_mode("error")
    return times[-1] - times[SETTLED - 1]
