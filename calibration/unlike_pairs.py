"""Pairs of all kinds: batches of photographs and copies of them, and losses on all pairs of a batch.

For each photograph a batch has another crop, a copy with changed light and colours, a moved copy, a copy with random
distortions of any strength, and two copies of which one is distorted more than the other. Sometimes a drawn texture or
object replaces the photograph. So pairs range from almost equal images to two different photographs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from calibration.distorted_twice import (
    ORDER_MARGIN,
    TRAINED_KINDS,
    choose,
    distort_at_two_levels,
    distort_randomly,
)
from calibration.drawn_images import draw_object, draw_texture
from lpips_lite.distance import unit_normalize
from lpips_lite.votes.distort import distort

LIT = ("brightness", "contrast", "shading", "saturation", "white_balance", "hue")
MOVED = ("shift", "rotate", "zoom", "blend", "shading")
COPIES = 7  # images per photograph in a batch, including the photograph itself
TEXTURES = 0.1  # share of photographs that are replaced by a texture
LEAST_LEVEL = 0.35  # least level of distortions of light and of motion
ACROSS = 0.4  # weight of pairs of two photographs, relative to all pairs
LAYER_LOSS, PART_LOSS = 1.0, 0.3  # weights of the losses per layer, for images and for parts of them
ORDER = 1.0  # weight of the order per image
FLOOR, LAYER_FLOOR = 1e-3, 2e-4  # added to distances before their logarithm


def draw_copies(photos: Tensor, count: int, side: int, generator: Generator, objects: float = 0.0) -> Tensor:
    """Draw a batch: (COPIES · count, 3, side, side) in [0, 1], starting with the first copies of all photographs.

    Args:
        photos: Photographs to draw from, (P, 3, H, W) uint8.
        count: Number of photographs.
        side: Side of the squares in pixels.
        generator: Source of all randomness.
        objects: Share of photographs that are replaced by a drawn object.
    """
    crops: list[Sequence[Tensor]] = []
    for number in torch.randint(len(photos), (count,), generator=generator).tolist():
        drawn = torch.rand((), generator=generator)
        if drawn < TEXTURES:
            texture = draw_texture(side, generator)
            crops.append((texture, texture.roll((side // 3, side // 2), (2, 3))))
        elif drawn < TEXTURES + objects:
            crops.append(draw_object(photos[number : number + 1].float() / 255, side, generator).chunk(2))
        else:
            crops.append([crop_to_size(photos[number], side, generator) for _ in range(2)])
    first, other = (torch.cat(column) for column in zip(*crops, strict=True))
    copies = [first, other]
    for kinds, passes in ((LIT, 3), (MOVED, 2)):
        copy = first
        for _ in range(1 + int(torch.randint(passes, (), generator=generator))):
            level = LEAST_LEVEL + (1 - LEAST_LEVEL) * torch.rand(count, generator=generator)
            copy = distort(copy, choose(kinds, generator), level, generator)
        copies.append(copy)
    copies.append(distort_randomly(first, TRAINED_KINDS, generator))
    return torch.cat([*copies, *distort_at_two_levels(first, TRAINED_KINDS, generator)])


def crop_to_size(photo: Tensor, side: int, generator: Generator) -> Tensor:
    """Cut a random square of random size from a photograph (3, H, W) of bytes, and resize it: (1, 3, side, side)."""
    height, width = photo.shape[1:]
    own = int(side * (0.5 + 0.65 * torch.rand((), generator=generator)))
    own = min(max(40, own), height, width)
    top = int(torch.randint(height - own + 1, (), generator=generator))
    left = int(torch.randint(width - own + 1, (), generator=generator))
    square = photo[None, :, top : top + own, left : left + own].float() / 255
    square = square.flip(-1) if torch.rand((), generator=generator) < 0.5 else square
    return F.interpolate(square, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)


def all_pairs(features: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Return the distance of every image of a batch from every other, layer by layer, (L, N, N).

    Squares of differences are expanded; the rounding error is far below `FLOOR`.
    """
    layers = []
    for feature, weight in zip(features, weights, strict=True):
        unit = unit_normalize(feature)
        products = (unit * weight.view(-1, 1, 1)).flatten(1) @ unit.flatten(1).T
        squares = products.diagonal()
        apart = squares[:, None] + squares - 2 * products
        layers.append(apart.clamp(min=0) / (feature.shape[2] * feature.shape[3]))
    return torch.stack(layers)


def quadrants(features: Sequence[Tensor]) -> list[list[Tensor]]:
    """Cut features in four, so that differences must be found at the right place."""
    halves = [(slice(None, f.shape[2] // 2), slice(-(f.shape[2] // 2), None)) for f in features]
    return [
        [f[:, :, half[row], half[column]] for f, half in zip(features, halves, strict=True)]
        for row in (0, 1)
        for column in (0, 1)
    ]


def pair_error(found: Tensor, target: Tensor) -> Tensor:
    """Return the loss between the distances of all pairs of a batch of `draw_copies` and those of a teacher.

    It has three terms. The first is the squared difference of logarithms, for pairs within a photograph and, with a
    lower weight, of two photographs, in total and per layer. The second is 1 − the correlation over the images that
    each is compared with, for the same pairs. The third requires the stronger distortion to be farther.

    Args:
        found: Distances, (1 + Q, L, N, N), of whole images, followed by Q parts, of which only the values are learnt.
        target: The teacher's distances, same shape.
    """
    layers, theirs = ((d + LAYER_FLOOR).log() for d in (found, target))
    whole, expected = ((d[0].sum(0) + FLOOR).log() for d in (found, target))
    apart = (layers - theirs).square().mean(1)
    error = (whole - expected).square() + LAYER_LOSS * apart[0] + PART_LOSS * apart[1:].mean(0)
    images, count = len(whole), len(whole) // COPIES
    photo = torch.arange(images) % count
    same, others = photo[:, None] == photo, ~torch.eye(images, dtype=torch.bool)
    orders = [(whole, expected), *zip(layers[0], theirs[0], strict=True)]
    disorder = torch.stack([_disorder(a, b, others) + _disorder(a, b, others & same) for a, b in orders])
    weak, strong = (whole[:count, -start * count :][:, :count].diagonal() for start in (2, 1))
    hinge = (ORDER_MARGIN + weak - strong).clamp(min=0).mean()
    value = (1 - ACROSS) * error[same & others].mean() + ACROSS * error[~same].mean()
    return value + ORDER * (disorder[0] + disorder[1:].mean()) + hinge


def _disorder(ours: Tensor, theirs: Tensor, compared: Tensor) -> Tensor:
    """Return 1 − the mean correlation of logarithms over the images that each is compared with."""
    rows = [logs[compared].view(len(logs), -1) for logs in (ours, theirs)]
    a, b = (row - row.mean(dim=1, keepdim=True) for row in rows)
    return 1 - F.cosine_similarity(a, b, dim=1).mean()
