"""Time a step of training against the usual loop, and against a matrix product."""

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from models.data.prepare import Dataset, load
from models.initialise import build
from models.network import Network
from models.training.loop import train
from models.typed import typed
from models.variant import Run, read_variants
from tests.benchmarks.rivals import loop
from tests.benchmarks.timing import Row, elsewhere, median_row, ratio, seconds
from workflow.config import ROOT, images, load_study
from workflow.plan import Plan

STEPS = 20  # steps of a run
SETTLED = 4  # steps before the clock counts


def rows(rounds: int) -> Iterator[Row]:
    for depth in (20, 56):
        for variant in ("plain", "plain_bn", "residual", "residual_bn"):
            # Within four steps, the losses of plain_bn at depth 56 depend on the sixteenth digit of
            # its weights, unless the steps are tiny.
            chaos = (variant, depth) == ("plain_bn", 56)
            run = study_run("default", variant, depth, 1e-10 if chaos else 0.01)
            # A time of a fifth of a second is noisy, so it gets many rounds.
            yield compare(run, "MNIST-1D", ">= 1.6 x", 4 * rounds)
    run = study_run("cifar10", "residual_bn", 20, 0.01)
    yield compare(run, "32x32x3", ">= 1.3 x", rounds)
    yield share_of_peak(run, rounds)


def study_run(study: str, variant: str, depth: int, lr: float) -> Run:
    """Return a run of a study, of one epoch and without augmentation, which the rivals lack."""
    settings = load_study([ROOT / f"workflow/config/{study}.yaml"])
    plan = Plan(settings, read_variants(), images(settings))
    specification = json.loads(plan.specification(variant, depth, 0, kept=False))
    specification["train"] |= {"lr": lr, "epochs": 1, "warmup_steps": 10, "record_every": STEPS}
    return changed(typed(Run, specification), augmentation="none")


def changed(run: Run, **training: object) -> Run:
    """Return a run with other settings of its training."""
    return run.model_copy(update={"train": run.train.model_copy(update=training)})


def data_of(run: Run, steps: int = STEPS) -> Dataset:
    """Return the training examples of some steps, and ten for a test.

    Images of 32 x 32 pixels are noise, because time does not depend on them.
    """
    count = steps * run.train.batch_size
    if run.dataset == "mnist1d":
        data = load("mnist1d")
        images, targets = data.train_inputs[:count], data.train_targets[:count]
    else:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(count, 32, 32, 3, generator=generator).permute(0, 3, 1, 2)
        targets = torch.randint(0, 10, (count,), generator=generator)
    return Dataset(images, targets, images[:10], targets[:10], 10)


def ours(network: Network, run: Run, data: Dataset) -> tuple[list[float], list[float]]:
    """Return the losses, and the times at the end of each step, of this project's training."""
    times: list[float] = []
    history = train(network, run, data, lambda step, snapshot: times.append(time.process_time()))
    return [row.train_loss for row in history], times


def agree(run: Run, device: str = "cpu") -> None:
    """Check that both compute the same losses, on batches of 16, in double precision.

    In single precision, rounding alone would make the losses of deep networks differ.
    """
    run = changed(run, batch_size=16, record_every=1)
    data = data_of(run).to(device)
    inputs = data.train_inputs.double()
    double = replace(data, train_inputs=inputs, test_inputs=inputs[:10])
    both = [each(build(run, data).double(), run, double)[0] for each in (ours, loop)]
    for step, (a, b) in enumerate(zip(*both, strict=True)):
        assert abs(a - b) <= 1e-4 * abs(a), f"{run}: loss {a} at step {step}, not {b}"


def step_seconds(loop: Callable, run: Run, data: Dataset) -> float:
    """Return the seconds of the median step."""
    times = loop(build(run, data), run, data)[1]
    return statistics.median(b - a for a, b in itertools.pairwise(times[SETTLED:]))


def compare(run: Run, shape: str, goal: str, rounds: int) -> Row:
    what = f"training step, {shape}, {run.variant}, depth {run.depth}"
    agree(run)
    data = data_of(run)
    own = partial(step_seconds, ours, run, data)
    theirs = partial(elsewhere, step_seconds, loop, run, data)
    return ratio(what, "PyTorch loop", goal, own, theirs, rounds)


def share_of_peak(run: Run, rounds: int) -> Row:
    """Return the arithmetic of a step as a share of what a matrix product does in its time."""
    data = data_of(run)
    size = run.train.batch_size
    network = build(run, data)
    with FlopCounterMode(display=False) as counter:
        logits = network(data.train_inputs[:size])
        F.cross_entropy(logits, data.train_targets[:size]).backward()
    matrix = torch.randn(2048, 2048)
    peaks, shares = [], []
    for _ in range(rounds):
        fastest = min(seconds(lambda: matrix @ matrix) for _ in range(5))
        peaks.append(2 * len(matrix) ** 3 / fastest)
        speed = counter.get_total_flops() / step_seconds(ours, run, data)
        shares.append(100 * speed / peaks[-1])
    what = f"arithmetic of a training step, 32x32x3, {run.variant}, depth {run.depth}"
    note = f"of {statistics.median(peaks) / 1e9:.0f} GFLOP/s"
    return median_row((what, "matrix product", ">= 55 %"), shares, note)
