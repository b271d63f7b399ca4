"""Group triplets by reference: the votes on the copies of each reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from lpips_lite.votes.triplets import Triplet


@dataclass(frozen=True)
class ReferenceVotes:
    """One reference and the votes on pairs of its copies.

    Attributes:
        family: The data set; each has its own slope.
        files: The reference, then its K copies.
        methods: The method that made each of the K copies, if the data names it, else `None`.
        pairs: Positions of p0 and p1 among the copies, (T, 2).
        judgement: Fraction of observers who chose p1, (T,).
        votes: Number of observers, (T,).
    """

    family: str
    files: tuple[Path, ...]
    methods: tuple[str | None, ...]
    pairs: Tensor
    judgement: Tensor
    votes: Tensor

    def draw(self, count: int, generator: Generator) -> ReferenceVotes:
        """Return the judgments of pairs among at most `count` copies chosen at random."""
        kept = torch.randperm(len(self.files) - 1, generator=generator)[:count]
        position = torch.full((len(self.files) - 1,), -1)
        position[kept] = torch.arange(len(kept))
        pairs = position[self.pairs]
        both = (pairs >= 0).all(dim=1)
        files = (self.files[0], *(self.files[1 + k] for k in kept.tolist()))
        methods = tuple(self.methods[k] for k in kept.tolist())
        return ReferenceVotes(self.family, files, methods, pairs[both], self.judgement[both], self.votes[both])


def group_by_reference(triplets: Sequence[Triplet]) -> list[ReferenceVotes]:
    """Group triplets by their reference, in the order of the triplets.

    Raises:
        ValueError: If two triplets name different methods for the same copy.
    """
    groups: dict[tuple[str, Path], list[Triplet]] = {}
    for t in triplets:
        groups.setdefault((t.family, t.ref), []).append(t)
    found = []
    for (family, ref), group in groups.items():
        methods: dict[Path, str | None] = {}
        for t in group:
            for path, method in ((t.p0, t.method0), (t.p1, t.method1)):
                if methods.setdefault(path, method) != method:
                    raise ValueError(f"{path}: method {methods[path]!r}, but elsewhere {method!r}; expected one method")
        position = {path: k for k, path in enumerate(methods)}
        pairs = torch.tensor([[position[t.p0], position[t.p1]] for t in group])
        j, votes = torch.tensor([t.judgement for t in group]), torch.tensor([t.votes for t in group])
        found.append(ReferenceVotes(family, (ref, *methods), tuple(methods.values()), pairs, j, votes))
    return found
