"""Distortions of light and colour."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from lpips_lite.votes.distort.pixels import between, luma, normal, resize, sign


def brightness(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x + sign(x, g) * between(level, 0.015, 0.4)


def contrast(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) * torch.exp(sign(x, g) * between(level, 0.04, 1.5))


def gamma(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x.clamp(min=1e-6) ** torch.exp(sign(x, g) * between(level, 0.04, 1.1))


def saturation(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    gray = luma(x)
    return gray + (x - gray) * (1 + sign(x, g) * between(level, 0.08, 1.0))


def white_balance(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    gains = torch.randn(len(x), 3, 1, 1, generator=g)
    return x * torch.exp(between(level, 0.02, 0.5) * (gains - gains.mean(1, keepdim=True)))


def hue(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Rotate the chrominance plane (U, V at equal luma) by up to 180 degrees."""
    angle = sign(x, g) * between(level, 0.05, math.pi)
    gray = luma(x)
    u, v = x[:, 2:3] - gray, x[:, 0:1] - gray  # B − Y, R − Y
    turned_u, turned_v = u * angle.cos() - v * angle.sin(), u * angle.sin() + v * angle.cos()
    green = gray - (0.299 * turned_v + 0.114 * turned_u) / 0.587
    return torch.cat([gray + turned_v, green, gray + turned_u], dim=1)


def shading(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x * torch.exp(between(level, 0.02, 0.7) * resize(normal(x, g, 1, scale=24), x.shape[-2:]))
