"""Small demonstrations of what the diary has slightly wrong, computed rather than asserted.

    python -m analysis.errata --out results/<study>/tables/errata.csv

Rows: name, value. In double precision, on a fixed seed where numbers are drawn.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import skew
from torch import Tensor

from models.files import replacing

SAMPLES = 100_000


def sigmoid() -> Iterator[tuple[str, float]]:
    """How far the sigmoid is from x, and from its tangent 1/2 + x/4, for x from -1 to 1."""
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(zero.sigmoid(), zero)
    yield "sigmoid.at_zero", zero.sigmoid().item()
    yield "sigmoid.slope", slope.item()
    yield "sigmoid.from_identity", (x.sigmoid() - x).abs().max().item()
    yield "sigmoid.from_tangent", (x.sigmoid() - (0.5 + x / 4)).abs().max().item()
    yield "tanh.shortfall", 1 - math.tanh(1)


def batch_norm() -> Iterator[tuple[str, float]]:
    """Mean, variance and skewness of an exponential sample, before and after BN."""
    generator = torch.Generator().manual_seed(0)
    x = torch.empty(SAMPLES, 1, dtype=torch.float64).exponential_(generator=generator)
    for name, sample in (("before", x), ("after", F.batch_norm(x, None, None, training=True))):
        yield f"bn.mean.{name}", sample.mean().item()
        yield f"bn.variance.{name}", sample.var(correction=0).item()
        yield f"bn.skewness.{name}", float(skew(sample.numpy()).item())


def layer_gradient() -> Iterator[tuple[str, float]]:
    """How far ((O - Y) * sigmoid'(W X)) X^T, and the diary's O sigmoid'(W X) X read so that its
    shapes agree, are away from the gradient of L = ||O - Y||^2 / 2, O = sigmoid(W X), in W, as
    automatic differentiation has it; relative to its norm."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights, inputs, targets = draw(3, 5).requires_grad_(), draw(5, 7), draw(3, 7)
    outputs = (weights @ inputs).sigmoid()
    (exact,) = torch.autograd.grad((outputs - targets).square().sum() / 2, weights)
    slope = outputs * (1 - outputs)
    for name, formula in (
        ("correct", ((outputs - targets) * slope) @ inputs.T),
        ("diary", (outputs * slope) @ inputs.T),
    ):
        yield f"gradient.{name}", ((formula - exact).norm() / exact.norm()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows = [*sigmoid(), *batch_norm(), *layer_gradient()]
    with replacing(arguments.out) as path:
        pd.DataFrame(rows, columns=["name", "value"]).to_csv(path, index=False)


if __name__ == "__main__":
    main()
