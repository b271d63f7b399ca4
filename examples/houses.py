"""Draw street scenes: a house in a garden, as an image and as a map of what is where.

The surfaces are scikit-image's photographs of grass, gravel and brick. Colours of walls, roofs and doors are drawn at
random and are equally bright, so that neither a gray image nor a map shows them: a network that guesses them has
several plausible answers.
"""

from __future__ import annotations

from colorsys import hsv_to_rgb
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from skimage.color import rgb2gray
from torch import Tensor

from examples.pictures import photo

SIDE = 64  # pixels
SKY, GRASS, PATH, TREE, WALL, ROOF, WINDOW, DOOR = CLASSES = range(8)
SURFACE_SIDE = 80  # pixels across a photograph of a surface
COMMON = 0.65  # share of the commoner one of two colours


@cache
def surface(name: str) -> np.ndarray:
    """Return a photograph of a surface, (SURFACE_SIDE, SURFACE_SIDE, 1), with mean 1."""
    gray = F.interpolate(photo(name)[:, 0:1], (SURFACE_SIDE, SURFACE_SIDE), mode="bicubic", antialias=True)
    return (gray / gray.mean())[0, 0, :, :, None].numpy()


def cut(name: str, rng: np.random.Generator) -> np.ndarray:
    """Return a random square of a surface, (SIDE, SIDE, 1)."""
    top, left = rng.integers(SURFACE_SIDE - SIDE + 1, size=2)
    return surface(name)[top : top + SIDE, left : left + SIDE]


def color(hue: float, saturation: float, luma: float) -> np.ndarray:
    """Return the colour (3,) of a hue that is as bright as `luma`, whatever the hue."""
    full = np.array(hsv_to_rgb(hue, saturation, 1.0))
    return full * luma / float(rgb2gray(full))


def draw_map(rng: np.random.Generator) -> np.ndarray:
    """Return the class of each pixel of a scene, (SIDE, SIDE)."""

    def between(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    picture = Image.new("L", (SIDE, SIDE), SKY)
    draw = ImageDraw.Draw(picture)
    horizon = between(39, 45)
    draw.rectangle((0, horizon, SIDE, SIDE), GRASS)
    for _ in range(between(1, 4)):
        x, radius = between(0, SIDE), between(5, 10)
        draw.ellipse((x - radius, horizon - 2 * radius, x + radius, horizon), TREE)
    left, width, base = between(5, 20), between(28, 38), horizon + between(5, 9)
    right, top, door = left + width, base - between(17, 24), left + between(4, width - 10)
    draw.polygon([(door, base), (door + 6, base), (door + 14, SIDE), (door - 8, SIDE)], PATH)
    draw.rectangle((left, top, right, base), WALL)
    draw.polygon([(left - 3, top), (right + 3, top), (left + between(10, width - 10), top - between(9, 16))], ROOF)
    draw.rectangle((door, base - 11, door + 6, base), DOOR)
    for x in range(left + 3, right - 5, 9):
        if not door - 6 < x < door + 7:
            draw.rectangle((x, base - 12, x + 5, base - 6), WINDOW)
    return np.asarray(picture)


def paint(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image (SIDE, SIDE, 3) in [0, 1] of a map."""

    def either(common: float, rare: float) -> float:
        return common if rng.random() < COMMON else rare

    down = np.linspace(0, 1, SIDE)[:, None, None]
    stripes = (np.arange(SIDE) // 2 % 2)[:, None, None]
    image = (1 - down) * np.array([0.35, 0.58, 0.90]) + down * np.array([0.85, 0.92, 1.0])  # the sky
    for place, tint, light in (
        (GRASS, color(0.26, 0.75, 0.42), cut("grass", rng)),
        (PATH, color(0.09, 0.25, 0.62), cut("gravel", rng)),
        (TREE, color(0.33, 0.70, 0.27), cut("grass", rng) ** 1.5),
        (WALL, color(either(0.02, 0.58), 0.55, 0.45), np.minimum(cut("brick", rng) ** 0.8, 1.2)),
        (ROOF, color(either(0.02, 0.36), 0.55, 0.33), 0.75 + 0.5 * stripes * cut("gravel", rng)),
        (DOOR, color(either(0.13, 0.78), 0.80, 0.30), np.ones((1, 1, 1))),
        (WINDOW, color(0.58, 0.40, 0.30), 0.6 + 0.9 * down),
    ):
        image = np.where((places == place)[..., None], tint * light, image)
    return np.asarray(np.clip(image, 0, 1))


def make_houses(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images (count, 3, SIDE, SIDE) in [0, 1] and indicators of their classes, (count, 8, SIDE, SIDE)."""
    rng = np.random.default_rng(seed)
    places = np.stack([draw_map(rng) for _ in range(count)])
    images = np.stack([paint(place, rng) for place in places])
    maps = torch.from_numpy(places).long()[:, None] == torch.tensor(CLASSES).view(1, -1, 1, 1)
    return torch.from_numpy(images).float().permute(0, 3, 1, 2).contiguous(), maps.float()
