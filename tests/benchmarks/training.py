"""A step of training: against the usual loops, and against what the processor can do."""

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
import yaml
from torch.utils.flop_counter import FlopCounterMode

from models.data import Dataset, load
from models.network import Network
from models.train import build, train
from models.variant import Run, from_dict
from tests.benchmarks.rivals import loop, trainer
from tests.benchmarks.timing import Row, elsewhere, quiet, ratio, seconds
from workflow.study import ROOT, read_variants, run_spec

STEPS = 20  # of a run
SETTLED = 4  # of them, before the clock counts
Loop = Callable[[Network, Run, Dataset], tuple[list[float], list[float]]]


def rows(rounds: int) -> Iterator[Row]:
    for depth in (20, 56):
        for variant in ("plain", "plain_bn", "residual", "residual_bn"):
            # The losses of plain_bn at depth 56 depend on the sixteenth digit of its weights within
            # four steps, unless these are tiny.
            run = a_run("default", variant, depth, 1e-10 if (variant, depth) == CHAOS else 0.01)
            # A fifth of a second is at the mercy of the machine, so it gets many rounds.
            yield compare(run, "MNIST-1D", "PyTorch loop", loop, ">= 1.6 x", 4 * rounds)
    run = a_run("cifar10", "residual_bn", 20, 0.01)
    yield compare(run, "32x32x3", "PyTorch loop", loop, ">= 1.3 x", rounds)
    yield compare(run, "32x32x3", "Lightning", trainer, ">= 1.5 x", rounds)
    yield share_of_peak(run, rounds)


CHAOS = ("plain_bn", 56)


def a_run(study: str, variant: str, depth: int, lr: float) -> Run:
    """A run of a study, cut to an epoch, and without augmentation, which rivals lack."""
    config = {}
    for name in ("default", study):
        settings = yaml.safe_load((ROOT / f"workflow/config/{name}.yaml").read_text())
        training = {**config.get("training", {}), **settings["training"]}
        config |= {**settings, "training": training}
    spec = json.loads(run_spec(config, read_variants()[variant], variant, depth, 0, []))
    spec["train"] |= {
        "lr": lr, "epochs": 1, "warmup_steps": 10, "augmentation": "none", "record_every": STEPS,
    }  # fmt: skip
    return from_dict(spec)


def data_of(run: Run, steps: int = STEPS) -> Dataset:
    """As much as the steps need, and hardly a test. Images are noise: time does not depend on
    them."""
    count = steps * run.train.batch_size
    if run.dataset == "mnist1d":
        data = load("mnist1d")
        images, targets = data.train_inputs[:count], data.train_targets[:count]
    else:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(count, 3, 32, 32, generator=generator)
        images = images.to(memory_format=torch.channels_last)
        targets = torch.randint(0, 10, (count,), generator=generator)
    return Dataset(images, targets, images[:10], targets[:10], 10)


def ours(network: Network, run: Run, data: Dataset) -> tuple[list[float], list[float]]:
    """Losses and times at the end of each step of this project's training."""
    times: list[float] = []
    history = train(network, run, data, lambda step, snapshot: times.append(time.process_time()))
    return [row.train_loss for row in history], times


def losses(loop: Loop, run: Run, device: str = "cpu") -> list[float]:
    """Those of each step, on batches of 16 and in double precision, for in single precision
    rounding alone parts the losses of deep networks."""
    run = replace(run, train=replace(run.train, batch_size=16, record_every=1))
    data = data_of(run).to(device)
    double = replace(
        data, train_inputs=data.train_inputs.double(), test_inputs=data.test_inputs.double()
    )
    with quiet():
        return loop(build(run, data).double(), run, double)[0]


def step_seconds(loop: Loop, run: Run, data: Dataset) -> float:
    """The median step."""
    with quiet():
        times = loop(build(run, data), run, data)[1]
    steps = [after - before for before, after in itertools.pairwise(times)]
    return statistics.median(steps[SETTLED:])


def agree(theirs: Loop, run: Run, device: str = "cpu") -> None:
    """Hold that both train alike."""
    both = zip(losses(ours, run, device), losses(theirs, run, device), strict=True)
    for step, (a, b) in enumerate(both):
        assert abs(a - b) <= 1e-4 * abs(a), f"{run}: loss {a} at step {step}, not {b}"


def compare(run: Run, shape: str, against: str, theirs: Loop, goal: str, rounds: int) -> Row:
    what = f"training step, {shape}, {run.variant}, depth {run.depth}"
    agree(theirs, run)
    data = data_of(run)
    return ratio(
        what, against, goal, lambda: step_seconds(ours, run, data),
        lambda: elsewhere(step_seconds, theirs, run, data), rounds,
    )  # fmt: skip


def share_of_peak(run: Run, rounds: int) -> Row:
    """Arithmetic of a step, as PyTorch counts it, over what a matrix product does in its time."""
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
        done = counter.get_total_flops() / step_seconds(ours, run, data)
        shares.append(100 * done / peaks[-1])
    return Row(
        f"arithmetic of a training step, 32x32x3, {run.variant}, depth {run.depth}",
        "matrix product",
        ">= 55 %",
        statistics.median(shares),
        min(shares),
        max(shares),
        f"of {statistics.median(peaks) / 1e9:.0f} GFLOP/s",
    )
