"""Measure internal covariate shift as Santurkar et al. 2018 define it (definition 2.1).

    G_i   gradient of the batch's loss in W_i, at the weights before a step
    G'_i  the same gradient on the same batch, after only the layers before i have taken the step

    norm      ||G_i - G'_i||
    relative  ||G_i - G'_i|| / ||G_i||
    cosine    cos(G_i, G'_i); like `relative`, it is NaN where a layer has no gradient

The step is the one that the run took, with its batch and momentum, but without augmentation of the
images. Train mode. Biases, and BatchNorm's parameters, move with the weight layer before them.
Rows: layer, `layers` of them, evenly spaced from 2 to `depth` (layer 1 has no layer before it).
There are no rows if the run did not keep the weights after the step. Quantities: means over layers.
"""

import math

from analysis.run import Rows, Subject, loss_and_gradient, mean, spaced, weighted

SETTINGS = {"layers": ("count", 2, "weight layers looked at, evenly spaced")}
QUANTITIES = {
    "relative": "relative change of gradients by other layers' steps",
    "cosine": "cosine of gradients before and after a step",
}


def measure(subject: Subject, layers: int) -> Rows:
    if subject.after is None:
        return
    network = subject.network.train()
    weights = [f"{name}.weight" for name in weighted(network)]
    names = [name for name, _ in network.named_parameters()]  # from the input to the output
    _, before = loss_and_gradient(network, *subject.batch)
    for i in spaced(1, len(weights) - 1, layers):  # from 0; layer 0 has no layer before it
        moved = names[: names.index(weights[i])]
        network.load_state_dict({name: subject.after[name] for name in moved}, strict=False)
        g = before[weights[i]]
        g_after = loss_and_gradient(network, *subject.batch)[1][weights[i]]
        difference, size = (g - g_after).norm().item(), g.norm().item()
        product, sizes = (g * g_after).sum().item(), size * g_after.norm().item()
        relative = difference / size if size else math.nan
        cosine = product / sizes if sizes else math.nan
        yield {"layer": i + 1, "norm": difference, "relative": relative, "cosine": cosine}


def quantities(rows: list[dict]) -> dict[str, float]:
    return {name: mean([row[name] for row in rows]) for name in QUANTITIES}
