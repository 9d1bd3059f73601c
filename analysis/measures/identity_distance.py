"""How far each block is from the identity on the inputs that it really gets.

    identity_distance  ||f(h) - h|| / ||h||, f the whole block
    residual_ratio     ||F(h)|| / ||h||, F its branch (He et al. 2016, figure 7, look at the
                       standard deviation of what a branch's layers give)

    refinement         mean over images of cos(F(h), -dL/dh): does a branch step down the loss, as
                       iterative refinement says? (Jastrzebski et al. 2018; none where branch
                       and input differ in shape)

h is the block's input for all images of the sample, in eval mode. Where a block changes shape, h is
subsampled and padded with zero channels first, as He et al.'s option A does.
Rows: block (1 the first), name. Scalars: log10 of the mean over blocks of the first two, floored at
1e-4 (SkipInit and Fixup begin with branches of zero); refinement, its mean over blocks.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from analysis.run import Subject, blocks
from models.network import Block, Identity

SMALLEST = 1e-4


def measure(subject: Subject) -> Iterator[dict]:
    whole = blocks(subject.network)
    features: dict[str, Tensor] = {}
    logits = subject.network(subject.inputs, features)
    entering = [h for (_, h), (name, _) in pairwise(features.items()) if name in whole]
    loss = F.cross_entropy(logits, subject.targets, reduction="sum")  # so that images stay apart
    uphill = torch.autograd.grad(loss, entering)
    with torch.no_grad():
        for number, (name, block) in enumerate(whole.items(), start=1):
            h, slope = entering[number - 1], uphill[number - 1]
            branch, same, size = block.branch(h), unchanged(block)(h), h.norm()
            cosine = (
                F.cosine_similarity(branch.flatten(1), -slope.flatten(1)).mean().item()
                if branch.shape == h.shape
                else None
            )
            yield {
                "block": number,
                "name": name,
                "identity_distance": ((features[name] - same).norm() / size).item(),
                "residual_ratio": (branch.norm() / size).item(),
                "refinement": cosine,
            }


def unchanged(block: Block) -> Identity:
    """What a block would be if it did nothing: the identity, or option A where it changes shape."""
    return Identity(*block.shape)


def scalars(rows: list[dict]) -> dict[str, float]:
    cosines = [row["refinement"] for row in rows if row["refinement"] is not None]
    return {
        f"log_{name}": math.log10(max(sum(row[name] for row in rows) / len(rows), SMALLEST))
        for name in ("identity_distance", "residual_ratio")
    } | {"refinement": sum(cosines) / len(cosines) if cosines else math.nan}
