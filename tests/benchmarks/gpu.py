"""Time training on a GPU against the usual loop there."""

import time
from collections.abc import Iterator

import torch

from models.data.prepare import Dataset
from models.variant import Run
from tests.benchmarks.rivals import loop
from tests.benchmarks.timing import Row, ratio
from tests.benchmarks.training import agree, data_of, lanes_of, study_run

LANES = 16
STEPS = 60
SETTLED = 20  # steps before the clock counts
GOAL = ("PyTorch loop", ">= 1 x")


def rows(rounds: int) -> Iterator[Row]:
    if not torch.cuda.is_available():
        yield Row("training on a GPU", *GOAL, None, note="this machine has no GPU")
        return
    for study, depth in (("default", 20), ("default", 56), ("cifar10", 20), ("cifar10", 56)):
        # Training at a larger rate depends on the eighth digit of the rate. A graph keeps seven.
        yield compare(study_run(study, "residual_bn", depth, 1e-6), rounds)


def compare(run: Run, rounds: int) -> Row:
    agree(run, "cuda")
    data = data_of(run, STEPS).to("cuda")
    gpu = torch.cuda.get_device_name()
    steps = f"{STEPS - SETTLED} training steps on {gpu}"
    what = f"{steps}, {run.dataset}, {run.variant}, depth {run.depth}, lanes: {LANES}"
    return ratio(what, *GOAL, lambda: ours(run, data), lambda: theirs(run, data), rounds)


def ours(run: Run, data: Dataset) -> float:
    """Return the seconds on the clock of the steps after SETTLED, for each lane."""
    stack = lanes_of(run, LANES, data)
    for step in range(STEPS):
        if step == SETTLED:
            torch.cuda.synchronize()
            start = time.perf_counter()
        stack.step()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / LANES


def theirs(run: Run, data: Dataset) -> float:
    """Return the same for the usual loop, by default in TensorFloat-32 and not deterministic."""
    torch.backends.cudnn.allow_tf32 = True
    torch.set_deterministic_debug_mode("default")
    times = loop(run, data, time.perf_counter)[1]
    torch.backends.cudnn.allow_tf32 = False
    torch.set_deterministic_debug_mode("error")
    return times[-1] - times[SETTLED - 1]
