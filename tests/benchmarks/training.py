"""Time a step of training against the usual loop."""

import itertools
import statistics
import time
from collections.abc import Iterator

import torch

from models.data.prepare import Dataset, load
from models.training.lanes import Stack
from models.variant import Run, Shared
from tests.benchmarks.rivals import loop
from tests.benchmarks.timing import USUAL_PROCESS, Row, ratio
from workflow.config import ROOT, load_study
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
            agree(run)
            for lanes, goal in ((1, ">= 1.6 x"), (5, ">= 2.7 x"), (9, ">= 3.0 x")):
                yield compare(run, lanes, "MNIST-1D", goal, rounds)
    run = study_run("cifar10", "residual_bn", 20, 0.01)
    agree(run)
    yield compare(run, 1, "32x32x3", ">= 1.3 x", rounds)


def study_run(study: str, variant: str, depth: int, lr: float) -> Run:
    """Return a run of a study, of one epoch and without augmentation, which the rivals lack."""
    settings = load_study([ROOT / f"workflow/config/{study}.yaml"])
    cell = Plan(settings).cell(variant, depth)
    own = {"budget": 1, "epochs": 1, "seed": 0, "lr": lr, "checkpoints": []}
    run = Run(**cell.model_dump(include=set(Shared.model_fields)), **own)
    return changed(run, warmup_steps=10, augmentation="none")


def changed(run: Run, **training: object) -> Run:
    """Return a run with other settings of its training."""
    return run.model_copy(update={"train": run.train.model_copy(update=training)})


def lanes_of(run: Run, lanes: int, data: Dataset) -> Stack:
    """Return a stack of a run and of others that have the next seeds."""
    return Stack([run.model_copy(update={"seed": run.seed + i}) for i in range(lanes)], data)


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


def agree(run: Run, device: str = "cpu") -> None:
    """Check that both compute the same losses, on batches of 16, in double precision.

    In single precision, rounding alone would make the losses of deep networks differ.
    """
    run = changed(run, batch_size=16)
    data = data_of(run).to(device)
    inputs = data.train_inputs.double()
    data = Dataset(inputs, data.train_targets, inputs[:10], data.train_targets[:10], data.classes)
    torch.set_default_dtype(torch.float64)
    stack = lanes_of(run, 2, data)
    for _ in range(STEPS):
        stack.step()
        stack.record()
    theirs = loop(run, data)[0]
    torch.set_default_dtype(torch.float32)
    for row, other in zip(stack.histories[0], theirs, strict=True):
        close = abs(row.train_loss - other) <= 1e-4 * abs(other)
        assert close, f"{run}: loss {row.train_loss} at step {row.step}, not {other}"


def ours(run: Run, data: Dataset, lanes: int) -> float:
    """Return the seconds of the median step, for each lane."""
    stack = lanes_of(run, lanes, data)
    times = []
    for _ in range(STEPS):
        stack.step()
        times.append(time.process_time())
    return median_step(times) / lanes


def theirs(run: Run, data: Dataset) -> float:
    """Return the seconds of the usual loop's median step."""
    return median_step(loop(run, data)[1])


def median_step(times: list[float]) -> float:
    return statistics.median(b - a for a, b in itertools.pairwise(times[SETTLED:]))


def compare(run: Run, lanes: int, shape: str, goal: str, rounds: int) -> Row:
    what = f"training step, {shape}, {run.variant}, depth {run.depth}, lanes: {lanes}"
    data = data_of(run)

    def rival() -> float:
        return USUAL_PROCESS.submit(theirs, run, data).result()

    return ratio(what, "PyTorch loop", goal, lambda: ours(run, data, lanes), rival, rounds)
