"""The CIFAR family of He et al. 2016 (section 4.2), with its two factors made explicit.

A stem, three stages of n blocks, and a linear head: 6n + 2 weight layers. A block is two 3-wide
convolutions. Each stage after the first halves every axis of the image and doubles the channels.
Where a shortcut changes shape it subsamples and pads with zero channels (option A), so it has no
parameters, and a plain network has exactly as many as its residual twin.

    depth                  20     32     44     56    110    (32x32x3 input, width 16, with BN)
    parameters, million  0.27   0.46   0.66   0.85   1.73

"Without" is a module too: no norm is the identity, no shortcut is zero. So there is one forward.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from models.variant import Variant


class Zero(nn.Module):
    """The shortcut of a plain network: nothing is added to the branch."""

    def __init__(self, channels_in: int, channels_out: int, stride: tuple[int, int]):
        super().__init__()

    def forward(self, x: Tensor) -> float:
        return 0.0


class Identity(nn.Module):
    """He et al.'s option A: the identity where shapes agree, else subsample and pad channels."""

    def __init__(self, channels_in: int, channels_out: int, stride: tuple[int, int]):
        super().__init__()
        self.stride = stride
        self.before = (channels_out - channels_in) // 2
        self.after = channels_out - channels_in - self.before

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, H, W) -> (B, C_out, H', W')
        down, right = self.stride
        return F.pad(x[:, :, ::down, ::right], (0, 0, 0, 0, self.before, self.after))


SHORTCUTS = {"none": Zero, "identity": Identity}
NORMS = {"none": nn.Identity, "batch": nn.BatchNorm2d}


class Block(nn.Module):
    """activation(shortcut(x) + branch(x)), the branch being conv, norm, activation, conv, norm."""

    def __init__(
        self, variant: Variant, channels_in: int, channels_out: int, wide: tuple[bool, bool],
        halve: bool,
    ):  # fmt: skip
        super().__init__()
        stride = tuple(2 if axis and halve else 1 for axis in wide)
        self.branch = nn.Sequential(
            convolution(variant, channels_in, channels_out, wide, stride),
            NORMS[variant.norm](channels_out),
            nn.ReLU(inplace=True),
            convolution(variant, channels_out, channels_out, wide),
            NORMS[variant.norm](channels_out),
        )
        self.shortcut = SHORTCUTS[variant.shortcut](channels_in, channels_out, stride)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.shortcut(x) + self.branch(x))


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
        blocks, remainder = divmod(depth - 2, 6)
        if remainder or blocks < 1:
            raise ValueError(f"depth: {depth} is not 6n + 2; the nearest are {nearest(depth)}")
        channels, *size = shape
        wide = tuple(axis > 1 for axis in size)  # the axes along which there is something to see
        self.layers = nn.ModuleDict()
        self.layers["stem"] = nn.Sequential(
            convolution(variant, channels, width, wide),
            NORMS[variant.norm](width),
            nn.ReLU(inplace=True),
        )
        channels = width
        for stage in (1, 2, 3):
            channels_out = width * 2 ** (stage - 1)
            for block in range(1, blocks + 1):
                halve = stage > 1 and block == 1
                name = f"stage{stage}_block{block}"
                self.layers[name] = Block(variant, channels, channels_out, wide, halve)
                channels = channels_out
        self.layers["head"] = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
        )

    def forward(self, x: Tensor, features: dict[str, Tensor] | None = None) -> Tensor:
        """The logits; the output of each layer goes into `features`, by name, if it is given."""
        for name, layer in self.layers.items():
            x = layer(x)
            if features is not None:
                features[name] = x
        return x


def convolution(
    variant: Variant, channels_in: int, channels_out: int, wide: tuple[bool, bool],
    stride: tuple[int, int] = (1, 1),
) -> nn.Conv2d:  # fmt: skip
    """3 wide along each wide axis, padded to keep its length; a bias unless a norm has its own."""
    return nn.Conv2d(
        channels_in,
        channels_out,
        kernel_size=tuple(3 if axis else 1 for axis in wide),
        padding=tuple(1 if axis else 0 for axis in wide),
        stride=stride,
        bias=variant.norm == "none",
    )


def nearest(depth: int) -> str:
    """The depths 6n + 2 on either side of `depth`, for a message."""
    below = max(8, (depth - 2) // 6 * 6 + 2)
    return f"{below} and {below + 6}"
