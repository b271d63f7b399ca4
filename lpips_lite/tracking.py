"""`LPIPSMetric`: the mean distance over a data set, kept by torchmetrics across batches and processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

try:
    from torchmetrics import Metric
except ImportError as error:
    raise ImportError('LPIPSMetric needs torchmetrics: pip install "lpips_lite[torchmetrics]"') from error

from lpips_lite.metric import LPIPS, lpips


class LPIPSMetric(Metric):
    """The mean distance of all pairs seen: 0 = identical, lower = closer.

    It stores a sum and a count, so memory does not grow. Under DDP the mean is over all pairs, even if processes have
    different numbers of pairs. The sum is stored as two float32 numbers, with twice the digits, since some devices
    (Apple's, for example) have no float64. The mean of a million pairs is right to 1e-6.

    Args:
        metric: The distance; default `LPIPS("lite")`. Its reduction is ignored.
        settings: Arguments of `torchmetrics.Metric`, such as `sync_on_compute`.

    Examples:
        >>> import torch
        >>> mean = LPIPSMetric()
        >>> for _ in range(3):
        ...     x = torch.rand(2, 3, 32, 32)
        ...     mean.update(x, x)
        >>> mean.compute()
        tensor(0.)
    """

    is_differentiable = True
    higher_is_better = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, metric: LPIPS | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.metric = metric or LPIPS("lite")
        self.add_state("total", torch.zeros(2), dist_reduce_fx=_add)
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, x: Tensor, y: Tensor) -> None:
        """Add a batch of pairs. See `LPIPS.forward` for arguments and errors."""
        distances = lpips(x, y, self.metric)
        self.total = _add(torch.stack([self.total, _split(distances.sum())]))
        self.count = self.count + len(distances)

    def compute(self) -> Tensor:
        """Return the mean, (); NaN if no pair was added."""
        return self.total.sum() / self.count


def _split(number: Tensor) -> Tensor:
    """Split a number into the nearest float32 and the rest, (2,)."""
    high = number.float()
    return torch.stack([high, (number - high).float()])


def _add(numbers: Tensor) -> Tensor:
    """Add numbers with two parts each, (K, 2) -> (2,), and keep rounding errors (Knuth's two-sum)."""
    high, low = numbers[0]
    for other, rest in numbers[1:]:
        total = high + other
        part = total - high
        low = low + rest + ((high - (total - part)) + (other - part))
        high = total
    return torch.stack([high, low])
