"""The CIFAR family of He et al. 2016 (section 4.2), with its factors made explicit.

A network has a stem, three stages of blocks, and a linear head: 6n + 2 weight layers. A block has
one or two convolutions, which are 3 wide. The first block of the second and of the third stage
halves every axis of the image and doubles the channels. Where a shortcut changes shape, it
subsamples and pads with channels of zeros (option A). So it has no parameters, and a plain network
has exactly as many parameters as its residual twin.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.tailored import TailoredReLU
from models.variant import Factors, six_n_plus_two

Stride = tuple[int, int]
Shape = tuple[int, int, int]  # of an image: channels, height, width


def sequence(**modules: nn.Module | None) -> nn.Sequential:
    """Return the given modules in a row, without those that are None."""
    # The call of a module that does nothing would take a sixtieth of a small convolution's time.
    present = {name: module for name, module in modules.items() if module is not None}
    return nn.Sequential(OrderedDict(present))


class Parts:
    """The modules of networks with the given factors; a method returns None where they have none.

    `size` is the height and width of the images. On an axis of length one, kernels are 1 wide.
    """

    def __init__(self, factors: Factors, depth: int, size: tuple[int, int]):
        self.factors = factors
        self.depth = depth
        self.kernel = tuple(3 if length > 1 else 1 for length in size)
        self.padding = tuple(1 if length > 1 else 0 for length in size)
        self.halving = tuple(2 if length > 1 else 1 for length in size)  # the stride that halves
        self.expansion = 2 if factors.activation == "crelu" else 1  # of channels, in an activation

    def conv(self, channels_in: int, channels_out: int, stride: Stride = (1, 1)) -> nn.Conv2d:
        """Return a convolution; it has a bias unless the norm, or Fixup, has biases of its own."""
        bias = self.factors.norm == "none" and self.factors.branch_scale != "fixup"
        return nn.Conv2d(channels_in, channels_out, self.kernel, stride, self.padding, bias=bias)

    def norm(self, channels: int) -> nn.Module | None:
        match self.factors.norm:
            case "none":
                return None
            case "batch":
                return nn.BatchNorm2d(channels)
            case "batch_no_affine":
                return nn.BatchNorm2d(channels, affine=False)
            case "noisy_batch":
                return nn.Sequential(nn.BatchNorm2d(channels), Noise())

    def act(self) -> nn.Module:
        match self.factors.activation:
            case "relu":
                # The shortcut of a pre-activation block reads the activation's input too, so the
                # activation must not overwrite it. Nothing else reads it in other blocks.
                return nn.ReLU(inplace=self.factors.block == "post_activation")
            case "crelu":
                return CReLU()
            case "tanh":
                return nn.Tanh()
            case "tailored_relu":
                return TailoredReLU(self.depth - 1)

    def activation(self, channels: int, number: str = "") -> dict[str, nn.Module | None]:
        """Return an activation and its norms; `number` ends their names."""
        before = self.factors.norm_position == "before"
        return {
            f"norm{number}": self.norm(channels) if before else None,
            f"bias{number}": self.shift(),
            f"act{number}": self.act(),
            f"norm_after{number}": None if before else self.norm(channels * self.expansion),
        }

    def shift(self) -> nn.Module | None:
        """Return one of Fixup's scalar biases."""
        return Shift() if self.factors.branch_scale == "fixup" else None

    def scale(self) -> nn.Module | None:
        return {"one": None, "skipinit": Scale(0.0), "fixup": Scale(1.0)}[self.factors.branch_scale]

    def shortcut(self, channels_in: int, channels_out: int, stride: Stride) -> nn.Module | None:
        if self.factors.shortcut == "none":
            return None
        kind = Identity if self.factors.shortcut == "identity" else Mixing
        return kind(channels_in, channels_out, stride)


