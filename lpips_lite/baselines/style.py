"""Style distance: Gram matrices of a tower's features. Takes pairs, returns one number per pair."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from lpips_lite.images import RangeCheck, check_for_tower, full_precision
from lpips_lite.strips import average
from lpips_lite.tiling import compare_layers
from lpips_lite.towers import FeatureTower

Normalization = Literal["johnson", "gatys"]

JOHNSON_TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")  # of VGG-16


def gram_matrix(features: Tensor, *, normalization: Normalization = "johnson", centered: bool = False) -> Tensor:
    """Return the channel-by-channel products of features: G = F Fᵀ / (C·H·W), with F of shape (C, H·W).

    Args:
        features: (N, C, H, W).
        normalization: "johnson" divides by C·H·W, "gatys" by H·W.
        centered: Whether to subtract the mean of each channel first, which gives the covariance of the features.

    Returns:
        (N, C, C), symmetric and positive semi-definite, in at least float32.

    Raises:
        ValueError: If `normalization` is not as described.
    """
    if normalization not in ("johnson", "gatys"):
        raise ValueError(f"normalization={normalization!r}: expected 'johnson' or 'gatys'")
    flat = features.to(torch.promote_types(features.dtype, torch.float32)).flatten(2)  # (N, C, H·W)
    if centered:
        flat = flat - flat.mean(dim=2, keepdim=True)
    count = flat.shape[2] * (flat.shape[1] if normalization == "johnson" else 1)
    with full_precision(features):
        return flat @ flat.transpose(1, 2) / count


def gram_distance(
    x: Tensor,
    y: Tensor,
    tower: FeatureTower,
    *,
    normalization: Normalization = "johnson",
    centered: bool = False,
    max_memory: str | int | None = None,
    check_range: RangeCheck = "auto",
) -> Tensor:
    """Return the style distance of each pair: mean squared difference of Gram matrices, summed over the tower's taps.

    It compares textures and ignores positions: shuffling the positions of features changes nothing.

    There are two conventions, with a fixed ratio at each tap, d_gatys = d_johnson · C² / 4:

    * "johnson": G = F Fᵀ / (C·H·W), and the squared difference is averaged over the matrix. `FeatureTower("vgg",
      taps=JOHNSON_TAPS)` has the taps of Johnson et al. (2016). `piq.StyleLoss`, per tap, is (C·H·W)² times as large.
    * "gatys": Σ (F Fᵀ − F′ F′ᵀ)² / (4 C² (H·W)²), as in Gatys et al. (2016). `FeatureTower("vgg19")` has their taps.
      They use `pooling="average"` and weight each tap by ⅕.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Images of the same shape.
        tower: Computes the features.
        normalization: "johnson" or "gatys".
        centered: Whether to compare covariances instead of Gram matrices, so that means of channels do not count.
        max_memory: Bytes, or a string like "2GiB"; larger pairs are computed tile by tile, without gradients.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), ≥ 0, lower = closer in style.

    Raises:
        TypeError, ValueError: If dtype, shape, range, size, device or `normalization` is not as described.

    References:
        Gatys, Ecker, Bethge: Image Style Transfer Using Convolutional Neural Networks, CVPR 2016.
        Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016,
        https://arxiv.org/abs/1603.08155

    Examples:
        >>> image = torch.rand(1, 3, 64, 64)
        >>> gram_distance(image, image, FeatureTower("lite"))
        tensor([0.])
    """
    check_for_tower(x, y, check_range, tower.spec.min_side)
    compare = partial(_grams_and_means, normalization=normalization, centered=centered)
    layers = []
    for found in compare_layers(tower, x, y, compare, partial(_merge, normalization=normalization), max_memory):
        g_x, g_y = found[:, :, :-1].unbind(dim=1)
        layers.append((g_x - g_y).square().mean(dim=(1, 2)))
    return torch.stack(layers).sum(dim=0) / (4 if normalization == "gatys" else 1)


def _grams_and_means(f_x: Tensor, f_y: Tensor, normalization: Normalization, centered: bool) -> Tensor:
    """Return both Gram matrices, (N, 2, C + 1, C); the last row has the means subtracted from the channels."""
    found = []
    for features in (f_x, f_y):
        gram = gram_matrix(features, normalization=normalization, centered=centered)
        means = features.to(gram.dtype).mean(dim=(2, 3)) if centered else gram.new_zeros(gram.shape[:2])
        found.append(torch.cat([gram, means.unsqueeze(1)], dim=1))
    return torch.stack(found, dim=1)


def _merge(parts: Sequence[tuple[Tensor, int]], normalization: Normalization) -> Tensor:
    """Merge tiles: a covariance is the mean of the covariances of the tiles plus the covariance of their means."""
    means = average(parts)[:, :, -1:]
    whole = []
    for part, count in parts:
        offset = part[:, :, -1:] - means
        with full_precision(offset):
            between = offset.transpose(2, 3) @ offset / (offset.shape[3] if normalization == "johnson" else 1)
        whole.append((torch.cat([part[:, :, :-1] + between, part[:, :, -1:]], dim=2), count))
    return average(whole)


class GramLoss(nn.Module):
    """The mean over the batch of `gram_distance` with `tower`: 0 = the same style."""

    def __init__(
        self,
        tower: FeatureTower,
        *,
        normalization: Normalization = "johnson",
        centered: bool = False,
        check_range: RangeCheck = "auto",
    ) -> None:
        super().__init__()
        self.tower, self.check_range = tower, check_range
        self.normalization, self.centered = normalization, centered

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return gram_distance(
            x, y, self.tower,
            normalization=self.normalization, centered=self.centered, check_range=self.check_range,
        ).mean()  # fmt: skip
