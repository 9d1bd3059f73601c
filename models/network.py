"""The CIFAR family of He et al. 2016 (section 4.2), with its factors made explicit.

A network has a stem, three stages of blocks, and a linear head: 6n + 2 weight layers. A block has
one or two convolutions, which are 3 wide. The first block of the second and of the third stage
halves every axis of the image and doubles the channels. Where a shortcut changes shape, it
subsamples and pads with channels of zeros (option A). So it has no parameters, and a plain network
has exactly as many parameters as its residual twin.

A network can have several lanes: K networks side by side, as one network of K times the channels
whose convolutions have K groups (Wang et al. 2021, HFTA). No layer mixes lanes. Each parameter and
buffer of a lane is one of K equal parts of the tensor, along its first axis.
"""

from collections import OrderedDict

from torch import Tensor, nn

from models import layers
from models.layers import Stride
from models.tailored import TailoredReLU
from models.variant import Factors, six_n_plus_two

Shape = tuple[int, int, int]  # of an image: channels, height, width


def sequence(**modules: nn.Module | None) -> nn.Sequential:
    """Return the given modules in a row, without those that are None."""
    # The call of a module that does nothing would take a sixtieth of a small convolution's time.
    present = {name: module for name, module in modules.items() if module is not None}
    return nn.Sequential(OrderedDict(present))


