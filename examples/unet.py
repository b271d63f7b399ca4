"""A small U-Net (Ronneberger et al. 2015): images in, images of the same size out; skip connections keep details."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """Return a 3 × 3 convolution and its activation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.LeakyReLU(0.1, inplace=True))


class UNet(nn.Module):
    """Three halvings of the size and three doublings; values are not bounded.

    Args:
        inputs: Channels of the input, (N, inputs, H, W), H and W multiples of 8.
        outputs: Channels of the output.
        width: Channels at full size.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 16) -> None:
        super().__init__()
        channels = (width, 2 * width, 4 * width, 4 * width)
        scales = list(pairwise(channels))
        self.first = conv(inputs, width)
        self.down = nn.ModuleList(conv(fine, coarse, stride=2) for fine, coarse in scales)
        self.middle = conv(channels[-1], channels[-1])
        self.up = nn.ModuleList(conv(coarse + fine, fine) for fine, coarse in reversed(scales))
        self.last = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.first(x)]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = self.middle(skips.pop())
        for up in self.up:
            skip = skips.pop()
            x = up(torch.cat([F.interpolate(x, size=skip.shape[-2:]), skip], dim=1))
        found: Tensor = self.last(x)
        return found
