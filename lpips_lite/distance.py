"""The maths of the distance, as functions of two sets of features that return distances per layer or per pixel.

Between `towers.py` (which makes the features) and `metric.py` (which holds the channel weights).

    f̂ = f / (‖f‖_c + 1e-10)
    d_l = mean_hw Σ_c w_lc (f̂_x − f̂_y)²
    d = Σ_l d_l

A metric may have K heads, each with its own channel weights; `heads.py` combines two of them.

References:
    Zhang, Isola, Efros, Shechtman, Wang: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric,
    CVPR 2018, equation 1, https://arxiv.org/abs/1801.03924
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-10  # as published; added outside the norm
TINY = 1e-30  # if a mask leaves nothing of a layer, the distance of that layer is 0


def unit_normalize(features: Tensor) -> Tensor:
    """Divide each position's feature vector by its length: f / (‖f‖_c + 1e-10).

    Works in at least float32, since in half precision the epsilon vanishes and the sum of squares overflows.
    `vector_norm` has a finite gradient at all-zero features; the root of a sum of squares has not.

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
        unit_y: Output of `unit_normalize`; a batch of one is compared with all rows of the other.

    Returns:
        (N, C, H, W), ≥ 0.
    """
    return (unit_x - unit_y).square()


def weigh(differences: Tensor, channel_weights: Tensor) -> Tensor:
    """Sum differences over channels, each times its weight: Σ_c w_c (f̂_x − f̂_y)²_c.

    Args:
        differences: (N, C, H, W).
        channel_weights: (C,), ≥ 0; or (C, K).

    Returns:
        The layer's map, (N, H, W), ≥ 0; or one per head, (N, K, H, W).
    """
    if channel_weights.ndim == 2:
        return torch.stack([weigh(differences, weights) for weights in channel_weights.unbind(1)], dim=1)
    return (differences * channel_weights.to(differences.dtype).view(-1, 1, 1)).sum(dim=1)


def layer_map(features_x: Tensor, features_y: Tensor, channel_weights: Tensor) -> Tensor:
    """Compare the features of one layer: Σ_c w_c (f̂_x − f̂_y)²_c.

    Args:
        features_x: (N, C, H, W).
        features_y: Same shape.
        channel_weights: (C,), ≥ 0; or (C, K).

    Returns:
        (N, H, W), ≥ 0, lower = closer; or (N, K, H, W); in float32 or float64.
    """
    unit_x, unit_y = (unit_normalize(features) for features in (features_x, features_y))
    return weigh(channel_differences(unit_x, unit_y), channel_weights)


def pool_mean(layer_map: Tensor) -> Tensor:
    """Average a layer's map over space: (N, H, W) -> (N,), or (N, K, H, W) -> (N, K)."""
    return layer_map.mean(dim=(-2, -1))


def pool_mask(layer_map: Tensor, mask: Tensor) -> Tensor:
    """Average a layer's map, weighted by a mask that is shrunk to the map's size by area averaging.

    Args:
        layer_map: (N, H_l, W_l) or (N, K, H_l, W_l).
        mask: (N, 1, H, W) at the size of the images or of the map, values ≥ 0.

    Returns:
        (N,) or (N, K). A mask of ones gives `pool_mean`; a mask of zeros gives 0.
    """
    small = F.adaptive_avg_pool2d(mask.to(layer_map.dtype), (layer_map.shape[-2], layer_map.shape[-1]))
    small = small if layer_map.ndim == 4 else small.squeeze(1)
    return (layer_map * small).sum(dim=(-2, -1)) / small.sum(dim=(-2, -1)).clamp(min=TINY)


def erode(mask: Tensor, size: tuple[int, int], stride: int, before: int, after: int) -> Tensor:
    """Return the smallest value of a mask in each feature's receptive field, inside the image.

    Args:
        mask: (N, 1, H, W).
        size: Height and width of the layer's map.
        stride: Stride of the features in pixels.
        before: Pixels that feature j sees before its position, stride · j.
        after: Pixels that it sees after its position.

    Returns:
        (N, 1, H_l, W_l).
    """
    height, width = mask.shape[2:]
    ends = [max(0, stride * (n - 1) + after + 1 - side) for n, side in zip(size, (height, width), strict=True)]
    padded = F.pad(-mask, (before, ends[1], before, ends[0]), value=float("-inf"))
    window = before + after + 1
    rows = F.max_pool2d(padded, (window, 1), (stride, 1))  # minimum over a square: rows, then columns
    return -F.max_pool2d(rows, (1, window), (1, stride))[:, :, : size[0], : size[1]]


def pool_layers(
    layer_maps: Sequence[Tensor], mask: Tensor | None, fields: Sequence[tuple[int, int, int]] | None
) -> list[Tensor]:
    """Average the maps of all layers over space, or under a mask.

    Args:
        layer_maps: L × (N, H_l, W_l) or (N, K, H_l, W_l).
        mask: See `pool_mask`.
        fields: For each layer the stride of its features and the pixels seen before and after, for `erode`; or `None`.

    Returns:
        L × (N,) or (N, K).
    """
    if mask is None:
        return [pool_mean(layer_map) for layer_map in layer_maps]
    masks = [mask] * len(layer_maps)
    if fields is not None:
        pairs = zip(layer_maps, fields, strict=True)
        masks = [erode(mask.to(m.dtype), (m.shape[-2], m.shape[-1]), *field) for m, field in pairs]
    return [pool_mask(layer_map, small) for layer_map, small in zip(layer_maps, masks, strict=True)]


def pool_map(layer_map: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge a layer's map to the images' size, bilinearly: (N, H_l, W_l) -> (N, 1, H, W)."""
    return F.interpolate(layer_map.unsqueeze(1), size=size, mode="bilinear", align_corners=False)
