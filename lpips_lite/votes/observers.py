"""How far people agree with each other, from single answers: Krippendorff's alpha."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpips_lite.votes.agreement import interval_of
from lpips_lite.votes.records import Answer

REPEATS = 1000


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha of one family of judgments.

    Attributes:
        family: Its name.
        raters: Number of people.
        answers: Number of answers to items that at least two people judged.
        value: 1 = all agree, 0 = as by chance; NaN if all answers are equal, or no item was judged by two people.
        low: Lower end of the 95 % interval from resampling items.
        high: Upper end of the interval.
    """

    family: str
    raters: int
    answers: int
    value: float
    low: float
    high: float


def krippendorff_alpha(counts: np.ndarray) -> float:
    """Return alpha for nominal answers: 1 − observed / expected disagreement of pairs of answers to the same item.

    Args:
        counts: How many people gave each answer to each item, (items, answers); items with fewer than two are ignored.

    Returns:
        At most 1; 0 = as by chance; NaN if no disagreement is expected.

    References:
        Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, https://repository.upenn.edu/asc_papers/43

    Examples:
        >>> round(krippendorff_alpha(np.array([[2, 0], [2, 0], [1, 1], [0, 2]])), 3)
        0.533
    """
    counts = counts[counts.sum(axis=1) >= 2].astype(np.float64)
    each = counts.sum(axis=1)
    total = each.sum()
    if not len(counts):
        return float("nan")
    observed = ((each**2 - (counts**2).sum(axis=1)) / (each - 1)).sum()
    expected = (total**2 - (counts.sum(axis=0) ** 2).sum()) / (total - 1)
    return float(1 - observed / expected) if expected else float("nan")


def alphas(answers: Iterable[Answer], *, seed: int = 0) -> list[Alpha]:
    """Return alpha of each family, in the order of the answers."""
    by_family: dict[str, list[Answer]] = {}
    for answer in answers:
        by_family.setdefault(answer.family, []).append(answer)
    return [_alpha(family, own, seed) for family, own in by_family.items()]


def _alpha(family: str, answers: Sequence[Answer], seed: int) -> Alpha:
    choices = {choice: place for place, choice in enumerate(sorted({answer.choice for answer in answers}))}
    items = {item: place for place, item in enumerate(dict.fromkeys(answer.item for answer in answers))}
    counts = np.zeros((len(items), len(choices)))
    for answer in answers:
        counts[items[answer.item], choices[answer.choice]] += 1
    shared = counts[counts.sum(axis=1) >= 2]
    generator = np.random.default_rng(seed)
    draws: Iterable[NDArray[np.int64]] = (
        generator.integers(len(shared), size=(REPEATS, len(shared))) if len(shared) > 1 else []
    )
    resampled = np.array([krippendorff_alpha(shared[drawn]) for drawn in draws])
    found = interval_of(krippendorff_alpha(counts), resampled, len(shared))
    raters = len({answer.rater for answer in answers})
    return Alpha(family, raters, int(shared.sum()), found.value, found.low, found.high)
