"""DISTS: structure and texture similarity of a tower's features. Takes pairs, returns one number per pair."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lpips_lite.images import RangeCheck, check_for_tower, full_precision, to_common
from lpips_lite.strips import average, strips
from lpips_lite.tensor_files import check_tensors, read_tensors
from lpips_lite.tiling import compare_layers
from lpips_lite.towers import FeatureTower

STABILITY = 1e-6


def dists_tower(weights: str | None = None) -> FeatureTower:
    """Return the tower of Ding et al.: VGG-16 with L2 pooling.

    Args:
        weights: See `FeatureTower`.
    """
    return FeatureTower("vgg", pooling="l2", weights=weights)


def read_dists_weights(path: str | os.PathLike[str], tower: FeatureTower) -> tuple[Tensor, Tensor]:
    """Read the weights α and β of Ding et al. from their `weights.pt`, or a file like it.

    Args:
        path: A file with tensors `alpha` and `beta`, (1, ΣC, 1, 1), with the three channels of images first.
        tower: The tower to use them with.

    Returns:
        α and β, each (ΣC,).

    Raises:
        ValueError: If the file is unreadable or does not have exactly these tensors.
        FileNotFoundError: If there is no such file.
    """
    tensors = read_tensors(Path(path))
    count = sum(_channels(tower))
    check_tensors(tensors, {"alpha": (1, count, 1, 1), "beta": (1, count, 1, 1)}, f"{path}")
    return tensors["alpha"].flatten(), tensors["beta"].flatten()


def dists(
    x: Tensor,
    y: Tensor,
    tower: FeatureTower,
    weights: tuple[Tensor, Tensor] | None = None,
    *,
    max_memory: str | int | None = None,
    check_range: RangeCheck = "auto",
) -> Tensor:
    """Return the deep image structure and texture distance of each pair.

        d = 1 − Σ_c (α_c · l_c + β_c · s_c) / Σ_c (α_c + β_c)
        l = (2 μ_x μ_y + ε) / (μ_x² + μ_y² + ε),   s = (2 σ_xy + ε) / (σ_x² + σ_y² + ε)

    with global means, variances and covariances of each channel of the images and of the features at the tower's taps.
    It equals `piq.DISTS` except that the authors and piq first shrink images to a smallest side of 256; this does not.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Images of the same shape.
        tower: Computes the features; `dists_tower()` is the published one.
        weights: α and β, as returned by `read_dists_weights`; `None`: all are equal.
        max_memory: Bytes, or a string like "2GiB"; larger pairs are computed tile by tile, without gradients.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), lower = closer, 0 = identical; in [0, 1] except for anticorrelated channels.

    Raises:
        TypeError, ValueError: If dtype, shape, range, size or device is not as described.

    References:
        Ding, Ma, Wang, Simoncelli: Image Quality Assessment: Unifying Structure and Texture Similarity, IEEE TPAMI
        2020, https://arxiv.org/abs/2004.07728
    """
    check_for_tower(x, y, check_range, tower.spec.min_side)
    of_images = _merge([(_moments(strip.x, strip.y), strip.x.shape[2]) for strip in strips(x, y)])
    texture, structure = [], []
    for moments in (of_images, *compare_layers(tower, x, y, _moments, _merge, max_memory)):
        mean_x, mean_y, variances, variance_of_difference = moments.unbind(dim=1)
        # 1 − similarity as one fraction: for equal images it is exactly 0, without rounding errors.
        texture.append((mean_x - mean_y).square() / (mean_x**2 + mean_y**2 + STABILITY))
        structure.append(variance_of_difference / (variances + STABILITY))
    difference = torch.cat(texture + structure, dim=1)  # (N, 2 ΣC)
    share = difference.new_ones(difference.shape[1]) if weights is None else torch.cat(weights)
    share = share.to(difference)
    with full_precision(difference):
        return difference @ (share / share.sum())


def _moments(f_x: Tensor, f_y: Tensor) -> Tensor:
    """Return both means, the sum of both variances, and the variance of the difference, by channel: (N, 4, C)."""
    f_x, f_y = to_common(f_x, f_y)
    mean_x, mean_y = f_x.mean(dim=(2, 3)), f_y.mean(dim=(2, 3))
    f_x, f_y = f_x - mean_x[..., None, None], f_y - mean_y[..., None, None]
    variances = f_x.square().mean(dim=(2, 3)) + f_y.square().mean(dim=(2, 3))
    return torch.stack([mean_x, mean_y, variances, (f_x - f_y).square().mean(dim=(2, 3))], dim=1)


def _merge(parts: Sequence[tuple[Tensor, int]]) -> Tensor:
    """Merge the moments of tiles: a variance is the mean of their variances plus the variance of their means."""
    means = average(parts)[:, :2]
    whole = []
    for part, count in parts:
        offsets = part[:, :2] - means
        between = [offsets.square().sum(dim=1), (offsets[:, 0] - offsets[:, 1]).square()]
        whole.append((torch.cat([part[:, :2], part[:, 2:] + torch.stack(between, dim=1)], dim=1), count))
    return average(whole)


class DISTSLoss(nn.Module):
    """The mean over the batch of `dists` with `tower`: 0 = identical."""

    def __init__(
        self,
        tower: FeatureTower,
        weights: tuple[Tensor, Tensor] | None = None,
        *,
        check_range: RangeCheck = "auto",
    ) -> None:
        super().__init__()
        self.tower, self.weights, self.check_range = tower, weights, check_range

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return dists(x, y, self.tower, self.weights, check_range=self.check_range).mean()


def _channels(tower: FeatureTower) -> Sequence[int]:
    return (3, *(tap.channels for tap in tower.taps))
