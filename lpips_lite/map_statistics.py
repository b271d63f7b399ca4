"""One number from a map of distances: its maximum or its 99th percentile. If few pixels differ, a mean hides them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lpips_lite.images import check_mask, check_pair, check_values_of_pair, checked_by_functions, equal_outside

PERCENT = 99


def over_map(
    distance_map: Callable[..., Tensor],
    x: Tensor,
    y: Tensor,
    *,
    statistic: str,
    mask: Tensor | None = None,
) -> Tensor:
    """Return a statistic of the map of each pair, over its pixels.

    Args:
        distance_map: Two batches, and a mask or `None` -> (N, 1, H, W).
        x: Images, as `distance_map` takes them.
        y: Likewise, same shape.
        statistic: "max" · "p99".
        mask: Where to compare: (N, 1, H, W), bool or {0, 1}. What x shows elsewhere changes nothing.

    Returns:
        (N,), lower = closer.

    Raises:
        TypeError, ValueError: As `distance_map`; ValueError also if the mask is not as described.
    """
    inside = torch.ones_like(x[:, :1], dtype=torch.bool)
    if mask is not None:
        check_pair(x, y)
        check_values_of_pair({"x": x, "y": y}, "auto", checked_by_functions)
        check_mask(mask, x, "auto", checked_by_functions)
        inside, (x, y) = mask > 0, equal_outside(x, y, mask)
    return _statistic(distance_map(x, y, mask).flatten(1), inside.flatten(1), statistic)


def _statistic(values: Tensor, inside: Tensor, statistic: str) -> Tensor:
    """Return the maximum of each row, or its percentile, interpolated linearly as NumPy does."""
    values = torch.where(inside, values, -torch.inf)
    if statistic == "max":
        return values.amax(dim=1)
    ordered, last = values.sort(dim=1).values, inside.sum(dim=1, keepdim=True) - 1
    first, rank = values.shape[1] - 1 - last, last * PERCENT  # of those inside, and a hundred times the place wanted
    low, high = (ordered.gather(1, first + place // 100) for place in (rank, rank + 99))
    return (low + (high - low) * (rank % 100 / 100)).squeeze(1)
