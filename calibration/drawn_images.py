"""Drawn images, textures and lit objects, for a network that has to see more than photographs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

RADIUS = 0.8  # radius of an object, relative to half the side of its image


def draw_texture(side: int, generator: Generator) -> Tensor:
    """Draw noise of a random spectrum, direction and colour, (1, 3, side, side) in [0, 1]."""
    stretch = 0.3 + 1.4 * float(torch.rand((), generator=generator))
    noise = _noise(3, side, 0.5 + 2 * float(torch.rand((), generator=generator)), generator, stretch)
    colour = torch.eye(3) * torch.rand((), generator=generator) + torch.rand(3, 1, generator=generator) / 2
    noise = torch.einsum("ij,jhw->ihw", colour, noise)
    if torch.rand((), generator=generator) < 0.3:
        noise = torch.tanh(3 * noise)
    return (0.2 + 0.6 * torch.rand(3, 1, 1, generator=generator) + 0.22 * noise).clamp(0, 1)[None]


def draw_object(surroundings: Tensor, side: int, generator: Generator) -> Tensor:
    """Draw a bumpy ball twice, in the same light but with two materials: (2, 3, side, side) in [0, 1].

    It uses Blinn's shading model (1977) and a reflection of the surroundings, more blurred for rougher materials.

    Args:
        surroundings: The background, which the ball also reflects, (1, 3, H, W) in [0, 1].
        side: Side of the images in pixels.
        generator: Source of all randomness.
    """
    across = torch.linspace(-1, 1, side) / RADIUS
    y, x = torch.meshgrid(across, across, indexing="ij")
    depth = (1 - x.square() - y.square()).clamp(min=0).sqrt()
    bumps = 0.5 * float(torch.rand((), generator=generator)) ** 2 * _noise(2, side, 2.0, generator)
    normal = F.normalize(torch.stack([x + bumps[0], y + bumps[1], depth + 0.05]), dim=0)
    light = F.normalize(torch.randn(3, generator=generator) + torch.tensor([0.0, -0.7, 1.0]), dim=0)
    lit = (normal * light.view(3, 1, 1)).sum(0).clamp(min=0)
    halfway = F.normalize(light + torch.tensor([0.0, 0.0, 1.0]), dim=0)
    glance = (normal * halfway.view(3, 1, 1)).sum(0).clamp(min=0)
    mirrored = (2 * normal[2] * normal[:2]).permute(1, 2, 0)[None]  # direction of the reflected ray
    spots = _noise(1, side, 1.5, generator)[0]
    behind = F.interpolate(F.avg_pool2d(surroundings, 8), size=(side, side), mode="bilinear")[0]
    edge = ((1 - torch.hypot(x, y)) * side * RADIUS / 2 + 0.5).clamp(0, 1)
    images = []
    for _ in range(2):
        colour, tint, share = torch.rand(3, 3, generator=generator)
        rough = int(torch.randint(1, 6, (), generator=generator))
        albedo = (colour.view(3, 1, 1) * (1 + 0.6 * float(share[0]) ** 2 * spots)).clamp(0, 1)
        metal = (tint if share[1] > 0.5 else torch.ones(3)).view(3, 1, 1)
        highlight = float(share[2]) * glance ** float(2 ** (9 - 1.4 * rough))
        mirror = F.grid_sample(F.avg_pool2d(surroundings, 2**rough, ceil_mode=True), mirrored, align_corners=False)[0]
        ball = (1 - share[1] / 2) * albedo * (0.25 + lit) + metal * (highlight + 0.8 * share[1] * mirror)
        images.append(behind.lerp(ball.clamp(0, 1), edge))
    return torch.stack(images)


def _noise(count: int, side: int, fall: float, generator: Generator, stretch: float = 1.0) -> Tensor:
    """Draw noise whose spectrum falls with a power of the frequency, (count, side, side), with standard deviation 1."""
    down, across = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side) * stretch
    spectrum = torch.fft.rfft2(torch.randn(count, side, side, generator=generator))
    frequency = (down.square() + across.square()).sqrt().clamp(min=1 / side)
    noise = torch.fft.irfft2(spectrum * frequency**-fall, s=(side, side))
    found: Tensor = noise / noise.std((1, 2), keepdim=True)
    return found
