"""Wrappers that average a loss over shifts and flips, or compute it at several scales.

They take any loss of two batches, `LPIPS` or the Module of a baseline, and are losses themselves. Add losses to combine
them: `metric(x, y) + 0.1 * L1Loss()(x, y)`.
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

    A tower with strides sees an image on a grid. Between the positions of that grid, an optimiser can hide differences
    that people see. Both images are moved together, so the distance stays the same but no longer depends on the grid.

    Args:
        loss: A loss of two batches.
        samples: Number of random draws to average per call.
        shift: Largest shift in pixels; a margin of that width is cut off.
        generator: Source of randomness; default: torch's own.

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
        """Return the mean loss. Arguments are those of the loss; sides must be `shift` pixels larger than it needs."""
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
    """The weighted sum of a loss at several scales; each averages 2 × 2 pixels of the scale before.

    The deepest features of a tower see about two hundred pixels. At coarser scales they see all of a larger image.

    Args:
        loss: A loss of two batches.
        weights: Weights of the scales, starting with the full size.

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
        """Return the weighted sum of the losses. Arguments are those of the loss; it must accept the smallest scale."""
        check_pair(x, y, 2 ** (len(self.weights) - 1))
        x, y = to_common(to_float(x), to_float(y))
        total = self.weights[0] * self.loss(x, y)
        for weight in self.weights[1:]:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
            total = total + weight * self.loss(x, y)
        return total
