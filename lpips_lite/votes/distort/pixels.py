"""Parts of distortions: random draws, filters, displacements, encoding and decoding."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor


def between(level: Tensor, low: float, high: float) -> Tensor:
    """Map levels 0…1 to low…high in geometric steps, shaped to multiply a batch: (N,) -> (N, 1, 1, 1)."""
    return (low * (high / low) ** level).view(-1, 1, 1, 1)


def normal(images: Tensor, generator: Generator, channels: int = 3, scale: int = 1) -> Tensor:
    """Draw normal noise (N, channels, H/scale, W/scale)."""
    n, _, height, width = images.shape
    return torch.randn(n, channels, math.ceil(height / scale), math.ceil(width / scale), generator=generator)


def sign(images: Tensor, generator: Generator) -> Tensor:
    """Draw −1 or +1 for each image, (N, 1, 1, 1)."""
    return torch.randint(0, 2, (len(images), 1, 1, 1), generator=generator) * 2.0 - 1


def direction(images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw a unit vector for each image: (N, 1, 1, 1) twice."""
    angle = torch.rand(len(images), 1, 1, 1, generator=generator) * 2 * math.pi
    return angle.cos(), angle.sin()


def resize(images: Tensor, size: Sequence[int], mode: str = "bicubic") -> Tensor:
    size = list(size)
    if mode == "nearest":
        return F.interpolate(images, size=size, mode=mode)
    return F.interpolate(images, size=size, mode=mode, align_corners=False, antialias=True)


def luma(images: Tensor) -> Tensor:
    return (images * images.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)


def convolve(images: Tensor, kernels: Tensor) -> Tensor:
    """Filter each image with its own kernel, borders reflected: kernels (N, 1, K, L), normalised here."""
    n, channels, height, width = images.shape
    kernels = kernels / kernels.sum(dim=(2, 3), keepdim=True)
    rows, columns = kernels.shape[2] // 2, kernels.shape[3] // 2
    padded = F.pad(images, (columns, columns, rows, rows), mode="reflect").transpose(0, 1)
    return F.conv2d(padded, kernels, groups=n).transpose(0, 1).reshape(n, channels, height, width)


def offsets(radius: int) -> tuple[Tensor, Tensor]:
    steps = torch.arange(-radius, radius + 1.0)
    return steps.view(1, 1, -1, 1), steps.view(1, 1, 1, -1)


def gaussian(images: Tensor, sigma: Tensor, radius: int = 12) -> Tensor:
    down, across = offsets(min(radius, min(images.shape[-2:]) - 1))
    images = convolve(images, torch.exp(-0.5 * (down / sigma) ** 2))
    return convolve(images, torch.exp(-0.5 * (across / sigma) ** 2))


def box(images: Tensor) -> Tensor:
    """Average over 7×7 pixels, fewer at the borders, first along one side and then the other, which is faster."""
    images = F.avg_pool2d(images, (7, 1), 1, (3, 0), count_include_pad=False)
    return F.avg_pool2d(images, (1, 7), 1, (0, 3), count_include_pad=False)


def move(images: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Sample each pixel from a position displaced by `right` and `down`, (N, 1, 1, 1) or (N, 1, H, W)."""
    n, _, height, width = images.shape
    rows = (torch.arange(height).view(1, height, 1) + down.squeeze(1)).expand(n, height, width)
    columns = (torch.arange(width).view(1, 1, width) + right.squeeze(1)).expand(n, height, width)
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    return F.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def through_codec(images: Tensor, save: Callable[[Image.Image, io.BytesIO, int], None]) -> Tensor:
    """Encode and decode each image; `save` gets the image, a buffer and its position in the batch."""
    decoded = []
    for position, pixels in enumerate((images * 255).round().byte().permute(0, 2, 3, 1).numpy()):
        buffer = io.BytesIO()
        save(Image.fromarray(pixels), buffer, position)
        decoded.append(np.asarray(Image.open(buffer).convert("RGB")))
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float() / 255
