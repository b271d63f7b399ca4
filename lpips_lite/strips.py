"""Images larger than memory, read in strips of rows: for baselines that average or sum over an image.

Used by `baselines/` after `images.py`. Strips are computed independently, so the result is that of the whole image, up
to rounding. `tiling.py` does the same for towers, which see a larger neighbourhood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lpips_lite.images import (
    RangeCheck,
    check_mask,
    check_pair,
    check_values_of_pair,
    checked_by_functions,
    gradients_wanted,
    to_common,
    to_float,
)

Read = Callable[[Tensor], Tensor]  # turns rows of float images into what is compared

NUMBERS = 2**19  # per image in a strip on a CPU, about the size of its cache: 4 times as fast as whole large images
ACCELERATOR_NUMBERS = 2**25
LEAST_ROWS = 32  # rows of a strip, so that few rows are read twice


class Strip(NamedTuple):
    """Some rows of a pair of batches.

    Attributes:
        x: (N, C, rows, W), floats of one dtype, at least float32.
        y: The same rows of the other image.
        above: Number of rows above the image that windows of this strip cover; they are not in `x` and `y`.
        below: The same, below the image.
    """

    x: Tensor
    y: Tensor
    above: int
    below: int


def check_for_strips(
    x: Tensor, y: Tensor, check_range: RangeCheck, min_side: int = 1, *, peak: float = 1.0, crop: int = 0
) -> tuple[Tensor, Tensor]:
    """Check a pair for a baseline without a tower, and return it unchanged except for the cropped border.

    Images may have one channel. Nothing is copied: `strips` turns rows into floats when they are needed. Images that
    are too large for one strip and wider than high are transposed, since strips are sets of rows. This does not change
    what baselines compute.

    Args:
        x: Images, (N, C, H, W), C = 3 or 1, float in [0, peak] or uint8.
        y: Images of the same shape.
        check_range: When to check the range of values.
        min_side: Smallest side after cropping.
        peak: Largest value of float images.
        crop: Pixels to leave out at each border.

    Raises:
        TypeError, ValueError: Same as `check_for_tower`; ValueError also if `peak` or `crop` is not as described.
    """
    if not isinstance(peak, (int, float)) or not 0 < peak < float("inf"):
        raise ValueError(f"peak={peak!r}: expected a positive number")
    if not isinstance(crop, int) or isinstance(crop, bool) or crop < 0:
        raise ValueError(f"crop={crop!r}: expected a whole number of pixels ≥ 0")
    check_pair(x, y, min_side, channels=(3, 1))
    if peak != 1 and torch.uint8 in (x.dtype, y.dtype):
        raise ValueError(f"peak={peak:g} with uint8 images, whose peak is 255; expected floats, or peak=1")
    if crop:
        left = [side - 2 * crop for side in x.shape[2:]]
        if min(left) < min_side:
            raise ValueError(
                f"crop={crop} leaves {max(0, left[0])}×{max(0, left[1])} of {x.shape[2]}×{x.shape[3]}; "
                f"expected at least {min_side}×{min_side}"
            )
        x, y = (image[:, :, crop:-crop, crop:-crop] for image in (x, y))
    check_values_of_pair({"x": x, "y": y}, check_range, checked_by_functions, peak)
    if x.shape[3] > x.shape[2] and _windows_in_strip(x, 1) < x.shape[2] and not _at_once(x, y):
        x, y = x.transpose(2, 3), y.transpose(2, 3)
    return x, y


def check_for_masked_strips(
    x: Tensor,
    y: Tensor,
    mask: Tensor | None,
    check_range: RangeCheck,
    min_side: int = 1,
    *,
    peak: float = 1.0,
    crop: int = 0,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Do what `check_for_strips` does, also with a mask that weighs the pixels, (N, 1, H, W), if there is one.

    Raises:
        TypeError, ValueError: As `check_for_strips`; ValueError also if the mask is no such one, or empty.
    """
    ready = check_for_strips(x, y, check_range, min_side, peak=peak, crop=crop)
    if mask is None:
        return *ready, None
    check_mask(mask, x, check_range, checked_by_functions)
    if crop:
        mask = inner_mask(mask, crop, check_range, f"inside crop={crop}")
    turned = ready[0].shape[2:] != mask.shape[2:]
    return *ready, mask.transpose(2, 3) if turned else mask


