"""Statistics of many values at once, and their intervals by bootstrap over images.

Infinity is the best value of some metrics, such as the PSNR of equal images. As in `summary.py`, means leave it out
unless there is nothing else, and percentiles count it. NaN stands for a missing value.

References:
    Efron, Tibshirani: An Introduction to the Bootstrap, 1993, section 13.3 (percentile intervals)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]  # (..., values) -> (...)

RESAMPLES, SEED = 1000, 0
PERCENTILES = (2.5, 97.5)  # a 95 % interval
_PIECE = 2**21  # values resampled at a time


def mean(values: Floats) -> Floats:
    """Return the means of finite values along the last axis; infinity if all are infinite, NaN if there are none."""
    finite = np.isfinite(values)
    if values.shape[-1] and finite.all():  # the usual case, three times as fast
        return np.asarray(values.mean(axis=-1))
    count = finite.sum(axis=-1)
    means = np.where(finite, values, 0).sum(axis=-1) / np.maximum(count, 1)
    present = np.where(np.isnan(values), -np.inf, values)
    return np.where(count > 0, means, np.where(np.isnan(values).all(axis=-1), np.nan, present.max(axis=-1)))


def percentile(values: Floats, percent: float) -> Floats:
    """Return the percentiles along the last axis, interpolated linearly, but never between infinities."""
    ordered = np.sort(values, axis=-1)  # NaN comes last
    count = (~np.isnan(values)).sum(axis=-1)
    place = np.maximum(count - 1, 0) * percent / 100
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    low = np.take_along_axis(ordered, below[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(ordered, above[..., None], axis=-1)[..., 0]
    rest, between = place - below, np.zeros_like(low)
    apart = (rest > 0) & np.isfinite(low) & (high != low)
    between[apart] = (high[apart] - low[apart]) * rest[apart]
    return low + between


def psnr_of_mean_mse(values: Floats) -> Floats:
    """Return the PSNR, in decibels, of the mean squared error, computed from the PSNRs along the last axis."""
    absent = np.isnan(values)
    errors = np.where(absent, 0, 10 ** (-np.where(absent, 0, values) / 10))
    count = (~absent).sum(axis=-1)
    with np.errstate(divide="ignore"):
        found = -10 * np.log10(errors.sum(axis=-1) / np.maximum(count, 1))
    return np.where(count > 0, found, np.nan) + 0.0


STATISTICS: dict[str, Statistic] = {
    "mean": mean,
    "median": partial(percentile, percent=50),
    "p5": partial(percentile, percent=5),
    "p95": partial(percentile, percent=95),
    "min": partial(percentile, percent=0),
    "max": partial(percentile, percent=100),
}


def by_image(values: Sequence[float], images: Sequence[str]) -> Floats:
    """Return values as (images, largest number of values of an image), padded with NaN."""
    rows: dict[str, list[float]] = {}
    for value, image in zip(values, images, strict=True):
        rows.setdefault(image, []).append(value)
    table = np.full((len(rows), max(map(len, rows.values()), default=0)), np.nan)
    for place, row in enumerate(rows.values()):
        table[place, : len(row)] = row
    return table


def interval(values: Floats, statistic: Statistic) -> tuple[float, float]:
    """Return the 95 % interval of a statistic, by drawing images with replacement; NaN for fewer than two images.

    Args:
        values: Output of `by_image`, (images, values); for the mean, only images with a finite value are used.
        statistic: The statistic of all values together.
    """
    if statistic is mean:  # it leaves infinity out, but a draw of infinite values only would include it
        values = values[np.isfinite(values).any(axis=-1)]
    if len(values) < 2:
        return np.nan, np.nan
    return _interval(np.concatenate([statistic(values[draw].reshape(len(draw), -1)) for draw in _draws(len(values))]))


def subtract(values: Floats, others: Floats) -> Floats:
    """Return the differences; the difference of two infinities is 0."""
    with np.errstate(invalid="ignore"):
        return np.where(values == others, 0, values - others)


def difference_interval(values: Floats, others: Floats, statistic: Statistic) -> tuple[float, float]:
    """Return the 95 % interval of the difference between a statistic of `values` and of `others`, image by image.

    Args:
        values: (images,).
        others: Values of the same images, (images,).
        statistic: The statistic of all values together.
    """
    if len(values) < 2:
        return np.nan, np.nan
    draws = _draws(len(values))
    return _interval(np.concatenate([subtract(statistic(values[draw]), statistic(others[draw])) for draw in draws]))


def _draws(images: int) -> Iterator[NDArray[np.int64]]:
    """Yield positions of images drawn with replacement, (resamples, images), in pieces; they are always the same."""
    generator, left = np.random.default_rng(SEED), RESAMPLES
    piece = max(1, _PIECE // images)
    while left:
        count = min(piece, left)
        yield generator.integers(0, images, (count, images))
        left -= count


def _interval(found: Floats) -> tuple[float, float]:
    low, high = (float(percentile(found, percent)) for percent in PERCENTILES)
    return low, high
