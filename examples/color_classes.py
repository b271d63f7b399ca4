"""Colour as a choice among classes: a distribution over cells of CIELAB's ab plane instead of one mean colour.

Zhang, Isola, Efros: Colorful Image Colorization, ECCV 2016. As there, a pixel's target is spread over the nearest
cells, rare colours weigh more, and the colour is the mean of the sharpened distribution.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor

CELL = 10.0  # side of a cell of the ab plane
NEAREST, SPREAD = 5, 5.0  # cells that a target is spread over, and how far
UNIFORM = 0.5  # share of the uniform distribution that is mixed in to measure rarity
TEMPERATURE = 0.38  # below 1 sharpens: 0 would choose the likeliest cell, 1 take the mean


def to_lab(images: Tensor) -> Tensor:
    """Return images (N, 3, H, W) in [0, 1] in CIELAB, (N, H, W, 3)."""
    return torch.from_numpy(rgb2lab(images.permute(0, 2, 3, 1).numpy())).float()


class ColorClasses:
    """The cells of the ab plane that occur in images, and how rare each is.

    Args:
        lab: Images in CIELAB, (N, H, W, 3).
    """

    def __init__(self, lab: Tensor) -> None:
        cells, counts = torch.unique((lab[..., 1:] / CELL).round().reshape(-1, 2), dim=0, return_counts=True)
        self.centres = cells * CELL  # (K, 2)
        near = torch.exp(-torch.cdist(self.centres, self.centres).square() / (2 * SPREAD**2))
        share = (near / near.sum(dim=0)) @ (counts / counts.sum())  # smoothed
        rarity = 1 / ((1 - UNIFORM) * share + UNIFORM / len(cells))
        self.weights = rarity / (share * rarity).sum()  # 1 on average over pixels

    def __len__(self) -> int:
        return len(self.centres)

    def loss(self, logits: Tensor, lab: Tensor) -> Tensor:
        """Return the weighted cross-entropy of logits (N, K, H, W) with the colours of images (N, H, W, 3)."""
        distance, cells = torch.cdist(lab[..., 1:].flatten(0, 2), self.centres).topk(NEAREST, largest=False)
        target = torch.softmax(-distance.square() / (2 * SPREAD**2), dim=1)  # (N·H·W, NEAREST)
        log_likely = F.log_softmax(logits, dim=1).permute(0, 2, 3, 1).flatten(0, 2).gather(1, cells)
        cost: Tensor = -(self.weights[cells[:, 0]] * (target * log_likely).sum(dim=1)).mean()
        return cost

    def decode(self, logits: Tensor, lab: Tensor) -> Tensor:
        """Return images (N, 3, H, W) in [0, 1] with the lightness of `lab` and the colours that the logits predict."""
        likely = torch.softmax(logits / TEMPERATURE, dim=1)
        colors = torch.einsum("nkhw,kc->nhwc", likely, self.centres)
        pixels = lab2rgb(torch.cat([lab[..., :1], colors], dim=-1).double().numpy())
        return torch.from_numpy(np.clip(pixels, 0, 1)).permute(0, 3, 1, 2).float()
