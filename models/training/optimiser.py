"""How a step is made of a gradient: the learning rate, transforms of the gradient, the update."""

import math

import torch
from torch import Tensor, nn
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


def layerwise(weights: list[nn.Parameter]) -> None:
    """Give each parameter's gradient TRUST times the norm of the parameter (You et al. 2017, LARS).

    Scales, shifts and biases have exploding gradients too, but their own norm may be zero. Each of
    them counts as a vector of ones.
    """
    for weight in weights:
        size = weight.detach().norm() if weight.ndim > 1 else math.sqrt(weight.numel())
        weight.grad.mul_(TRUST * size / weight.grad.norm().clamp(min=1e-12))


class Optimiser:
    """Stochastic gradient descent with momentum and weight decay, as `run` says."""

    def __init__(self, network: nn.Module, run: Run):
        self.settings = run.train
        self.momenta = {weight: torch.zeros_like(weight) for weight in network.parameters()}
        self.weights = list(self.momenta)
        # Fixup's scalars and the head's bias learn at a tenth of the rate (Zhang et al. 2019).
        slow = run.factors.branch_scale == "fixup"
        self.groups: dict[float, list[nn.Parameter]] = {}  # by the factor of the learning rate
        for weight in self.weights:
            self.groups.setdefault(0.1 if slow and weight.ndim < 2 else 1.0, []).append(weight)

    def step(self, lr: float | Tensor) -> None:
        """Transform the gradients, change the weights at a learning rate, drop the gradients."""
        if self.settings.gradient == "clipped":  # Pascanu et al. 2013
            nn.utils.clip_grad_norm_(self.weights, self.settings.gradient_clip)
        elif self.settings.gradient == "layerwise":
            layerwise(self.weights)
        own = {key: getattr(self.settings, key) for key in ("momentum", "weight_decay")}
        for factor, group in self.groups.items():
            gradients = [weight.grad for weight in group]
            momenta = [self.momenta[weight] for weight in group]
            # The class torch.optim.SGD calls this too, but imports the compiler, for a second.
            sgd(group, gradients, momenta, lr=factor * lr, **own, **USUAL)
        for weight in self.weights:
            weight.grad = None
