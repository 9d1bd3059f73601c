"""How a step is made of a gradient: the learning rate, transforms of the gradient, the update."""

import math

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim.sgd import sgd

from models.variant import Run, TrainingSettings

USUAL = {"fused": True, "dampening": 0.0, "nesterov": False, "maximize": False}
TRUST = 0.1  # size of a layerwise step, as a share of the weights' norm, at a learning rate of one


def lr_factor(step: int, total: int, settings: TrainingSettings) -> float:
    """Return the learning rate at `step`, from 0, of `total`, as a fraction of the peak.

    It rises linearly during the warm-up. Then it falls as half a cosine (Loshchilov and Hutter
    2017), or to a tenth after half of all steps and a hundredth after three quarters (He et al.
    2016).
    """
    warmup = settings.warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    match settings.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
        case "staircase":
            return 0.1 ** ((step >= total / 2) + (step >= 3 * total / 4))


def clip(gradients: list[Tensor], largest: float) -> None:
    """Scale the gradients to a total norm of at most `largest` (Pascanu et al. 2013)."""
    factor = largest / (get_total_norm(gradients) + 1e-6)
    torch._foreach_mul_(gradients, factor.clamp(max=1.0))


def layerwise(weights: list[Tensor], gradients: list[Tensor]) -> None:
    """Give each parameter's gradient TRUST times the norm of the parameter (You et al. 2017, LARS).

    Scales, shifts and biases have exploding gradients too, but their own norm may be zero. Each of
    them counts as a vector of ones.
    """
    for weight, gradient in zip(weights, gradients, strict=True):
        size = weight.norm() if weight.ndim > 1 else math.sqrt(weight.numel())
        gradient.mul_(TRUST * size / gradient.norm().clamp(min=1e-12))


class Optimiser:
    """Stochastic gradient descent with momentum and weight decay, as `run` says."""

    def __init__(self, weights: list[Tensor], run: Run):
        self.weights = weights
        self.momenta = [torch.zeros_like(weight) for weight in weights]
        self.settings = run.train
        # Fixup's scalars and the head's bias learn at a tenth of the rate (Zhang et al. 2019).
        slow = run.factors.branch_scale == "fixup"
        self.groups: dict[float, list[int]] = {}  # places of weights, by factor of the rate
        for i, weight in enumerate(weights):
            self.groups.setdefault(0.1 if slow and weight.ndim < 2 else 1.0, []).append(i)

    def step(self, gradients: list[Tensor], lr: float | Tensor) -> None:
        """Transform the gradients in place, and change the weights at a learning rate."""
        if self.settings.gradient == "clipped":
            clip(gradients, self.settings.gradient_clip)
        elif self.settings.gradient == "layerwise":
            layerwise(self.weights, gradients)
        own = {key: getattr(self.settings, key) for key in ("momentum", "weight_decay")}
        for factor, places in self.groups.items():
            lists = (self.weights, gradients, self.momenta)
            # The class torch.optim.SGD calls this too, but imports the compiler, for a second.
            sgd(
                *([tensors[i] for i in places] for tensors in lists), lr=factor * lr, **own, **USUAL
            )
