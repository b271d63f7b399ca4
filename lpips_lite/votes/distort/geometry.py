"""Distortions of geometry: shifts, rotations, warps."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from lpips_lite.votes.distort.pixels import between, direction, move, normal, resize, sign


def shift(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    cos, sin = direction(x, g)
    distance = between(level, 0.2, 10.0)
    return move(x, distance * cos, distance * sin)


def _about_centre(x: Tensor) -> tuple[Tensor, Tensor]:
    height, width = x.shape[-2:]
    down = torch.arange(height).view(1, 1, height, 1) - (height - 1) / 2
    return down, torch.arange(width).view(1, 1, 1, width) - (width - 1) / 2


def rotate(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    (down, across), angle = _about_centre(x), sign(x, g) * between(level, 0.005, 0.4)
    return move(x, across * (angle.cos() - 1) - down * angle.sin(), across * angle.sin() + down * (angle.cos() - 1))


def zoom(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    (down, across), factor = _about_centre(x), torch.exp(sign(x, g) * between(level, 0.005, 0.3)) - 1
    return move(x, across * factor, down * factor)


def warp(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    right, down = resize(normal(x, g, 2, scale=12), x.shape[-2:]).chunk(2, dim=1)
    strength = between(level, 0.3, 6.0)
    return move(x, strength * right, strength * down)


def color_fringe(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    (cos, sin), distance = direction(x, g), between(level, 0.2, 5.0)
    red = move(x[:, :1], distance * cos, distance * sin)
    return torch.cat([red, x[:, 1:2], move(x[:, 2:], -distance * cos, -distance * sin)], dim=1)


def ghost(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Average with a shifted copy, as frame interpolation does if motion is wrong."""
    return (x + shift(x, (0.3 + 0.7 * level), g)) / 2
