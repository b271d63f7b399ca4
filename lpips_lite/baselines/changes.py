"""Visible changes, for screens and pages: which pixels differ so that people see it. Pairs in, counts and areas out.

The colour difference of Kotsarenko and Ramos decides which do. What rendering changes without harm is left out by one
of two rules: "antialiasing", the edges that Vyšniauskas's detector finds, which makes the counts those of the program
pixelmatch; or "shift", what a movement by less than a pixel explains.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lpips_lite.images import (
    RangeCheck,
    check_mask,
    check_pair,
    check_values_of_pair,
    checked_by_functions,
    equal_outside,
    to_common,
    to_float,
)
from lpips_lite.strips import Strip, strips

Ignore = Literal["antialiasing", "shift"]

STEPS = 65535  # of a colour channel; values of 8 and of 16 bits are whole numbers of steps
RGB_TO_YIQ = (
    (0.29889531, 0.58662247, 0.11448223),
    (0.59597799, -0.2741761, -0.32180189),
    (0.21147017, -0.52261711, 0.31114694),
)
YIQ_WEIGHTS = (0.5053, 0.299, 0.1957)
LARGEST = 35215 / 255**2  # difference of two colours, for channels in [0, 1]
BRIGHTNESS = (29889531, 58662247, 11448223)  # Y in whole numbers, so that what is equally bright is exactly equal
APART = (2**40, 2**20, 1)  # makes one whole number from a colour
AROUND = [(down, right) for right in (-1, 0, 1) for down in (-1, 0, 1) if down or right]  # in pixelmatch's order
MEANS = 0.7  # of the threshold, for means of 3 × 3 pixels, which vary less
REACH = 2  # pixels in each direction by which a pixel is judged


def changed_pixels(
    x: Tensor,
    y: Tensor,
    *,
    threshold: float = 0.1,
    ignore: Ignore = "antialiasing",
    mask: Tensor | None = None,
    check_range: RangeCheck = "auto",
) -> Tensor:
    """Return how many pixels of each pair differ visibly.

    Two colours differ visibly if 0.5053 ΔY² + 0.299 ΔI² + 0.1957 ΔQ² is more than threshold² of its largest value.
    What rendering does without harm is left out in one of two ways:

    - "antialiasing": pixels that in either image lie between a darker and a brighter neighbour, of which the darkest or
      the brightest has at least three neighbours of its colour in both images. The counts are those of pixelmatch.
    - "shift": pixels that movement by less than a pixel explains. A colour is compared, channel by channel, with the
      range of the 3 × 3 pixels there in the other image, widened by its own width on both sides, since a line of one
      pixel may lose half its contrast; and the mean of 3 × 3 pixels likewise with the range of such means, widened by
      half its width, at 0.7 of the threshold, so that thicker lines and paler text are found.

    Values are rounded to 16 bits. There is no gradient.

    Args:
        x: Images, (N, C, H, W), C = 3 or 1 (grayscale), float in [0, 1] or uint8.
        y: The images to compare with, same shape.
        threshold: From 0, where every difference counts, to 1, where none does.
        ignore: "antialiasing" · "shift".
        mask: Where to compare: (N, 1, H, W), bool or {0, 1}. What x shows elsewhere changes nothing.
        check_range: When values are read to check them, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), whole numbers ≥ 0 as floats, lower = closer.

    Raises:
        TypeError, ValueError: If dtype, shape, range, device, mask or an option is not as described.

    References:
        Kotsarenko, Ramos: Measuring perceived color difference using YIQ NTSC transmission color space in mobile
        applications, Programación Matemática y Software 2 (2010).
        Vyšniauskas: Anti-aliased pixel and intensity slope detector, Elektronika ir Elektrotechnika 95 (2009).

    Example:
        >>> x, y = torch.zeros(2, 1, 3, 8, 8)
        >>> y[:, :, 2:4, 2:5] = 1
        >>> changed_pixels(x, y)
        tensor([6.])
    """
    return _count(_changes(x, y, threshold, ignore, mask, check_range), x, y)


def largest_region(
    x: Tensor, y: Tensor, *, threshold: float = 0.1, ignore: Ignore = "antialiasing", mask: Tensor | None = None
) -> Tensor:
    """Return the largest connected area of each pair that differs visibly; pixels connect at corners, too.

    Arguments and errors are those of `changed_pixels`, whose pixels it is made of; values are checked as with "auto".

    Returns:
        (N, 5): how many pixels it has, lower = closer, and its box: left, top, width, height; all 0 if nothing differs.
        Of equally large areas it is the first from the top.

    Raises:
        ImportError: If scipy is not installed.
    """
    changes = _changes(x, y, threshold, ignore, mask, "auto")
    count = _count(changes, x, y)
    found = _Largest.apply(changes).to(count)
    return torch.where(count.isnan()[:, None], torch.nan, found)


def _changes(
    x: Tensor, y: Tensor, threshold: float, ignore: Ignore, mask: Tensor | None, check_range: RangeCheck
) -> Tensor:
    """Check a pair and return which pixels differ visibly, (N, H, W)."""
    if not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold!r}: expected a number in [0, 1]")
    if ignore not in ("antialiasing", "shift"):
        raise ValueError(f"ignore={ignore!r}: expected 'antialiasing' or 'shift'")
    check_pair(x, y, channels=(3, 1))
    check_values_of_pair({"x": x, "y": y}, check_range, checked_by_functions)
    x, y = x.detach(), y.detach()
    if mask is not None:
        check_mask(mask, x, check_range, checked_by_functions)
        x, y = equal_outside(x, y, mask)
    rule = _differ_by_antialiasing if ignore == "antialiasing" else _differ_by_shift
    parts = strips(x, y, _steps, window=2 * REACH + 1, above=REACH, below=REACH)
    found = torch.cat([_own_rows(strip, rule(strip.x, strip.y, threshold)) for strip in parts], dim=1)
    return found if mask is None else found & (mask[:, 0] > 0)


def _steps(images: Tensor) -> Tensor:
    """Return images as whole numbers of steps, three channels of them."""
    return (images * STEPS).round().expand(-1, 3, -1, -1)


def _own_rows(strip: Strip, found: Tensor) -> Tensor:
    """Return the rows of a map that are the strip's own, not those that it shares with the next."""
    return found[:, REACH - strip.above : found.shape[1] - REACH + strip.below]


