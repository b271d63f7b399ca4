"""One number from a map of distances: its maximum or its 99th percentile. If few pixels differ, a mean hides them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lpips_lite.images import check_mask, checked_by_functions, equal_outside

PERCENT = 99


def over_map(
    distance_map: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    *,
    statistic: str,
    mask: Tensor | None = None,
) -> Tensor:
    """Return a statistic of the map of each pair, over its pixels.

    Args:
        distance_map: Two batches -> (N, 1, H, W).
        x: Images, as `distance_map` takes them.
        y: Likewise, same shape.
        statistic: "max" · "p99".
        mask: Where to compare: (N, 1, H, W), bool or {0, 1}. What x shows elsewhere changes nothing.

    Returns:
        (N,), lower = closer.

    Raises:
        TypeError, ValueError: As `distance_map`; ValueError also if the mask is not as described.
    """
    if mask is None:
        return _statistic(distance_map(x, y).flatten(1), statistic)
    check_mask(mask, x, "auto", checked_by_functions)
    maps = distance_map(*equal_outside(x, y, mask))
    rows = [_statistic(row[own > 0][None], statistic) for row, own in zip(maps, mask, strict=True)]
    return torch.cat(rows)


def _statistic(values: Tensor, statistic: str) -> Tensor:
    """Return the maximum of each row, or its percentile, interpolated linearly as NumPy does."""
    if statistic == "max":
        return values.amax(dim=1)
    whole, rest = divmod((values.shape[1] - 1) * PERCENT, 100)
    top = values.topk(values.shape[1] - whole, dim=1).values  # from the largest to the one at `whole`
    low = top[:, -1]
    return low if not rest else low + (top[:, -2] - low) * (rest / 100)
