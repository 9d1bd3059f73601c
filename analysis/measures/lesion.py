"""Measure what a network loses when blocks are deleted or change places (Veit et al. 2016).

    whole    the network as it is
    one      block `block` is deleted: k = 1
    several  k random blocks are deleted, `draws` times
    permute  k random pairs of blocks of one stage change places, one pair after the other, `draws`
             times; the first block of a stage, which may change shape, stays

A deleted block is replaced by its shortcut, without what comes after the addition (the block's
input is rectified already). A plain block is replaced by the identity, or by He et al.'s option A
where the shape changes. Training images, eval mode; BatchNorm's statistics stay as they are.
Rows: kind, k, block (1 is the first), draw, loss (nats), error. Quantities: one, log10 of one plus
the mean over blocks of the rise of the loss when a block is deleted; error, of the whole network.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from analysis.run import Rows, Subject, blocks, bounded, mean
from models.layers import Identity
from models.network import Block

SETTINGS = {
    "examples": ("count", 2, "training images, evenly spaced over the set"),
    "several": ("counts", 1, "numbers of blocks to delete, and of pairs to swap"),
    "draws": ("count", 1, "random choices of blocks for each of these numbers"),
}
QUANTITIES = {
    "one": "rise of the loss when a block is deleted",
    "error": "error of the whole network",
}


def measure(subject: Subject, several: list[int], draws: int) -> Rows:
    network, generator = subject.network, subject.generator()
    whole = blocks(network)
    names = list(whole)
    deleted = {name: block.shortcut or Identity(*block.shape) for name, block in whole.items()}

    @torch.inference_mode()
    def row(kind: str, k: int, changed: dict[str, nn.Module], block=None, draw=None) -> dict:
        layers = {**network.layers, **changed}
        logits = nn.Sequential(*layers.values())(subject.inputs)
        loss = bounded(F.cross_entropy(logits, subject.targets).item())
        wrong = (logits.argmax(1) != subject.targets).sum().item()
        place = {"kind": kind, "k": k, "block": block, "draw": draw}
        return {**place, "loss": loss, "error": wrong / len(logits)}

    yield row("whole", 0, {})
    for number, name in enumerate(names, start=1):
        yield row("one", 1, {name: deleted[name]}, block=number)
    stages = [[name for name in names if name.startswith(f"stage{i}_")][1:] for i in (1, 2, 3)]
    stages = [stage for stage in stages if len(stage) > 1]
    for k in several:
        for draw in range(draws):
            if k <= len(names):
                chosen = torch.randperm(len(names), generator=generator)[:k]
                yield row("several", k, {names[i]: deleted[names[i]] for i in chosen}, draw=draw)
            if stages:
                yield row("permute", k, swapped(whole, stages, k, generator), draw=draw)


def swapped(
    whole: dict[str, Block], stages: list[list[str]], k: int, generator: torch.Generator
) -> dict[str, Block]:
    """Return the blocks after k swaps within a stage, drawn in proportion to the stages' sizes."""
    order = dict(whole)
    sizes = torch.tensor([float(len(stage)) for stage in stages])
    for _ in range(k):
        stage = stages[torch.multinomial(sizes, 1, generator=generator).item()]
        i, j = torch.randperm(len(stage), generator=generator)[:2].tolist()
        order[stage[i]], order[stage[j]] = order[stage[j]], order[stage[i]]
    return order


def quantities(rows: list[dict]) -> dict[str, float]:
    whole, *others = rows
    rise = mean([row["loss"] - whole["loss"] for row in others if row["kind"] == "one"])
    return {"one": math.log10(1 + max(rise, 0.0)), "error": whole["error"]}
