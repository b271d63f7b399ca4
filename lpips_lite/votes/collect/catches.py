"""Trials with a known answer: a reference against a strong distortion of it, which everybody sees who looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from lpips_lite.files.reading import read_image
from lpips_lite.votes.collect.study import Item, Mode
from lpips_lite.votes.distort import distort
from lpips_lite.votes.progress import Progress, silently

STRONG = ("white_noise", "gaussian_blur", "pixelated", "jpeg", "impulse_noise", "displaced_patches", "color_fringe")
LEVEL = 0.8
VISIBLE = 0.04  # least root mean square of the change, in [0, 1]; else another distortion is used
MOST = 24  # largest number of references for catch items


def catch_items(
    items: Sequence[Item], mode: Mode = "closer", *, seed: int = 0, progress: Progress = silently
) -> list[Item]:
    """Make catch items from some of the references, each with a distortion that changes it visibly.

    Args:
        items: The items to judge.
        mode: "closer": the reference against a distorted copy. "same": either these two, or the reference twice.
        seed: Seed for choosing references and distortions.
        progress: Iterates over the references and shows progress.
    """
    random = Random(seed)
    references = sorted({item.ref for item in items})
    made: list[Item] = []
    for number, ref in enumerate(progress(random.sample(references, min(MOST, len(references))), "catch trials")):
        image = read_image(ref)
        name = next((name for name in random.sample(STRONG, len(STRONG)) if _visible(image, name)), None)
        if name is None:
            continue
        made.append(Item(ref, ref, None if mode == "same" else ref, kind="catch", distortion=name))
        if mode == "same" and number % 2 == 0:
            made.append(Item(ref, ref, kind="catch"))
    return made


def draw(image: Tensor, name: str) -> Tensor:
    """Distort an image (3, H, W) in [0, 1] for a catch item, always in the same way."""
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        return distort(image[None], name, torch.tensor([LEVEL]), generator)[0]


def _visible(image: Tensor, name: str) -> bool:
    return float((draw(image, name) - image).square().mean().sqrt()) > VISIBLE


def catch_picture(path: Path, distortion: str | None) -> Tensor:
    """Return a picture (3, H, W) in [0, 1] of a catch item."""
    image = read_image(path)
    return image if distortion is None else draw(image, distortion)
