"""What units do with their non-linearity.

z is the input of an activation. A unit is one channel at one position; a_j is the share of the
images for which z_j > 0.

    always_off    share of units with a_j < 0.01
    always_on     share of units with a_j > 0.99
    co_active     share of (unit, pair of images) with z > 0 for both (Balduzzi et al. 2017); for
                  jointly Gaussian z of correlation rho it is 1/4 + arcsin(rho) / (2 pi)
    entropy       mean over units of the entropy of a_j, in bits: one if each unit splits the images
    linear_tanh   share of all z within 10 % of where tanh is linear: |tanh z - z| < 0.1 |z|
    linear_sigmoid  the same for the sigmoid about zero: |sigmoid(z) - 1/2 - z/4| < 0.1 |z/4|

The last two are of z whatever the network's own activation is: what a sigmoid or tanh unit would
see. Eval mode. Rows: layer (the activation's number from the input; CReLU counts its z once).
Scalars: means over layers.
"""

import math
from collections.abc import Iterator

import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from analysis.run import Subject
from models.network import CReLU
from models.tailored import TailoredReLU

RARE = 0.01
ACTIVATIONS = (nn.ReLU, nn.Tanh, CReLU, TailoredReLU)
COLUMNS = ("always_off", "always_on", "co_active", "entropy", "linear_tanh", "linear_sigmoid")


def edge(relative_error) -> float:
    """The z up to which a function is within a tenth of its slope at zero."""
    return brentq(lambda z: relative_error(z) - 0.1, 1e-3, 10)


TANH_EDGE = edge(lambda z: 1 - math.tanh(z) / z)
SIGMOID_EDGE = edge(lambda z: 1 - (1 / (1 + math.exp(-z)) - 0.5) / (z / 4))


@torch.no_grad()
def measure(subject: Subject) -> Iterator[dict]:
    rows: list[dict] = []

    def see(module: nn.Module, arguments: tuple[Tensor]) -> None:
        # Before the activation, which may work in place.
        rows.append({"layer": len(rows) + 1, **activity(arguments[0].flatten(1))})

    handles = [
        module.register_forward_pre_hook(see)
        for module in subject.network.modules()
        if isinstance(module, ACTIVATIONS)
    ]
    subject.network(subject.inputs)
    for handle in handles:
        handle.remove()
    yield from rows


def activity(z: Tensor) -> dict[str, float]:
    """Of inputs (N, units) of an activation."""
    n = len(z)
    on = (z > 0).double().sum(0)
    share = on / n
    entropy = torch.special.entr(share) + torch.special.entr(1 - share)
    size = z.abs()
    return {
        "always_off": (share < RARE).double().mean().item(),
        "always_on": (share > 1 - RARE).double().mean().item(),
        "co_active": (on * (on - 1) / (n * (n - 1))).mean().item(),
        "entropy": entropy.mean().item() / math.log(2),
        "linear_tanh": (size < TANH_EDGE).double().mean().item(),
        "linear_sigmoid": (size < SIGMOID_EDGE).double().mean().item(),
    }


def scalars(rows: list[dict]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in COLUMNS}
