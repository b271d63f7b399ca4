"""Distortions by noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lpips_lite.votes.distort.pixels import between, luma, normal, resize


def white_noise(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x + between(level, 0.006, 0.35) * normal(x, g)


def gray_noise(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x + between(level, 0.006, 0.35) * normal(x, g, channels=1)


def chroma_noise(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    noise = normal(x, g)
    return x + between(level, 0.01, 0.4) * (noise - luma(noise))


def coarse_noise(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x + between(level, 0.006, 0.3) * resize(normal(x, g, scale=4), x.shape[-2:])


def fine_noise(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    noise = normal(x, g)
    return x + between(level, 0.008, 0.5) * (noise - F.avg_pool2d(noise, 3, 1, 1))


def speckle(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x * (1 + between(level, 0.01, 0.8) * normal(x, g))


def impulse_noise(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    draw = torch.rand(x.shape, generator=g)
    share = between(level, 0.001, 0.25)
    return torch.where(draw < share / 2, 0.0, torch.where(draw > 1 - share / 2, 1.0, x))
