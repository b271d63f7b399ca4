"""Fit non-negative channel weights to human judgments: features in, a weight file that `LPIPS` loads out.

Two objectives:

* "logistic" (default): the probability that an observer chooses p1 is σ(slope · (d0 − d1)); weights and slope maximise
  the binomial likelihood of the votes, with a penalty on leaving the starting weights. The strength of the penalty
  is chosen by cross-validation over references.
* "ranking": the original recipe (Zhang et al. 2018, appendix B): a small network judges the pair of distances; trained
  together with the weights, then thrown away.

Judgments fix the order of distances, not their scale. The weights are scaled so that the median distance over a fixed
set of distortions stays that of the starting weights; the slope carries the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_expit
from torch import Generator, nn

from lpips_lite import LPIPS, read_image
from lpips_lite.votes.agreement import Interval, bootstrap, triplet_agreement
from lpips_lite.votes.distort import DISTORTIONS, distort
from lpips_lite.votes.features import Features, channel_distances
from lpips_lite.votes.progress import Progress, silently
from lpips_lite.votes.triplets import Triplet

Floats = NDArray[np.float64]
EPOCHS, BATCH = 5, 50  # of the original recipe
DRAWS, RATE = 50_000, 1e-3  # triplets in an epoch at least, and learning rate; published: 151,400 and 1e-4
PENALTIES = (1.0, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 1e-4)  # from stiff to free
SCENE = Path(__file__).parent.parent / "examples/images/scene.png"


@dataclass(frozen=True)
class Votes:
    """What people chose, as arrays over triplets: fraction for p1, number of votes, reference."""

    judgement: Floats
    count: Floats
    reference: NDArray[np.str_]

    @classmethod
    def of(cls, triplets: Sequence[Triplet]) -> Votes:
        """Collect the judgments of triplets."""
        return cls(
            np.array([t.judgement for t in triplets]),
            np.array([t.votes for t in triplets]),
            np.array([str(t.ref) for t in triplets]),
        )

    def take(self, chosen: NDArray[np.bool_]) -> Votes:
        """Return a subset."""
        return Votes(self.judgement[chosen], self.count[chosen], self.reference[chosen])


def _vote_loss(logits: Floats, votes: Votes) -> float:
    """Return the mean negative log-likelihood of a vote, given the logits of choosing p1."""
    likelihood = votes.judgement * log_expit(logits) + (1 - votes.judgement) * log_expit(-logits)
    return float(-np.average(likelihood, weights=votes.count))


def best_slope(margin: Floats, votes: Votes) -> float:
    """Return the factor of d0 − d1 that makes the votes likeliest."""
    found = minimize_scalar(lambda log: _vote_loss(np.exp(log) * margin, votes), bounds=(-10, 12), method="bounded")
    return float(np.exp(found.x))


# -- the two objectives ----------------------------------------------------------------------------------------------


def fit_logistic(gaps: NDArray[np.float32], votes: Votes, start: Floats, penalty: float, warm: Floats | None) -> Floats:
    """Return u = slope · weights ≥ 0 of the penalised maximum likelihood.

    Args:
        gaps: Features of p0 minus those of p1, (T, ΣC).
        votes: What people chose.
        start: Weights to stay near, (ΣC,), whose best slope is found first.
        penalty: On the squared distance from there, each channel in units of its spread.
        warm: Where to begin, if another penalty's solution is known.
    """
    scale = np.sqrt(np.mean(np.square(gaps), axis=0, dtype=np.float64)) + 1e-12  # so that all channels matter alike
    scaled = (gaps / scale).astype(np.float32)
    share = votes.count / votes.count.sum()
    prior = start * scale
    prior = best_slope((scaled @ prior.astype(np.float32)).astype(np.float64), votes) * prior

    def objective(z: Floats) -> tuple[float, Floats]:
        logits = (scaled @ z.astype(np.float32)).astype(np.float64)
        residual = (share * (expit(logits) - votes.judgement)).astype(np.float32)
        gradient = (residual @ scaled).astype(np.float64) + penalty * (z - prior)
        return _vote_loss(logits, votes) + penalty / 2 * float(np.sum((z - prior) ** 2)), gradient

    first = prior if warm is None else warm * scale
    bounds = [(0, None)] * len(first)
    found = minimize(objective, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 150})
    return np.asarray(found.x / scale)


def fit_ranking(
    f0: NDArray[np.float32], f1: NDArray[np.float32], votes: Votes, start: Floats, *, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """Return weights trained with the original recipe: 5 epochs of Adam, 5 more with falling rate, batches of 50.

    Departures that make it converge on small data: an epoch repeats the data up to `draws` triplets, weights are
    stepped in units of each channel's spread, and the learning rate is ten times the published one.

    Args:
        f0: Features of p0, (T, ΣC).
        f1: Features of p1, (T, ΣC).
        votes: What people chose.
        start: Weights to begin with, (ΣC,).
        draws: Triplets in an epoch.
        seed: Of the ranking network and the order of triplets.
    """
    generator = Generator().manual_seed(seed)
    spread = torch.from_numpy(np.sqrt(np.mean(np.square(f0 - f1), axis=0)) + 1e-12)
    spread = spread / spread.mean()
    x0, x1 = (torch.from_numpy(f) / spread for f in (f0, f1))
    j = torch.from_numpy(votes.judgement).float()
    z = (torch.from_numpy(start).float() * spread).requires_grad_()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = nn.Sequential(
            nn.Linear(5, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)
        )
    optimizer = torch.optim.Adam([z, *judge.parameters()], lr=RATE, betas=(0.5, 0.999))
    for epoch in range(2 * EPOCHS):
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, (2 * EPOCHS - epoch) / (EPOCHS + 1))
        for _ in range(max(draws, len(j)) // BATCH):
            batch = torch.randint(len(j), (BATCH,), generator=generator)
            d0, d1 = x0[batch] @ z, x1[batch] @ z
            inputs = torch.stack([d0, d1, d0 - d1, d0 / (d1 + 0.1), d1 / (d0 + 0.1)], dim=1)
            loss = nn.functional.binary_cross_entropy_with_logits(judge(inputs).squeeze(1), j[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            z.data.clamp_(min=0)
    return (z.detach() / spread).double().numpy()


# -- cross-validation ------------------------------------------------------------------------------------------------


def folds_by_reference(references: NDArray[np.str_], count: int, seed: int) -> NDArray[np.int64]:
    """Deal references to folds at random; all triplets of a reference share its fold."""
    names, which = np.unique(references, return_inverse=True)
    if len(names) < count:
        raise ValueError(f"--folds {count}: the data has {len(names)} references; expected at least as many")
    return (np.random.default_rng(seed).permutation(len(names)) % count)[which]


@dataclass(frozen=True)
class Fitted:
    """Weights for all data, and how their recipe does on references it has not seen.

    Attributes:
        weights: (ΣC,), ≥ 0.
        slope: See `LPIPS.preference`.
        penalty: Chosen strength; 0 for the ranking objective.
        held_out: Distances d0 and d1 of each triplet under weights that never saw its reference, (2, T).
        agreement: Of those with the votes, with a bootstrap interval over references.
    """

    weights: Floats
    slope: float
    penalty: float
    held_out: Floats
    agreement: Interval


def fit(
    features: Features,
    votes: Votes,
    start: Floats,
    *,
    objective: str = "logistic",
    folds: int = 5,
    seed: int = 0,
    progress: Progress = silently,
) -> Fitted:
    """Fit on all triplets, and cross-validate by reference.

    The penalty that a fold is judged with is chosen on the other folds.
    """
    f0, f1 = (np.ascontiguousarray(features.differences[features.rows[:, side]]) for side in (0, 1))
    gaps = f0 - f1
    fold = folds_by_reference(votes.reference, folds, seed)
    distances = np.empty((len(PENALTIES), 2, len(fold)))  # held out
    losses = np.empty((len(PENALTIES), folds))

    def solve(chosen: NDArray[np.bool_]) -> list[Floats]:
        """Return one solution for each penalty, or the only one."""
        if objective == "ranking":
            return [fit_ranking(f0[chosen], f1[chosen], votes.take(chosen), start, seed=seed)]
        return _penalty_path(gaps[chosen], votes.take(chosen), start)

    for held_out in progress(range(folds), "cross-validation"):
        out = fold == held_out
        for index, u in enumerate(solve(~out)):
            distances[index][:, out] = f0[out] @ u, f1[out] @ u
            losses[index, held_out] = _vote_loss(gaps[out] @ u, votes.take(out))
    solutions = solve(np.ones(len(fold), dtype=bool))
    losses = losses[: len(solutions)]
    chosen_for = [int(np.argmin(np.delete(losses, k, axis=1).mean(axis=1))) for k in range(folds)]
    held_out_distances = distances[np.array(chosen_for)[fold], :, np.arange(len(fold))].T
    best = int(np.argmin(losses.mean(axis=1)))
    weights = solutions[best]
    slope = 1.0 if objective == "logistic" else best_slope(gaps @ weights, votes)
    scores = triplet_agreement(held_out_distances[0], held_out_distances[1], votes.judgement)
    interval = bootstrap(scores, votes.reference, votes.count)
    return Fitted(weights, slope, PENALTIES[best] if objective == "logistic" else 0.0, held_out_distances, interval)


def _penalty_path(gaps: NDArray[np.float32], votes: Votes, start: Floats) -> list[Floats]:
    """Fit with each penalty, from stiff to free, each beginning where the last ended."""
    solutions: list[Floats] = []
    for penalty in PENALTIES:
        solutions.append(fit_logistic(gaps, votes, start, penalty, solutions[-1] if solutions else None))
    return solutions


def keep_scale(weights: Floats, slope: float, start: Floats, metric: LPIPS) -> tuple[Floats, float]:
    """Scale weights to the starting weights' median distance over every distortion of the example scene."""
    scene = read_image(SCENE)[None]
    copies = [distort(scene, kind, torch.tensor([0.5]), Generator().manual_seed(0)) for kind in DISTORTIONS]
    differences = np.concatenate([channel_distances(metric, scene, copy) for copy in copies])
    factor = float(np.median(differences @ start) / np.median(differences @ weights))
    return weights * factor, slope / factor
