"""The maths of the distance, without state: two sets of features in, distances per layer or per pixel out.

Between `towers.py` (which makes the features) and `metric.py` (which holds the channel weights).

    f̂ = f / (‖f‖_c + 1e-10)
    d_l = mean_hw Σ_c w_lc (f̂_x − f̂_y)²
    d = Σ_l d_l

References:
    Zhang, Isola, Efros, Shechtman, Wang: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric,
    CVPR 2018, equation 1, https://arxiv.org/abs/1801.03924
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-10  # as published; added outside the norm
TINY = 1e-30  # where a mask leaves nothing of a layer, that layer's distance is 0


def unit_normalize(features: Tensor) -> Tensor:
    """Divide each position's feature vector by its length: f / (‖f‖_c + 1e-10).

    Works in at least float32, since in half precision the epsilon vanishes and the sum of squares overflows.
    `vector_norm` has a finite gradient at all-zero features, where the root of a sum of squares has none.

    Args:
        features: (N, C, H, W).

    Returns:
        Unit vectors along C, (N, C, H, W), in float32 or float64; all-zero vectors stay zero.
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    length: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (length + EPSILON)


def channel_differences(unit_x: Tensor, unit_y: Tensor) -> Tensor:
    """Return the squared difference of unit features, channel by channel: (f̂_x − f̂_y)².

    Args:
        unit_x: Output of `unit_normalize`, (N, C, H, W).
        unit_y: Likewise; a batch of one is compared with all of the other.

    Returns:
        (N, C, H, W), ≥ 0.
    """
    return (unit_x - unit_y).square()


def weigh(differences: Tensor, channel_weights: Tensor) -> Tensor:
    """Sum differences over channels, each times its weight: Σ_c w_c (f̂_x − f̂_y)²_c.

    Args:
        differences: (N, C, H, W).
        channel_weights: (C,), ≥ 0.

    Returns:
        The layer's map, (N, H, W), ≥ 0.
    """
    return (differences * channel_weights.to(differences.dtype).view(-1, 1, 1)).sum(dim=1)


def layer_map(features_x: Tensor, features_y: Tensor, channel_weights: Tensor) -> Tensor:
    """Compare the features of one layer: Σ_c w_c (f̂_x − f̂_y)²_c.

    Args:
        features_x: (N, C, H, W).
        features_y: Same shape.
        channel_weights: (C,), ≥ 0.

    Returns:
        (N, H, W), ≥ 0, lower = closer; in float32 or float64.
    """
    return weigh(channel_differences(unit_normalize(features_x), unit_normalize(features_y)), channel_weights)


def pool_mean(layer_map: Tensor) -> Tensor:
    """Average a layer's map over space: (N, H, W) -> (N,)."""
    return layer_map.mean(dim=(1, 2))


def pool_mask(layer_map: Tensor, mask: Tensor) -> Tensor:
    """Average a layer's map under a mask, area-averaged to the map's size.

    Args:
        layer_map: (N, H_l, W_l).
        mask: (N, 1, H, W) at the images' size or the map's, values ≥ 0.

    Returns:
        (N,). A mask of ones gives `pool_mean`; one of zeros gives 0.
    """
    small = F.adaptive_avg_pool2d(mask.to(layer_map.dtype), (layer_map.shape[1], layer_map.shape[2])).squeeze(1)
    return (layer_map * small).sum(dim=(1, 2)) / small.sum(dim=(1, 2)).clamp(min=TINY)


def erode(mask: Tensor, size: tuple[int, int], stride: int, before: int, after: int) -> Tensor:
    """Return the least value of a mask in each feature's receptive field; what is beyond the image does not count.

    Args:
        mask: (N, 1, H, W).
        size: Height and width of the layer's map.
        stride: Of the features in pixels.
        before: Pixels that a feature sees before its place, stride · j.
        after: Pixels that it sees after.

    Returns:
        (N, 1, H_l, W_l).
    """
    height, width = mask.shape[2:]
    ends = [max(0, stride * (n - 1) + after + 1 - side) for n, side in zip(size, (height, width), strict=True)]
    padded = F.pad(-mask, (before, ends[1], before, ends[0]), value=float("-inf"))
    window = before + after + 1
    rows = F.max_pool2d(padded, (window, 1), (stride, 1))  # a minimum over a square is one of rows, then of columns
    return -F.max_pool2d(rows, (1, window), (1, stride))[:, :, : size[0], : size[1]]


def pool_map(layer_map: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge a layer's map to the images' size, bilinearly: (N, H_l, W_l) -> (N, 1, H, W)."""
    return F.interpolate(layer_map.unsqueeze(1), size=size, mode="bilinear", align_corners=False)
