"""Average precision on JND sets, pairs of images that some people could not tell apart, with its uncertainty."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpips_lite.votes.agreement import Interval, jnd_average_precision

Floats = NDArray[np.float64]


def resampled_precisions(
    d: ArrayLike, same: ArrayLike, references: ArrayLike, *, repeats: int = 1000, seed: int = 0
) -> Floats:
    """Return the average precision in resamples of references, whose pairs belong together.

    With the same references, repeats and seed, all metrics meet the same resamples, so that they can be paired.

    Args:
        d: Distance of each pair, (P,), lower = closer.
        same: Fraction of observers who said "same", (P,).
        references: What identifies each pair's reference, (P,).
        repeats: Number of resamples.
        seed: Of the resampling.

    Returns:
        (repeats,); NaN where nobody called any resampled pair the same, and everywhere if there is one reference only.
    """
    d, same = np.asarray(d, dtype=np.float64), np.asarray(same, dtype=np.float64)
    names, group = np.unique(np.asarray(references), return_inverse=True)
    generator, found = np.random.default_rng(seed), np.full(repeats, np.nan)
    for repeat in range(repeats if len(names) > 1 else 0):
        times = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))
        drawn = np.repeat(np.arange(len(d)), times[group])
        if same[drawn].any():
            found[repeat] = jnd_average_precision(d[drawn], same[drawn])
    return found


def interval_of(value: float, resamples: Floats, references: int) -> Interval:
    """Return a value with the 2.5 and 97.5 percentiles of its resamples, and a two-sided p-value for zero.

    The latter is never below what the resamples, or a sign test on so many references, can show.
    """
    resamples = resamples[~np.isnan(resamples)]
    if len(resamples) == 0:
        return Interval(value, np.nan, np.nan, np.nan, "one reference: no interval")
    low, high = np.percentile(resamples, [2.5, 97.5])
    rarest = (min((resamples <= 0).sum(), (resamples >= 0).sum()) + 1) / (len(resamples) + 1)
    p_value = float(min(1.0, max(2 * rarest, 2.0 ** (1 - references))))
    return Interval(value, float(low), float(high), p_value)
