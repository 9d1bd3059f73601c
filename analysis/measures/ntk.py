"""Measure the empirical neural tangent kernel and how well-conditioned it is.

    Theta_ij = (1/K) sum_c <df_c(x_i)/dW, df_c(x_j)/dW>

W are all parameters and f_c the K logits. Small steps of gradient descent would fit the training
set in this kernel (Jacot et al. 2018); Xiao et al. 2020 tie its condition number to whether a deep
network trains. Eval mode, so that f(x_i) depends on x_i alone.
Rows: index (0 is the largest), eigenvalue of Theta on the sample; none if Theta is not finite.
Quantities: log_condition, log10 of the largest over the smallest eigenvalue, which counts as at
least 1e-7 of the largest, the limit of single precision; and log_trace, log10 of the mean of
Theta_ii. Both are NaN if no eigenvalue is above zero.
"""

import math

import torch
from torch import Tensor, nn

from analysis.run import Rows, Subject, per_example

SETTINGS = {"examples": ("count", 2, "training images, evenly spaced over the set")}
QUANTITIES = {
    "log_condition": "condition number of the tangent kernel",
    "log_trace": "mean diagonal of the tangent kernel",
}

TOGETHER = 6_000_000  # entries of the gradients that are computed at once; more leave the caches


def measure(subject: Subject) -> Rows:
    kernel = tangent_kernel(subject.network, subject.inputs)
    values = torch.linalg.eigvalsh(kernel).flip(0) if kernel.isfinite().all() else []
    for index, value in enumerate(values):
        yield {"index": index, "eigenvalue": value.item()}


def tangent_kernel(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return Theta (N, N) in double precision."""
    n, classes = len(inputs), network.layers["head"][-1].out_features
    kernel = torch.zeros(n, n, dtype=torch.double, device=inputs.device)
    entries = n * sum(parameter.numel() for parameter in network.parameters())
    for some in torch.arange(classes).split(max(1, TOGETHER // entries)):
        index = some.repeat_interleave(n).to(inputs.device)
        images = inputs.repeat(len(some), 1, 1, 1)
        gradients = per_example(network, images, index, lambda logits, c: logits[0, c].sum())
        gradients = gradients.view(len(some), n, -1)
        kernel += (gradients @ gradients.mT).double().sum(0)
    return kernel / classes


def quantities(rows: list[dict]) -> dict[str, float]:
    values = [row["eigenvalue"] for row in rows]
    if values[0] <= 0:
        return dict.fromkeys(QUANTITIES, math.nan)
    condition, trace = values[0] / max(values[-1], 1e-7 * values[0]), sum(values) / len(values)
    return {"log_condition": math.log10(condition), "log_trace": math.log10(trace)}
