"""Pixel baselines: mean absolute and squared error, peak signal-to-noise ratio. Pairs in, one number per pair out."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lpips_lite.images import RangeCheck, full_precision, prepare_pair

Space = Literal["rgb", "lab"]

# Linear sRGB -> CIE XYZ over the white D65, and L*a*b* from there: IEC 61966-2-1, CIE 15:2004.
RGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)
PEAK = {"rgb": 1.0, "lab": 100.0}


def l1(x: Tensor, y: Tensor, *, space: Space = "rgb", check_range: RangeCheck = "auto") -> Tensor:
    """Return the mean absolute error of each pair, over channels and pixels.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Likewise, same shape.
        space: "rgb", or "lab": CIE L*a*b* of sRGB images, where L* is in [0, 100].
        check_range: When values are read to check them, as `LPIPS` describes: "auto", "always" or "never".

    Returns:
        (N,), lower = closer; in [0, 1] for "rgb".

    Raises:
        TypeError, ValueError: If dtype, shape, range, device or `space` is not as described.

    Example:
        >>> l1(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5))
        tensor([0.5000])
    """
    return F.l1_loss(*_in_space(x, y, space, check_range), reduction="none").mean(dim=(1, 2, 3))


def l2(x: Tensor, y: Tensor, *, space: Space = "rgb", check_range: RangeCheck = "auto") -> Tensor:
    """Return the mean squared error of each pair, over channels and pixels, without a factor ½.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Likewise, same shape.
        space: "rgb", or "lab": CIE L*a*b* of sRGB images, where L* is in [0, 100].
        check_range: When values are read to check them, as `LPIPS` describes: "auto", "always" or "never".

    Returns:
        (N,), lower = closer; in [0, 1] for "rgb".

    Raises:
        TypeError, ValueError: As `l1`.

    Example:
        >>> l2(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5))
        tensor([0.2500])
    """
    return F.mse_loss(*_in_space(x, y, space, check_range), reduction="none").mean(dim=(1, 2, 3))


def psnr(x: Tensor, y: Tensor, *, space: Space = "rgb", check_range: RangeCheck = "auto") -> Tensor:
    """Return the peak signal-to-noise ratio of each pair, 10 log₁₀(peak² / MSE), for a peak of 1, or 100 in "lab".

    Equal images give infinity, and no finite gradient there; use `l2` as a loss.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Likewise, same shape.
        space: "rgb" or "lab", as for `l2`.
        check_range: When values are read to check them, as `LPIPS` describes: "auto", "always" or "never".

    Returns:
        (N,), in decibels, higher = closer.

    Raises:
        TypeError, ValueError: As `l1`.

    Example:
        >>> psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1))
        tensor([20.])
    """
    return -10 * (l2(x, y, space=space, check_range=check_range) / PEAK[space] ** 2).log10()


def to_lab(images: Tensor) -> Tensor:
    """Return CIE L*a*b* (white D65, 2° observer) of sRGB images (N, 3, H, W) in [0, 1], in at least float32.

    Equal to scikit-image's `rgb2lab`. L* is in [0, 100]. Values below 0 count as 0.
    """
    images = images.to(torch.promote_types(images.dtype, torch.float32)).clamp(min=0)
    curved = ((images.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    linear = torch.where(images > 0.04045, curved, images / 12.92)
    matrix = images.new_tensor(RGB_TO_XYZ) / images.new_tensor(WHITE).view(3, 1)
    with full_precision(images):
        xyz = torch.einsum("ij,njhw->nihw", matrix, linear)
    root = xyz.clamp(min=0.008856) ** (1 / 3)
    f_x, f_y, f_z = torch.where(xyz > 0.008856, root, 7.787 * xyz + 16 / 116).unbind(dim=1)
    return torch.stack([116 * f_y - 16, 500 * (f_x - f_y), 200 * (f_y - f_z)], dim=1)


def _in_space(x: Tensor, y: Tensor, space: Space, check_range: RangeCheck) -> tuple[Tensor, Tensor]:
    if space not in PEAK:
        raise ValueError(f"space={space!r}: expected 'rgb' or 'lab'")
    x, y = prepare_pair(x, y, check_range)
    return (to_lab(x), to_lab(y)) if space == "lab" else (x, y)


class L1Loss(nn.Module):
    """The mean over the batch of `l1`: 0 = identical."""

    def __init__(self, *, space: Space = "rgb", check_range: RangeCheck = "auto") -> None:
        super().__init__()
        self.space, self.check_range = space, check_range

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return l1(x, y, space=self.space, check_range=self.check_range).mean()


class L2Loss(nn.Module):
    """The mean over the batch of `l2`: 0 = identical."""

    def __init__(self, *, space: Space = "rgb", check_range: RangeCheck = "auto") -> None:
        super().__init__()
        self.space, self.check_range = space, check_range

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return l2(x, y, space=self.space, check_range=self.check_range).mean()
