"""The scale of fitted weights, which judgments do not determine: it is kept, over distortions of a drawn picture."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from lpips_lite import LPIPS
from lpips_lite.votes.distort import DISTORTIONS, distort
from lpips_lite.votes.features import channel_distances

Floats = NDArray[np.float64]
SIDE, LEAVES = 256, 3000
SMALLEST, LARGEST = 3.0, 90.0  # radii of leaves, in pixels


@lru_cache(1)
def draw_leaves() -> Tensor:
    """Draw a picture with edges, shades and textures of all sizes, like a photograph; it is the same on every machine.

    Discs cover each other, with radii r as frequent as 1/r³, so that no scale is preferred (the "dead leaves" of
    Ruderman 1997 and Lee, Mumford & Huang 2001). Each disc has its own colour, gradient and ripples.

    Returns:
        (1, 3, 256, 256) in [0, 1], multiples of 1/255.
    """
    generator = np.random.default_rng(0)
    picture, grid = np.full((3, SIDE, SIDE), 0.5), np.mgrid[:SIDE, :SIDE]
    for _ in range(LEAVES):
        draw = generator.random(12)
        radius = (SMALLEST**-2 + draw[0] * (LARGEST**-2 - SMALLEST**-2)) ** -0.5
        left, top = SIDE * (1.2 * draw[1:3] - 0.1)  # of the centre, which may be outside
        rows, columns = (slice(max(0, int(c - radius - 1)), max(0, int(c + radius + 2))) for c in (top, left))
        v, u = grid[:, rows, columns]
        u, v = (u - left) / radius, (v - top) / radius
        inside = np.clip((1 - np.hypot(u, v)) * radius + 0.5, 0, 1)  # fades over the pixel at the rim
        light = 0.15 + 0.7 * draw[3] + 0.2 * ((draw[4] - 0.5) * u + (draw[5] - 0.5) * v)
        ripples = np.sin((1 + 9 * draw[6]) * u + 6 * draw[7]) * np.sin((1 + 9 * draw[8]) * v)
        colour = light + 0.08 * ripples + 0.3 * (draw[9:12, None, None] - 0.5)
        picture[:, rows, columns] += inside * (colour - picture[:, rows, columns])
    pixels = np.round(np.clip(picture, 0, 1) * 255) / 255
    return torch.from_numpy(pixels)[None].float()


def distort_once_each(picture: Tensor) -> list[Tensor]:
    """Return copies of a picture (1, 3, H, W), one per distortion at half its strength, always the same."""
    return [distort(picture, kind, torch.tensor([0.5]), Generator().manual_seed(0)) for kind in DISTORTIONS]


def keep_scale(
    weights: Floats, slope: float | None, start: Floats, metric: LPIPS, picture: Tensor | None = None
) -> tuple[Floats, float | None]:
    """Scale weights so that the median distance over distortions of a picture is that of the starting weights.

    Args:
        weights: Fitted weights, (ΣC,).
        slope: Their slope, if votes determine one.
        start: The weights whose scale is kept, (ΣC,).
        metric: The metric whose tower is used.
        picture: The picture to distort, (1, 3, H, W) in [0, 1]; default: `draw_leaves`.

    Returns:
        Weights and slope; their product does not change.

    Raises:
        ValueError: If more than half of the distances are 0 under either weights.
    """
    picture = draw_leaves() if picture is None else picture
    differences = np.concatenate([channel_distances(metric, picture, copy) for copy in distort_once_each(picture)])
    before, after = float(np.median(differences @ start)), float(np.median(differences @ weights))
    if not (before > 0 and after > 0):
        raise ValueError(
            f"the median distance is {before:g} under the starting weights and {after:g} under the fitted ones; "
            f"expected positive ones"
        )
    factor = before / after
    return weights * factor, None if slope is None else slope / factor
