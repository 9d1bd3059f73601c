"""Initial weights, drawn from a seed alone: networks of equal shapes start from equal draws."""

import math
from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from models.network import Block, Mixing, Network, Scale
from models.variant import Variant

NOISE = 0.1  # of dirac_noise: so much of He et al.'s weights is added to the identity

Weighted = nn.Conv2d | nn.Linear


@torch.no_grad()
def initialise(network: Network, variant: Variant, seed: int) -> None:
    """Set all weights; biases start at zero, BatchNorm at scale one and shift zero."""
    generator = torch.Generator().manual_seed(seed)
    stem, *others = [module for module in network.modules() if isinstance(module, Weighted)]
    for module in (stem, *others):
        INITS[variant.init](module, variant, module is stem, generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    SCALED[variant.branch_scale](network)
    # Drawn last, so that the weights above are the same with any shortcut.
    for module in network.modules():
        if isinstance(module, Mixing):
            module.matrix.copy_(MATRICES[variant.shortcut](len(module.matrix), generator))


def he(module: Weighted, variant: Variant, stem: bool, generator: torch.Generator) -> None:
    """He et al. 2015: normal, variance 2 / fan-in before a ReLU, 1 / fan-in before activations that
    keep the second moment by themselves, and in the head."""
    halving = isinstance(module, nn.Conv2d) and variant.activation in ("relu", "crelu")
    gain = "relu" if halving else "linear"
    nn.init.kaiming_normal_(module.weight, nonlinearity=gain, generator=generator)


def dirac(module: Weighted, variant: Variant, stem: bool, generator: torch.Generator) -> None:
    """The identity where input and output have equal shapes, else He et al.'s."""
    he(module, variant, stem, generator)
    if keeps_shape(module):
        nn.init.dirac_(module.weight)


def dirac_noise(module: Weighted, variant: Variant, stem: bool, generator: torch.Generator) -> None:
    """The same, plus NOISE times He et al.'s."""
    he(module, variant, stem, generator)
    if keeps_shape(module):
        module.weight.mul_(NOISE).add_(nn.init.dirac_(torch.empty_like(module.weight)))


def delta_orthogonal(
    module: Weighted, variant: Variant, stem: bool, generator: torch.Generator
) -> None:
    """Xiao et al. 2018: an orthogonal matrix at the centre of the kernel, zero around it.

    ReLU halves the second moment, which the weights make up for; tanh is at its critical point
    without bias. The head is He et al.'s.
    """
    if isinstance(module, nn.Linear):
        he(module, variant, stem, generator)
    else:
        gain = math.sqrt(2 if variant.activation == "relu" else 1)
        orthogonal_kernel_(module.weight, gain, spread(module, stem), generator)


def looks_linear(
    module: Weighted, variant: Variant, stem: bool, generator: torch.Generator
) -> None:
    """Balduzzi et al. 2017: weights [W, -W] on the two halves of CReLU's channels, with W
    orthogonal, so that the network computes a linear map. The stem sees the image, which has no
    second half. Where W stands in a kernel is as in `delta_orthogonal`."""
    channels_out, channels_in, *kernel = module.weight.shape
    half = torch.empty(channels_out, channels_in if stem else channels_in // 2, *kernel)
    if isinstance(module, nn.Linear):
        nn.init.orthogonal_(half, generator=generator)
    else:
        orthogonal_kernel_(half, 1.0, spread(module, stem), generator)
    module.weight.copy_(half if stem else torch.cat([half, -half], 1))


def spread(convolution: nn.Conv2d, stem: bool) -> bool:
    """Whether an orthogonal kernel has to fill all of its positions: a centre alone would leave
    out every second position of a strided convolution's input, and the stem with one channel
    would give out the same picture in all of its own."""
    return stem or convolution.stride != (1, 1)


def orthogonal_kernel_(
    weight: Tensor, gain: float, whole: bool, generator: torch.Generator
) -> None:
    """Fill a kernel (C_out, C_in, H, W) with `gain` times an orthogonal matrix: the whole of it,
    as (C_out, C_in H W), or its centre, as (C_out, C_in), with zero around it.

    Where the matrix has more rows than columns its columns are orthonormal, scaled to keep a
    unit's second moment.
    """
    channels_out, channels_in, height, width = weight.shape
    matrix = torch.empty(channels_out, weight[0].numel() if whole else channels_in)
    gain *= math.sqrt(max(channels_out / matrix.shape[1], 1))
    nn.init.orthogonal_(matrix, gain, generator=generator)
    if whole:
        weight.copy_(matrix.view_as(weight))
    else:
        nn.init.zeros_(weight)
        weight[:, :, height // 2, width // 2] = matrix


INITS = {
    "he": he,
    "dirac": dirac,
    "dirac_noise": dirac_noise,
    "delta_orthogonal": delta_orthogonal,
    "looks_linear": looks_linear,
}


def keeps_shape(module: Weighted) -> bool:
    return isinstance(module, nn.Conv2d) and (
        module.in_channels == module.out_channels and module.stride == (1, 1)
    )


def skipinit(network: Network) -> None:
    """De and Smith 2020: a scalar at the end of each branch, zero at first."""
    for module in network.modules():
        if isinstance(module, Scale):
            nn.init.zeros_(module.factor)


def fixup(network: Network) -> None:
    """Zhang et al. 2019, for L branches of m convolutions: all but the last of a branch times
    L^(-1 / (2m - 2)), the last zero, and the head zero."""
    branches = [layer.branch for layer in network.layers.values() if isinstance(layer, Block)]
    for branch in branches:
        *others, last = [module for module in branch if isinstance(module, nn.Conv2d)]
        for convolution in others:
            convolution.weight.mul_(len(branches) ** (-1 / (2 * len(others))))
        nn.init.zeros_(last.weight)
    nn.init.zeros_(network.layers["head"][-1].weight)


SCALED = {"one": lambda network: None, "skipinit": skipinit, "fixup": fixup}


def orthogonal(channels: int, generator: torch.Generator) -> Tensor:
    return nn.init.orthogonal_(torch.empty(channels, channels), generator=generator)


def signed_permutation(channels: int, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, (channels, 1), generator=generator) * 2.0 - 1
    return signs * torch.eye(channels)[torch.randperm(channels, generator=generator)]


def gaussian(channels: int, generator: torch.Generator) -> Tensor:
    """Variance 1 / channels: it keeps a norm on average only."""
    return torch.randn(channels, channels, generator=generator) / math.sqrt(channels)


def scaled(channels: int, generator: torch.Generator) -> Tensor:
    """He et al. 2016 (ECCV), table 1: half the identity."""
    return torch.eye(channels) / 2


MATRICES = {
    "orthogonal": orthogonal,
    "permutation": signed_permutation,
    "gaussian": gaussian,
    "scaled": scaled,
}


def measure(norm: nn.BatchNorm2d, arguments: tuple[Tensor]) -> None:
    """Set BatchNorm's statistics to those of what it is about to see."""
    variance, mean = torch.var_mean(arguments[0], (0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def undo(norm: nn.BatchNorm2d, arguments: tuple[Tensor]) -> None:
    """And its scale and shift to their standard deviation and mean: it is then the identity
    (Ioffe and Szegedy 2015, section 3)."""
    measure(norm, arguments)
    norm.weight.copy_((norm.running_var + norm.eps).sqrt())
    norm.bias.copy_(norm.running_mean)


def identity_norms(block: Block) -> list[nn.BatchNorm2d]:
    """The norms of a block whose convolutions keep the shape of their input."""
    return [
        module
        for kind, module in block.branch.named_children()
        if isinstance(module, nn.BatchNorm2d)
        and keeps_shape(block.branch.get_submodule(kind.replace("norm", "conv")))
    ]


@torch.no_grad()
def start_at_identity(network: Network, inputs: Tensor) -> None:
    """Make BatchNorm an identity, on `inputs` (B, C, H, W), wherever a block's convolution is one.

    Rectifiers leave non-negative features as they are, so such a convolution, BatchNorm and ReLU
    then compute the identity in eval mode, and nearly so with a batch's own statistics.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = dict.fromkeys(norms, measure)
    for layer in network.layers.values():
        if isinstance(layer, Block):
            hooks.update(dict.fromkeys(identity_norms(layer), undo))
    look(network, inputs, hooks)


@torch.no_grad()
def grow(network: Network, trained: dict[str, Tensor], inputs: Tensor) -> None:
    """Make a plain network compute what a trained one of fewer blocks does (Chen et al. 2016).

    The blocks of `trained`, a state dict, come first in each stage. The blocks after them become
    identities, so that in eval mode the logits on `inputs` are the trained network's.
    """
    missing = network.load_state_dict(trained, strict=False).missing_keys
    hooks = {}
    for name in sorted({name.split(".")[1] for name in missing}):
        for module in network.layers[name].modules():
            if isinstance(module, nn.Conv2d):
                nn.init.dirac_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        hooks.update(dict.fromkeys(identity_norms(network.layers[name]), undo))
    look(network, inputs, hooks)


def look(network: Network, inputs: Tensor, hooks: dict[nn.Module, Callable]) -> None:
    """One pass over `inputs` in eval mode, in which each hook sees its module's input first."""
    network.eval()
    with ExitStack() as stack:
        for module, hook in hooks.items():
            stack.enter_context(module.register_forward_pre_hook(hook))
        network(inputs)
    network.train()
