"""Measure how far each block is from the identity on the inputs that it really gets.

h is the block's input for all images of the sample, in eval mode; f is the whole block, F its
branch and L the loss.

    identity_distance  ||f(h) - h|| / ||h||; where a block changes shape, h is subsampled and padded
                       with zero channels first, as He et al.'s option A does
    residual_ratio     ||F(h)|| / ||h|| (after He et al. 2016, figure 7, who take the standard
                       deviation of a branch's layers)
    refinement         mean over images of cos(F(h), -dL/dh): does a branch step down the loss, as
                       iterative refinement says (Jastrzebski et al. 2018)? It is empty where branch
                       and input differ in shape

Rows: block (1 is the first), name. Quantities: log10 of the mean over blocks of the first two, at
least 1e-4 (SkipInit and Fixup begin with branches of zero); and the mean of refinement over blocks.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from analysis.run import Rows, Subject, blocks, mean
from models.layers import Identity

SETTINGS = {"examples": ("count", 2, "training images, evenly spaced over the set")}
QUANTITIES = {
    "log_identity_distance": "distance of blocks from the identity",
    "log_residual_ratio": "norm of the branch over its input's",
    "refinement": "cosine of branches with the way down the loss",
}

SMALLEST = 1e-4


def measure(subject: Subject) -> Rows:
    whole = blocks(subject.network)
    features: dict[str, Tensor] = {}
    logits = subject.network(subject.inputs, features)
    entering = {name: h for (_, h), (name, _) in pairwise(features.items()) if name in whole}
    # The sum, so that the gradient in an image's h does not depend on the number of images.
    loss = F.cross_entropy(logits, subject.targets, reduction="sum")
    slopes = torch.autograd.grad(loss, list(entering.values()))
    for number, (name, slope) in enumerate(zip(entering, slopes, strict=True), start=1):
        block, h = whole[name], entering[name]
        with torch.no_grad():
            branch, same, size = block.branch(h), Identity(*block.shape)(h), h.norm()
            distance, ratio = (features[name] - same).norm() / size, branch.norm() / size
            refinement = None
            if branch.shape == h.shape:
                cosines = F.cosine_similarity(branch.flatten(1), -slope.flatten(1))
                refinement = cosines.mean().item()
        sizes = {"identity_distance": distance.item(), "residual_ratio": ratio.item()}
        yield {"block": number, "name": name, **sizes, "refinement": refinement}


def quantities(rows: list[dict]) -> dict[str, float]:
    found = {
        f"log_{name}": math.log10(max(mean([row[name] for row in rows]), SMALLEST))
        for name in ("identity_distance", "residual_ratio")
    }
    cosines = [row["refinement"] for row in rows if row["refinement"] is not None]
    return {**found, "refinement": mean(cosines)}
