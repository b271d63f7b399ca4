"""Photographs distorted twice, and losses that compare the reference and both copies with each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from lpips_lite.votes.distort import DISTORTIONS, distort

HELD_OUT_KINDS = ("speckle", "motion_blur", "jpeg2000", "gamma", "warp", "displaced_patches")
TRAINED_KINDS = tuple(kind for kind in DISTORTIONS if kind not in HELD_OUT_KINDS)
CHUNK = 8  # images that share a kind of distortion, so that it runs as one batch
ORDER_MARGIN = 0.05  # least difference in log-distance between the stronger and the weaker distortion


def choose(kinds: Sequence[str], generator: Generator) -> str:
    """Draw one kind of distortion."""
    return kinds[int(torch.randint(len(kinds), (), generator=generator))]


def distort_randomly(images: Tensor, kinds: Sequence[str], generator: Generator) -> Tensor:
    """Distort each chunk of a batch by one kind, and three in ten of them also by a second kind."""
    distorted = []
    for chunk in images.split(CHUNK):  # type: ignore[no-untyped-call]
        passes = 2 if torch.rand((), generator=generator) < 0.3 else 1
        for _ in range(passes):
            chunk = distort(chunk, choose(kinds, generator), torch.rand(len(chunk), generator=generator), generator)
        distorted.append(chunk)
    return torch.cat(distorted)


def distort_at_two_levels(images: Tensor, kinds: Sequence[str], generator: Generator) -> tuple[Tensor, Tensor]:
    """Distort each chunk by one kind at two levels with the same random pattern; return the weaker and the stronger."""
    weak, strong = [], []
    for chunk in images.split(CHUNK):  # type: ignore[no-untyped-call]
        kind, seed = choose(kinds, generator), int(torch.randint(2**40, (), generator=generator))
        gap = 0.12 + 0.2 * torch.rand(len(chunk), generator=generator)
        level = torch.rand(len(chunk), generator=generator) * (1 - gap)
        weak.append(distort(chunk, kind, level, Generator().manual_seed(seed)))
        strong.append(distort(chunk, kind, level + gap, Generator().manual_seed(seed)))
    return torch.cat(weak), torch.cat(strong)


def log_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the loss between distances (N,) and the teacher's distances."""
    return ((student + 1e-3).log() - (teacher + 1e-3).log()).square().mean()


def order_error(three_way: Tensor) -> Tensor:
    """Return the order loss for three-way distances (N, L), if the second copy is distorted more strongly."""
    weak, strong, _ = (three_way.sum(1) + 1e-4).log().chunk(3)
    return (ORDER_MARGIN + weak - strong).clamp(min=0).mean()
