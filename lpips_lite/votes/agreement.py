"""Agreement of a metric with people, computed from plain arrays. All definitions are here.

A triplet is a reference and two distorted images, p0 and p1. d0 and d1 are the distances of the two from the reference
under a metric. The judgement j is the fraction of observers who chose p1 as closer. With `weights=None` each triplet
counts once; with `weights=votes` each vote counts once.

References:
    Zhang et al., CVPR 2018, section 3 and appendix (2AFC score, human ceiling, JND average precision),
    https://arxiv.org/abs/1801.03924
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def triplet_agreement(d0: ArrayLike, d1: ArrayLike, j: ArrayLike) -> Floats:
    """Return the share of observers who agree with the metric's choice in each triplet; ½ if d0 = d1.

    Args:
        d0: Distances of p0, (T,), lower = closer.
        d1: Distances of p1, (T,).
        j: Fraction of observers who chose p1, (T,), in [0, 1].

    Returns:
        (T,), in [0, 1].

    Raises:
        ValueError: If lengths differ, a distance is NaN, or a judgement is not in [0, 1].
    """
    d0, d1, j = _arrays(d0=d0, d1=d1, j=j)
    if not ((j >= 0) & (j <= 1)).all():
        raise ValueError(f"j has values from {j.min():g} to {j.max():g}; expected fractions in [0, 1]")
    return np.where(d1 < d0, j, np.where(d0 < d1, 1 - j, 0.5))


def agreement(d0: ArrayLike, d1: ArrayLike, j: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the 2AFC score: the mean of `triplet_agreement`, in [0, 1], ½ = chance.

    Args:
        d0: Distances of p0, (T,), lower = closer.
        d1: Distances of p1, (T,).
        j: Fraction of observers who chose p1, (T,), in [0, 1].
        weights: `None` counts triplets; the number of votes counts votes.

    Examples:
        >>> round(agreement([0.1, 0.2, 0.3], [0.2, 0.1, 0.3], [0.0, 0.8, 1.0]), 4)
        0.7667
    """
    return _mean(triplet_agreement(d0, d1, j), weights)


