"""Internal covariate shift as Santurkar et al. 2018 define it (definition 2.1).

    G_i   gradient of the batch's loss in W_i, at the weights before a step
    G'_i  the same on the same batch, with the weights of all layers before i as they are after the
          step, and those of layer i and later as before it

    norm      ||G_i - G'_i||
    relative  ||G_i - G'_i|| / ||G_i||
    cosine    cos(G_i, G'_i)

The step is the run's own: batch, momentum and all; where images are augmented in training, those
here are not. Train mode, as in training. BatchNorm's scales and shifts, and biases, belong to the
layer they follow and move with it.
Rows: layer (2 ... depth; the first has none before it), `layers` of them, evenly spaced.
Nothing where the run did not keep the weights of the step after.
"""

import math
from collections.abc import Iterator

import torch
from torch import nn

from analysis.run import Subject, gradient, step_of, weighted  # noqa: F401
from models.network import Network


def measure(subject: Subject, layers: int) -> Iterator[dict]:
    if subject.after is None:
        return
    network = subject.network.train()
    x, y = subject.batch
    modules = list(weighted(network).values())
    chosen = spaced(1, len(modules) - 1, layers)  # from 0; layer 0 has none before it
    parameters = list(network.parameters())
    index = {id(parameter): i for i, parameter in enumerate(parameters)}
    whole = gradient(network, x, y)
    before = [whole[index[id(modules[i].weight)]] for i in chosen]
    owners = owner(network)
    updated = [subject.after[name].to(x.device) for name, _ in network.named_parameters()]
    moved = 0
    for i, g in zip(chosen, before, strict=True):
        with torch.no_grad():
            for parameter, new, layer in zip(parameters, updated, owners, strict=True):
                if moved <= layer < i:
                    parameter.copy_(new)
        moved = i
        g_after = gradient(network, x, y)[index[id(modules[i].weight)]]
        size, size_after = g.norm().item(), g_after.norm().item()
        difference = (g - g_after).norm().item()
        yield {
            "layer": i + 1,
            "norm": difference,
            "relative": difference / size if size else math.nan,
            "cosine": (g * g_after).sum().item() / (size * size_after)
            if size and size_after
            else math.nan,
        }


def owner(network: Network) -> list[int]:
    """For each parameter, the weight layer (from 0) that it belongs to: the last one at or before
    it, in the order of the forward pass."""
    owners, layer = [], -1
    for module in network.modules():
        layer += isinstance(module, nn.Conv2d | nn.Linear)
        owners += [max(layer, 0) for _ in module.parameters(recurse=False)]
    return owners


def spaced(first: int, last: int, n: int) -> list[int]:
    """At most `n` whole numbers from `first` to `last`, evenly spaced, ends included."""
    n = min(n, last - first + 1)
    return sorted({round(first + (last - first) * i / max(n - 1, 1)) for i in range(n)})


def scalars(rows: list[dict]) -> dict[str, float]:
    """Means over layers; NaN where a layer has no gradient."""
    return {
        name: sum(row[name] for row in rows) / len(rows) if rows else math.nan
        for name in ("relative", "cosine")
    }
