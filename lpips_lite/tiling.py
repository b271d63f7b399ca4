"""Exact comparison of images larger than memory: the layers' maps, tile by tile, without gradients.

Between `fused.py`, which compares one layer, and `metric.py`, which pools the maps. A tile is computed with a margin of
all that its features can see, and only the features that belong to it are kept; zeros are padded at the image's own
borders only. Tiles begin at multiples of the tower's stride, so that its windows fall where they fall in the whole
image: the maps are the same up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from lpips_lite.fused import layer_map
from lpips_lite.images import to_float
from lpips_lite.layers import Pool
from lpips_lite.towers import FeatureTower, TowerSpec

HEADROOM = 1.5  # what the convolutions' own workspace and the allocator take on top of the arrays themselves


def stride_and_reach(spec: TowerSpec) -> tuple[int, int]:
    """Return the stride of a tower's last tap, and how far its features see to either side, in whole strides."""
    stride, before, after = spec.receptive_fields()[-1]
    return stride, math.ceil(max(before, after) / stride) * stride


def bytes_per_pixel(spec: TowerSpec, dtype: torch.dtype) -> float:
    """Estimate the memory that comparing a pair takes at its peak, for each pixel of one image."""
    numbers, stride, channels = 0.0, 1, 3
    for stage in spec.stages(spec.find_taps()):
        for layer in stage:
            before = channels / stride**2
            stride *= layer.stride
            if not isinstance(layer, Pool):
                channels = layer.channels
            after = channels / stride**2 * (3 if isinstance(layer, Pool) else 1)  # a maximum's 8-byte index, too
            numbers = max(numbers, before + after)
    itemsize = torch.empty(0, dtype=torch.promote_types(dtype, torch.float32)).element_size()
    return 2 * numbers * itemsize * HEADROOM


def fits(spec: TowerSpec, x: Tensor, max_memory: int) -> bool:
    """Say whether a batch (N, 3, H, W) can be compared at once."""
    return len(x) * x.shape[2] * x.shape[3] * bytes_per_pixel(spec, x.dtype) <= max_memory


@torch.no_grad()
def tiled_layer_maps(
    tower: FeatureTower, channel_weights: Mapping[str, Tensor], x: Tensor, y: Tensor, max_memory: int
) -> list[Tensor]:
    """Compare two batches layer by layer, in tiles as large as memory allows.

    Args:
        tower: Reads the features.
        channel_weights: One (C_l,) a tap, in order.
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Likewise, the same shape.
        max_memory: Bytes to use at most, apart from the maps.

    Returns:
        L × (N, H_l, W_l), as `fused.layer_map` gives them for whole images.

    Raises:
        ValueError: If the smallest tile with its margin needs more memory.
    """
    height, width = tile_size(tower.spec, x, max_memory)
    _, reach = stride_and_reach(tower.spec)
    images: list[list[Tensor]] = []
    for row in range(len(x)):
        pair = x[row : row + 1], y[row : row + 1]
        rows = []
        for own_rows, seen_rows in _spans(x.shape[2], height, reach):
            parts = []
            for own_columns, seen_columns in _spans(x.shape[3], width, reach):
                both = torch.cat([to_float(image[:, :, seen_rows, seen_columns]) for image in pair])
                layers = zip(tower.stream(both), channel_weights.values(), strict=True)
                maps = [layer_map(f[:1], f[1:], weight) for f, weight in layers]
                strides = [tap.stride for tap in tower.taps]
                parts.append([m[:, _own(own_rows, seen_rows, s), _own(own_columns, seen_columns, s)].clone()
                              for m, s in zip(maps, strides, strict=True)])  # fmt: skip
            rows.append([torch.cat(layer, dim=2) for layer in zip(*parts, strict=True)])
        images.append([torch.cat(layer, dim=1) for layer in zip(*rows, strict=True)])
    return [torch.cat(layer) for layer in zip(*images, strict=True)]


def tile_size(spec: TowerSpec, x: Tensor, max_memory: int) -> tuple[int, int]:
    """Return height and width of the largest tiles whose pair, with margins, fits into memory."""
    stride, reach = stride_and_reach(spec)
    pixels = max_memory / bytes_per_pixel(spec, x.dtype)
    height, width = x.shape[2:]
    side = math.isqrt(int(pixels))
    if width <= side:  # a strip of the whole width has no margins on its sides
        sizes = int(pixels / width) - 2 * reach, width
    elif height <= side:
        sizes = height, int(pixels / height) - 2 * reach
    else:
        sizes = side - 2 * reach, side - 2 * reach
    if min(sizes) < stride and min(sizes) < min(height, width):
        smallest = (2 * reach + stride) ** 2 * bytes_per_pixel(spec, x.dtype)
        raise ValueError(f"max_memory={max_memory} bytes: expected at least {smallest:.0f} for tower {spec.name!r}")
    return max(stride, sizes[0] // stride * stride), max(stride, sizes[1] // stride * stride)


def _spans(length: int, tile: int, reach: int) -> Iterator[tuple[slice, slice]]:
    """Yield what a tile owns, and what its features see: pixels from … to, along one side of the image."""
    for start in range(0, length, tile):
        end = min(start + tile, length)
        yield slice(start, end), slice(max(0, start - reach), min(length, end + reach))


def _own(own: slice, seen: slice, stride: int) -> slice:
    """Return which features of what is seen are a tile's own; at the image's end, all that follow."""
    last = own.stop == seen.stop
    return slice((own.start - seen.start) // stride, None if last else (own.stop - seen.start) // stride)
