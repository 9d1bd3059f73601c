"""Measure what depth does to the representations of different inputs.

h_l(x) is the whole output of layer l (the stem or a block) as a flat vector, in eval mode.

    cosine_mean     mean over pairs i != j of cos(h_l(x_i), h_l(x_j))
    cosine_std      standard deviation over those pairs
    effective_rank  exp(entropy of p), where p are the squared singular values of the matrix of all
                    h_l(x_i), divided by their sum (Roy and Vetterli 2007)
    variance_ratio  variance of a block's branch over that of its shortcut, if any (De and Smith
                    2020)

With He et al.'s weights and ReLU but without a norm, a layer maps the cosine c of two inputs to
(sqrt(1 - c^2) + (pi - acos c) c) / pi, whose fixed point is one (Cho and Saul 2009). BatchNorm
moves the fixed point, but the spread still collapses (Yang et al. 2019).
Rows: layer (0 is the stem), name. Quantities: at the last block the mean cosine, log10 of the
spread and the effective rank; and, with r the mean variance ratio, r / (1 + r), or one if plain.
"""

import math

import torch
from torch import Tensor

from analysis.run import Rows, Subject, mean

SETTINGS = {"examples": ("count", 2, "training images, evenly spaced over the set")}
QUANTITIES = {
    "cosine_mean": "mean cosine between inputs",
    "log_cosine_spread": "spread of cosines between inputs",
    "effective_rank": "effective rank of representations",
    "branch_share": "share of the branch in a block's variance",
}

SMALLEST = 1e-7  # single precision tells no smaller spread


@torch.no_grad()
def measure(subject: Subject) -> Rows:
    features: dict[str, Tensor] = {}
    subject.network(subject.inputs, features)
    del features["head"]
    entering = None
    for layer, (name, h) in enumerate(features.items()):
        block, ratio = subject.network.layers[name], None
        if layer > 0 and block.shortcut is not None:
            ratio = (block.branch(entering).var() / block.shortcut(entering).var()).item()
        cosine_mean, cosine_std = pairwise_cosines(h.flatten(1))
        cosines = {"cosine_mean": cosine_mean, "cosine_std": cosine_std}
        spread = {"effective_rank": effective_rank(h.flatten(1)), "variance_ratio": ratio}
        yield {"layer": layer, "name": name, **cosines, **spread}
        entering = h


def pairwise_cosines(h: Tensor) -> tuple[float, float]:
    """Return the mean and standard deviation of the cosines of all pairs of different rows."""
    units = torch.nn.functional.normalize(h.double(), dim=1)
    i, j = torch.triu_indices(len(h), len(h), 1)
    cosines = (units @ units.T)[i, j]
    return cosines.mean().item(), cosines.std(correction=0).item()


def effective_rank(h: Tensor) -> float:
    """Return a number between 1 and the smaller side of h (N, features); NaN if h is zero."""
    gram = h.double() @ h.double().T
    if not gram.isfinite().all():
        return math.nan
    squares = torch.linalg.eigvalsh(gram).clamp(min=0)
    p = squares / squares.sum()
    return torch.special.entr(p).sum().exp().item()


def quantities(rows: list[dict]) -> dict[str, float]:
    last = rows[-1]
    ratios = [row["variance_ratio"] for row in rows if row["variance_ratio"] is not None]
    return {
        "cosine_mean": last["cosine_mean"],
        "log_cosine_spread": math.log10(max(last["cosine_std"], SMALLEST)),
        "effective_rank": last["effective_rank"],
        "branch_share": mean(ratios) / (1 + mean(ratios)) if ratios else 1.0,
    }
