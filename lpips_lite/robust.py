"""Wrappers that make a loss see more: averaged over shifts and flips, or at several scales.

They take any loss of two batches, `LPIPS` or a baseline's Module, and are one themselves. Losses combine by addition:
`metric(x, y) + 0.1 * L1Loss()(x, y)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpips_lite.images import check_pair, to_common, to_float

Loss = Callable[[Tensor, Tensor], Tensor]


class Jittered(nn.Module):
    """The mean of a loss over random shifts and flips of both images together.

    A tower with strides sees an image on a grid; where it falls between the features, an optimiser can hide what people
    see. The images are moved together, so the distance stays what it is, only no longer tied to the grid.

    Args:
        loss: Of two batches.
        samples: Draws to average at each call.
        shift: Pixels to shift by, at most; the margin of that width is cut off.
        generator: Source of randomness; default torch's own.

    References:
        Kettunen, Härkönen, Lehtinen: E-LPIPS: Robust Perceptual Image Similarity via Random Transformation Ensembles,
        https://arxiv.org/abs/1906.03973
    """

    def __init__(
        self, loss: Loss, *, samples: int = 2, shift: int = 8, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if samples < 1 or shift < 0:
            raise ValueError(f"samples={samples}, shift={shift}: expected samples ≥ 1 and shift ≥ 0")
        self.loss, self.samples, self.shift, self.generator = loss, samples, shift, generator

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean loss. Arguments as of the loss; sides are at least `shift` pixels larger than it needs."""
        check_pair(x, y, self.shift + 1)
        height, width = x.shape[2] - self.shift, x.shape[3] - self.shift
        values = []
        for _ in range(self.samples):
            top, left, mirror = (
                int(torch.randint(n, (), generator=self.generator)) for n in (*[self.shift + 1] * 2, 2)
            )
            moved = [image[:, :, top : top + height, left : left + width] for image in (x, y)]
            values.append(self.loss(*(image.flip(-1) if mirror else image for image in moved)))
        return torch.stack(values).mean(dim=0)


class MultiScale(nn.Module):
    """The sum of a loss at several scales, each half the size of the one before, by averages over 2 × 2 pixels.

    The deepest features of a tower see some two hundred pixels; in larger images this makes it see the whole.

    Args:
        loss: Of two batches.
        weights: Of the scales, from the full size on.

    References:
        The idea is that of Wang, Simoncelli, Bovik: Multi-scale structural similarity for image quality assessment,
        Asilomar 2003.
    """

    def __init__(self, loss: Loss, *, weights: Sequence[float] = (1.0, 1.0, 1.0)) -> None:
        super().__init__()
        if not weights or min(weights) < 0:
            raise ValueError(f"weights={tuple(weights)}: expected at least one, all ≥ 0")
        self.loss, self.weights = loss, tuple(weights)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the weighted sum of the losses. Arguments as of the loss; the smallest scale must suit it, too."""
        check_pair(x, y, 2 ** (len(self.weights) - 1))
        x, y = to_common(to_float(x), to_float(y))
        total = self.weights[0] * self.loss(x, y)
        for weight in self.weights[1:]:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
            total = total + weight * self.loss(x, y)
        return total