def inner_mask(mask: Tensor, margin: int, check_range: RangeCheck, where: str) -> Tensor:
    """Return a mask without a margin.

    Raises:
        ValueError: If nothing is left; it says where.
    """
    inner = mask[:, :, margin:-margin, margin:-margin]
    check_mask(inner, inner, check_range, checked_by_functions, f" {where}")
    return inner


def strips(
    x: Tensor, y: Tensor, read: Read = to_float, *, window: int = 1, stride: int = 1, above: int = 0, below: int = 0
) -> Iterator[Strip]:
    """Yield a pair in strips, each with all the rows that its windows cover.

    Images are cut only if that saves memory: not if gradients are wanted, which keep everything, nor in compiled or
    exported code.

    Args:
        x: Images, (N, C, H, W), checked.
        y: Images of the same shape.
        read: Turns rows of floats into what is compared.
        window: Height of a window in rows.
        stride: Rows from one window to the next.
        above: Rows above the image that the first window covers.
        below: Rows below the image that windows may cover.
    """
    height = x.shape[2]
    windows = (height + above + below - window) // stride + 1
    step = windows if _at_once(x, y) else _windows_in_strip(x, stride)
    if step >= windows:
        yield _read(x, y, read, above, max(0, (windows - 1) * stride + window - above - height))
        return
    for first in range(0, windows, step):
        start = first * stride - above
        stop = (min(first + step, windows) - 1) * stride - above + window
        rows = slice(max(0, start), min(stop, height))
        yield _read(x[:, :, rows], y[:, :, rows], read, max(0, -start), max(0, stop - height))


def average(parts: Iterable[tuple[Tensor, int]]) -> Tensor:
    """Return the mean over an image from the means over its parts and their weights."""
    means: tuple[Tensor, ...]
    means, counts = zip(*parts, strict=True)
    if len(means) == 1:
        return means[0]
    total = sum(counts)
    return torch.stack([mean * (count / total) for mean, count in zip(means, counts, strict=True)]).sum(dim=0)


def masked_mean(maps: Iterable[Tensor], mask: Tensor | None) -> Tensor:
    """Return the mean of an image's map over channels and positions, (N,), or the mean that a mask weighs.

    Args:
        maps: The map's strips from top to bottom, (N, C, rows, W).
        mask: (N, 1, H, W), as large as the whole map.
    """
    if mask is None:
        return average((part.mean(dim=(1, 2, 3)), part.shape[2]) for part in maps)
    parts = [((part * rows).mean(dim=1).sum(dim=(1, 2)), rows.sum(dim=(1, 2, 3))) for part, rows in under(maps, mask)]
    totals, weights = (torch.stack(found).sum(dim=0) for found in zip(*parts, strict=True))
    return totals / weights


def under(maps: Iterable[Tensor], mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the strips of a map from top to bottom, each with its rows of a mask."""
    top = 0
    for part in maps:
        yield part, mask[:, :, top : top + part.shape[2]].to(part.dtype)
        top += part.shape[2]


def _read(x: Tensor, y: Tensor, read: Read, above: int, below: int) -> Strip:
    x, y = to_common(to_float(x), to_float(y))
    return Strip(read(x), read(y), above, below)


def _at_once(x: Tensor, y: Tensor) -> bool:
    return bool(torch.compiler.is_compiling() or gradients_wanted(x, y))


def _windows_in_strip(x: Tensor, stride: int) -> int:
    numbers = NUMBERS if x.device.type == "cpu" else ACCELERATOR_NUMBERS
    rows = max(LEAST_ROWS, numbers // (x.shape[0] * x.shape[1] * x.shape[3]))
    return max(1, rows // stride)
