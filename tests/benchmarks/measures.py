"""Time the Hessian against pyhessian, and a slice of the loss against a loop."""

import copy
import math
import statistics
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pyhessian
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from analysis.measures import hessian, landscape
from analysis.run import Subject
from models.data.prepare import load
from models.training.lanes import Stack
from models.training.loop import train
from tests.benchmarks.rivals import rival
from tests.benchmarks.timing import Row, elsewhere, ratio, seconds
from tests.benchmarks.training import study_run

SIDE = 21  # points along a side of the slice


def rows(rounds: int) -> Iterator[Row]:
    for variant in ("residual", "residual_bn"):
        subject = trained(variant)
        yield spectrum(subject, rounds)
        yield plane(subject, rounds)


def trained(variant: str) -> Subject:
    """Return a network of depth 20 after two epochs of training.

    Its largest eigenvalue is positive there. pyhessian finds the eigenvalue of the largest size
    only, and cannot find a negative trace.
    """
    run = study_run("default", variant, 20, 0.1).model_copy(update={"epochs": 2})
    data = load(run.dataset)
    stack = Stack([run], data)
    train(stack)
    return Subject(run, "end", stack.network, data.train_inputs, data.train_targets)


def spectrum(subject: Subject, rounds: int) -> Row:
    """Time the largest eigenvalue and the trace.

    pyhessian stops by its own rule. Ours stops when its errors are as small: many steps of Lanczos
    give the eigenvalue, and the standard error of the mean is the error of the trace.
    """
    what = f"Hessian, largest eigenvalue and trace, {subject.run.variant}, depth 20"
    subject = subject.sample(64)

    def ours(steps: int, probes: int) -> tuple[float, float]:
        rows = list(hessian.measure(subject, vectors=1, steps=steps, probes=probes))
        return max(row["eigenvalue"] for row in rows), rows[0]["trace"]

    right, _ = ours(60, 1)
    top, samples = by_pyhessian(subject)
    error = abs(top / right - 1)
    steps = next(n for n in range(2, 60) if abs(ours(n, 1)[0] / right - 1) <= error)
    mean, spread = statistics.mean(samples), statistics.stdev(samples) / math.sqrt(len(samples))
    rows = hessian.measure(subject, vectors=50, steps=steps, probes=1)
    traces = {row["vector"]: row["trace"] for row in rows}
    probes = math.ceil(statistics.variance(traces.values()) / spread**2)
    trace = ours(steps, probes)[1]
    assert error < 0.01, f"{what}: {right}, pyhessian's is {top}"
    apart = abs(trace - mean) / spread
    assert apart < 4 * math.sqrt(2), f"{what}: {trace}, pyhessian's is {mean} +- {spread}"
    own = partial(seconds, ours, steps, probes)
    theirs = partial(elsewhere, seconds, by_pyhessian, subject)
    row = ratio(what, "pyhessian", ">= 2 x", own, theirs, rounds)
    return replace(row, note=f"{row.note}; {steps} + {probes} products")


def by_pyhessian(subject: Subject) -> tuple[float, list[float]]:
    """Return the largest eigenvalue and samples of the trace."""
    torch.manual_seed(0)
    network = copy.deepcopy(subject.network).train()
    network.eval = lambda: network  # ours is the Hessian of train mode; pyhessian asks for eval
    data = subject.inputs, subject.targets
    found = pyhessian.hessian(network, nn.CrossEntropyLoss(), data, cuda=False)
    return found.eigenvalues()[0][0], found.trace()


def plane(subject: Subject, rounds: int) -> Row:
    """Time the same slice by a loop like that of Li et al."""
    what = f"2-D slice of the loss, {SIDE} x {SIDE}, {subject.run.variant}, depth 20"
    subject = subject.sample(128)
    # The usual network has the same loss at the same weights.
    inputs = subject.inputs.squeeze(2).contiguous()
    usual = rival(subject.network, subject.run, inputs, 10).train()
    weights = [weight.detach() for weight in usual.parameters()]
    generator = subject.generator()  # it draws the directions of the measure
    drawn = [landscape.directions(weights, generator) for _ in range(2)]

    def ours() -> list[float]:
        own = replace(subject, network=copy.deepcopy(subject.network))  # the measure changes it
        rows = landscape.measure(own, line=0, plane=SIDE, plane_at=["end"], path=0)
        return [row["loss"] for row in rows]

    loop = partial(by_loop, usual, *drawn, inputs, subject.targets)
    np.testing.assert_allclose(loop(), ours(), rtol=1e-3, err_msg=what)
    theirs = partial(elsewhere, seconds, loop)
    return ratio(what, "loop of Li et al.", ">= 2 x", partial(seconds, ours), theirs, rounds)


def by_loop(
    network: nn.Module, first: list[Tensor], second: list[Tensor], inputs: Tensor, targets: Tensor
) -> list[float]:
    """Return the losses of a slice as the code of Li et al. 2018 computes them.

    At each point all weights are set, one by one, and loss and errors are counted over a
    DataLoader's batches of 128. The network is in train mode here.
    """
    network = copy.deepcopy(network)
    weights = [weight.detach().clone() for weight in network.parameters()]
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=128)
    criterion = nn.CrossEntropyLoss()
    losses = []
    for x in np.linspace(-1, 1, SIDE):
        for y in np.linspace(-1, 1, SIDE):
            for weight, w, d, e in zip(network.parameters(), weights, first, second, strict=True):
                weight.data = w + (d * x + e * y)
            total = correct = 0
            with torch.no_grad():
                for images, labels in loader:
                    logits = network(images)
                    total += criterion(logits, labels).item() * len(labels)
                    correct += (logits.argmax(1) == labels).sum().item()
            losses.append(total / len(targets))
    return losses
