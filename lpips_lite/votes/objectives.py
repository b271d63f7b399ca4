"""The two objectives of a fit, and the slope that votes determine.

* "logistic" (default): the probability that an observer chooses p1 is σ(slope · (d0 − d1)); weights and slope maximise
  the binomial likelihood of the votes, minus a penalty on the distance from the starting weights.
* "ranking": the original recipe (Zhang et al. 2018, appendix B): a small network judges the pair of distances. It is
  trained together with the weights and then thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_expit
from torch import Generator, nn

from lpips_lite.votes.triplets import Triplet

Floats = NDArray[np.float64]
EPOCHS, BATCH = 5, 50  # as in the original recipe
DRAWS, RATE = 50_000, 1e-3  # least number of triplets per epoch, and learning rate; published: 151,400 and 1e-4
SLOPES = -10.0, 12.0  # logarithms of the smallest and largest slope tried
EQUAL = "equal: both images of every triplet are equally far from the reference"
UNDECIDED = "undecided: in every triplet, equally many people chose each image"


@dataclass(frozen=True)
class Votes:
    """Votes as arrays over triplets: the fraction for p1, the number of votes, and the reference."""

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


def vote_loss(logits: Floats, votes: Votes) -> float:
    """Return the mean negative log-likelihood of a vote, given the logits of choosing p1."""
    likelihood = votes.judgement * log_expit(logits) + (1 - votes.judgement) * log_expit(-logits)
    return float(-np.average(likelihood, weights=votes.count))


# -- the slope -------------------------------------------------------------------------------------------------------


def best_slope(margin: Floats, votes: Votes) -> float:
    """Return the factor of d0 − d1 under which the votes are most likely, within `SLOPES`; see `undetermined`."""
    found = minimize_scalar(lambda log: vote_loss(np.exp(log) * margin, votes), bounds=SLOPES, method="bounded")
    return float(np.exp(found.x))


def undetermined(margin: Floats, votes: Votes) -> str | None:
    """Return why no slope of d0 − d1 maximises the likelihood, as a word and a sentence, or None if one does."""
    if not margin.any():
        return EQUAL
    if (votes.judgement == 0.5).all():
        return UNDECIDED
    pull = votes.count * (votes.judgement - 0.5) * margin
    if pull.sum() <= 0:  # the likelihood falls from a slope of 0 on
        return "contrary: the distances predict the votes no better than chance"
    if _separable(margin, votes):
        return "separable: the distances predict every single vote, so that a steeper slope is always more likely"
    log = np.log(best_slope(margin, votes))
    if not SLOPES[0] + 0.01 < log < SLOPES[1] - 0.01:
        return f"extreme: the most likely slope is not between e^{SLOPES[0]:g} and e^{SLOPES[1]:g}"
    return None


def _separable(margin: Floats, votes: Votes) -> bool:
    """Return whether everybody chose the closer image, in every triplet that has one."""
    return bool(((votes.judgement == (margin > 0)) | (margin == 0)).all())


def finite_slope(margin: Floats, votes: Votes) -> float:
    """Return the best slope; if every vote is predicted, as if there were one more, undecided, voter."""
    if margin.any() and _separable(margin, votes):
        share = votes.count / votes.count.sum()
        judgement = (votes.judgement * votes.count + share / 2) / (votes.count + share)
        votes = replace(votes, judgement=judgement)
    return best_slope(margin, votes)


# -- the objectives --------------------------------------------------------------------------------------------------


def channel_spread(gaps: NDArray[np.floating[Any]], dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """Return the root mean square of each channel, but at least a ten-thousandth of that of all channels together.

    Without this limit, channels that hardly respond to these images would get huge weights.
    """
    spread = np.sqrt(np.mean(np.square(gaps), axis=0, dtype=dtype))
    least = 1e-4 * np.sqrt(np.mean(np.square(spread)))
    return np.asarray(np.maximum(spread, least) + 1e-12)


def fit_logistic(gaps: NDArray[np.float32], votes: Votes, start: Floats, penalty: float, warm: Floats | None) -> Floats:
    """Return u = slope · weights ≥ 0 that maximises the penalised likelihood.

    Args:
        gaps: Features of p0 minus those of p1, (T, ΣC).
        votes: The votes to fit.
        start: Weights to stay near, (ΣC,); their best slope is found first.
        penalty: Strength of the penalty on the squared distance from `start`, with channels in units of their spread.
        warm: Where to begin, if the solution for another penalty is known.
    """
    scale = channel_spread(gaps, np.float64)  # so that all channels count equally
    scaled = (gaps / scale).astype(np.float32)
    share = votes.count / votes.count.sum()
    prior = start * scale
    prior = finite_slope((scaled @ prior.astype(np.float32)).astype(np.float64), votes) * prior

    def objective(z: Floats) -> tuple[float, Floats]:
        logits = (scaled @ z.astype(np.float32)).astype(np.float64)
        residual = (share * (expit(logits) - votes.judgement)).astype(np.float32)
        gradient = (residual @ scaled).astype(np.float64) + penalty * (z - prior)
        return vote_loss(logits, votes) + penalty / 2 * float(np.sum((z - prior) ** 2)), gradient

    first = prior if warm is None else warm * scale
    bounds = [(0, None)] * len(first)
    found = minimize(objective, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 150})
    return np.asarray(found.x / scale)


def fit_ranking(
    f0: NDArray[np.float32], f1: NDArray[np.float32], votes: Votes, start: Floats, *, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """Return weights trained with the original recipe: 5 epochs of Adam, 5 more with a falling rate, batches of 50.

    Three changes make it converge on small data: an epoch repeats the data up to `draws` triplets, steps of weights are
    in units of the spread of each channel, and the learning rate is ten times the published one.

    Args:
        f0: Features of p0, (T, ΣC).
        f1: Features of p1, (T, ΣC).
        votes: The votes to fit.
        start: Weights to begin with, (ΣC,).
        draws: Number of triplets per epoch.
        seed: Seed of the ranking network and of the order of triplets.
    """
    generator = Generator().manual_seed(seed)
    spread = torch.from_numpy(channel_spread(f0 - f1, np.float32))
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