class PostActivationBlock(nn.Module):
    """Compute after(shortcut(x) + branch(x)), as in He et al. 2016 (CVPR).

    The branch is conv1, norm1, act1, conv2, norm2; the second activation follows the addition. With
    one convolution, the branch ends after norm1. `shape` is (channels_in, channels_out, stride).
    """

    def __init__(self, parts: Parts, channels_in: int, channels_out: int, stride: Stride = (1, 1)):
        super().__init__()
        expanded = channels_out * parts.expansion
        after = parts.activation(channels_out)
        norm = after.pop("norm")  # the norm before the last activation ends the branch
        layers = {"shift1": parts.shift(), "conv1": parts.conv(channels_in, channels_out, stride)}
        if parts.factors.convolutions_per_block == 2:
            layers |= parts.activation(channels_out, "1")
            layers |= {"shift2": parts.shift(), "conv2": parts.conv(expanded, channels_out)}
            layers["norm2"] = norm
        else:
            layers["norm1"] = norm
        self.branch = sequence(**layers, scale=parts.scale())
        self.shortcut = parts.shortcut(channels_in, channels_out, stride)
        self.after = sequence(**after)
        self.shape = (channels_in, expanded, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch(x)
        return self.after(out if self.shortcut is None else self.shortcut(x) + out)


class PreActivationBlock(nn.Module):
    """Compute shortcut(x) + branch(x), as in He et al. 2016 (ECCV).

    The branch is norm1, act1, conv1, norm2, act2, conv2. With one convolution, the branch ends
    after conv1. `shape` is (channels_in, channels_out, stride).
    """

    def __init__(self, parts: Parts, channels_in: int, channels_out: int, stride: Stride = (1, 1)):
        super().__init__()
        expanded_in, expanded = channels_in * parts.expansion, channels_out * parts.expansion
        layers = parts.activation(channels_in, "1")
        layers |= {"shift1": parts.shift(), "conv1": parts.conv(expanded_in, channels_out, stride)}
        if parts.factors.convolutions_per_block == 2:
            layers |= parts.activation(channels_out, "2")
            layers |= {"shift2": parts.shift(), "conv2": parts.conv(expanded, channels_out)}
        self.branch = sequence(**layers, scale=parts.scale())
        self.shortcut = parts.shortcut(channels_in, channels_out, stride)
        self.shape = (channels_in, channels_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch(x)
        return out if self.shortcut is None else self.shortcut(x) + out


Block = PostActivationBlock | PreActivationBlock


class Network(nn.Module):
    """Compute logits (B, classes) of images (B, C, H, W).

    The layers are named stem, stage1_block1, ..., stage3_block<n>, head, and run in that order.
    """

    def __init__(self, factors: Factors, depth: int, width: int, shape: Shape, classes: int):
        super().__init__()
        image_channels, *size = shape
        parts = Parts(factors, six_n_plus_two(depth), size)
        pre_activation = factors.block == "pre_activation"
        block_type = PreActivationBlock if pre_activation else PostActivationBlock
        blocks = (depth - 2) // 3 // factors.convolutions_per_block  # of a stage
        stem = {"conv": parts.conv(image_channels, width)}
        channels = width
        if not pre_activation:
            stem |= parts.activation(channels)
            channels *= parts.expansion
        self.layers = nn.ModuleDict({"stem": sequence(**stem)})
        for stage in (1, 2, 3):
            for i in range(1, blocks + 1):
                stride = parts.halving if stage > 1 and i == 1 else (1, 1)
                block = block_type(parts, channels, width * 2 ** (stage - 1), stride)
                self.layers[f"stage{stage}_block{i}"] = block
                channels = block.shape[1]
        head = parts.activation(channels) if pre_activation else {}
        linear = nn.Linear(width * 4 * parts.expansion, classes)
        head |= {"shift": parts.shift(), "mean": Mean(), "linear": linear}
        self.layers["head"] = sequence(**head)

    def forward(self, x: Tensor, features: dict[str, Tensor] | None = None) -> Tensor:
        """Return the logits, and put the output of each layer into `features`, by its name."""
        for name, layer in self.layers.items():
            x = layer(x)
            if features is not None:
                features[name] = x
        return x


class Identity(nn.Module):
    """He et al.'s option A: the identity where shapes agree, else subsample and pad channels."""

    def __init__(self, channels_in: int, channels_out: int, stride: Stride):
        super().__init__()
        self.stride = stride
        self.same = channels_in == channels_out and stride == (1, 1)
        self.before = (channels_out - channels_in) // 2
        self.after = channels_out - channels_in - self.before

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, H, W) -> (B, C_out, H', W')
        if self.same:  # padding with nothing would make a copy
            return x
        # The mean of one position is that position. PyTorch computes the gradient of this pooling
        # faster than that of a slice.
        return F.pad(F.avg_pool2d(x, 1, self.stride), (0, 0, 0, 0, self.before, self.after))


class Mixing(Identity):
    """Option A, then a fixed linear map of the channels, which models/initialise.py draws."""

    def __init__(self, channels_in: int, channels_out: int, stride: Stride):
        super().__init__(channels_in, channels_out, stride)
        self.register_buffer("matrix", torch.eye(channels_out))

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, H, W) -> (B, C_out, H', W')
        return F.conv2d(super().forward(x), self.matrix[:, :, None, None])


class Noise(nn.Module):
    """The noise after BatchNorm with which Santurkar et al. 2018 move its outputs' distribution.

    Channel j of example i becomes s_ij x + m_ij, where m_ij is uniform about mu_j and s_ij is
    normal about sigma_j. At every step mu_j and sigma_j are drawn anew (their appendix A), from the
    global generator. There is no noise in eval mode.
    """

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
    """Concatenate the rectified input and the rectified negative input along the channels."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, 2C, H, W)
        return torch.cat([x, -x], 1).relu_()


class Scale(nn.Module):
    """Multiply by a learned scalar; SkipInit starts at zero (De and Smith 2020), Fixup at one."""

    def __init__(self, start: float):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(start))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Shift(nn.Module):
    """Add a learned scalar, which starts at zero (Zhang et al. 2019)."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class Mean(nn.Module):
    """Take the mean over positions; PyTorch's adaptive pooling is not deterministic on a GPU."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C)
        return x.mean((2, 3))
