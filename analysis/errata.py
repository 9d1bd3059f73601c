"""Compute in double precision what shows some statements of the diary to be slightly wrong.

python -m analysis.errata --out results/<study>/tables/errata.csv
"""

import argparse
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import skew

from models.files import replacing


def sigmoid() -> Iterator[tuple[str, float]]:
    """Yield how far the sigmoid is from x, and from its tangent 1/2 + x/4, for x from -1 to 1."""
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    zero = torch.zeros((), dtype=torch.float64)
    yield "sigmoid.at_zero", zero.sigmoid().item()
    yield "sigmoid.slope", torch.func.grad(torch.sigmoid)(zero).item()
    yield "sigmoid.from_identity", (x.sigmoid() - x).abs().max().item()
    yield "sigmoid.from_tangent", (x.sigmoid() - (0.5 + x / 4)).abs().max().item()
    yield "tanh.shortfall", 1 - math.tanh(1)


def batch_norm() -> Iterator[tuple[str, float]]:
    """Yield mean, variance and skewness of an exponential sample, before and after BN."""
    generator = torch.Generator().manual_seed(0)
    x = torch.empty(100_000, 1, dtype=torch.float64).exponential_(generator=generator)
    for name, sample in (("before", x), ("after", F.batch_norm(x, None, None, training=True))):
        yield f"bn.mean.{name}", sample.mean().item()
        yield f"bn.variance.{name}", sample.var(correction=0).item()
        yield f"bn.skewness.{name}", skew(sample.numpy()).item()


def layer_gradient() -> Iterator[tuple[str, float]]:
    """Yield the relative errors of two formulas for the gradient of ||O - Y||^2 / 2 in W.

    O is sigmoid(W X). One formula is ((O - Y) * sigmoid'(W X)) X^T. The other is the diary's,
    O sigmoid'(W X) X, read so that its shapes agree.
    """
    generator = torch.Generator().manual_seed(0)
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    weights, inputs, targets = normal(3, 5, requires_grad=True), normal(5, 7), normal(3, 7)
    outputs = (weights @ inputs).sigmoid()
    (exact,) = torch.autograd.grad((outputs - targets).square().sum() / 2, weights)
    slope = outputs * (1 - outputs)
    for name, factor in (("correct", outputs - targets), ("diary", outputs)):
        formula = (factor * slope) @ inputs.T
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
