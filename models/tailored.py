"""Tailored ReLUs (Zhang, Botev and Martens 2022, "TAT"): a leaky ReLU with a slope for the depth.

A deep network of ReLUs maps any two inputs to nearly parallel features. How parallel is told by
its correlation map, which takes the cosine of two inputs to that of their features in a wide
random network. A leaky ReLU's slope is chosen so that the whole network takes 0 to TARGET.
"""

import math
from functools import cache

import torch.nn.functional as F
from torch import Tensor, nn

TARGET = 0.9  # eta in the paper


def correlation_map(cosine: float, slope: float) -> float:
    """Of one layer whose activation is a leaky ReLU of negative slope `slope`."""
    bend = (1 - slope) ** 2 / (math.pi * (1 + slope**2))
    return cosine + bend * (math.sqrt(1 - cosine**2) - cosine * math.acos(cosine))


def composed(slope: float, layers: int) -> float:
    """What `layers` layers in a row make of a cosine of zero."""
    cosine = 0.0
    for _ in range(layers):
        cosine = min(1.0, correlation_map(cosine, slope))
    return cosine


@cache
def tailored_slope(layers: int) -> float:
    """The negative slope with which `layers` layers take a cosine of 0 to TARGET.

    Zero, a plain ReLU, if so few layers don't reach it with any slope.
    """
    from scipy.optimize import brentq  # only these networks pay for its import

    if composed(0.0, layers) <= TARGET:
        return 0.0
    return brentq(lambda slope: composed(slope, layers) - TARGET, 0.0, 1.0, xtol=1e-12)


class TailoredReLU(nn.Module):
    """Leaky ReLU, scaled to keep the second moment of standard normal inputs."""

    def __init__(self, layers: int):
        super().__init__()
        self.slope = tailored_slope(layers)
        self.scale = math.sqrt(2 / (1 + self.slope**2))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.leaky_relu(x, self.slope)
