"""Distortions of sharpness: blur, sharpening, denoising."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from lpips_lite.votes.distort.pixels import between, box, convolve, direction, gaussian, normal, offsets


def gaussian_blur(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return gaussian(x, between(level, 0.35, 4.0))


def motion_blur(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    (down, across), (cos, sin) = offsets(9), direction(x, g)
    along, aside = across * cos + down * sin, down * cos - across * sin
    half = between(level, 0.7, 8.0)
    return convolve(x, torch.sigmoid(4 * (half - along.abs())) * torch.exp(-2 * aside**2))


def defocus(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    down, across = offsets(7)
    radius = between(level, 0.7, 6.0)
    return convolve(x, torch.sigmoid(5 * (radius - (down**2 + across**2).sqrt())))


def sharpen(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x + between(level, 0.2, 6.0) * (x - gaussian(x, torch.full((len(x), 1, 1, 1), 1.2), radius=4))


def smooth(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Remove texture and keep edges, with the guided filter of He et al. (2010) guided by its own input."""
    epsilon = between(level, 3e-4, 0.1)
    mean = box(x)
    variance = box(x * x) - mean**2
    gain = variance / (variance + epsilon)
    return box(gain) * x + box(mean - gain * mean)


def denoised(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Add noise, then remove it incompletely, like a weak denoiser."""
    noisy = x + between(level, 0.02, 0.35) * normal(x, g)
    return smooth(noisy, (0.25 + 0.75 * level).clamp(max=1), g)
