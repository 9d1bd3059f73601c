"""The CIFAR family of He et al. 2016 (section 4.2), with its factors made explicit.

A stem, three stages of blocks, and a linear head: 6n + 2 weight layers. A block has `span`
convolutions, 3 wide. Each stage after the first halves every axis of the image and doubles the
channels. Where a shortcut changes shape it subsamples and pads with zero channels (option A), so
it has no parameters, and a plain network has exactly as many as its residual twin.

    depth                  20     32     44     56    110    (32x32x3 input, width 16, with BN)
    parameters, million  0.27   0.46   0.66   0.85   1.73

"Without" is a module too: no norm is the identity, no shortcut is zero. So there is one forward.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.tailored import TailoredReLU
from models.variant import Variant

# What a convolution comes with, in order; "+" is where a block adds its shortcut, after the last
# of its convolutions. "shift" and "bias" are scalar
# biases where Fixup has them, and nothing elsewhere.
ORDERS = {
    ("post_activation", "before"): ("shift", "conv", "norm", "+", "bias", "act"),
    ("post_activation", "after"): ("shift", "conv", "+", "bias", "act", "norm"),
    ("pre_activation", "before"): ("norm", "bias", "act", "shift", "conv", "+"),
    ("pre_activation", "after"): ("bias", "act", "norm", "shift", "conv", "+"),
}


class Zero(nn.Module):
    """The shortcut of a plain network: nothing is added to the branch."""

    def __init__(self, channels_in: int, channels_out: int, stride: tuple[int, int]):
        super().__init__()

    def forward(self, x: Tensor) -> float:
        return 0.0

    def plus(self, branch: Tensor, x: Tensor) -> Tensor:
        return branch  # the zero is not added, which takes a twentieth of a step


class Identity(nn.Module):
    """He et al.'s option A: the identity where shapes agree, else subsample and pad channels."""

    def __init__(self, channels_in: int, channels_out: int, stride: tuple[int, int]):
        super().__init__()
        self.stride = stride
        self.same = channels_in == channels_out and stride == (1, 1)
        self.before = (channels_out - channels_in) // 2
        self.after = channels_out - channels_in - self.before

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, H, W) -> (B, C_out, H', W')
        if self.same:  # to pad by nothing copies
            return x
        # The mean of one position is that position, and its gradient is sooner made than a slice's.
        return F.pad(F.avg_pool2d(x, 1, self.stride), (0, 0, 0, 0, self.before, self.after))

    def plus(self, branch: Tensor, x: Tensor) -> Tensor:
        return self(x) + branch