def _differ(x: Tensor, y: Tensor, threshold: float) -> Tensor:
    """Return where colours differ visibly, (N, H, W)."""
    red, green, blue = ((x - y) / STEPS).unbind(dim=1)
    yiq = [a * red + b * green + c * blue for a, b, c in RGB_TO_YIQ]
    squares = torch.stack([weight * part.square() for weight, part in zip(YIQ_WEIGHTS, yiq, strict=True)])
    return squares.sum(dim=0) > threshold**2 * LARGEST


# -- what a shift explains --------------------------------------------------------------------------------------------


def _differ_by_shift(x: Tensor, y: Tensor, threshold: float) -> Tensor:
    x_mean, y_mean = (F.avg_pool2d(images, 3, 1, 1, count_include_pad=False) for images in (x, y))
    return _leave_range(x, y, 1.0, threshold) | _leave_range(x_mean, y_mean, 0.5, MEANS * threshold)


def _leave_range(x: Tensor, y: Tensor, widened: float, threshold: float) -> Tensor:
    """Return where one image leaves the range of the other's neighbours."""
    x_near, y_near = _nearest(y, x, widened), _nearest(x, y, widened)
    return _differ(x, x_near, threshold) | _differ(y, y_near, threshold)


def _nearest(images: Tensor, wanted: Tensor, widened: float) -> Tensor:
    """Return the colours nearest to wanted ones in the range of 3 × 3 pixels, widened by a share of its width."""
    high, low = F.max_pool2d(images, 3, 1, 1), -F.max_pool2d(-images, 3, 1, 1)
    more = widened * (high - low)
    return wanted.clamp(low - more, high + more)


