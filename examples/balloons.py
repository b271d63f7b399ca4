"""Draw balloons over hills. Nothing in a gray picture of them says which colour a balloon has.

Their colours are drawn at random from three hues and are equally bright; sky and hills look the same in every scene.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from examples.houses import color

SIDE, FINE = 96, 2  # pixels, and how much finer a scene is drawn
HUES, SHARES = (0.02, 0.60, 0.36), (0.60, 0.25, 0.15)  # red is the commonest, then blue and green
LUMA = 0.33  # of the coloured stripes where light falls on them directly
CREAM = np.array([0.95, 0.90, 0.76])


def between(down: np.ndarray, top: tuple[float, float, float], bottom: tuple[float, float, float]) -> np.ndarray:
    """Return colours (..., 3) from the top's to the bottom's."""
    share = np.clip(down, 0, 1)[..., None]
    return np.asarray((1 - share) * np.array(top) + share * np.array(bottom))


def landscape(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return sky and hills at points in [0, 1]²."""
    image = between(y / 0.8, (0.27, 0.50, 0.80), (0.98, 0.86, 0.70))
    for base, top, bottom in (
        (0.74, (0.47, 0.60, 0.66), (0.56, 0.66, 0.66)),
        (0.82, (0.28, 0.47, 0.38), (0.42, 0.56, 0.36)),
        (0.90, (0.16, 0.34, 0.16), (0.26, 0.44, 0.14)),
    ):
        height = np.full_like(x, base)
        for waves in (1, 2, 5):
            height += 0.035 / waves * np.sin(2 * np.pi * (waves * x + rng.random()))
        image = np.where((y > height)[..., None], between((y - height) / 0.2, top, bottom), image)
    return image


def balloon(
    image: np.ndarray, x: np.ndarray, y: np.ndarray, rng: np.random.Generator, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image with one balloon more, and where its coloured stripes are."""
    tint = color(HUES[rng.choice(len(HUES), p=SHARES)], 0.8, LUMA)
    u = (x - rng.uniform(radius, 1 - radius)) / radius
    v = (y - rng.uniform(1.1 * radius, 0.72 - 1.2 * radius)) / radius
    wide = np.where(v < 0.4, np.sqrt(np.clip(1 - v**2, 0, 1)), np.clip(1.217 - 0.75 * v, 0, 1))  # half the width at v
    inside = (np.abs(u) < wide) & (v < 1)
    across = np.clip(u / np.maximum(wide, 1e-6), -1, 1)
    stripe = np.floor((np.arcsin(across) / np.pi + 0.5) * 9).astype(int) % 2 == 0
    light = 0.92 - 0.28 * across - 0.12 * v - 0.18 * across**2
    painted = np.where(stripe[..., None], tint, CREAM) * light[..., None]
    image = np.where(inside[..., None], painted, image)
    basket = (np.abs(u) < 0.16) & (v > 1.3) & (v < 1.52)
    ropes = (np.abs(np.abs(u) - 0.15) < 0.02) & (v > 0.99) & (v < 1.3)
    return np.where((basket | ropes)[..., None], np.array([0.30, 0.20, 0.12]), image), inside & stripe


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a scene (SIDE, SIDE, 3) in [0, 1] and the share of each pixel that coloured stripes have."""
    y, x = (np.mgrid[: SIDE * FINE, : SIDE * FINE] + 0.5) / (SIDE * FINE)
    image, undecided = landscape(x, y, rng), np.zeros(x.shape, bool)
    for radius in np.sort(rng.uniform(0.08, 0.24, size=rng.integers(2, 5))):  # the nearest is the last
        image, mine = balloon(image, x, y, rng, radius)
        undecided = undecided | mine
    fine = np.concatenate([image.clip(0, 1), undecided[..., None]], axis=-1)
    small = fine.reshape(SIDE, FINE, SIDE, FINE, 4).mean(axis=(1, 3))
    return small[..., :3], small[..., 3]


def make_balloons(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images (count, 3, SIDE, SIDE) in [0, 1] and where coloured stripes are, (count, SIDE, SIDE).

    Stripes that a nearer balloon hides count, too.
    """
    rng = np.random.default_rng(seed)
    images, undecided = zip(*(draw(rng) for _ in range(count)), strict=True)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float(), torch.from_numpy(np.stack(undecided) == 1)
