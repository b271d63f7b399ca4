"""Pixel baselines: mean absolute and squared error, and PSNR. Takes pairs, returns one number per pair."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from lpips_lite.baselines.spaces import PEAK, Space, reader
from lpips_lite.images import RangeCheck
from lpips_lite.strips import check_for_masked_strips, masked_mean, strips

SPACES: tuple[Space, ...] = ("rgb", "lab", "y")


def l1(
    x: Tensor,
    y: Tensor,
    *,
    space: Space = "rgb",
    crop: int = 0,
    mask: Tensor | None = None,
    check_range: RangeCheck = "auto",
) -> Tensor:
    """Return the mean absolute error of each pair, over channels and pixels.

    Args:
        x: Images, (N, C, H, W), C = 3 or 1 (grayscale), float in [0, 1] or uint8.
        y: Images of the same shape.
        space: "rgb" · "lab", CIE L*a*b* of sRGB images, where L* is in [0, 100] · "y", luma as in papers on
            super-resolution (`spaces.to_y`).
        crop: Pixels to leave out at each border.
        mask: Where to compare: (N, 1, H, W), bool, or values ≥ 0 that weigh the pixels.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), lower = closer; in [0, 1] for "rgb".

    Raises:
        TypeError, ValueError: If dtype, shape, range, device, mask or `space` is not as described.

    Examples:
        >>> import torch
        >>> l1(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5))
        tensor([0.5000])
    """
    return _mean(F.l1_loss, x, y, space, crop, mask, check_range)


def l2(
    x: Tensor,
    y: Tensor,
    *,
    space: Space = "rgb",
    crop: int = 0,
    mask: Tensor | None = None,
    check_range: RangeCheck = "auto",
) -> Tensor:
    """Return the mean squared error of each pair, over channels and pixels, without a factor ½.

    Args:
        x: Images, (N, C, H, W), C = 3 or 1 (grayscale), float in [0, 1] or uint8.
        y: Images of the same shape.
        space: "rgb" · "lab", CIE L*a*b* of sRGB images, where L* is in [0, 100] · "y", luma as in papers on
            super-resolution (`spaces.to_y`).
        crop: Pixels to leave out at each border.
        mask: Where to compare: (N, 1, H, W), bool, or values ≥ 0 that weigh the pixels.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), lower = closer; in [0, 1] for "rgb".

    Raises:
        TypeError, ValueError: Same as `l1`.

    Examples:
        >>> import torch
        >>> l2(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5))
        tensor([0.2500])
    """
    return _mean(F.mse_loss, x, y, space, crop, mask, check_range)


def psnr(
    x: Tensor,
    y: Tensor,
    *,
    space: Space = "rgb",
    crop: int = 0,
    peak: float = 1.0,
    mask: Tensor | None = None,
    check_range: RangeCheck = "auto",
) -> Tensor:
    """Return the peak signal-to-noise ratio of each pair, 10 log₁₀(peak² / MSE); the peak of "lab" is 100, as of L*.

    Papers on super-resolution report `psnr(x, y, space="y", crop=scale)`. BasicSR computes this on float images. MATLAB
    and programs that first round Y to whole numbers, as rgb2ycbcr does for bytes, give less: 0.02 dB at 32 dB, 0.3 at
    45, 1 at 51 (means of twelve photographs).

    Equal images give infinity, where the gradient is not finite; use `l2` as a loss.

    Args:
        x: Images, (N, C, H, W), C = 3 or 1 (grayscale), float in [0, peak] or uint8.
        y: Images of the same shape.
        space: "rgb", "lab" or "y", as for `l2`.
        crop: Pixels to leave out at each border.
        peak: Largest value of float images.
        mask: Where to compare: (N, 1, H, W), bool, or values ≥ 0 that weigh the pixels.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), in decibels, higher = closer.

    Raises:
        TypeError, ValueError: Same as `l1`.

    Examples:
        >>> import torch
        >>> psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1))
        tensor([20.])
    """
    return -10 * (_mean(F.mse_loss, x, y, space, crop, mask, check_range, peak) / PEAK[space] ** 2).log10()


def _mean(
    loss: Callable[..., Tensor],
    x: Tensor,
    y: Tensor,
    space: Space,
    crop: int,
    mask: Tensor | None,
    check_range: RangeCheck,
    peak: float = 1.0,
) -> Tensor:
    x, y, mask = check_for_masked_strips(x, y, mask, check_range, peak=peak, crop=crop)
    parts = strips(x, y, reader(x, space, SPACES, peak))
    return masked_mean((loss(strip.x, strip.y, reduction="none") for strip in parts), mask)


class L1Loss(nn.Module):
    """The mean over the batch of `l1`: 0 = identical."""

    def __init__(self, *, space: Space = "rgb", crop: int = 0, check_range: RangeCheck = "auto") -> None:
        super().__init__()
        self.space, self.crop, self.check_range = space, crop, check_range

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        return l1(x, y, space=self.space, crop=self.crop, mask=mask, check_range=self.check_range).mean()


class L2Loss(nn.Module):
    """The mean over the batch of `l2`: 0 = identical."""

    def __init__(self, *, space: Space = "rgb", crop: int = 0, check_range: RangeCheck = "auto") -> None:
        super().__init__()
        self.space, self.crop, self.check_range = space, crop, check_range

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        return l2(x, y, space=self.space, crop=self.crop, mask=mask, check_range=self.check_range).mean()
