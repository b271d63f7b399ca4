"""Local damage, and content from elsewhere."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lpips_lite.votes.distort.pixels import between


def displaced_patches(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Replace random 8×8 blocks by content from elsewhere in the image, as transmission errors do."""
    drawn = torch.rand(len(x), 1, math.ceil(x.shape[2] / 8), math.ceil(x.shape[3] / 8), generator=g)
    mask = F.interpolate((drawn < between(level, 0.02, 0.5)).float(), scale_factor=8, mode="nearest")
    moved = x.roll((13, 17), dims=(2, 3))
    return torch.where(mask[..., : x.shape[2], : x.shape[3]] > 0, moved, x)


def flat_patch(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Cover a square with its image's mean colour."""
    height, width = x.shape[-2:]
    half = between(level, 0.03, 0.4) * min(height, width)
    down = torch.arange(height).view(1, 1, -1, 1) - torch.rand(len(x), 1, 1, 1, generator=g) * height
    across = torch.arange(width).view(1, 1, 1, -1) - torch.rand(len(x), 1, 1, 1, generator=g) * width
    return torch.where((down.abs() < half) & (across.abs() < half), x.mean(dim=(2, 3), keepdim=True), x)


def checkerboard(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Modulate with a 2-pixel grid, like artefacts of transposed convolutions."""
    down, across = torch.arange(x.shape[2]).view(-1, 1), torch.arange(x.shape[3])
    lattice = ((down % 2) * 2.0 - 1) * ((across % 2) * 2.0 - 1)
    return x + between(level, 0.01, 0.25) * lattice * torch.randn(len(x), 3, 1, 1, generator=g)


def blend(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Mix in the next image of the batch; at level 1 it replaces the image."""
    return x.lerp(x.roll(1, dims=0), between(level, 0.02, 1.0))
