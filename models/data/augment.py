"""Augmentation as in He et al. 2016 (section 4.2): pad, crop at random, flip at random."""

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4  # pixels of zero on each side; zero is the mean image, because data are standardised


def draw_crops(examples: int, size: torch.Size, generator: torch.Generator) -> Tensor:
    """Return, for each example, how far its crop is down and right, and whether it is flipped.

    The result (examples, 3) holds whole numbers. `size` is the height and width of the images; an
    axis of length one stays as it is.
    """
    ends = [2 * PADDING + 1 if length > 1 else 1 for length in size]
    drawn = [torch.randint(0, end, (examples,), generator=generator) for end in (*ends, 2)]
    return torch.stack(drawn, 1)


def crop_and_flip(images: Tensor, crops: Tensor) -> Tensor:
    """Pad each image (B, C, H, W), crop it to its size, and flip it as `draw_crops` says."""
    height, width = images.shape[2:]
    down, right = (PADDING if axis > 1 else 0 for axis in (height, width))
    rows = crops[:, :1] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(len(images), -1)
    columns = crops[:, 1:2] + torch.where(crops[:, 2:] == 1, columns.flip(1), columns)
    padded = F.pad(images, (right, right, down, down)).permute(0, 2, 3, 1)  # channels last
    index = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
