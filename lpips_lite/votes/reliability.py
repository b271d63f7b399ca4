"""Reliability of a metric's predictions: predicted and actual shares of votes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Votes on triplets for which a metric predicts a share for p1 between `low` and `high`.

    Attributes:
        low: Lower bound, in [0, 1].
        high: Upper bound.
        predicted: Mean predicted share, NaN if there are no votes.
        actual: Actual share of votes for p1, NaN if there are no votes.
        votes: Number of votes.
    """

    low: float
    high: float
    predicted: float
    actual: float
    votes: float


def reliability(d0: ArrayLike, d1: ArrayLike, j: ArrayLike, votes: ArrayLike, slope: float) -> list[Bin]:
    """Return ten bins of the predicted share σ(slope · (d0 − d1)), in equal steps from 0 to 1.

    Args:
        d0: Distances of p0, (T,), lower = closer.
        d1: Distances of p1, (T,).
        j: Fraction of observers who chose p1, (T,).
        votes: Number of observers, (T,).
        slope: See `LPIPS.preference`.
    """
    d0, d1, j, votes = (np.asarray(values, dtype=np.float64) for values in (d0, d1, j, votes))
    share = expit(slope * (d0 - d1))
    place = np.minimum((share * BINS).astype(int), BINS - 1)
    counts, predicted, actual = (
        np.bincount(place, votes * values, minlength=BINS) for values in (np.ones_like(j), share, j)
    )
    bins = []
    for k, n in enumerate(counts.tolist()):
        means = (float(predicted[k] / n), float(actual[k] / n)) if n else (np.nan, np.nan)
        bins.append(Bin(k / BINS, (k + 1) / BINS, *means, n))
    return bins
