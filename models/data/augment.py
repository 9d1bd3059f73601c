"""Augmentation as in He et al. 2016 (section 4.2): pad, crop at random, flip at random."""

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4  # pixels of zero on each side; zero is the mean image, because data are standardised


def crop_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pad each image (B, C, H, W), crop it to its size, and flip it left to right by chance.

    Each image has draws of its own, from the CPU, so that all devices see the same images. An axis
    of length one stays as it is.
    """
    count, _, height, width = images.shape
    down, right = (PADDING if axis > 1 else 0 for axis in (height, width))

    def drawn(high: int) -> Tensor:
        numbers = torch.randint(0, high, (count, 1), generator=generator)
        return numbers.to(images.device, non_blocking=True)

    rows = drawn(2 * down + 1) + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(count, -1)
    columns = drawn(2 * right + 1) + torch.where(drawn(2) == 1, columns.flip(1), columns)
    padded = F.pad(images, (right, right, down, down)).permute(0, 2, 3, 1)  # channels last
    index = torch.arange(count, device=images.device)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
