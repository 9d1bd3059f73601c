"""How far each block is from the identity on the inputs that it really gets.

    identity_distance  ||f(h) - h|| / ||h||, f the whole block
    residual_ratio     ||F(h)|| / ||h||, F its branch (He et al. 2016, figure 7, look at the
                       standard deviation of what a branch's layers give)

h is the block's input for all images of the sample, in eval mode. Where a block changes shape, h is
subsampled and padded with zero channels first, as He et al.'s option A does.
Rows: block (1 the first), name. Scalars: log10 of the mean over blocks of each, floored at
1e-4 (SkipInit and Fixup begin with branches of zero).
"""

import math
from collections.abc import Iterator

import torch

from analysis.run import Subject, blocks
from models.network import Block, Identity

SMALLEST = 1e-4


@torch.no_grad()
def measure(subject: Subject) -> Iterator[dict]:
    h = subject.network.layers["stem"](subject.inputs)
    for number, (name, block) in enumerate(blocks(subject.network).items(), start=1):
        branch, output, same = block.branch(h), block(h), unchanged(block)(h)
        size = h.norm()
        yield {
            "block": number,
            "name": name,
            "identity_distance": ((output - same).norm() / size).item(),
            "residual_ratio": (branch.norm() / size).item(),
        }
        h = output


def unchanged(block: Block) -> Identity:
    """What a block would be if it did nothing: the identity, or option A where it changes shape."""
    return Identity(*block.shape)


def scalars(rows: list[dict]) -> dict[str, float]:
    return {
        f"log_{name}": math.log10(max(sum(row[name] for row in rows) / len(rows), SMALLEST))
        for name in ("identity_distance", "residual_ratio")
    }