class Mixing(Identity):
    """Option A, then a fixed linear map of the channels, drawn in models/initialise.py."""

    def __init__(self, channels_in: int, channels_out: int, stride: tuple[int, int]):
        super().__init__(channels_in, channels_out, stride)
        self.register_buffer("matrix", torch.eye(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(super().forward(x), self.matrix[:, :, None, None])


class Noise(nn.Module):
    """The noise that Santurkar et al. 2018 put after BatchNorm, to move its outputs' distribution
    at every step: channel j of example i becomes s_ij x + m_ij, where m_ij is uniform about mu_j,
    s_ij normal about sigma_j, and mu_j and sigma_j are themselves drawn anew (their appendix A).
    None in eval mode. Draws from the global generator."""

    MEAN, STD, SPREAD = 0.5, 1.25, 0.1

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        if not self.training:
            return x

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return torch.empty(*shape, 1, 1, device=x.device).uniform_(low, high)

        examples, channels = x.shape[:2]
        mean = uniform(-self.MEAN, self.MEAN, 1, channels)
        std = uniform(1, self.STD, 1, channels)
        shift = mean + uniform(-self.SPREAD, self.SPREAD, examples, channels)
        scale = std + self.SPREAD * torch.randn(examples, channels, 1, 1, device=x.device)
        return scale * x + shift


class CReLU(nn.Module):
    """The rectified input and the rectified negative input, one after the other in channels."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, 2C, H, W)
        return torch.cat([x, -x], 1).relu_()


class Scale(nn.Module):
    """A learned scalar factor, zero at first in SkipInit and one in Fixup."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Shift(nn.Module):
    """A learned scalar bias, zero at first (Zhang et al. 2019)."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


SHORTCUTS = {
    "none": Zero, "identity": Identity,
    "orthogonal": Mixing, "permutation": Mixing, "gaussian": Mixing, "scaled": Mixing,
}  # fmt: skip
NORMS = {
    "none": lambda channels: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "batch_no_affine": lambda channels: nn.BatchNorm2d(channels, affine=False),
    "noisy_batch": lambda channels: nn.Sequential(nn.BatchNorm2d(channels), Noise()),
}
ACTIVATIONS = {
    # In place where nothing else reads the input, which a pre-activation's shortcut does.
    "relu": lambda variant, depth: nn.ReLU(inplace=variant.block == "post_activation"),
    "crelu": lambda variant, depth: CReLU(),
    "tanh": lambda variant, depth: nn.Tanh(),
    "tailored_relu": lambda variant, depth: TailoredReLU(depth - 1),
}
EXPANSION = {"relu": 1, "crelu": 2, "tanh": 1, "tailored_relu": 1}  # of channels
SCALES = {"one": nn.Identity, "skipinit": Scale, "fixup": Scale}
SHIFTS = {"one": nn.Identity, "skipinit": nn.Identity, "fixup": Shift}


def chain(
    variant: Variant, depth: int, kinds: Sequence[str], channels: int, channels_out: int,
    wide: tuple[bool, bool], stride: tuple[int, int] = (1, 1),
) -> tuple[nn.Sequential, int]:  # fmt: skip
    """Modules of these kinds ("conv1", "norm1", ...) from `channels`, and the channels they give.

    The first convolution takes the stride.
    """
    modules: dict[str, nn.Module] = {}
    for kind in kinds:
        match kind.rstrip("12"):
            case "conv":
                modules[kind] = convolution(variant, channels, channels_out, wide, stride)
                channels, stride = channels_out, (1, 1)
            case "norm":
                modules[kind] = NORMS[variant.norm](channels)
            case "act":
                modules[kind] = ACTIVATIONS[variant.activation](variant, depth)
                channels *= EXPANSION[variant.activation]
            case "scale":
                modules[kind] = SCALES[variant.branch_scale]()
            case _:
                modules[kind] = SHIFTS[variant.branch_scale]()
    # To call an identity takes a sixtieth of the time of a small convolution, and there would be
    # three or four for each.
    present = {kind: each for kind, each in modules.items() if not isinstance(each, nn.Identity)}
    return nn.Sequential(OrderedDict(present)), channels


class Block(nn.Module):
    """after(shortcut(x) + branch(x)). In He et al. 2016 the branch is conv, norm, activation,
    conv, norm, and the activation comes after the addition."""

    def __init__(
        self, variant: Variant, depth: int, channels_in: int, channels_out: int,
        wide: tuple[bool, bool], halve: bool,
    ):  # fmt: skip
        super().__init__()
        stride = tuple(2 if axis and halve else 1 for axis in wide)
        order = ORDERS[variant.block, variant.norm_position]
        plus = order.index("+")
        every = [kind for kind in order if kind != "+"]
        last = variant.span
        kinds = [f"{kind}{i}" for i in range(1, last) for kind in every]
        kinds += [f"{kind}{last}" for kind in order[:plus]]
        self.branch, channels = chain(
            variant, depth, [*kinds, "scale"], channels_in, channels_out, wide, stride
        )
        self.shortcut = SHORTCUTS[variant.shortcut](channels_in, channels, stride)
        self.after, self.channels = chain(
            variant, depth, order[plus + 1 :], channels, channels_out, wide
        )
        self.shape = (channels_in, self.channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.shortcut.plus(self.branch(x), x))


class Network(nn.Module):
    """Logits (B, classes) of images (B, C, H, W).

    Its layers are named stem, stage1_block1, ..., stage3_block<n>, head, and run in that order.

    Raises:
        ValueError: the depth is not 6n + 2 with n at least 1.
    """

    def __init__(
        self, variant: Variant, depth: int, width: int, shape: tuple[int, int, int], classes: int
    ):
        super().__init__()
        pairs, remainder = divmod(depth - 2, 6)
        if remainder or pairs < 1:
            raise ValueError(f"depth: {depth} is not 6n + 2; the nearest are {nearest(depth)}")
        blocks = 2 * pairs // variant.span  # of a stage
        channels, *size = shape
        wide = tuple(axis > 1 for axis in size)  # the axes along which there is something to see
        order = [kind for kind in ORDERS[variant.block, variant.norm_position] if kind != "+"]
        first = order.index("conv")
        self.layers = nn.ModuleDict()
        self.layers["stem"], channels = chain(variant, depth, order[first:], channels, width, wide)
        for stage in (1, 2, 3):
            for i in range(1, blocks + 1):
                halve = stage > 1 and i == 1
                block = Block(variant, depth, channels, width * 2 ** (stage - 1), wide, halve)
                self.layers[f"stage{stage}_block{i}"] = block
                channels = block.channels
        # What a pre-activation network has before a convolution, it has before its head too.
        self.layers["head"], channels = chain(
            variant, depth, order[:first], channels, channels, wide
        )
        self.layers["head"].add_module("mean", Mean())
        self.layers["head"].add_module("linear", nn.Linear(channels, classes))

    def forward(self, x: Tensor, features: dict[str, Tensor] | None = None) -> Tensor:
        """The logits; the output of each layer goes into `features`, by name, if it is given."""
        for name, layer in self.layers.items():
            x = layer(x)
            if features is not None:
                features[name] = x
        return x


class Mean(nn.Module):
    """The mean over positions. (The gradient of PyTorch's adaptive pooling is not deterministic
    on a GPU.)"""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C)
        return x.mean((2, 3))


def convolution(
    variant: Variant, channels_in: int, channels_out: int, wide: tuple[bool, bool],
    stride: tuple[int, int] = (1, 1),
) -> nn.Conv2d:  # fmt: skip
    """3 wide along each wide axis, padded to keep its length; a bias unless norm or Fixup has
    one."""
    return nn.Conv2d(
        channels_in,
        channels_out,
        kernel_size=tuple(3 if axis else 1 for axis in wide),
        padding=tuple(1 if axis else 0 for axis in wide),
        stride=stride,
        bias=variant.norm == "none" and variant.branch_scale != "fixup",
    )


def nearest(depth: int) -> str:
    """The depths 6n + 2 on either side of `depth`, for a message."""
    below = max(8, (depth - 2) // 6 * 6 + 2)
    return f"{below} and {below + 6}"