def human_agreement(j: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return how often two observers, drawn with replacement, agree: the mean of j² + (1−j)².

    It is biased upwards with few votes, since the same observer may be drawn twice; see `leave_one_out_agreement`.
    """
    (j,) = _arrays(j=j)
    return _mean(j**2 + (1 - j) ** 2, weights)


def oracle_agreement(j: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the score of a metric that always agrees with the majority: the mean of max(j, 1−j)."""
    (j,) = _arrays(j=j)
    return _mean(np.maximum(j, 1 - j), weights)


def leave_one_out_agreement(j: ArrayLike, votes: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return how often an observer agrees with another one of the same triplet, over triplets with at least two votes.

    For k of m votes it is [k(k−1) + (m−k)(m−k−1)] / [m(m−1)], which is unbiased for any number of votes.

    Args:
        j: Fraction of observers who chose p1, (T,).
        votes: Number of observers, (T,).
        weights: See `agreement`.

    Raises:
        ValueError: If no triplet has two votes.
    """
    j, m = _arrays(j=j, votes=votes)
    several = m >= 2
    if not several.any():
        raise ValueError("votes: no triplet has two votes or more, so no observer can be left out")
    j, m = j[several], m[several]
    k = np.round(j * m)
    agreeing = (k * (k - 1) + (m - k) * (m - k - 1)) / (m * (m - 1))
    return _mean(agreeing, None if weights is None else np.asarray(weights, float)[several])


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval.

    Attributes:
        value: The value for all data.
        low: Lower end of the interval; NaN if there is no interval.
        high: Upper end of the interval; NaN if there is no interval.
        p_value: Two-sided p-value for the hypothesis of zero; NaN if only one reference counts.
        note: Why there is no interval, for messages; "" if there is one.
    """

    value: float
    low: float
    high: float
    p_value: float
    note: str = ""

    def percent(self) -> str:
        """Return the value in percent with its interval, as in "71.49 [69.58, 73.51]", or with `note`."""
        ends = f"[{100 * self.low:.2f}, {100 * self.high:.2f}]" if self.low < self.high else f"({self.note})"
        return f"{100 * self.value:.2f} {ends}"


def bootstrap(
    scores: ArrayLike, references: ArrayLike, weights: ArrayLike | None = None, *, repeats: int = 1000, seed: int = 0
) -> Interval:
    """Return the weighted mean of scores, with an interval from resampling references with all their triplets.

    If only one reference counts, or all have the same mean, resampling tells nothing about other references. Then there
    is no interval, instead of one with no width.

    Args:
        scores: One number per triplet, (T,): `triplet_agreement`, or the difference of two metrics (a paired test).
        references: An identifier of each triplet's reference, (T,).
        weights: See `agreement`; references whose weights are all 0 do not count.
        repeats: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        The mean, the 2.5 and 97.5 percentiles, and a two-sided p-value for a mean of zero: twice the share of resamples
        on the other side of zero, but at least the smallest value possible with `repeats` resamples and with a sign
        test on this number of references.

    Raises:
        ValueError: If lengths differ, a number is NaN, or weights are negative or all 0.
    """
    weights = np.ones(np.shape(scores)) if weights is None else weights
    scores, weight = _arrays(scores=scores, weights=weights)
    if len(np.asarray(references)) != len(scores):
        raise ValueError(f"references has {len(np.asarray(references))} entries; expected {len(scores)}, as scores")
    if (weight < 0).any() or not weight.any():
        raise ValueError("weights: negative, or all zero; expected numbers ≥ 0, not all of them 0")
    _, group = np.unique(np.asarray(references), return_inverse=True)
    numerator, denominator = np.bincount(group, weight * scores), np.bincount(group, weight)
    numerator, denominator = numerator[denominator > 0], denominator[denominator > 0]
    mean, count = _mean(scores, weight), len(denominator)
    if count == 1:
        return Interval(mean, np.nan, np.nan, np.nan, "one reference: no interval")
    generator, means = np.random.default_rng(seed), np.empty(repeats)
    for number in range(repeats):
        drawn = generator.integers(count, size=count)
        means[number] = numerator[drawn].sum() / denominator[drawn].sum()
    interval = interval_of(mean, means, count)
    if np.ptp(numerator / denominator) < 1e-12:
        note = f"all {count} references alike: no interval"
        return replace(interval, low=np.nan, high=np.nan, note=note)
    return interval


def interval_of(value: float, resamples: Floats, references: int) -> Interval:
    """Return a value with the 2.5 and 97.5 percentiles of its resamples, and a two-sided p-value for zero.

    The p-value is at least the smallest one possible with this number of resamples, and with a sign test on this number
    of references. Resamples that are NaN do not count.
    """
    resamples = resamples[~np.isnan(resamples)]
    if len(resamples) == 0:
        return Interval(value, np.nan, np.nan, np.nan, "one reference: no interval")
    low, high = np.percentile(resamples, [2.5, 97.5])
    rarest = (min((resamples <= 0).sum(), (resamples >= 0).sum()) + 1) / (len(resamples) + 1)
    p_value = float(min(1.0, max(2 * rarest, 2.0 ** (1 - references))))
    return Interval(value, float(low), float(high), p_value)


def log_likelihood(probability: ArrayLike, j: ArrayLike, votes: ArrayLike) -> float:
    """Return the mean log-likelihood of a vote, in nats: 0 = certain and right, −log 2 = chance.

    Args:
        probability: The model's probability that an observer chooses p1, (T,), in (0, 1).
        j: Fraction of observers who chose p1, (T,).
        votes: Number of observers, (T,).
    """
    p, j, votes = _arrays(probability=probability, j=j, votes=votes)
    return _mean(j * np.log(p) + (1 - j) * np.log1p(-p), votes)


def jnd_average_precision(d: ArrayLike, same: ArrayLike) -> float:
    """Return how well small distances find the pairs that people call the same: area under precision over recall.

    Precision and recall are computed at each distinct distance, so that the order of equally distant pairs does not
    matter. Precision is made monotone, as in the VOC challenge.

    Args:
        d: Distance of each pair, (P,), lower = closer.
        same: Fraction of observers who said "same", (P,).

    Returns:
        In [0, 1], higher = better.

    Raises:
        ValueError: If nobody called any pair the same.
    """
    d, same = _arrays(d=d, same=same)
    if same.sum() == 0:
        raise ValueError("same: all zero; expected at least one pair that somebody called the same")
    _, place, counts = np.unique(d, return_inverse=True, return_counts=True)
    true_positives = np.cumsum(np.bincount(place, same))
    precision = true_positives / np.cumsum(counts)
    recall = true_positives / same.sum()
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope))


def _arrays(**named: ArrayLike) -> tuple[Floats, ...]:
    """Turn arguments into float arrays, and check that they have the same length and no NaN."""
    arrays = {name: np.atleast_1d(np.asarray(value, dtype=np.float64)) for name, value in named.items()}
    first, length = next((name, len(array)) for name, array in arrays.items())
    for name, array in arrays.items():
        if array.ndim != 1 or len(array) != length:
            raise ValueError(f"{name} has shape {array.shape}; expected ({length},), the length of {first}")
        if np.isnan(array).any():
            raise ValueError(f"{name} has NaN at {np.flatnonzero(np.isnan(array))[:5].tolist()}; expected numbers")
    if length == 0:
        raise ValueError(f"{first} is empty; expected at least one triplet")
    return tuple(arrays.values())


def _mean(values: Floats, weights: ArrayLike | None) -> float:
    return float(np.average(values, weights=None if weights is None else np.asarray(weights, dtype=np.float64)))
