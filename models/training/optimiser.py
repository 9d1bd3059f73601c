"""How a step is made of a gradient: the learning rate, transforms of the gradient, the update."""

import math

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from models.variant import Run, TrainingSettings

# What a step measures at a learning rate of one, so that one grid of rates serves all optimisers.
# The grid is made for SGD, whose steps are as large as the gradient.
TRUST = 0.1  # layerwise: share of the norm of the weights
ADAMW = 0.1  # the learning rate of AdamW, which is near the size of an entry's step
MUON = 0.3  # singular values of a kernel's step

# The classes torch.optim.SGD and AdamW call the same functions, but import the compiler, for a
# second.
SGD_USUAL = {"fused": True, "dampening": 0.0, "nesterov": False, "maximize": False}
ADAMW_USUAL = {"fused": True, "amsgrad": False, "maximize": False}
ADAMW_USUAL |= {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}  # as in the paper
MUON_MOMENTUM = 0.95  # as published
QUINTIC = (3.4445, -4.7750, 2.0315)  # coefficients of an odd polynomial, as published


def lr_factor(step: int, total: int, settings: TrainingSettings) -> float:
    """Return the learning rate at `step`, from 0, of `total`, as a fraction of the peak.

    It rises linearly during the warm-up, which takes at most half of all steps. Then it falls as
    half a cosine (Loshchilov and Hutter 2017), or to a tenth after half of all steps and a
    hundredth after three quarters (He et al. 2016), or stays as it is.
    """
    warmup = min(settings.warmup_steps, total // 2)
    if step < warmup:
        return (step + 1) / warmup
    match settings.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
        case "staircase":
            return 0.1 ** ((step >= total / 2) + (step >= 3 * total / 4))
        case "constant":
            return 1.0


def layerwise(weights: list[Tensor], gradients: list[Tensor]) -> None:
    """Give each parameter's gradient TRUST times the norm of the parameter (You et al. 2017, LARS).

    Scales, shifts and biases have exploding gradients too, but their own norm may be zero. Each of
    them counts as a vector of ones.
    """
    for weight, gradient in zip(weights, gradients, strict=True):
        size = weight.norm() if weight.ndim > 1 else math.sqrt(weight.numel())
        gradient.mul_(TRUST * size / gradient.norm().clamp(min=1e-12))


def orthogonalised(matrices: Tensor) -> Tensor:
    """Return matrices (N, rows, columns) with singular values near one, and the same vectors.

    Each of five Newton-Schulz steps applies the polynomial QUINTIC to the singular values. It is
    steep at zero, and leaves them between about 0.7 and 1.2.
    """
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices  # the smaller of the two squares is enough
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


def muon(
    kernels: list[Tensor], gradients: list[Tensor], momenta: list[Tensor], lr: float | Tensor,
    weight_decay: float,
) -> None:  # fmt: skip
    """Change the kernels of convolutions by orthogonalised steps (Jordan et al. 2024, Muon).

    The definition is that of https://kellerjordan.github.io/posts/muon and of muon.py in
    https://github.com/KellerJordan/Muon, but in the precision of the weights. A kernel counts as a
    matrix (channels_out, channels_in * height * width).
    """
    torch._foreach_mul_(momenta, MUON_MOMENTUM)
    torch._foreach_add_(momenta, gradients)
    torch._foreach_add_(gradients, momenta, alpha=MUON_MOMENTUM)  # Nesterov's
    shapes: dict[torch.Size, list[int]] = {}
    for i, kernel in enumerate(kernels):
        shapes.setdefault(kernel.shape, []).append(i)
    for places in shapes.values():  # kernels of equal shape in one batch
        matrices = torch.stack([gradients[i].flatten(1) for i in places])
        _, rows, columns = matrices.shape
        size = lr * math.sqrt(max(1, rows / columns))
        for i, direction in zip(places, orthogonalised(matrices), strict=True):
            step = size * direction.view_as(kernels[i])
            kernels[i].mul_(1 - lr * weight_decay).sub_(step)


def picked(places: list[int], *lists: list[Tensor]) -> list[list[Tensor]]:
    """Return the tensors at some places of each list."""
    return [[tensors[i] for i in places] for tensors in lists]


class Optimiser:
    """Changes weights by the rule, momentum and weight decay that `run` says.

    AdamW's weight decay is decoupled from the gradient (Loshchilov and Hutter 2019); Muon's too.
    Muon leaves all that is not a convolution's kernel to AdamW.
    """

    def __init__(self, weights: list[Tensor], run: Run):
        self.weights = weights
        self.settings = run.train
        self.momenta = [torch.zeros_like(weight) for weight in weights]
        self.squares: list[Tensor] = []  # AdamW's means of the squares of gradients
        self.counts: list[Tensor] = []  # its numbers of steps, which must be tensors on the device
        if run.train.optimiser in ("adamw", "muon"):
            self.squares = [torch.zeros_like(weight) for weight in weights]
            self.counts = [weight.new_zeros((), dtype=torch.float32) for weight in weights]
        # Fixup's scalars and the head's bias learn at a tenth of the rate (Zhang et al. 2019).
        slow = run.factors.branch_scale == "fixup"
        self.groups: dict[tuple[str, float], list[int]] = {}  # by rule and factor of the rate
        for i, weight in enumerate(weights):
            rule = run.train.optimiser
            if rule == "muon" and weight.ndim < 4:
                rule = "adamw"
            factor = 0.1 if slow and weight.ndim < 2 else 1.0
            self.groups.setdefault((rule, factor), []).append(i)

    def state(self) -> list[Tensor]:
        """Return all that the next step depends on, besides weights and gradients."""
        return [*self.momenta, *self.squares, *self.counts]

    def step(self, gradients: list[Tensor], lr: float | Tensor) -> None:
        """Change the weights at a learning rate. The gradients are changed too."""
        if self.settings.clipped:  # to a total norm (Pascanu et al. 2013)
            factor = self.settings.gradient_clip / (get_total_norm(gradients) + 1e-6)
            torch._foreach_mul_(gradients, factor.clamp(max=1.0))
        if self.settings.optimiser == "layerwise":
            layerwise(self.weights, gradients)
        decay = self.settings.weight_decay
        for (rule, factor), places in self.groups.items():
            lists = picked(places, self.weights, gradients, self.momenta)
            match rule:
                case "sgd" | "layerwise":
                    momentum = self.settings.momentum
                    sgd(*lists, momentum=momentum, lr=factor * lr, weight_decay=decay, **SGD_USUAL)
                case "adamw":
                    squares, counts = picked(places, self.squares, self.counts)
                    rate = ADAMW * factor * lr
                    adamw(*lists, squares, [], counts, lr=rate, weight_decay=decay, **ADAMW_USUAL)
                case "muon":
                    muon(*lists, MUON * factor * lr, decay)
