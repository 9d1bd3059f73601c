"""Time the Hessian against pyhessian."""

import copy
import math
import statistics
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pyhessian
import torch
from torch import nn

from analysis.measures import hessian
from analysis.run import Subject
from models.data.prepare import load
from models.training.lanes import Stack
from models.training.loop import train
from tests.benchmarks.timing import Row, elsewhere, ratio, seconds
from tests.benchmarks.training import study_run


def rows(rounds: int) -> Iterator[Row]:
    for variant in ("residual", "residual_bn"):
        yield spectrum(trained(variant), rounds)


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
