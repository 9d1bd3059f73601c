"""Measure how large the gradient is in each weight layer, and how that changes with depth.

    gradient_norm      ||dL/dW_l||, the Frobenius norm
    relative_gradient  ||dL/dW_l|| / ||W_l||; NaN where the weights are zero

L is the mean cross-entropy of one batch of training images in train mode, as training sees it.
Rows: layer (1 is the stem, `depth` the head), name. Biases and BatchNorm's parameters are left out.
Quantities, from the relative gradients without those of the stem and the head, whose shapes differ:

    log_first          log10 of the relative gradient of the blocks' first convolution
    log_first_to_last  log10 of the same over that of the blocks' last convolution
    rate               (first / last)^(1 / layers between them): above one gradients explode towards
                       the input, below one they vanish

If SkipInit or Fixup closes branches, `first` and `last` are the outermost layers with a gradient.
"""

import math

from analysis.run import Rows, Subject, loss_and_gradient, weighted

SETTINGS = {"examples": ("count", 2, "training images, evenly spaced over the set")}
QUANTITIES = {
    "log_first": "gradient at the first layer",
    "log_first_to_last": "gradient, first layer to last",
    "rate": "growth of the gradient per layer towards the input",
}


def measure(subject: Subject) -> Rows:
    network = subject.network.train()
    _, gradients = loss_and_gradient(network, subject.inputs, subject.targets)
    for layer, (name, module) in enumerate(weighted(network).items(), start=1):
        norm = gradients[f"{name}.weight"].norm().item()
        size = module.weight.norm().item()
        relative = norm / size if size else math.nan
        yield {"layer": layer, "name": name, "gradient_norm": norm, "relative_gradient": relative}


def quantities(rows: list[dict]) -> dict[str, float]:
    inner = [row for row in rows[1:-1] if row["relative_gradient"] > 0]
    if len(inner) < 2:
        return dict.fromkeys(QUANTITIES, math.nan)
    first, last = inner[0], inner[-1]
    log_first, log_last = (math.log10(row["relative_gradient"]) for row in (first, last))
    growth, layers = log_first - log_last, last["layer"] - first["layer"]
    return {"log_first": log_first, "log_first_to_last": growth, "rate": 10 ** (growth / layers)}
