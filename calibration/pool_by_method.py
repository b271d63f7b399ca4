"""Pool votes on some pairs of methods, to estimate votes on every pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from calibration.votes_by_reference import ReferenceVotes

METHOD_PRIOR, OWN_PRIOR = 1.0, 8.0  # precisions; with 8, held-out votes on mucped23 are most likely


def methods_to_pool(groups: Sequence[ReferenceVotes]) -> list[str]:
    """Return the methods that the votes of a data set can be pooled over, sorted; none if votes cannot be pooled.

    They cannot be pooled if no methods are given, if there is only one, or if a method made two copies of the same
    reference, which could not be distinguished.

    Raises:
        ValueError: If some copies have a method and others have none.
    """
    declared = [method for group in groups for method in group.methods]
    if 0 < declared.count(None) < len(declared):
        raise ValueError(
            f"{groups[0].family}: {declared.count(None)} of {len(declared)} copies have no method; "
            f"expected one for each, or for none"
        )
    methods = sorted({method for method in declared if method is not None})
    several = any(len(set(group.methods)) < len(group.methods) for group in groups)
    return [] if len(methods) < 2 or several else methods


def pool_by_method(groups: Sequence[ReferenceVotes]) -> list[ReferenceVotes]:
    """Replace the few votes on some pairs by votes on every pair, estimated from all of them.

    If each reference was distorted by the same methods, votes on all references tell how good a method is. The logit of
    choosing p1 over p0 is the difference of their strengths (Bradley & Terry 1952). A strength is the sum of one for
    the method and one for the method on this reference, each with a Gaussian prior. A data set without methods (see
    `methods_to_pool`) is returned unchanged.
    """
    methods = methods_to_pool(groups)
    if not methods:
        return list(groups)
    methods_of = [torch.tensor([methods.index(str(method)) for method in group.methods]) for group in groups]
    general = torch.zeros(len(methods), dtype=torch.float64, requires_grad=True)
    own = torch.zeros(len(groups), len(methods), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([general, own], max_iter=500, line_search_fn="strong_wolfe")

    def logits(number: int, pairs: Tensor) -> Tensor:
        strength = (general + own[number])[methods_of[number]]
        return strength[pairs[:, 1]] - strength[pairs[:, 0]]

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = METHOD_PRIOR / 2 * general.square().sum() + OWN_PRIOR / 2 * own.square().sum()
        for number, group in enumerate(groups):
            found, votes = logits(number, group.pairs), group.votes.double()
            judgement = group.judgement.double()
            loss = loss + F.binary_cross_entropy_with_logits(found, judgement, weight=votes, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    pooled = []
    for number, group in enumerate(groups):
        pairs = torch.tensor(list(combinations(range(len(group.files) - 1), 2)))
        judgement = logits(number, pairs).detach().sigmoid().float()
        pooled.append(replace(group, pairs=pairs, judgement=judgement, votes=torch.ones(len(pairs))))
    return pooled