class Parts:
    """The modules of networks with the given factors; a method returns None where they have none.

    `size` is the height and width of the images. On an axis of length one, kernels are 1 wide.
    Channels are those of one lane.
    """

    def __init__(self, factors: Factors, depth: int, size: tuple[int, int], lanes: int = 1):
        self.factors = factors
        self.depth = depth
        self.blocks = (depth - 2) // factors.convolutions_per_block
        self.lanes = lanes
        self.kernel = tuple(3 if length > 1 else 1 for length in size)
        self.padding = tuple(1 if length > 1 else 0 for length in size)
        self.halving = tuple(2 if length > 1 else 1 for length in size)  # the stride that halves
        self.expansion = 2 if factors.activation == "crelu" else 1  # of channels, in an activation

    def conv(self, channels_in: int, channels_out: int, stride: Stride = (1, 1)) -> nn.Conv2d:
        """Return a convolution; it has a bias unless the norm, or Fixup, has biases of its own."""
        bias = self.factors.norm == "none" and self.factors.branch_scale != "fixup"
        sizes = self.lanes * channels_in, self.lanes * channels_out, self.kernel, stride
        return nn.Conv2d(*sizes, self.padding, groups=self.lanes, bias=bias)

    def norm(self, channels: int) -> nn.Module | None:
        channels *= self.lanes
        match self.factors.norm:
            case "none":
                return None
            case "batch":
                return nn.BatchNorm2d(channels)
            case "batch_no_affine":
                return nn.BatchNorm2d(channels, affine=False)
            case "noisy_batch":
                return nn.Sequential(nn.BatchNorm2d(channels), layers.Noise(self.lanes))

    def act(self) -> nn.Module:
        match self.factors.activation:
            case "relu":
                # The shortcut of a pre-activation block reads the activation's input too, so the
                # activation must not overwrite it. Nothing else reads it in other blocks.
                inplace, slope = self.factors.block == "post_activation", self.factors.slope
                return nn.LeakyReLU(slope, inplace) if slope else nn.ReLU(inplace)
            case "crelu":
                return layers.CReLU(self.lanes)
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
        return layers.Shift(self.lanes) if self.factors.branch_scale == "fixup" else None

    def scale(self) -> nn.Module | None:
        match self.factors.branch_scale:
            case "one":
                return None
            case "skipinit":
                return layers.Scale(0.0, self.lanes)
            case "fixup":
                return layers.Scale(1.0, self.lanes)
            case "inverse_sqrt":
                return layers.Fixed(self.blocks**-0.5)

    def shortcut(self, channels_in: int, channels_out: int, stride: Stride) -> nn.Module | None:
        if self.factors.shortcut == "none":
            return None
        kind = layers.Identity if self.factors.shortcut == "identity" else layers.Mixing
        return kind(channels_in, channels_out, stride, self.lanes)


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
        branch = {"shift1": parts.shift(), "conv1": parts.conv(channels_in, channels_out, stride)}
        if parts.factors.convolutions_per_block == 2:
            branch |= parts.activation(channels_out, "1")
            branch |= {"shift2": parts.shift(), "conv2": parts.conv(expanded, channels_out)}
        branch[f"norm{parts.factors.convolutions_per_block}"] = norm
        self.branch = sequence(**branch, scale=parts.scale())
        self.shortcut = parts.shortcut(channels_in, channels_out, stride)
        self.after = sequence(**after)
        self.shape = (channels_in, expanded, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch(x)
        # The sum has the memory format of its first term, and the branch's is the faster one.
        return self.after(out if self.shortcut is None else out + self.shortcut(x))


class PreActivationBlock(nn.Module):
    """Compute shortcut(x) + branch(x), as in He et al. 2016 (ECCV).

    The branch is norm1, act1, conv1, norm2, act2, conv2. With one convolution, the branch ends
    after conv1. `shape` is (channels_in, channels_out, stride).
    """

    def __init__(self, parts: Parts, channels_in: int, channels_out: int, stride: Stride = (1, 1)):
        super().__init__()
        expanded_in, expanded = channels_in * parts.expansion, channels_out * parts.expansion
        branch = parts.activation(channels_in, "1")
        branch |= {"shift1": parts.shift(), "conv1": parts.conv(expanded_in, channels_out, stride)}
        if parts.factors.convolutions_per_block == 2:
            branch |= parts.activation(channels_out, "2")
            branch |= {"shift2": parts.shift(), "conv2": parts.conv(expanded, channels_out)}
        self.branch = sequence(**branch, scale=parts.scale())
        self.shortcut = parts.shortcut(channels_in, channels_out, stride)
        self.shape = (channels_in, channels_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch(x)
        return out if self.shortcut is None else out + self.shortcut(x)


Block = PostActivationBlock | PreActivationBlock


class Network(nn.Module):
    """Compute logits (B, classes) of images (B, C, H, W).

    The layers are named stem, stage1_block1, ..., stage3_block<n>, head, and run in that order.
    A network of K lanes takes images (B, K * C, H, W) and gives logits (B, K * classes).
    """

    def __init__(
        self, factors: Factors, depth: int, width: int, shape: Shape, classes: int, lanes: int = 1
    ):
        super().__init__()
        self.lanes = lanes
        image_channels, *size = shape
        parts = Parts(factors, six_n_plus_two(depth), size, lanes)
        pre_activation = factors.block == "pre_activation"
        block_type = PreActivationBlock if pre_activation else PostActivationBlock
        stem = {"conv": parts.conv(image_channels, width)}
        channels = width
        if not pre_activation:
            stem |= parts.activation(channels)
            channels *= parts.expansion
        self.layers = nn.ModuleDict({"stem": sequence(**stem)})
        for stage in (1, 2, 3):
            for i in range(1, parts.blocks // 3 + 1):
                stride = parts.halving if stage > 1 and i == 1 else (1, 1)
                block = block_type(parts, channels, width * 2 ** (stage - 1), stride)
                self.layers[f"stage{stage}_block{i}"] = block
                channels = block.shape[1]
        head = parts.activation(channels) if pre_activation else {}
        linear = layers.Linear(width * 4 * parts.expansion, classes, lanes)
        head |= {"shift": parts.shift(), "mean": layers.Mean(), "linear": linear}
        self.layers["head"] = sequence(**head)

    def forward(self, x: Tensor, features: dict[str, Tensor] | None = None) -> Tensor:
        """Return the logits, and put the output of each layer into `features`, by its name."""
        for name, layer in self.layers.items():
            x = layer(x)
            if features is not None:
                features[name] = x
        return x
