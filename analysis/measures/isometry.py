"""How far the network's Jacobian is from an isometry: dynamical isometry (Saxe et al. 2014;
Pennington et al. 2017).

The singular values s of J = dh_L / dh_0 at one input, from the stem's output to the last block's,
in eval mode and double precision. An isometry has all of them equal; products of many random layers
spread them over orders of magnitude. Where h_L has more than `outputs` entries, J is replaced by
Q J with Q a fixed random matrix of `outputs` orthonormal rows, a random slice of it.
Rows: example, quantile (0 the smallest) and log10 of that quantile of s; those under 1e-14 of the
largest count as 1e-14 of it, all that double precision tells. Each with its example's

    log_condition    log10 of the largest over the smallest s above that floor (the ReLU that ends a
                     block makes half of its outputs, and so some of all s, exactly zero)
    dispersion       variance of s^2 over its squared mean: zero for an isometry
    log_mean_square  log10 of the mean of s^2: zero for an isometry
    nonzero          share of s above the floor

Scalars: means over examples. An example whose Jacobian overflows is left out.
"""

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from analysis.run import Subject

FLOOR = 1e-14
FACTS = ("log_condition", "dispersion", "log_mean_square", "nonzero")
QUANTILES = tuple(i / 10 for i in range(11))


def measure(subject: Subject, outputs: int) -> Iterator[dict]:
    network = copy.deepcopy(subject.network).double()
    stem, *body, _ = network.layers.values()
    with torch.no_grad():
        h = stem(subject.inputs.double())
    for example in range(len(h)):
        jacobian = sliced_jacobian(nn.Sequential(*body), h[example], outputs, subject.generator())
        if not jacobian.isfinite().all():
            continue
        values = torch.linalg.svdvals(jacobian)
        largest = values.max().clamp(min=1e-300)
        logs = (values / largest).clamp(min=FLOOR).log10() + largest.log10()
        alive = logs[values > FLOOR * largest]
        squares = (values / largest).square()
        facts = {
            "log_condition": (logs.max() - alive.min()).item() if len(alive) else math.nan,
            "dispersion": (squares.var(correction=0) / squares.mean().square()).item(),
            "log_mean_square": (squares.mean().log10() + 2 * largest.log10()).item(),
            "nonzero": len(alive) / len(logs),
        }
        for quantile in QUANTILES:
            value = logs.quantile(quantile).item()
            yield {
                "example": example,
                "quantile": quantile,
                "log_singular_value": value,
                **facts,
            }


def sliced_jacobian(
    function: nn.Module, point: Tensor, outputs: int, generator: torch.Generator
) -> Tensor:
    """Q J, (min(outputs, D_out), D_in), of a map of images at one of them, (C, H, W)."""
    with torch.no_grad():
        size = function(point[None]).numel()
    rows = torch.eye(size, dtype=torch.double)
    if size > outputs:
        rows = torch.linalg.qr(torch.randn(size, outputs, generator=generator).double())[0].T
    # One copy of the point for each row: in eval mode they don't see each other.
    points = point.repeat(len(rows), 1, 1, 1).requires_grad_()
    y = function(points).flatten(1)
    return torch.autograd.grad((y * rows.to(y)).sum(), points)[0].flatten(1)


def scalars(rows: list[dict]) -> dict[str, float]:
    firsts = [row for row in rows if row["quantile"] == 0]
    return {
        name: sum(row[name] for row in firsts) / len(firsts) if firsts else math.nan
        for name in FACTS
    }
