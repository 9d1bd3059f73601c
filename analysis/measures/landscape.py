"""Slices of the loss about a network's weights (Li et al. 2018), and the way to another seed's.

    line   L(W + x d) for x in [-1, 1], for two random directions d: `direction` is 1 or 2
    plane  L(W + x d_1 + y d_2) over the square of the same two directions
    path   L((1 - x) W + x W') for x in [0, 1], W' another seed's weights at the same moment

Each d is Gaussian and filter-normalised: every filter (output channel; row of the head) has the
norm of the same filter of W. One-dimensional parameters (biases, BatchNorm's scale and shift) stay
as they are. Training images without augmentation, eval mode but for BatchNorm, which normalises by
the statistics of the sample at each point. (Li et al. keep the running averages of W along a slice;
a network whose weights have moved by their own norm is then not normalised at all, and its loss
says so.) Rows: kind, direction, x, y, loss (nats), error.
Scalars of the lines: nonconvexity, the share of downward bending in all bending (sum of negative
second differences over the sum of their sizes; zero is convex, one concave), and log_rise, log10 of
one plus the largest rise of the loss above its value at W.
"""

import copy
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.run import Subject

LARGEST = 1e30


def measure(
    subject: Subject, line: int, plane: int, plane_at: list[str], path: int
) -> Iterator[dict]:
    """`line`, `plane` (of a side) and `path` are numbers of points; odd ones hold W itself."""
    network, generator = batch_statistics(subject.network), subject.generator()
    # What has no direction need not be moved.
    filters = [weight for weight in network.parameters() if weight.ndim > 1]
    start = [weight.detach().clone() for weight in filters]
    first, second = ([d for d in directions(network, generator) if d.ndim > 1] for _ in range(2))

    def at(weights: list[nn.Parameter], to: list[Tensor]) -> tuple[float, float]:
        with torch.no_grad():
            torch._foreach_copy_(weights, to)
        return judged(network, subject)

    for x in grid(-1, 1, line):
        yield row("line", 1, x, None, at(filters, torch._foreach_add(start, first, alpha=x)))
        yield row("line", 2, x, None, at(filters, torch._foreach_add(start, second, alpha=x)))
    for x in grid(-1, 1, plane if subject.moment in plane_at else 0):
        along = torch._foreach_add(start, first, alpha=x)
        for y in grid(-1, 1, plane):
            to = torch._foreach_add(along, second, alpha=y)
            yield row("plane", None, x, y, at(filters, to))
    if subject.other is not None:
        weights = list(network.parameters())
        named = dict(subject.network.named_parameters())
        start = [weight.detach() for weight in named.values()]
        ends = [subject.other[name].to(weight) for name, weight in named.items()]
        for x in grid(0, 1, path):
            yield row("path", None, x, None, at(weights, torch._foreach_lerp(start, ends, x)))


@torch.inference_mode()
def judged(network: nn.Module, subject: Subject) -> tuple[float, float]:
    """Loss and error of the sample in one batch."""
    logits = network(subject.inputs)
    loss = F.cross_entropy(logits, subject.targets).item()
    return loss, (logits.argmax(1) != subject.targets).float().mean().item()


def batch_statistics(network: nn.Module) -> nn.Module:
    """A copy of `network` whose BatchNorm layers know no running averages."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = None
    return network


def directions(network: nn.Module, generator: torch.Generator) -> list[Tensor]:
    """A random direction for each parameter, filter-normalised; zero for one-dimensional ones."""
    weights = [parameter.detach() for parameter in network.parameters()]
    # Laid out in memory as the weights are, to be added fast.
    drawn = [
        torch.empty_like(weight).copy_(torch.randn(weight.shape, generator=generator))
        for weight in weights
    ]
    return [filter_normalised(d, weight) for d, weight in zip(drawn, weights, strict=True)]


def filter_normalised(direction: Tensor, weight: Tensor) -> Tensor:
    """`direction` with each filter, along the first axis, of the norm that it has in `weight`."""
    if weight.ndim < 2:
        return torch.zeros_like(weight)
    shape = (-1, *[1] * (weight.ndim - 1))
    norms = weight.flatten(1).norm(dim=1) / (direction.flatten(1).norm(dim=1) + 1e-10)
    return direction * norms.view(shape)


def grid(low: float, high: float, points: int) -> list[float]:
    return torch.linspace(low, high, points).tolist()


def row(kind: str, direction: int | None, x: float, y: float | None, at: tuple) -> dict:
    loss, error = at
    loss = min(loss, LARGEST) if math.isfinite(loss) else LARGEST
    return {"kind": kind, "direction": direction, "x": x, "y": y, "loss": loss, "error": error}


def scalars(rows: list[dict]) -> dict[str, float]:
    down = total = rise = 0.0
    for direction in (1, 2):
        losses = [row["loss"] for row in rows if row["direction"] == direction]
        bends = [a - 2 * b + c for a, b, c in zip(losses, losses[1:], losses[2:], strict=False)]
        down += sum(-bend for bend in bends if bend < 0)
        total += sum(abs(bend) for bend in bends)
        rise = max(rise, max(losses) - losses[len(losses) // 2])
    return {
        "nonconvexity": down / total if total else math.nan,
        "log_rise": math.log10(1 + rise),
    }