# -- anti-aliasing ----------------------------------------------------------------------------------------------------


def _differ_by_antialiasing(x: Tensor, y: Tensor, threshold: float) -> Tensor:
    even = _is_even(x) & _is_even(y)
    return _differ(x, y, threshold) & ~_is_antialiased(x, even) & ~_is_antialiased(y, even)


def _is_even(images: Tensor) -> Tensor:
    """Return where a pixel is in an even area: at least three neighbours have its colour."""
    return _equal_around(_whole(images, APART)) > 2


def _is_antialiased(images: Tensor, even: Tensor) -> Tensor:
    """Return where pixels lie between neighbours, of which the darkest or the brightest is in an even area."""
    bright = _whole(images, BRIGHTNESS)
    low, high = torch.zeros_like(bright), torch.zeros_like(bright)
    low_is_even, high_is_even = torch.zeros_like(even), torch.zeros_like(even)
    for near, there, near_is_even in zip(_around(bright), _inside(bright), _around(even), strict=True):
        step = (near - bright) * there
        low_is_even = torch.where(step < low, near_is_even, low_is_even)
        high_is_even = torch.where(step > high, near_is_even, high_is_even)
        low, high = torch.minimum(low, step), torch.maximum(high, step)
    return (_equal_around(bright) <= 2) & (low < 0) & (high > 0) & (low_is_even | high_is_even)


def _equal_around(maps: Tensor) -> Tensor:
    """Return how many neighbours are equal to each pixel; at the border of the image, one more."""
    equal, at_border = torch.zeros_like(maps, dtype=torch.int8), torch.zeros_like(maps, dtype=torch.bool)
    for near, there in zip(_around(maps), _inside(maps), strict=True):
        equal, at_border = equal + ((near == maps) & there), at_border | ~there
    return equal + at_border


def _inside(maps: Tensor) -> list[Tensor]:
    """Return which neighbours lie inside the image."""
    return _around(torch.ones_like(maps[:1], dtype=torch.bool))


def _around(maps: Tensor) -> list[Tensor]:
    """Return the maps of the eight neighbours; 0 outside."""
    padded, (height, width) = F.pad(maps, (1, 1, 1, 1)), maps.shape[1:]
    return [padded[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width] for down, right in AROUND]


def _whole(images: Tensor, weights: tuple[int, int, int]) -> Tensor:
    """Return a weighted sum of channels in whole numbers, (N, H, W)."""
    red, green, blue = images.long().unbind(dim=1)
    return weights[0] * red + weights[1] * green + weights[2] * blue


# -- numbers ----------------------------------------------------------------------------------------------------------


def _count(changes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Count changes, in at least float32; the count is NaN where an image has NaN."""
    x, y = to_common(to_float(x.detach()), to_float(y.detach()))
    unknown = (x.isnan() | y.isnan()).flatten(1).any(dim=1)
    return torch.where(unknown, torch.nan, changes.flatten(1).sum(dim=1).to(x.dtype))


class _Largest(torch.autograd.Function):
    """The largest connected area of each map and its box, (N, H, W) -> (N, 5), computed on the CPU."""

    @staticmethod
    def forward(changes: Tensor) -> Tensor:
        from scipy import ndimage

        found = torch.zeros(len(changes), 5, device="cpu")
        for row, change in enumerate(changes.cpu().numpy()):
            areas, count = ndimage.label(change, structure=[[1] * 3] * 3)
            if count:
                sizes = ndimage.sum_labels(change, areas, range(1, count + 1))
                rows, columns = ndimage.find_objects(areas)[sizes.argmax()]
                box = columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start
                found[row] = torch.tensor([sizes.max(), *box], device="cpu")
        return found.to(changes.device)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing: there is no gradient."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, changes: Tensor) -> tuple[Tensor, int]:
        """Label the maps of all batches one after the other."""
        stacked = changes.movedim(in_dims[0], 0)
        return _Largest.apply(stacked.flatten(0, 1)).unflatten(0, stacked.shape[:2]), 0
