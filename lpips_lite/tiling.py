"""Exact comparison of images larger than memory, tile by tile, without gradients.

Uses `heads.py`, which compares features. Used by `metric.py`, which pools the maps of layers, and by baselines with a
tower. Each tile is computed with a margin of everything that its features can see, and only its own features count.
Zeros are padded only at the borders of the image. Tiles begin at multiples of the tower's stride, so that windows are
where they are in the whole image, and features are the same up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from lpips_lite.heads import Heads
from lpips_lite.images import gradients_wanted, to_float
from lpips_lite.layers import Pool
from lpips_lite.memory import parse_memory
from lpips_lite.towers import FeatureTower

HEADROOM = 1.5  # factor for the workspace of convolutions and the allocator, in addition to the arrays

Compare = Callable[[Tensor, Tensor], Tensor]  # features of one tap, (N, C_l, h, w) each -> (N, …)
Merge = Callable[[Sequence[tuple[Tensor, int]]], Tensor]  # the results of all tiles and their numbers of positions


class Span(NamedTuple):
    """Along one side of an image: the pixels of a tile, and the pixels that its features see."""

    own: slice
    seen: slice

    def features(self, stride: int) -> slice:
        """Return the slice of the tile's own features; at the end of the image, it includes all remaining ones."""
        start = (self.own.start - self.seen.start) // stride
        last = self.own.stop == self.seen.stop
        return slice(start, None if last else (self.own.stop - self.seen.start) // stride)


class Tile(NamedTuple):
    """A part of one image of a batch."""

    image: int
    rows: Span
    columns: Span

    def pixels(self, images: Tensor) -> Tensor:
        """Return the pixels that the tile's features see, (1, 3, h, w), as floats."""
        return to_float(images[self.image : self.image + 1, :, self.rows.seen, self.columns.seen])

    def own(self, features: Tensor, stride: int) -> Tensor:
        """Return the tile's own part of features computed from its pixels, (…, h, w)."""
        return features[..., self.rows.features(stride), self.columns.features(stride)]


def compare_layers(
    tower: FeatureTower, x: Tensor, y: Tensor, compare: Compare, merge: Merge, max_memory: str | int | None
) -> list[Tensor]:
    """Compare the features of two batches tap by tap, in one pass or, if that takes too much memory, in tiles.

    Args:
        tower: The tower that computes the features.
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Images of the same shape.
        compare: Compares the features at a tap.
        merge: Combines the results of all tiles of an image.
        max_memory: Bytes, or a string like "2GiB"; `None`: no limit.

    Returns:
        The result of `compare` for whole images, L × (N, …).

    Raises:
        ValueError: If tiles are needed and gradients wanted, or the smallest tile needs more memory.
    """
    memory = None if max_memory is None else parse_memory(max_memory)
    if memory is None or fits(tower, x, memory):
        streams = (tower.stream(to_float(image)) for image in (x, y))
        return [compare(f_x, f_y) for f_x, f_y in zip(*streams, strict=True)]
    check_no_gradients(x, y, memory)
    images = []
    with torch.no_grad():
        for _, tiles_of_image in groupby(_tiles(tower, x, memory), key=lambda tile: tile.image):
            layers: list[list[tuple[Tensor, int]]] = [[] for _ in tower.taps]
            for tile in tiles_of_image:
                streams = (tower.stream(tile.pixels(image)) for image in (x, y))
                for parts, tap, (f_x, f_y) in zip(layers, tower.taps, zip(*streams, strict=True), strict=True):
                    own = tile.own(f_x, tap.stride), tile.own(f_y, tap.stride)
                    if own[0].numel():  # at the end of an image, a tile may have no deep features
                        parts.append((compare(*own), own[0].shape[2] * own[0].shape[3]))
            images.append([merge(parts) for parts in layers])
    return [torch.cat(layer) for layer in zip(*images, strict=True)]


@torch.no_grad()
def tiled_layer_maps(tower: FeatureTower, heads: Heads, x: Tensor, y: Tensor, max_memory: int) -> list[Tensor]:
    """Compare two batches layer by layer, in tiles as large as memory allows.

    Args:
        tower: The tower that computes the features.
        heads: The heads that compare them.
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Images of the same shape.
        max_memory: Largest memory in bytes, apart from the maps.

    Returns:
        L × (N, H_l, W_l) or L × (N, 2, H_l, W_l), as `Heads.layer_maps` gives them for whole images.

    Raises:
        ValueError: If the smallest tile with its margin needs more memory.
    """
    images = []
    for _, tiles_of_image in groupby(_tiles(tower, x, max_memory), key=lambda tile: tile.image):
        rows = []
        for _, tiles_of_row in groupby(tiles_of_image, key=lambda tile: tile.rows):
            parts = [_maps_of_tile(tower, heads, x, y, tile) for tile in tiles_of_row]
            rows.append([torch.cat(layer, dim=-1) for layer in zip(*parts, strict=True)])
        images.append([torch.cat(layer, dim=-2) for layer in zip(*rows, strict=True)])
    return [torch.cat(layer) for layer in zip(*images, strict=True)]


def _maps_of_tile(tower: FeatureTower, heads: Heads, x: Tensor, y: Tensor, tile: Tile) -> list[Tensor]:
    stream = tower.stream(torch.cat([tile.pixels(image) for image in (x, y)]))
    maps = heads.layer_maps((features[:1], features[1:]) for features in stream)
    return [tile.own(m, tap.stride).clone() for m, tap in zip(maps, tower.taps, strict=True)]


def check_no_gradients(x: Tensor, y: Tensor, max_memory: int) -> None:
    """Raise a ValueError if gradients are wanted for a pair that has to be cut into tiles."""
    if gradients_wanted(x, y):
        raise ValueError(
            f"max_memory={max_memory} bytes: too few for {tuple(x.shape)} at once, and tiles give no gradients; "
            f"compute under torch.no_grad(), or give smaller images"
        )


# -- how large tiles are -----------------------------------------------------------------------------------------------


def stride_and_reach(tower: FeatureTower) -> tuple[int, int]:
    """Return the largest stride of a tower's taps, and how far their features see to each side, in whole strides."""
    fields = tower.spec.receptive_fields(tower.taps, tower.pooling)
    stride = max(stride for stride, _, _ in fields)
    reach = max(max(before, after) for _, before, after in fields)
    return stride, math.ceil(reach / stride) * stride


def bytes_per_pixel(tower: FeatureTower, dtype: torch.dtype) -> float:
    """Estimate the peak memory of comparing a pair, in bytes per pixel of one image."""
    numbers, networks = 0.0, tower.spec.stages(tower.taps)
    for number, stages in enumerate(networks, start=1):
        stride, channels = 1, 3
        images = 3 if number < len(networks) else 0  # kept for the next network
        for layer in chain.from_iterable(stages):
            before = channels / stride**2
            stride *= layer.stride
            if not isinstance(layer, Pool):
                channels = layer.channels
            after = channels / stride**2 * (3 if isinstance(layer, Pool) else 1)  # with the 8-byte index of a maximum
            numbers = max(numbers, images + before + after)
    itemsize = torch.empty(0, dtype=torch.promote_types(dtype, torch.float32)).element_size()
    return 2 * numbers * itemsize * HEADROOM


def fits(tower: FeatureTower, x: Tensor, max_memory: int) -> bool:
    """Return whether a batch (N, 3, H, W) can be compared in one pass."""
    return len(x) * x.shape[2] * x.shape[3] * bytes_per_pixel(tower, x.dtype) <= max_memory


def grid(tower: FeatureTower, x: Tensor, max_memory: int) -> tuple[int, int]:
    """Return the numbers of rows and columns of tiles to cut images into, so that each pair of tiles fits into memory.

    Among all grids that fit, it is the one whose tiles, with their margins, have the fewest pixels in all. Tiles have
    about the same size, since a narrow tile with its margins costs nearly as much as a wide one.

    Raises:
        ValueError: If not even the smallest tile fits.
    """
    stride, reach = stride_and_reach(tower)
    pixels = max_memory / bytes_per_pixel(tower, x.dtype)
    height, width = x.shape[2:]
    sizes: dict[int, tuple[int, int]] = {}
    for columns in range(1, max(1, width // stride) + 1):
        rows = _fewest(height, int(pixels / _widest(width, columns, stride, reach)), stride, reach)
        if rows is not None:
            work = (width + 2 * reach * (columns - 1)) * (height + 2 * reach * (rows - 1))
            sizes.setdefault(work, (rows, columns))
    if not sizes:
        least = (2 * reach + stride) ** 2 * bytes_per_pixel(tower, x.dtype)
        raise ValueError(f"max_memory={max_memory} bytes: expected at least {least:.0f} for tower {tower.spec.name!r}")
    return sizes[min(sizes)]


def _widest(length: int, parts: int, stride: int, reach: int) -> int:
    """Return how many pixels the widest of `parts` parts of a side sees; with two parts, each has only one margin."""
    own = math.ceil(length // stride / parts) * stride
    return min(length, (length, own + length % stride + reach)[parts - 1] if parts < 3 else own + 2 * reach)


def _fewest(length: int, room: int, stride: int, reach: int) -> int | None:
    """Return the number of parts to cut a side into, so that each sees at most `room` pixels; `None`: impossible."""
    for parts in (1, 2):
        if _widest(length, parts, stride, reach) <= room:
            return parts
    own = (room - 2 * reach) // stride
    return max(3, math.ceil(length // stride / own)) if own > 0 else None


def _tiles(tower: FeatureTower, x: Tensor, max_memory: int) -> Iterator[Tile]:
    parts = grid(tower, x, max_memory)
    stride, reach = stride_and_reach(tower)
    rows, columns = (_spans(side, count, stride, reach) for side, count in zip(x.shape[2:], parts, strict=True))
    for image in range(len(x)):
        yield from (Tile(image, down, across) for down in rows for across in columns)


def _spans(length: int, count: int, stride: int, reach: int) -> list[Span]:
    """Cut a side into about equal parts. All begin at multiples of the stride; the last one takes the rest."""
    borders = [length // stride * part // count * stride for part in range(count)] + [length]
    return [
        Span(slice(start, end), slice(max(0, start - reach), min(length, end + reach)))
        for start, end in pairwise(borders)
    ]
