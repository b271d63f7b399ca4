"""Pixel baselines: mean squared error and peak signal-to-noise ratio. Pairs in, one number a pair out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lpips_lite.images import check_pair, to_float


def l2(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared error of each pair, over channels and pixels, without a factor ½.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Likewise, same shape.

    Returns:
        (N,), in [0, 1], lower = closer.

    Raises:
        TypeError, ValueError: If dtype, shape or device is not as described.

    Example:
        >>> l2(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5))
        tensor([0.2500])
    """
    check_pair(x, y)
    x, y = to_float(x), to_float(y)
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return (x.to(dtype) - y.to(dtype)).square().mean(dim=(1, 2, 3))


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each pair, 10 log₁₀(1 / MSE), for a peak value of 1.

    Equal images give infinity, and no finite gradient there; use `l2` as a loss.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Likewise, same shape.

    Returns:
        (N,), in decibels, higher = closer.

    Raises:
        TypeError, ValueError: As `l2`.

    Example:
        >>> psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1))
        tensor([20.])
    """
    return -10 * l2(x, y).log10()


class L2Loss(nn.Module):
    """The mean over the batch of `l2`: 0 = identical."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return l2(x, y).mean()
