"""Tailored ReLUs (Zhang, Botev and Martens 2022, "TAT"): a leaky ReLU with a slope for the depth.

A deep network of ReLUs maps any two inputs to nearly parallel features. Its correlation map tells
how parallel they are: it takes the cosine of two inputs to the cosine of their features in a wide
random network. The slope of a leaky ReLU is chosen so that the whole network takes 0 to TARGET.
"""

import math
from functools import cache

import torch.nn.functional as F
from torch import Tensor, nn

TARGET = 0.9  # eta in the paper


@cache
def tailored_slope(layers: int) -> float:
    """Return the negative slope for a number of layers; zero if they cannot reach TARGET."""
    from scipy.optimize import brentq  # the import is slow, and only these networks need it

    def excess(slope: float) -> float:
        bend, cosine = (1 - slope) ** 2 / (math.pi * (1 + slope**2)), 0.0
        for _ in range(layers):  # the correlation map of each
            cosine += bend * (math.sqrt(1 - cosine**2) - cosine * math.acos(cosine))
            cosine = min(1.0, cosine)
        return cosine - TARGET

    return brentq(excess, 0.0, 1.0, xtol=1e-12) if excess(0.0) > 0 else 0.0


class TailoredReLU(nn.Module):
    """A leaky ReLU, scaled to keep the second moment of standard normal inputs."""

    def __init__(self, layers: int):
        super().__init__()
        self.slope = tailored_slope(layers)
        self.scale = math.sqrt(2 / (1 + self.slope**2))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.leaky_relu(x, self.slope)
