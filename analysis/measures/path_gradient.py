"""Measure how much of the gradient comes over paths of each length (Veit et al. 2016, section 5.1).

With n blocks there are C(n, k) paths that pass the branches of k blocks and the shortcuts of the
others. For each k, the loss is differentiated over `draws` random paths, down to the stem's output.

    paths          log10 of C(n, k)
    gradient_norm  mean over draws and examples of the norm of that gradient
    share          C(n, k) gradient_norm, divided by its sum over k

A plain network has one path, with k = n. Eval mode, the whole sample at once.
Rows: length k (`lengths` of them, evenly spaced, with both ends), blocks n. Quantities: the mean of
k/n weighted by share, and log10 of the gradient norm over the path through all branches.
"""

import math
from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.run import Rows, Subject, blocks, log10, mean, spaced
from models.network import Block

SETTINGS = {
    "examples": ("count", 2, "training images, evenly spaced over the set"),
    "lengths": ("count", 2, "lengths of paths, evenly spaced"),
    "draws": ("count", 1, "random paths of each length"),
}
QUANTITIES = {
    "mean_length": "mean length of the paths of the gradient",
    "log_longest": "gradient over the longest path",
}


def measure(subject: Subject, lengths: int, draws: int) -> Rows:
    stem, *others = subject.network.layers.values()
    rest = nn.Sequential(*others)
    chain, generator = list(blocks(subject.network).values()), subject.generator()
    start = stem(subject.inputs).detach()
    n, plain = len(chain), chain[0].shortcut is None
    rows, logs = [], []
    for k in [n] if plain else spaced(0, n, lengths):
        orders = [torch.randperm(n, generator=generator) for _ in range(draws if 0 < k < n else 1)]
        chosen = [set(order[:k].tolist()) for order in orders]
        norm = mean([path_norm(rest, chain, each, start, subject.targets) for each in chosen])
        paths = math.log10(math.comb(n, k))
        rows.append({"length": k, "paths": paths, "gradient_norm": norm})
        logs.append(paths + math.log10(norm) if norm > 0 else -math.inf)
    largest = max(logs)
    total = sum(10 ** (log - largest) for log in logs) if math.isfinite(largest) else math.nan
    for row, log in zip(rows, logs, strict=True):
        yield {**row, "share": 10 ** (log - largest) / total, "blocks": n}


def path_norm(
    rest: nn.Module, chain: list[Block], through: set[int], start: Tensor, targets: Tensor
) -> float:
    """Return the mean norm of the gradient over the path through these blocks' branches."""
    start = start.detach().requires_grad_()
    with ExitStack() as stack:
        for i, block in enumerate(chain):
            closed = block.shortcut if i in through else block.branch
            if closed is not None:  # a plain block has no shortcut
                hook = closed.register_forward_pre_hook(lambda _, inputs: (inputs[0].detach(),))
                stack.enter_context(hook)
        loss = F.cross_entropy(rest(start), targets, reduction="sum")
    gradient = torch.autograd.grad(loss, start, allow_unused=True, materialize_grads=True)[0]
    return gradient.flatten(1).norm(dim=1).mean().item()


def quantities(rows: list[dict]) -> dict[str, float]:
    return {
        "mean_length": sum(row["share"] * row["length"] / row["blocks"] for row in rows),
        "log_longest": log10(rows[-1]["gradient_norm"]),
    }
