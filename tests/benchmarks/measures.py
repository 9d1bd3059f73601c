"""Time the Hessian against pyhessian, and a slice of the loss against two other programs."""

import copy
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace

import loss_landscapes
import numpy as np
import pyhessian
import torch
from loss_landscapes.metrics import Loss
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from analysis.measures import hessian, landscape
from analysis.run import Subject, TrainedRun
from models.data.prepare import load
from models.initialise import build
from models.training.evaluate import final_metrics
from models.training.loop import train, weights_of
from tests.benchmarks.rivals import rival
from tests.benchmarks.timing import Row, elsewhere, quiet, ratio, seconds
from tests.benchmarks.training import changed, study_run

SIDE = 21  # points along a side of the slice


def rows(rounds: int) -> Iterator[Row]:
    for variant in ("residual", "residual_bn"):
        subject = trained(variant)
        yield spectrum(subject, rounds)
        yield from planes(subject, rounds)


def trained(variant: str) -> Subject:
    """Return a network of depth 20 after two epochs of training.

    Its largest eigenvalue is positive there. pyhessian finds the eigenvalue of the largest size
    only, and cannot find a negative trace.
    """
    run = changed(study_run("default", variant, 20, 0.1), epochs=2)
    data = load(run.dataset)
    network = build(run, data)
    with quiet():
        final_metrics(network, run, data, train(network, run, data))
    return TrainedRun(run, data, {"end": weights_of(network)}).subject("end")


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
    spread = math.sqrt(statistics.variance(samples) / len(samples))
    probes = math.ceil(variance(subject, steps) / spread**2)
    mean, other = statistics.mean(samples), ours(steps, probes)[1]
    assert error < 0.01, f"{what}: {right}, pyhessian's is {top}"
    apart = abs(other - mean)
    assert apart < 4 * math.sqrt(2) * spread, f"{what}: {other}, pyhessian's is {mean} +- {spread}"
    row = ratio(
        what, "pyhessian", ">= 2 x", lambda: seconds(ours, steps, probes),
        lambda: elsewhere(seconds, by_pyhessian, subject), rounds,
    )  # fmt: skip
    return replace(row, note=f"{row.note}; {steps} + {probes} products")


def by_pyhessian(subject: Subject) -> tuple[float, list[float]]:
    """Return the largest eigenvalue and samples of the trace."""
    torch.manual_seed(0)
    network = copy.deepcopy(subject.network).train()
    network.eval = lambda: network  # ours is the Hessian of train mode; pyhessian asks for eval
    found = pyhessian.hessian(
        network, nn.CrossEntropyLoss(), data=(subject.inputs, subject.targets), cuda=False
    )
    return found.eigenvalues()[0][0], found.trace()


def variance(subject: Subject, steps: int) -> float:
    """Return the variance of one probe's estimate of the trace after some steps of Lanczos."""
    product = hessian.hessian_product(subject.network.train(), subject.inputs, subject.targets)
    size = sum(parameter.numel() for parameter in subject.network.parameters())
    generator = torch.Generator().manual_seed(0)
    v, *draws = torch.randint(0, 2, (51, size), generator=generator) * 2.0 - 1
    basis = hessian.quadrature(product, v, steps)[2]
    unseen = [hessian.outside(basis, u) for u in draws]
    return statistics.variance(torch.dot(u, product(u)).item() for u in unseen)


def planes(subject: Subject, rounds: int) -> Iterator[Row]:
    """Time the same slice by loss-landscapes and by a loop like that of Li et al.

    loss-landscapes scans every second line backwards, and is one point off there. So the comparison
    shifts these lines by one point.
    """
    what = f"2-D slice of the loss, {SIDE} x {SIDE}, {subject.run.variant}, depth 20"
    subject = subject.sample(128)
    # The usual network has the same loss at the same weights.
    inputs = subject.inputs.squeeze(2).contiguous()
    usual = rival(subject.network, subject.run, inputs, 10).train()
    generator = subject.generator()
    weights = [weight.detach() for weight in subject.network.parameters()]
    # The directions of the measure, in the memory layout of the usual network.
    shapes = [weight.shape for weight in usual.parameters()]
    drawn = [
        [d.reshape(shape).contiguous() for d, shape in zip(directions, shapes, strict=True)]
        for directions in (landscape.directions(weights, generator) for _ in range(2))
    ]

    def ours() -> np.ndarray:
        own = replace(subject, network=copy.deepcopy(subject.network))  # the measure changes it
        rows = landscape.measure(own, line=0, plane=SIDE, plane_at=["end"], path=0)
        return np.reshape([row["loss"] for row in rows], (SIDE, SIDE))

    def against(name: str, work: Callable, *arguments: object) -> Row:
        return ratio(
            what, name, ">= 2 x", lambda: seconds(ours),
            lambda: elsewhere(seconds, work, *arguments, inputs, subject.targets), rounds,
        )  # fmt: skip

    mine = ours()
    step = 2 / (SIDE - 1)
    corners = [moved(usual, *drawn, x, y) for x, y in ((-1, -1), (1 + step, -1), (-1, 1 + step))]
    other = by_loss_landscapes(corners, inputs, subject.targets)
    np.testing.assert_allclose(other[1::2], mine[1::2], rtol=1e-3, err_msg=what)
    np.testing.assert_allclose(other[::2, :-1], mine[::2, 1:], rtol=1e-3, err_msg=what)
    yield against("loss-landscapes", by_loss_landscapes, corners)
    other = by_loop(usual, *drawn, inputs, subject.targets)
    np.testing.assert_allclose(other, mine, rtol=1e-3, err_msg=what)
    yield against("loop of Li et al.", by_loop, usual, *drawn)


def moved(
    network: nn.Module, first: list[Tensor], second: list[Tensor], x: float, y: float
) -> nn.Module:
    """Return a copy of the network, moved by x and y along two directions."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for weight, d, e in zip(network.parameters(), first, second, strict=True):
            weight += x * d + y * e
    return network


def by_loss_landscapes(corners: list[nn.Module], inputs: Tensor, targets: Tensor) -> np.ndarray:
    loss = Loss(nn.CrossEntropyLoss(), inputs, targets)
    start = copy.deepcopy(corners[0])  # the library moves it
    return loss_landscapes.planar_interpolation(start, *corners[1:], loss, steps=SIDE)


def by_loop(
    network: nn.Module, first: list[Tensor], second: list[Tensor], inputs: Tensor, targets: Tensor
) -> np.ndarray:
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
    return np.reshape(losses, (SIDE, SIDE))
