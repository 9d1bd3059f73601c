"""Initial weights, drawn from a seed alone: networks of equal shapes start from equal draws."""

import math
from contextlib import ExitStack
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from models import streams
from models.data.prepare import Dataset
from models.layers import Mixing
from models.network import Block, Network
from models.variant import Factors, Run

NOISE = 0.1  # share of He et al.'s weights that dirac_noise adds to the identity

Weighted = nn.Conv2d | nn.Linear


def build(run: Run, data: Dataset, trained: dict[str, Tensor] | None = None) -> Network:
    """Return the run's network with its initial weights, grown from `trained` if that is given."""
    network = Network(run.factors, run.depth, run.width, data.train_inputs.shape[1:], data.classes)
    initialise(network, run.factors, run.seed)  # on the CPU, so that all devices start equally
    network.to(data.train_inputs.device)
    size = run.train.evaluation_batch_size
    sample = data.train_inputs[:: -(-len(data.train_inputs) // size)]  # evenly spaced: all classes
    if trained is not None:
        grow(network, trained, sample, run.growth)
    elif run.factors.init.startswith("dirac"):
        set_norms(network, sample, network.layers)
    return network


@torch.no_grad()
def initialise(network: Network, factors: Factors, seed: int) -> None:
    """Set all weights; biases start at zero, BatchNorm at scale one and shift zero."""
    generator = streams.generator(seed, "weights")
    weighted = [module for module in network.modules() if isinstance(module, Weighted)]
    for module in weighted:
        stem = module is weighted[0]
        match factors.init:
            case "he" | "dirac" | "dirac_noise":  # so later layers of all three get the same draws
                he(module, factors, generator)
            case "delta_orthogonal":
                delta_orthogonal(module, factors, stem, generator)
            case "looks_linear":
                looks_linear(module, stem, generator)
            case _:
                raise ValueError(f"init: {factors.init} has no code")
        if factors.init.startswith("dirac") and keeps_shape(module):
            noise = NOISE if factors.init == "dirac_noise" else 0.0
            module.weight.mul_(noise).add_(nn.init.dirac_(torch.empty_like(module.weight)))
        if isinstance(module, nn.Conv2d):
            module.weight.mul_(factors.gain)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if factors.branch_scale == "fixup":
        fixup(network)
    # The fixed matrices are drawn last, so that the weights are the same with any shortcut.
    for module in network.modules():
        if isinstance(module, Mixing):
            module.matrix.copy_(fixed_matrix(factors.shortcut, len(module.matrix), generator))


def he(module: Weighted, factors: Factors, generator: Generator) -> None:
    """Draw He et al.'s (2015) normal weights.

    The variance is 2 / (1 + slope^2) / fan-in before a ReLU. It is 1 / fan-in in the head, and
    before activations that keep the second moment by themselves.
    """
    halving = isinstance(module, nn.Conv2d) and factors.activation in ("relu", "crelu")
    gain = "leaky_relu" if halving else "linear"
    nn.init.kaiming_normal_(module.weight, factors.slope, nonlinearity=gain, generator=generator)


def delta_orthogonal(module: Weighted, factors: Factors, stem: bool, generator: Generator) -> None:
    """Set an orthogonal matrix at a kernel's centre and zero around it (Xiao et al. 2018)."""
    if isinstance(module, nn.Linear):
        he(module, factors, generator)
    else:
        # With slope zero, a ReLU halves second moments.
        gain = math.sqrt(2 / (1 + factors.slope**2) if factors.activation == "relu" else 1)
        orthogonal_kernel_(module.weight, gain, stem or module.stride != (1, 1), generator)


def looks_linear(module: Weighted, stem: bool, generator: Generator) -> None:
    """Set weights [W, -W] on the two halves of CReLU's channels (Balduzzi et al. 2017).

    W is orthogonal, so the network is linear. The stem sees the image, and gets W alone.
    """
    channels_out, channels_in, *kernel = module.weight.shape
    half = torch.empty(channels_out, channels_in if stem else channels_in // 2, *kernel)
    if isinstance(module, nn.Linear):
        nn.init.orthogonal_(half, generator=generator)
    else:
        orthogonal_kernel_(half, 1.0, stem or module.stride != (1, 1), generator)
    module.weight.copy_(half if stem else torch.cat([half, -half], 1))


def orthogonal_kernel_(weight: Tensor, gain: float, whole: bool, generator: Generator) -> None:
    """Set a kernel (C_out, C_in, H, W), as a whole or in its centre, to an orthogonal matrix.

    A centre alone would skip every second position of a strided convolution's input, and all
    channels of the stem would show the same picture of a grey image. If the matrix has more rows
    than columns, its columns are scaled to keep a unit's second moment.
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


def keeps_shape(module: Weighted) -> bool:
    same = isinstance(module, nn.Conv2d) and module.in_channels == module.out_channels
    return same and module.stride == (1, 1)


def fixup(network: Network) -> None:
    """Scale the weights of L branches of m convolutions as in Zhang et al. 2019.

    The last convolution of a branch and the head are zero. The other convolutions of a branch are
    multiplied by L^(-1 / (2m - 2)).
    """
    branches = [layer.branch for layer in network.layers.values() if isinstance(layer, Block)]
    for branch in branches:
        *others, last = [module for module in branch if isinstance(module, nn.Conv2d)]
        for convolution in others:
            convolution.weight.mul_(len(branches) ** (-1 / (2 * len(others))))
        nn.init.zeros_(last.weight)
    nn.init.zeros_(network.layers["head"].linear.weight)


def fixed_matrix(kind: str, channels: int, generator: Generator) -> Tensor:
    """Return the matrix of a shortcut; half the identity is from table 1 of He et al. (ECCV)."""
    match kind:
        case "orthogonal":
            return nn.init.orthogonal_(torch.empty(channels, channels), generator=generator)
        case "permutation":
            signs = torch.randint(0, 2, (channels, 1), generator=generator) * 2.0 - 1
            return signs * torch.eye(channels)[torch.randperm(channels, generator=generator)]
        case "gaussian":
            return torch.randn(channels, channels, generator=generator) / math.sqrt(channels)
        case "scaled":
            return torch.eye(channels) / 2
        case "doubly_stochastic":  # by Sinkhorn 1964: until rows and columns sum to one
            matrix = torch.randn(channels, channels, generator=generator).double().exp()
            for _ in range(100):
                matrix /= matrix.sum(1, keepdim=True)
                matrix /= matrix.sum(0)
            return matrix


def grow(network: Network, trained: dict[str, Tensor], inputs: Tensor, growth: str) -> None:
    """Put blocks into a trained network, whose state dict is `trained` (Chen et al. 2016).

    Its own blocks come first in each stage. The blocks after them become identities, so that in
    eval mode the logits on `inputs` are the trained network's; or, if `growth` is random, they keep
    their initial weights.
    """
    missing = network.load_state_dict(trained, strict=False).missing_keys
    if growth == "random":
        return
    names = {name.split(".")[1] for name in missing}
    blocks = nn.ModuleList([network.layers[name] for name in names])
    for module in blocks.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight)
    set_norms(network, inputs, blocks)


@torch.no_grad()
def set_norms(network: Network, inputs: Tensor, layers: nn.Module) -> None:
    """Give the norms of some layers the statistics on `inputs`, which are computed in eval mode.

    Where a block's convolution keeps the shape, its norm becomes an identity. If the convolution is
    one too, ReLU after them makes no difference, because features are not negative.
    """
    norms = [module for module in layers.modules() if isinstance(module, nn.BatchNorm2d)]
    branches = [module.branch for module in layers.modules() if isinstance(module, Block)]
    pairs = [pair for branch in branches for pair in pairwise(branch)]
    identities = {after for before, after in pairs if after in norms and keeps_shape(before)}

    def observe(norm: nn.BatchNorm2d, arguments: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(arguments[0], (0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        if norm in identities:  # as in section 3 of Ioffe and Szegedy 2015
            norm.weight.copy_((norm.running_var + norm.eps).sqrt())
            norm.bias.copy_(norm.running_mean)

    network.eval()
    with ExitStack() as stack:
        for norm in norms:
            stack.enter_context(norm.register_forward_pre_hook(observe))
        network(inputs)
    network.train()
