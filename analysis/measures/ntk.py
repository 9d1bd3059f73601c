"""The empirical neural tangent kernel and how well-conditioned it is.

    Theta_ij = (1/K) sum_c <df_c(x_i)/dW, df_c(x_j)/dW>

over all parameters W and the K logits f_c: the kernel in which small steps of gradient descent
would fit the training set (Jacot et al. 2018; Xiao et al. 2020 tie its condition number to whether
a deep network trains). In eval mode, so that f(x_i) is a function of x_i alone.
Rows: index (0 the largest) and eigenvalue of Theta on the first `examples` images.
Scalars: log_condition, log10 of the largest over the smallest eigenvalue (those under 1e-7 of the
largest count as 1e-7: single precision tells no more), and log_trace, log10 of the mean of
Theta_ii.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from analysis.run import Subject, per_example

FLOOR = 1e-7
TOGETHER = 6_000_000  # numbers in the gradients that are computed at once: more leave the caches


def measure(subject: Subject) -> Iterator[dict]:
    kernel = tangent_kernel(subject.network, subject.inputs)
    values = torch.linalg.eigvalsh(kernel).flip(0) if kernel.isfinite().all() else []
    for index, value in enumerate(values):
        yield {"index": index, "eigenvalue": value.item()}


def tangent_kernel(network: nn.Module, inputs: Tensor) -> Tensor:
    """Theta, (N, N), in double precision."""
    n, classes = len(inputs), network.layers["head"][-1].out_features
    kernel = torch.zeros(n, n, dtype=torch.double, device=inputs.device)
    numbers = n * sum(parameter.numel() for parameter in network.parameters())
    for some in torch.arange(classes).split(max(1, TOGETHER // numbers)):
        index = some.repeat_interleave(n).to(inputs.device)
        images = inputs.repeat(len(some), 1, 1, 1)
        gradients = per_example(network, images, index, lambda logits, c: logits[0, c].sum())
        gradients = gradients.view(len(some), n, -1)
        kernel += (gradients @ gradients.mT).double().sum(0)
    return kernel / classes


def scalars(rows: list[dict]) -> dict[str, float]:
    values = [row["eigenvalue"] for row in rows]
    if not values or values[0] <= 0:
        return {"log_condition": math.nan, "log_trace": math.nan}
    smallest = max(values[-1], FLOOR * values[0])
    return {
        "log_condition": math.log10(values[0] / smallest),
        "log_trace": math.log10(sum(values) / len(values)),
    }
