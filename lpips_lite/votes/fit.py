"""Fit non-negative channel weights to human judgments, and measure how well they agree with people.

The objectives are in `objectives.py`; `two_heads.py` fits one head of a metric with two. A penalty keeps weights near
the starting ones. Cross-validation over references chooses its strength, and agreement is measured on references that
were not used for fitting. Judgments fix the order of distances, not their scale: `scale.py`, or the head that is kept,
fixes the scale, and the slope follows. If votes do not determine weights, a slope or an interval, there is none, and
`Fitted.uncertain` says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpips_lite.votes.agreement import Interval, bootstrap, triplet_agreement
from lpips_lite.votes.features import Features
from lpips_lite.votes.head_vectors import Head, HeadVectors
from lpips_lite.votes.objectives import (
    EQUAL,
    UNDECIDED,
    Floats,
    Votes as Votes,
    best_slope as best_slope,
    fit_logistic,
    fit_ranking,
    undetermined,
    vote_loss,
)
from lpips_lite.votes.progress import Progress, silently
from lpips_lite.votes.scale import keep_scale as keep_scale
from lpips_lite.votes.two_heads import fit_head

PENALTIES = (1.0, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 1e-4)  # from strong to weak
FEW_VOTES = 100  # fewer than these are not reliable

Solution = tuple[HeadVectors, float]  # with a slope
Solve = Callable[[NDArray[np.bool_]], list[Solution]]  # from chosen triplets; one per penalty, or the only one


def choose_head(start: HeadVectors, head: Head | None, objective: str) -> Head:
    """Return the head to fit: the requested one, or by default the near head if there are two.

    Raises:
        ValueError: If there is no such head, or the objective cannot keep the other one.
    """
    if start.near is None:
        if head == "near":
            raise ValueError("--head near: the metric has one head; expected weights with a near head, or no --head")
        return "far"
    if objective == "ranking":
        raise ValueError("--objective ranking: fits one head only, and the metric has two; expected logistic")
    return head or "near"


def folds_by_reference(references: NDArray[np.str_], count: int, seed: int) -> NDArray[np.int64]:
    """Assign references to folds at random; all triplets of a reference are in the same fold."""
    names, which = np.unique(references, return_inverse=True)
    if len(names) < count:
        raise ValueError(f"--folds {count}: the data has {len(names)} references; expected at least as many")
    return (np.random.default_rng(seed).permutation(len(names)) % count)[which]


@dataclass(frozen=True)
class Fitted:
    """Weights fitted to all data, and how well the recipe does on references that it has not seen.

    Attributes:
        weights: Weights ≥ 0; the starting ones if votes say nothing. A head that was kept is unchanged.
        slope: See `LPIPS.preference`; `None` if votes do not determine it.
        penalty: Strength that was chosen; 0 for the ranking objective.
        fold: Fold of each triplet, (T,); there are no more folds than references.
        held_out: Distances d0 and d1 of each triplet under weights that never saw its reference, (2, T); NaN with one
            reference.
        agreement: Agreement of `held_out` with the votes, with a bootstrap interval over references; NaN with one
            reference.
        uncertain: What the votes do not determine, each as a word, a colon and a sentence.
    """

    weights: HeadVectors
    slope: float | None
    penalty: float
    fold: NDArray[np.int64]
    held_out: Floats
    agreement: Interval
    uncertain: tuple[str, ...] = ()


def fit(
    features: Features,
    votes: Votes,
    start: HeadVectors,
    *,
    head: Head | None = None,
    objective: str = "logistic",
    folds: int = 5,
    seed: int = 0,
    progress: Progress = silently,
) -> Fitted:
    """Fit on all triplets, and cross-validate by reference.

    The penalty for each fold is chosen on the other folds.

    Raises:
        ValueError: If there are fewer than two folds; also same as `choose_head`.
    """
    if folds < 2:
        raise ValueError(f"--folds {folds}: expected at least 2")
    head = choose_head(start, head, objective)
    f0, f1 = (np.ascontiguousarray(features.differences[features.rows[:, side]]) for side in (0, 1))

    def solve(chosen: NDArray[np.bool_]) -> list[Solution]:
        part = votes.take(chosen)
        if start.near is not None:
            return fit_head(f0[chosen], f1[chosen], part, start, head, PENALTIES)
        if objective == "ranking":
            return [(HeadVectors(fit_ranking(f0[chosen], f1[chosen], part, start.far, seed=seed)), 1.0)]
        return [(HeadVectors(weights), 1.0) for weights in _penalty_path(f0[chosen] - f1[chosen], part, start.far)]

    references = len(np.unique(votes.reference))
    fold = folds_by_reference(votes.reference, min(folds, references), seed)
    best, held_out = _cross_validate(solve, f0, f1, votes, fold, progress)
    weights, slope = solve(np.ones(len(fold), dtype=bool))[best]
    agreement = _agreement(held_out, votes)
    nothing = undetermined(weights.margin(f0, f1), votes)
    if nothing in (EQUAL, UNDECIDED) or not weights.any():
        weights = start
    uncertain = [nothing] if nothing else []
    unseen = undetermined(held_out[0] - held_out[1], votes) if references > 1 else None
    if unseen and unseen != nothing:
        uncertain.append(f"{unseen} (on references not seen)")
    if not uncertain and references > 1 and agreement.low <= 0.5:
        uncertain.append(f"chance: the agreement on references not seen may be due to chance, {agreement.percent()} %")
    if references == 1:
        uncertain.append("one reference: there is no other to test the weights on")
    determined = not uncertain
    uncertain += _too_few(votes, references, folds)
    if objective == "ranking":
        slope = best_slope(weights.margin(f0, f1), votes)
    penalty = PENALTIES[best] if objective == "logistic" else 0.0
    return Fitted(weights, slope if determined else None, penalty, fold, held_out, agreement, tuple(uncertain))


def _cross_validate(
    solve: Solve,
    f0: NDArray[np.float32],
    f1: NDArray[np.float32],
    votes: Votes,
    fold: NDArray[np.int64],
    progress: Progress,
) -> tuple[int, Floats]:
    """Return the index of the best penalty, and the distances of each triplet when its fold was held out, (2, T)."""
    folds = int(fold.max()) + 1
    if folds == 1:
        return 0, np.full((2, len(fold)), np.nan)  # the strongest
    distances = np.empty((len(PENALTIES), 2, len(fold)))  # held out
    losses = np.empty((len(PENALTIES), folds))
    count = 0
    for held_out in progress(range(folds), "cross-validation"):
        out = fold == held_out
        solutions = solve(~out)
        count = len(solutions)
        for index, (weights, slope) in enumerate(solutions):
            heads = weights.times(slope)
            distances[index][:, out] = heads.distances(f0[out]), heads.distances(f1[out])
            losses[index, held_out] = vote_loss(heads.margin(f0[out], f1[out]), votes.take(out))
    losses = losses[:count]
    chosen_for = [int(np.argmin(np.delete(losses, k, axis=1).mean(axis=1))) for k in range(folds)]
    return int(np.argmin(losses.mean(axis=1))), distances[np.array(chosen_for)[fold], :, np.arange(len(fold))].T


def _penalty_path(gaps: NDArray[np.float32], votes: Votes, start: Floats) -> list[Floats]:
    """Fit with each penalty, from strong to weak, each starting from the last solution."""
    solutions: list[Floats] = []
    for penalty in PENALTIES:
        solutions.append(fit_logistic(gaps, votes, start, penalty, solutions[-1] if solutions else None))
    return solutions


def _agreement(held_out: Floats, votes: Votes) -> Interval:
    if np.isnan(held_out).any():
        return Interval(np.nan, np.nan, np.nan, np.nan, "one reference: nothing to test the weights on")
    return bootstrap(triplet_agreement(held_out[0], held_out[1], votes.judgement), votes.reference, votes.count)


def _too_few(votes: Votes, references: int, folds: int) -> list[str]:
    """Return warnings about too few votes or references for reliable numbers."""
    few, total = [], votes.count.sum()
    if 1 < references < folds:
        few.append(f"few references: {references} for {folds} folds, so there are {references} folds")
    if total < FEW_VOTES:
        few.append(f"few votes: {total:g}; with fewer than {FEW_VOTES}, take weights and intervals as rough guesses")
    return few
