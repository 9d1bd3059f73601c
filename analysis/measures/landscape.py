"""Measure slices of the loss about a network's weights W (Li et al. 2018), and the line to W',
another seed's weights at the same checkpoint. Rows: kind, direction, x, y, loss (nats), error.

    line   L(W + x d) for x in [-1, 1] and two random directions d: `direction` is 1 or 2
    plane  L(W + x d_1 + y d_2) over the square of the same two directions
    path   L((1 - x) W + x W') for x in [0, 1]

Each d is Gaussian and filter-normalised: every filter (an output channel, or a row of the head) has
the norm of the same filter of W. One-dimensional parameters (biases, BatchNorm's scale and shift)
stay. Images are not augmented. Eval mode, except that BatchNorm normalises by the statistics of the
sample at each point. (Li et al. keep the running averages of W, which do not normalise a network
whose weights have moved by their own norm; its loss then shows only that.)
Quantities of the lines: nonconvexity, the sum of the negative second differences over the sum of
the sizes of all of them (zero is convex, one is concave); and log_rise, log10 of one plus the
largest rise of the loss above its value at W.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.run import Rows, Subject, bounded

SETTINGS = {
    "examples": ("count", 2, "training images, evenly spaced over the set"),
    "line": ("count", 3, "points of a slice along one direction; an odd number includes W"),
    "plane": ("count", 2, "points along a side of a slice in two directions"),
    "plane_at": ("checkpoints", 0, "checkpoints at which the slice in two directions is made"),
    "path": ("count", 2, "points on the line to another seed's weights"),
}
QUANTITIES = {
    "nonconvexity": "downward bending of loss slices",
    "log_rise": "largest rise of the loss along its slices",
}


def measure(subject: Subject, line: int, plane: int, plane_at: list, path: int) -> Rows:
    network, generator = subject.network, subject.generator()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # without averages it takes the sample's statistics
            module.track_running_stats = False
            module.running_mean = module.running_var = None
    weights = list(network.parameters())
    start = [weight.detach().clone() for weight in weights]
    first, second = (directions(start, generator) for _ in range(2))

    @torch.inference_mode()
    def row(values: list[Tensor], kind: str, x: float, y=None, direction=None) -> dict:
        torch._foreach_copy_(weights, values)
        logits = network(subject.inputs)
        loss = bounded(F.cross_entropy(logits, subject.targets).item())
        error = (logits.argmax(1) != subject.targets).float().mean().item()
        place = {"kind": kind, "direction": direction, "x": x, "y": y}
        return {**place, "loss": loss, "error": error}

    for x in torch.linspace(-1, 1, line).tolist():
        for number, direction in enumerate((first, second), start=1):
            yield row(torch._foreach_add(start, direction, alpha=x), "line", x, direction=number)
    side = torch.linspace(-1, 1, plane if subject.checkpoint in plane_at else 0).tolist()
    for x in side:
        along = torch._foreach_add(start, first, alpha=x)
        for y in side:
            yield row(torch._foreach_add(along, second, alpha=y), "plane", x, y)
    if subject.other is not None:
        ends = [subject.other[name].to(weight) for name, weight in network.named_parameters()]
        for x in torch.linspace(0, 1, path).tolist():
            yield row(torch._foreach_lerp(start, ends, x), "path", x)


def directions(weights: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Return a random direction for each weight: filter-normalised, or zero without filters."""
    found = []
    for weight in weights:
        noise = torch.randn(weight.shape, generator=generator)
        d = torch.zeros_like(weight)  # in the weight's memory layout, which makes additions fast
        if weight.ndim > 1:
            d.copy_(noise)
            scale = weight.flatten(1).norm(dim=1) / (d.flatten(1).norm(dim=1) + 1e-10)
            d *= scale.view(-1, *[1] * (weight.ndim - 1))
        found.append(d)
    return found


def quantities(rows: list[dict]) -> dict[str, float]:
    down = total = rise = 0.0
    for direction in (1, 2):
        losses = [row["loss"] for row in rows if row["direction"] == direction]
        bends = [a - 2 * b + c for a, b, c in zip(losses, losses[1:], losses[2:], strict=False)]
        down += sum(-bend for bend in bends if bend < 0)
        total += sum(abs(bend) for bend in bends)
        rise = max(rise, max(losses) - losses[len(losses) // 2])
    return {"nonconvexity": down / total if total else math.nan, "log_rise": math.log10(1 + rise)}
