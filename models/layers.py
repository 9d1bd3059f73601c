"""The small modules of the networks. All of them keep lanes apart (models/network.py)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Stride = tuple[int, int]


def per_channel(scalars: Tensor, x: Tensor) -> Tensor:
    """Return the lanes' scalars (K,) as (K * C, 1, 1), for x (B, K * C, H, W)."""
    channels = x.shape[1] // len(scalars)
    return scalars[:, None].expand(-1, channels).reshape(-1, 1, 1)


class Identity(nn.Module):
    """He et al.'s option A: the identity where shapes agree, else subsample and pad channels."""

    def __init__(self, channels_in: int, channels_out: int, stride: Stride, lanes: int = 1):
        super().__init__()
        self.stride = stride
        self.lanes = lanes
        self.same = channels_in == channels_out and stride == (1, 1)
        self.before = (channels_out - channels_in) // 2
        self.after = channels_out - channels_in - self.before

    def forward(self, x: Tensor) -> Tensor:  # (B, K * C_in, H, W) -> (B, K * C_out, H', W')
        if self.same:  # padding with nothing would make a copy
            return x
        # The mean of one position is that position. PyTorch computes the gradient of this pooling
        # faster than that of a slice. The result has its channels last, as its input does on a CPU.
        x = F.avg_pool2d(x, 1, self.stride).movedim(1, -1).unflatten(-1, (self.lanes, -1))
        return F.pad(x, (self.before, self.after)).flatten(-2).movedim(-1, 1)


class Mixing(Identity):
    """Option A, then a fixed linear map of the channels, which models/initialise.py draws."""

    def __init__(self, channels_in: int, channels_out: int, stride: Stride, lanes: int = 1):
        super().__init__(channels_in, channels_out, stride, lanes)
        self.register_buffer("matrix", torch.eye(channels_out).repeat(lanes, 1))

    def forward(self, x: Tensor) -> Tensor:  # (B, K * C_in, H, W) -> (B, K * C_out, H', W')
        return F.conv2d(super().forward(x), self.matrix[:, :, None, None], groups=self.lanes)


class Linear(nn.Linear):
    """A linear layer for each lane: (B, K * features_in) -> (B, K * features_out)."""

    def __init__(self, features_in: int, features_out: int, lanes: int = 1):
        super().__init__(features_in, lanes * features_out)
        self.lanes = lanes

    def forward(self, x: Tensor) -> Tensor:
        if self.lanes == 1:
            return super().forward(x)
        weight = self.weight.unflatten(0, (self.lanes, -1))
        products = torch.einsum("bki,koi->bko", x.unflatten(1, (self.lanes, -1)), weight)
        return products.flatten(1) + self.bias


class Noise(nn.Module):
    """The noise after BatchNorm with which Santurkar et al. 2018 move its outputs' distribution.

    Channel j of example i becomes s_ij x + m_ij, where m_ij is uniform about mu_j and s_ij is
    normal about sigma_j. At every step mu_j and sigma_j are drawn anew (their appendix A). There is
    no noise in eval mode. `generators` holds a generator for each lane; None is the global one.
    """

    MEAN, STD, SPREAD = 0.5, 1.25, 0.1

    def __init__(self, lanes: int = 1):
        super().__init__()
        self.generators: list[torch.Generator | None] = [None] * lanes

    def forward(self, x: Tensor) -> Tensor:  # (B, K * C, H, W)
        if not self.training:
            return x
        empty = torch.empty(len(x), x.shape[1] // len(self.generators), device=x.device)
        drawn = [self.draw(empty, generator) for generator in self.generators]
        shift, scale = (torch.cat(parts, 1)[:, :, None, None] for parts in zip(*drawn, strict=True))
        return scale * x + shift

    def draw(self, like: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return a lane's shifts and scales, both of the shape (B, C) of `like`."""
        mean = torch.empty_like(like[:1]).uniform_(-self.MEAN, self.MEAN, generator=generator)
        std = torch.empty_like(like[:1]).uniform_(1, self.STD, generator=generator)
        spread = torch.empty_like(like).uniform_(-self.SPREAD, self.SPREAD, generator=generator)
        normal = torch.empty_like(like).normal_(generator=generator)
        return mean + spread, std + self.SPREAD * normal


class CReLU(nn.Module):
    """Concatenate the rectified input and the rectified negative input along the channels."""

    def __init__(self, lanes: int = 1):
        super().__init__()
        self.lanes = lanes

    def forward(self, x: Tensor) -> Tensor:  # (B, K * C, H, W) -> (B, K * 2C, H, W)
        x = x.movedim(1, -1).unflatten(-1, (self.lanes, -1))  # the result has its channels last too
        return torch.cat([x.relu(), (-x).relu_()], -1).flatten(-2).movedim(-1, 1)


class Scale(nn.Module):
    """Multiply by a learned scalar; SkipInit starts at zero (De and Smith 2020), Fixup at one."""

    def __init__(self, start: float, lanes: int = 1):
        super().__init__()
        self.factor = nn.Parameter(torch.full((lanes,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * per_channel(self.factor, x)


class Fixed(nn.Module):
    """Multiply by a fixed number."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Shift(nn.Module):
    """Add a learned scalar, which starts at zero (Zhang et al. 2019)."""

    def __init__(self, lanes: int = 1):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(lanes))

    def forward(self, x: Tensor) -> Tensor:
        return x + per_channel(self.bias, x)


class Mean(nn.Module):
    """Take the mean over positions; PyTorch's adaptive pooling is not deterministic on a GPU."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C)
        return x.mean((2, 3))
