"""Average precision, with its uncertainty, on JND sets: pairs of images that some people could not tell apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpips_lite.votes.agreement import jnd_average_precision

Floats = NDArray[np.float64]


def resampled_precisions(
    d: ArrayLike, same: ArrayLike, references: ArrayLike, *, repeats: int = 1000, seed: int = 0
) -> Floats:
    """Return the average precision in resamples of references with all their pairs.

    With the same references, repeats and seed, all metrics get the same resamples, so that they can be paired.

    Args:
        d: Distance of each pair, (P,), lower = closer.
        same: Fraction of observers who said "same", (P,).
        references: An identifier of each pair's reference, (P,).
        repeats: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        (repeats,); NaN if nobody called any resampled pair the same; all NaN if there is only one reference.
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
