"""How much of the input's gradient comes over paths of each length (Veit et al. 2016, section 5.1).

With n blocks there are C(n, k) paths that pass the branches of k blocks and the shortcuts of the
others. For each k, `draws` random ones: the loss is differentiated through the branch in the k
blocks and through the shortcut in all others, down to the output of the stem.

    paths          log10 of C(n, k)
    gradient_norm  mean over draws and examples of the norm of that gradient
    share          C(n, k) gradient_norm, normalised to sum one over k

A plain network has one path, with k = n. Eval mode, whole sample at once, mean loss.
Rows: length k (`lengths` of them, evenly spaced, ends included). Scalars: mean_length, the mean of
k/n weighted by share; log_longest, log10 of the gradient norm over the path through all branches.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.measures.ics import spaced
from analysis.run import Subject, blocks
from models.network import Block, Zero


def measure(subject: Subject, lengths: int, draws: int) -> Iterator[dict]:
    stem, *others = subject.network.layers.values()
    rest = nn.Sequential(*others)
    chain, generator = list(blocks(subject.network).values()), subject.generator()
    with torch.no_grad():
        start = stem(subject.inputs)
    n = len(chain)
    plain = all(isinstance(block.shortcut, Zero) for block in chain)
    rows = []
    for k in [n] if plain else spaced(0, n, lengths):
        norms = []
        for _ in range(draws if 0 < k < n else 1):
            chosen = set(torch.randperm(n, generator=generator)[:k].tolist())
            norms.append(path_norm(rest, chain, chosen, start, subject.targets))
        paths = math.log10(math.comb(n, k))
        rows.append({"length": k, "paths": paths, "gradient_norm": sum(norms) / len(norms)})
    logs = [
        row["paths"] + math.log10(row["gradient_norm"]) if row["gradient_norm"] > 0 else -math.inf
        for row in rows
    ]
    largest = max(logs)
    total = sum(10 ** (log - largest) for log in logs) if math.isfinite(largest) else math.nan
    for row, log in zip(rows, logs, strict=True):
        yield {**row, "share": 10 ** (log - largest) / total, "blocks": n}


def path_norm(
    rest: nn.Module, chain: list[Block], through: set[int], start: Tensor, targets: Tensor
) -> float:
    """Mean norm of one path's gradient: through the branch in blocks `through`, else shortcuts."""
    start = start.detach().requires_grad_()
    with ExitStack() as stack:
        for i, block in enumerate(chain):
            closed = block.shortcut if i in through else block.branch
            hook = closed.register_forward_pre_hook(lambda module, inputs: (inputs[0].detach(),))
            stack.callback(hook.remove)
        loss = F.cross_entropy(rest(start), targets, reduction="sum")
    gradient = torch.autograd.grad(loss, start, allow_unused=True, materialize_grads=True)[0]
    return gradient.flatten(1).norm(dim=1).mean().item()


def scalars(rows: list[dict]) -> dict[str, float]:
    longest = rows[-1]["gradient_norm"]
    return {
        "mean_length": sum(row["share"] * row["length"] / row["blocks"] for row in rows),
        "log_longest": math.log10(longest) if longest > 0 else math.nan,
    }
