"""What depth does to the representations of different inputs.

    cosine_mean     mean over pairs i != j of cos(h_l(x_i), h_l(x_j))
    cosine_std      standard deviation over those pairs: zero when all pairs look alike, whatever
                    the angle at which they do
    effective_rank  exp(entropy of p), p the squared singular values of the matrix of the h_l(x_i),
                    normalised to sum one (Roy and Vetterli 2007)
    variance_ratio  variance of the branch over that of the shortcut that it is added to (De and
                    Smith 2020); empty where there is no shortcut

h_l(x) is all of the output of layer l (stem, blocks, as a flat vector), in eval mode. With He et
al.'s weights and ReLU but no norm, the cosine follows c -> (sqrt(1 - c^2) + (pi - acos c) c) / pi,
whose fixed point is one (Cho and Saul 2009); BatchNorm moves the fixed point, not the collapse of
the spread (Yang et al. 2019).
Rows: layer (0 the stem), name. Scalars: at the last block, the mean and the log10 of the spread of
the cosines, the effective rank as a share of its largest value, and the log10 of the mean of the
variance ratios over blocks.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from analysis.run import Subject, blocks

SMALLEST = 1e-7  # single precision: a spread below it is counted as this


@torch.no_grad()
def measure(subject: Subject) -> Iterator[dict]:
    features: dict[str, Tensor] = {}
    ratios: dict[str, float] = {}

    def compare(name: str):
        def hook(block, arguments, output) -> None:
            shortcut = block.shortcut(arguments[0])
            if isinstance(shortcut, Tensor):
                ratios[name] = (block.branch(arguments[0]).var() / shortcut.var()).item()

        return hook

    handles = [
        block.register_forward_hook(compare(name))
        for name, block in blocks(subject.network).items()
    ]
    subject.network(subject.inputs, features)
    for handle in handles:
        handle.remove()
    del features["head"]
    for layer, (name, h) in enumerate(features.items()):
        mean, std = pairwise_cosines(h.flatten(1))
        yield {
            "layer": layer,
            "name": name,
            "cosine_mean": mean,
            "cosine_std": std,
            "effective_rank": effective_rank(h.flatten(1)),
            "variance_ratio": ratios.get(name),
        }


def pairwise_cosines(h: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the cosines of all pairs of different rows."""
    units = torch.nn.functional.normalize(h.double(), dim=1)
    i, j = torch.triu_indices(len(h), len(h), 1)
    cosines = (units @ units.T)[i, j]
    return cosines.mean().item(), cosines.std(correction=0).item()


def effective_rank(h: Tensor) -> float:
    """Between 1 and the smaller side of a matrix (N, features); NaN of a zero one."""
    gram = h.double() @ h.double().T
    if not gram.isfinite().all():
        return math.nan
    squares = torch.linalg.eigvalsh(gram).clamp(min=0)
    p = squares / squares.sum()
    return torch.special.entr(p).sum().exp().item()


def scalars(rows: list[dict]) -> dict[str, float]:
    last = rows[-1]
    ratios = [row["variance_ratio"] for row in rows if row["variance_ratio"] is not None]
    branch = sum(ratios) / len(ratios) if ratios else math.nan
    return {
        "cosine_mean": last["cosine_mean"],
        "log_cosine_spread": math.log10(max(last["cosine_std"], SMALLEST)),
        "effective_rank": last["effective_rank"],
        "branch_share": branch / (1 + branch) if ratios else 1.0,
    }
