"""Measure whether gradients at nearby inputs agree: shattered gradients (Balduzzi et al. 2017).

f is a fixed random linear readout of the input of the head's linear layer. `kind` is one of

    grid       autocorrelation R(k) of the slopes g_i = df(x + t_i u)/dt at M = `points` steps t
               from -2 to 2, where x is the first example and u a Gaussian image. (Through the
               origin, a rectifier network without BatchNorm and biases is linear on either side.)
               R(k) = sum_i (g_i - g)(g_{i+k} - g) / ((M - k) sigma^2), with mean g and variance
               sigma^2 over all points (their section 2). It is zero for white noise and near one
               for a smooth function. `coordinate` is the lag k
    neighbour  cosine of the input gradients df/dx at x and at x + e n, mean over examples, where n
               is Gaussian noise of the norm of x. `coordinate` is e
    weights    mean cosine of the weight gradients of two different examples' losses, over all pairs
               of the first `pairs_of` examples. `coordinate` is empty

Eval mode with precise BatchNorm, so that the gradient of an example depends on that example alone.
Where a gradient is zero or not finite, the correlation is NaN.
Quantities: R(1), the cosine at e = 0.01, and the cosine of weight gradients.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.run import Rows, Subject, per_example

SETTINGS = {
    "examples": ("count", 2, "training images, evenly spaced over the set"),
    "points": ("count", 40, "points on the line of inputs"),
    "pairs_of": ("count", 2, "examples whose weight gradients are compared, each with each"),
}
QUANTITIES = {
    "grid": "autocorrelation of gradients on a line",
    "neighbour": "cosine of gradients at close inputs",
    "weights": "cosine of examples' weight gradients",
}

DISTANCES = (0.001, 0.01, 0.1, 1.0)
LAGS = 32
REPORTED = {"grid": 1, "neighbour": 0.01, "weights": None}  # coordinates of the quantities


def measure(subject: Subject, points: int, pairs_of: int) -> Rows:
    network, inputs = subject.network, subject.inputs
    generator = subject.generator()
    *layers, head = network.layers.values()
    features = nn.Sequential(*layers, *head[:-1])
    direction = torch.randn(inputs.shape[1:], generator=generator).to(inputs)
    readout = torch.randn(head[-1].in_features, generator=generator).to(inputs)

    def f(x: Tensor) -> Tensor:
        return features(x) @ readout

    t = torch.linspace(-2, 2, points, device=inputs.device)
    line = inputs[0] + t[:, None, None, None] * direction
    slopes = (input_gradient(f, line) * direction).flatten(1).sum(1)
    centred = (slopes - slopes.mean()).double()
    variance = centred.square().mean()
    for lag in range(LAGS + 1):
        product = (centred[: points - lag] * centred[lag:]).sum() / (points - lag)
        yield {"kind": "grid", "coordinate": lag, "correlation": (product / variance).item()}
    noise = torch.randn(inputs.shape, generator=generator).to(inputs)
    noise *= (inputs.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1))[:, None, None, None]
    here = input_gradient(f, inputs).flatten(1)
    for distance in DISTANCES:
        there = input_gradient(f, inputs + distance * noise).flatten(1)
        cosine = ((here * there).sum(1) / (here.norm(dim=1) * there.norm(dim=1))).mean()
        yield {"kind": "neighbour", "coordinate": distance, "correlation": cosine.item()}
    gradients = per_example(network, inputs[:pairs_of], subject.targets[:pairs_of], F.cross_entropy)
    units, n = gradients / gradients.norm(dim=1, keepdim=True), len(gradients)
    # The square of the sum counts each pair twice, and each row once with itself.
    cosine = (units.sum(0).square().sum() - n) / (n * (n - 1))
    yield {"kind": "weights", "coordinate": None, "correlation": cosine.item()}


def input_gradient(f: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Return the gradient of f(x) (B,) in each x (B, C, H, W). Examples must not see each other."""
    inputs = inputs.detach().requires_grad_()
    return torch.autograd.grad(f(inputs).sum(), inputs)[0]


def quantities(rows: list[dict]) -> dict[str, float]:
    found = {(row["kind"], row["coordinate"]): row["correlation"] for row in rows}
    return {kind: found[kind, coordinate] for kind, coordinate in REPORTED.items()}
