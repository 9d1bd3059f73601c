"""How large the gradient is in each weight layer, and how that changes with depth.

    gradient_norm      ||dL/dW_l||, the Frobenius norm
    relative_gradient  ||dL/dW_l|| / ||W_l||
    first_to_last      relative gradient of the first convolution of the first block over that of
                       the last convolution of the last block
    rate               first_to_last^(1 / layers between them): above one gradients explode towards
                       the input, below one they vanish

L is the mean cross-entropy of one batch of training images in train mode, as training sees it.
Yang et al. 2019 show that in a wide plain network with BatchNorm and ReLU the *squared* norm grows
by pi / (pi - 1) = 1.467 for each layer towards the input at initialisation, the norm by 1.211.
Rows: layer (1 the stem, `depth` the head). Biases and BatchNorm's parameters are left out; the stem
and the head are left out of first_to_last, because their shapes differ.
"""

import math
from collections.abc import Iterator

from analysis.run import Subject, gradient, weighted

SCALARS = ("log_first", "log_first_to_last", "rate")


def measure(subject: Subject) -> Iterator[dict]:
    network = subject.network.train()
    parameters = dict(network.named_parameters())
    gradients = dict(
        zip(parameters, gradient(network, subject.inputs, subject.targets), strict=True)
    )
    for layer, name in enumerate(weighted(network), start=1):
        weight = f"{name}.weight"
        norm = gradients[weight].norm().item()
        size = parameters[weight].norm().item()
        yield {
            "layer": layer,
            "name": name,
            "gradient_norm": norm,
            # Fixup's and SkipInit's zero weights have no relative gradient.
            "relative_gradient": norm / size if size else math.nan,
        }


def scalars(rows: list[dict]) -> dict[str, float]:
    """log10 of the first inner layer's relative gradient and of first_to_last, and rate.

    Layers without a gradient are left out on both sides: a branch that SkipInit or Fixup closes
    passes none.
    """
    inner = [row for row in rows[1:-1] if row["relative_gradient"] > 0]
    if len(inner) < 2:
        return dict.fromkeys(SCALARS, math.nan)
    first, last = inner[0], inner[-1]
    log_first, log_last = (math.log10(row["relative_gradient"]) for row in (first, last))
    layers = last["layer"] - first["layer"]
    return {
        "log_first": log_first,
        "log_first_to_last": log_first - log_last,
        "rate": 10 ** ((log_first - log_last) / layers),
    }
