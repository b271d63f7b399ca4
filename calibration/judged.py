"""What people said of the copies of one reference, and what they would say of all of them: triplets in, groups out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lpips_lite.votes.triplets import Triplet

METHOD_PRIOR, OWN_PRIOR = 1.0, 8.0  # precisions; 8 makes votes that were left out likeliest on mucped23


@dataclass(frozen=True)
class Judged:
    """One reference and what people said of its copies: votes on pairs of them.

    Attributes:
        family: The data set; each has a slope of its own.
        files: The reference, then its K copies.
        pairs: Positions of p0 and p1 among the copies, (T, 2).
        judgement: Fraction of observers who chose p1, (T,).
        votes: Number of observers, (T,).
    """

    family: str
    files: tuple[Path, ...]
    pairs: Tensor
    judgement: Tensor
    votes: Tensor

    def draw(self, count: int, generator: Generator) -> Judged:
        """Return the judgments between at most `count` copies chosen at random."""
        kept = torch.randperm(len(self.files) - 1, generator=generator)[:count]
        position = torch.full((len(self.files) - 1,), -1)
        position[kept] = torch.arange(len(kept))
        pairs = position[self.pairs]
        both = (pairs >= 0).all(dim=1)
        files = (self.files[0], *(self.files[1 + k] for k in kept.tolist()))
        return Judged(self.family, files, pairs[both], self.judgement[both], self.votes[both])


def by_reference(triplets: Sequence[Triplet]) -> list[Judged]:
    """Group triplets by their reference, in the order they come in."""
    groups: dict[tuple[str, Path], list[Triplet]] = {}
    for t in triplets:
        groups.setdefault((t.family, t.ref), []).append(t)
    judged = []
    for (family, ref), group in groups.items():
        position = {path: k for k, path in enumerate(dict.fromkeys(p for t in group for p in (t.p0, t.p1)))}
        pairs = torch.tensor([[position[t.p0], position[t.p1]] for t in group])
        j, votes = torch.tensor([t.judgement for t in group]), torch.tensor([t.votes for t in group])
        judged.append(Judged(family, (ref, *position), pairs, j, votes))
    return judged


def pool_votes(judged: Sequence[Judged]) -> list[Judged]:
    """Replace few votes on some pairs by what they say, taken together, of every pair.

    Where each reference was distorted by the same methods, one folder of files for each, votes on all references tell
    how good a method is. The logit of choosing p1 over p0 is the difference of their strengths (Bradley & Terry 1952),
    and a strength is one for the method plus one for the method on this reference, each with a Gaussian prior. A data
    set whose files lie in one folder is returned as it is.
    """
    methods = sorted({path.parent for group in judged for path in group.files[1:]})
    if len(methods) < 2:
        return list(judged)
    methods_of = [torch.tensor([methods.index(path.parent) for path in group.files[1:]]) for group in judged]
    general = torch.zeros(len(methods), dtype=torch.float64, requires_grad=True)
    own = torch.zeros(len(judged), len(methods), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([general, own], max_iter=500, line_search_fn="strong_wolfe")

    def logits(number: int, pairs: Tensor) -> Tensor:
        strength = (general + own[number])[methods_of[number]]
        return strength[pairs[:, 1]] - strength[pairs[:, 0]]

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = METHOD_PRIOR / 2 * general.square().sum() + OWN_PRIOR / 2 * own.square().sum()
        for number, group in enumerate(judged):
            found, votes = logits(number, group.pairs), group.votes.double()
            judgement = group.judgement.double()
            loss = loss + F.binary_cross_entropy_with_logits(found, judgement, weight=votes, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    pooled = []
    for number, group in enumerate(judged):
        pairs = torch.tensor(list(combinations(range(len(group.files) - 1), 2)))
        judgement = logits(number, pairs).detach().sigmoid().float()
        pooled.append(replace(group, pairs=pairs, judgement=judgement, votes=torch.ones(len(pairs))))
    return pooled
