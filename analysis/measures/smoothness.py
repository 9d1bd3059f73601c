"""How smooth the loss is along the gradient (Santurkar et al. 2018, section 3.1 and figure 4).

At the weights W of a moment, with g = dL/dW of the batch that training takes next, for steps eta:

    loss        L(W - eta g): loss variation is its range over eta
    difference  ||g - dL/dW(W - eta g)||: gradient predictiveness is its range
    beta        difference / (eta ||g||): effective beta-smoothness is its maximum

Train mode, all parameters. The steps eta are the same for every network, for a range that depends
on a network's own learning rate would compare different things; `at`, the loss at W, is eta = 0.
Rows: eta. Scalars: log10 of the effective beta, of the largest loss over the loss at W, and of the
norm of g. A loss that overflows counts as 1e30, as it would in single precision's range.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from analysis.run import Subject, flat

LARGEST = 1e30


def measure(subject: Subject, etas: list[float]) -> Iterator[dict]:
    if subject.batch is None:
        return
    network = subject.network.train()
    x, y = subject.batch
    parameters = list(network.parameters())
    start = [parameter.detach().clone() for parameter in parameters]
    loss, g = loss_and_gradient(network, x, y)
    size = flat(g).norm().item()
    yield {"eta": 0.0, "loss": loss, "difference": 0.0, "beta": None, "gradient_norm": size}
    for eta in etas:
        with torch.no_grad():
            for parameter, w, slope in zip(parameters, start, g, strict=True):
                parameter.copy_(w - eta * slope)
        there, h = loss_and_gradient(network, x, y)
        difference = bounded((flat(g) - flat(h)).norm().item())
        yield {
            "eta": eta,
            "loss": bounded(there),
            "difference": difference,
            "beta": difference / (eta * size) if size else math.nan,
            "gradient_norm": size,
        }


def loss_and_gradient(network, x, y) -> tuple[float, list[torch.Tensor]]:
    loss = F.cross_entropy(network(x), y)
    return loss.item(), list(torch.autograd.grad(loss, list(network.parameters())))


def bounded(value: float) -> float:
    return min(value, LARGEST) if math.isfinite(value) else LARGEST


def scalars(rows: list[dict]) -> dict[str, float]:
    if not rows:
        return {}
    here, *steps = rows
    size = here["gradient_norm"]
    return {
        "log_beta": math.log10(max(row["beta"] for row in steps)) if size else math.nan,
        "log_loss_rise": math.log10(max(row["loss"] for row in steps) / here["loss"]),
        "log_gradient_norm": math.log10(size) if size else math.nan,
    }
