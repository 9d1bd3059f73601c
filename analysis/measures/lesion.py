"""What a network loses when blocks are deleted or change places (Veit et al. 2016).

    whole    the network as it is
    one      block `block` deleted: k = 1
    several  k blocks deleted at random, `draws` times
    permute  k random swaps of two blocks of one stage (not its first, which may change shape), each
             with another, `draws` times

A deleted block is replaced by its shortcut, without what comes after the addition (its input is
rectified already); in a plain network, which has none, by the identity, or by He et al.'s option A
where the shape changes. Training images, eval mode, BatchNorm's statistics left as they are.
Rows: kind, k, block (1 the first), draw, loss (nats), error. Scalars: one, the mean over blocks of
the rise of the loss when one is deleted, as log10(1 + rise); error, of the whole network.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.measures.identity_distance import unchanged
from analysis.run import Subject, blocks
from models.network import Block, Zero

LARGEST = 1e30


def measure(subject: Subject, several: list[int], draws: int) -> Iterator[dict]:
    network, generator = subject.network.eval(), subject.generator()
    whole = blocks(network)
    names, layers = list(whole), dict(network.layers)
    features: dict[str, Tensor] = {}
    with torch.no_grad():
        network(subject.inputs, features)

    @torch.no_grad()
    def judged(kind: str, k: int, block: int | None, draw: int | None, changed: dict) -> dict:
        # What comes before the first change is as it was.
        before, x = True, subject.inputs
        for name, layer in layers.items():
            before = before and changed.get(name, layer) is layer
            x = features[name] if before else changed.get(name, layer)(x)
        loss = F.cross_entropy(x, subject.targets).item()
        error = (x.argmax(1) != subject.targets).sum().item() / len(x)
        loss = min(loss, LARGEST) if math.isfinite(loss) else LARGEST
        return {"kind": kind, "k": k, "block": block, "draw": draw, "loss": loss, "error": error}

    yield judged("whole", 0, None, None, {})
    for number, name in enumerate(names, start=1):
        yield judged("one", 1, number, None, {name: deleted(whole[name])})
    swappable = [[name for name in names if name.startswith(f"stage{stage}_")][1:]
                 for stage in (1, 2, 3)]  # fmt: skip
    swappable = [stage for stage in swappable if len(stage) > 1]
    for k in several:
        for draw in range(draws):
            if k <= len(names):
                chosen = torch.randperm(len(names), generator=generator)[:k]
                gone = {names[i]: deleted(whole[names[i]]) for i in chosen}
                yield judged("several", k, None, draw, gone)
            if swappable:
                yield judged("permute", k, None, draw, swapped(whole, swappable, k, generator))


def deleted(block: Block) -> nn.Module:
    return unchanged(block) if isinstance(block.shortcut, Zero) else block.shortcut


def swapped(
    whole: dict[str, Block], stages: list[list[str]], k: int, generator: torch.Generator
) -> dict[str, Block]:
    """After k swaps of two blocks of one stage; stages are drawn by their number of blocks."""
    order = dict(whole)
    sizes = torch.tensor([float(len(stage)) for stage in stages])
    for _ in range(k):
        stage = stages[torch.multinomial(sizes, 1, generator=generator).item()]
        i, j = torch.randperm(len(stage), generator=generator)[:2].tolist()
        order[stage[i]], order[stage[j]] = order[stage[j]], order[stage[i]]
    return order


def scalars(rows: list[dict]) -> dict[str, float]:
    whole, *others = rows
    rises = [row["loss"] - whole["loss"] for row in others if row["kind"] == "one"]
    return {"one": math.log10(1 + max(sum(rises) / len(rises), 0.0)), "error": whole["error"]}
