"""Initial weights, drawn from a seed alone: networks of equal shapes start from equal weights."""

import torch
from torch import nn


def he_normal(network: nn.Module, seed: int) -> None:
    """He et al. 2015: normal, variance 2 / fan-in before a ReLU, 1 / fan-in in the head; no bias.

    BatchNorm keeps scale one and shift zero.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            gain = "relu" if isinstance(module, nn.Conv2d) else "linear"
            nn.init.kaiming_normal_(module.weight, nonlinearity=gain, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
