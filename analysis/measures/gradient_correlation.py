"""Whether gradients at nearby inputs agree: shattered gradients (Balduzzi et al. 2017).

    grid      Input gradients g_i = df(x_i)/dx along a line of inputs, x_i = x + t_i u, t from -2 to
              2 in `points` equal steps, x the first example, u a Gaussian image (a line through
              the origin would tell nothing of a rectifier network without BatchNorm and biases,
              which is linear on either side of it); f is a fixed random linear readout of what
              the head's linear layer sees, and its gradient is taken along u. Autocorrelation
              R(k) = sum_i (g_i - g)(g_i+k - g) / ((M - k) sigma^2) with g and sigma^2 the mean and
              variance over the M points (their section 2): zero for white noise, near one for a
              smooth function. `coordinate` is the lag k.
    neighbour The same on real inputs: the cosine of the whole input gradients at x and at x + e n,
              n Gaussian noise of the norm of x; mean over examples. `coordinate` is e.
    weights   Mean cosine of the weight gradients of two different examples' losses, over all pairs
              of the first `pairs_of` examples. `coordinate` is empty.

All in eval mode (precise BatchNorm), so that an example's gradient is its own. A gradient that is
zero or not finite has no direction, and leaves NaN.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.run import Subject, per_example

DISTANCES = (0.001, 0.01, 0.1, 1.0)
LAGS = 32


def measure(subject: Subject, points: int, pairs_of: int) -> Iterator[dict]:
    network, inputs = subject.network, subject.inputs
    generator = subject.generator()
    features = body(network)
    direction = torch.randn(inputs.shape[1:], generator=generator).to(inputs)
    readout = torch.randn(network.layers["head"][-1].in_features, generator=generator).to(inputs)

    def f(x: Tensor) -> Tensor:
        return features(x) @ readout

    t = torch.linspace(-2, 2, points, device=inputs.device)
    line = inputs[0] + t[:, None, None, None] * direction
    slopes = (input_gradient(f, line) * direction).flatten(1).sum(1)
    correlations = autocorrelation(slopes)
    for lag in range(LAGS + 1):
        yield row("grid", lag, correlations[lag].item())
    noise = torch.randn(inputs.shape, generator=generator).to(inputs)
    noise *= (inputs.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1))[:, None, None, None]
    here = input_gradient(f, inputs).flatten(1)
    for distance in DISTANCES:
        there = input_gradient(f, inputs + distance * noise).flatten(1)
        yield row("neighbour", distance, cosine(here, there).mean().item())
    gradients = per_example(network, inputs[:pairs_of], subject.targets[:pairs_of], F.cross_entropy)
    yield row("weights", None, mean_pairwise_cosine(gradients).item())


def row(kind: str, coordinate: float | None, correlation: float) -> dict:
    return {"kind": kind, "coordinate": coordinate, "correlation": correlation}


def body(network: nn.Module) -> nn.Sequential:
    """All of a network but its last linear layer."""
    *layers, head = network.layers.values()
    return nn.Sequential(*layers, *head[:-1])


def input_gradient(f, inputs: Tensor) -> Tensor:
    """The gradient of f(x), (B,), in each x, (B, C, H, W), where examples don't see each other."""
    inputs = inputs.detach().requires_grad_()
    return torch.autograd.grad(f(inputs).sum(), inputs)[0]


def autocorrelation(g: Tensor) -> Tensor:
    """R(k) for k = 0 ... M - 1 of a series (M,)."""
    centred = (g - g.mean()).double()
    m = len(g)
    variance = centred.square().mean()
    products = [(centred[: m - k] * centred[k:]).sum() / (m - k) for k in range(m)]
    return torch.stack(products) / variance


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Row by row; NaN where a row is zero."""
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def mean_pairwise_cosine(vectors: Tensor) -> Tensor:
    """Over all pairs of different rows: with u the unit rows, (||sum u||^2 - n) / (n (n - 1))."""
    units = vectors / vectors.norm(dim=1, keepdim=True)
    n = len(units)
    return (units.sum(0).square().sum() - n) / (n * (n - 1))


def scalars(rows: list[dict]) -> dict[str, float]:
    """grid: R(1); neighbour: the cosine at a hundredth of an input's norm; weights."""
    found = {(row["kind"], row["coordinate"]): row["correlation"] for row in rows}
    return {
        "grid": found.get(("grid", 1), math.nan),
        "neighbour": found.get(("neighbour", 0.01), math.nan),
        "weights": found.get(("weights", None), math.nan),
    }
