"""Measure dynamical isometry (Saxe et al. 2014; Pennington et al. 2017).

s are the singular values of the Jacobian J = dh_L / dh_0 at one input, from the stem's output to
the last block's, in eval mode and double precision. Products of many random layers spread them over
orders of magnitude. If h_L has more than `outputs` entries, J is replaced by a random slice Q J,
where Q is a fixed random matrix of `outputs` orthonormal rows. Values below 1e-14 of the largest,
the limit of double precision, count as 1e-14 of it.
Rows: example, quantile (0 is the smallest), log10 of that quantile of s; and for the whole example

    log_condition    log10 of the largest s over the smallest s above that floor (the ReLU at the
                     end of a block makes half of its outputs zero, and so some s exactly zero)
    dispersion       variance of s^2 over its squared mean: zero for an isometry
    log_mean_square  log10 of the mean of s^2: zero for an isometry
    nonzero          share of s above the floor

An example whose Jacobian overflows is left out. Quantities: means over examples.
"""

import math

import torch
from torch import Tensor, nn

from analysis.run import Rows, Subject, mean

SETTINGS = {
    "examples": ("count", 2, "training images, evenly spaced over the set"),
    "outputs": ("count", 1, "rows of the Jacobian, or of a random slice of it if it has more"),
}
QUANTITIES = {
    "log_condition": "condition number of the Jacobian",
    "dispersion": "dispersion of squared singular values",
    "log_mean_square": "mean squared singular value of the Jacobian",
    "nonzero": "share of singular values above zero",
}

FLOOR = 1e-14


def measure(subject: Subject, outputs: int) -> Rows:
    network = subject.network.double()
    stem, *body, _ = network.layers.values()
    h = stem(subject.inputs.double()).detach()
    for example in range(len(h)):
        jacobian = sliced_jacobian(nn.Sequential(*body), h[example], outputs, subject.generator())
        if not jacobian.isfinite().all():
            continue
        values = torch.linalg.svdvals(jacobian)
        largest = values.max().clamp(min=1e-300)
        logs = (values / largest).clamp(min=FLOOR).log10() + largest.log10()
        alive = logs[values > FLOOR * largest]
        squares = (values / largest).square()
        whole = {
            "log_condition": (logs.max() - alive.min()).item() if len(alive) else math.nan,
            "dispersion": (squares.var(correction=0) / squares.mean().square()).item(),
            "log_mean_square": (squares.mean().log10() + 2 * largest.log10()).item(),
            "nonzero": len(alive) / len(logs),
        }
        for quantile in [i / 10 for i in range(11)]:
            value = logs.quantile(quantile).item()
            yield {"example": example, "quantile": quantile, "log_singular_value": value, **whole}


def sliced_jacobian(f: nn.Module, point: Tensor, outputs: int, draws: torch.Generator) -> Tensor:
    """Return Q J (min(outputs, D_out), D_in) of a map of images at one image (C, H, W)."""
    size = f(point[None]).numel()
    rows = torch.eye(size, dtype=torch.double)
    if size > outputs:
        rows = torch.linalg.qr(torch.randn(size, outputs, generator=draws).double())[0].T
    # One copy of the point for each row: in eval mode the copies do not see each other.
    points = point.repeat(len(rows), 1, 1, 1).requires_grad_()
    y = f(points).flatten(1)
    return torch.autograd.grad((y * rows.to(y)).sum(), points)[0].flatten(1)


def quantities(rows: list[dict]) -> dict[str, float]:
    firsts = [row for row in rows if row["quantile"] == 0]
    return {name: mean([row[name] for row in firsts]) for name in QUANTITIES}
