"""Fit one head of a metric with two heads to votes, while the other head is kept.

The probability that an observer chooses p1 is σ(slope · (d0 − d1)). The free numbers are slope · v and slope · C (near
head), or slope · w (far head), and the slope itself, which then multiplies only the kept head. They maximise the
likelihood, minus a penalty on the distance from the start: for weights in units of the spread of each channel, for
slope and C in their logarithms. So votes that say nothing about the kept head do not change the proportion of the
heads. The scale is that of the kept head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from lpips_lite.votes.head_vectors import Differences, Floats, Head, HeadVectors
from lpips_lite.votes.objectives import Votes, channel_spread, finite_slope, vote_loss

FURTHEST = 10.0  # largest change of a logarithm from its start
LEAST_LOGIT = 0.1  # root mean square under the starting slope, which would be 0 if the start contradicts the votes


class HeldHead:
    """The loss as a function of free numbers: scaled weights (ΣC,), log slope and, for the near head, log (slope · C).

    Args:
        f0: Features of p0, (T, ΣC).
        f1: Features of p1, (T, ΣC).
        votes: The votes to fit.
        start: Two heads to stay near.
        head: The head to fit.
    """

    def __init__(self, f0: Differences, f1: Differences, votes: Votes, start: HeadVectors, head: Head) -> None:
        if start.near is None:
            raise ValueError("start has one head; expected two, of which one is kept")
        self.sides, self.votes, self.start, self.is_near = (f0, f1), votes, start, head == "near"
        self.share = votes.count / votes.count.sum()
        if self.is_near:
            weights, self.held = start.near, start.far_distances(f0 - f1)
            falls = [_saturate(f @ weights, start.near_limit)[1].astype(f.dtype) for f in self.sides]
            gaps = f0 * falls[0][:, None] - f1 * falls[1][:, None]  # derivative with respect to the weights
        else:
            weights, self.held = start.far, start.near_distances(f0) - start.near_distances(f1)
            gaps = f0 - f1
        self.scale, margin = channel_spread(gaps, np.float64), start.margin(f0, f1)
        size = float(np.sqrt(np.mean(margin**2)))
        slope = max(finite_slope(margin, votes), LEAST_LOGIT / size if size else 0.0)
        logs = np.log([slope, slope * start.near_limit])[: 1 + self.is_near]
        self.prior = np.concatenate([slope * weights * self.scale, logs])
        self.bounds = [(0.0, None)] * len(weights) + [(log - FURTHEST, log + FURTHEST) for log in logs]

    def loss(self, free: Floats, penalty: float) -> tuple[float, Floats]:
        """Return the penalised loss of the votes, and its gradient."""
        weights, slope, limit = self._unpack(free)
        sums = (np.asarray(f @ weights.astype(f.dtype), dtype=np.float64) for f in self.sides)
        (part0, fall0, by_log0), (part1, fall1, by_log1) = (_saturate(n, limit) for n in sums)
        logits = slope * self.held + part0 - part1
        residual = self.share * (expit(logits) - self.votes.judgement)
        f0, f1 = self.sides
        by_weights = (residual * fall0).astype(f0.dtype) @ f0 - (residual * fall1).astype(f1.dtype) @ f1
        by_logs = np.stack([slope * self.held, by_log0 - by_log1]) @ residual
        away = free - self.prior
        gradient = np.concatenate([by_weights / self.scale, by_logs[: 1 + self.is_near]]) + penalty * away
        return vote_loss(logits, self.votes) + penalty / 2 * float(away @ away), gradient

    def solution(self, free: Floats) -> tuple[HeadVectors, float]:
        """Return the heads and the slope; the kept head is exactly that of the start."""
        weights, slope, limit = self._unpack(free)
        if self.is_near:
            return replace(self.start, near=weights / slope, near_limit=limit / slope), slope
        return replace(self.start, far=weights / slope), slope

    def _unpack(self, free: Floats) -> tuple[Floats, float, float]:
        """Return slope · weights, slope, and slope · C or infinity."""
        count = len(self.scale)
        limit = math.exp(free[-1]) if self.is_near else math.inf
        return free[:count] / self.scale, math.exp(free[count]), limit


def fit_head(
    f0: Differences, f1: Differences, votes: Votes, start: HeadVectors, head: Head, penalties: Sequence[float]
) -> list[tuple[HeadVectors, float]]:
    """Fit one head and keep the other, once per penalty, each time starting from the last solution.

    Args:
        f0: Features of p0, (T, ΣC).
        f1: Features of p1, (T, ΣC).
        votes: The votes to fit.
        start: Two heads to stay near.
        head: The head to fit.
        penalties: Factors of half the squared distance from the start.

    Returns:
        The heads and their slope for each penalty.
    """
    held, solutions = HeldHead(f0, f1, votes, start, head), []
    free = held.prior
    for penalty in penalties:
        found = minimize(
            held.loss, free, (penalty,), "L-BFGS-B", jac=True, bounds=held.bounds, options={"maxiter": 150}
        )
        free = found.x
        solutions.append(held.solution(free))
    return solutions


def _saturate(n: Floats, limit: float) -> tuple[Floats, Floats, Floats]:
    """Return C·(1 − exp(−N/C)) and its derivatives with respect to N and log C; with an infinite limit, N itself."""
    if limit == math.inf:
        return n, np.ones_like(n), np.zeros_like(n)
    fall = np.exp(n / -limit)
    part = -limit * np.expm1(n / -limit)
    return part, fall, part - n * fall
