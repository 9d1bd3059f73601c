"""Measure what units do with their non-linearity.

z is the input of an activation. A unit is one channel at one position; a_j is the share of the
images for which z_j > 0.

    always_off      share of units with a_j < 0.01
    always_on       share of units with a_j > 0.99
    co_active       share of pairs of images with z_j > 0 for both, mean over units (Balduzzi et al.
                    2017); 1/4 + arcsin(rho) / (2 pi) if both z are Gaussian of correlation rho
    entropy         mean over units of the entropy of a_j in bits; it is one if a_j is 1/2
    linear_tanh     share of all z for which tanh is linear within 10 %: |tanh z - z| < 0.1 |z|
    linear_sigmoid  the same share for the sigmoid about zero: |sigmoid(z) - 1/2 - z/4| < 0.1 |z/4|

The last two say what a tanh or sigmoid unit would do with z, in a network of any activation.
Eval mode. Rows: layer (the number of the activation from the input; CReLU counts its z once).
Quantities: means over layers.
"""

import math

import torch
from torch import Tensor, nn

from analysis.run import Rows, Subject, mean
from models.layers import CReLU
from models.tailored import TailoredReLU

SETTINGS = {"examples": ("count", 2, "training images, evenly spaced over the set")}
QUANTITIES = {
    "always_off": "share of units always off",
    "always_on": "share of units always on",
    "co_active": "units active for both of two inputs",
    "entropy": "entropy of units' activity",
    "linear_tanh": "share of inputs in the linear range of tanh",
    "linear_sigmoid": "share of inputs in the linear range of the sigmoid",
}

TANH_EDGE = 0.5838105696200102  # where tanh z = 0.9 z
SIGMOID_EDGE = 2 * TANH_EDGE  # because sigmoid(z) - 1/2 = tanh(z / 2) / 2


@torch.no_grad()
def measure(subject: Subject) -> Rows:
    rows: list[dict] = []

    def see(module: nn.Module, arguments: tuple[Tensor]) -> None:
        # The hook comes before the activation, which may work in place.
        rows.append({"layer": len(rows) + 1, **activity(arguments[0].flatten(1))})

    for module in subject.network.modules():
        if isinstance(module, nn.ReLU | nn.LeakyReLU | nn.Tanh | CReLU | TailoredReLU):
            module.register_forward_pre_hook(see)
    subject.network(subject.inputs)
    yield from rows


def activity(z: Tensor) -> dict[str, float]:
    """Return the columns of one activation from its inputs (N, units)."""
    n = len(z)
    on = (z > 0).double().sum(0)
    share = on / n
    entropy = torch.special.entr(share) + torch.special.entr(1 - share)
    size = z.abs()
    return {
        "always_off": (share < 0.01).double().mean().item(),
        "always_on": (share > 0.99).double().mean().item(),
        "co_active": (on * (on - 1) / (n * (n - 1))).mean().item(),
        "entropy": entropy.mean().item() / math.log(2),
        "linear_tanh": (size < TANH_EDGE).double().mean().item(),
        "linear_sigmoid": (size < SIGMOID_EDGE).double().mean().item(),
    }


def quantities(rows: list[dict]) -> dict[str, float]:
    return {name: mean([row[name] for row in rows]) for name in QUANTITIES}
