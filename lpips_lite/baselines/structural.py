"""Structural similarity, at one scale and at several. Takes pairs, returns one number per pair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpips_lite.baselines.spaces import Space, reader
from lpips_lite.images import RangeCheck, full_precision, numbers_like, shrinking_factor, to_float
from lpips_lite.strips import (
    Read,
    Strip,
    average,
    check_for_masked_strips,
    check_for_strips,
    inner_mask,
    masked_mean,
    strips,
)

Variant = Literal["wang2004", "matlab", "skimage", "torchmetrics", "3dgs"]
Negative = Literal["relu", "raise"]

WINDOW, SIGMA = 11, 1.5  # Gaussian window and
K1, K2 = 0.01, 0.03  # stabilising constants of Wang et al. 2004, section III-B
FLAT_WINDOW = 7  # scikit-image's default
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
LUMA = (0.2989, 0.5870, 0.1140)  # of MATLAB's rgb2gray
BORDERS = {"torchmetrics": "reflect", "3dgs": "constant"}  # for variants that average over all positions
SPACES: tuple[Space, ...] = ("rgb", "y")


def ssim(
    x: Tensor,
    y: Tensor,
    *,
    variant: Variant = "wang2004",
    space: Space = "rgb",
    crop: int = 0,
    peak: float = 1.0,
    mask: Tensor | None = None,
    check_range: RangeCheck = "auto",
) -> Tensor:
    """Return the mean structural similarity of each pair.

        SSIM = (2 μ_x μ_y + C1)(2 σ_xy + C2) / ((μ_x² + μ_y² + C1)(σ_x² + σ_y² + C2))

    Programs differ in the window, borders and colour, so their numbers differ by several hundredths:

    * "wang2004": Gaussian window 11×11 with σ = 1.5, biased moments, averaged over channels and over the positions
      where the window fits. Equal to `pytorch_msssim.ssim(data_range=1)`, `piq.ssim(downsample=False)` and
      scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
      data_range=1)`.
    * "matlab": the authors' `ssim.m` on MATLAB's gray: the same window on luma, which is first shrunk by the whole
      number nearest to (smallest side)/256. Gray values are not rounded.
    * "skimage": scikit-image's default, a flat window 7×7 and unbiased moments.
    * "torchmetrics": like "wang2004", but with reflected borders, averaged over all positions.
    * "3dgs": like "wang2004", but with zeros outside the borders, averaged over all positions, as in
      `utils/loss_utils.py` of 3D Gaussian Splatting, and in `pytorch_ssim`.

    Papers on super-resolution report `ssim(x, y, space="y", crop=scale)`, as BasicSR computes it.

    Under a mask it is the mean over the windows whose centre lies in it, which is that of scikit-image's map
    (`full=True`) there. Windows see up to 5 pixels beyond it (3 for "skimage"; "matlab" averages the mask as it shrinks
    the image). To see nothing of x there, pass `torch.where(mask, x, y)`.

    Args:
        x: Images, (N, C, H, W), C = 3 or 1 (grayscale), float in [0, peak] or uint8, sides of at least 11 (7 for
            "skimage", 1 for "3dgs").
        y: Images of the same shape.
        variant: The program whose numbers to compute, as listed above.
        space: "rgb", channel by channel, or "y", luma (`spaces.to_y`).
        crop: Pixels to leave out at each border.
        peak: Largest value of float images.
        mask: Where to compare: (N, 1, H, W), bool, or values ≥ 0 that weigh the windows' centres.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), in [-1, 1], higher = closer, 1 = identical.

    Raises:
        TypeError, ValueError: If dtype, shape, range, size, device, mask or `variant` is not as described.

    References:
        Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural Similarity,
        IEEE TIP 2004, https://doi.org/10.1109/TIP.2003.819861

    Examples:
        >>> image = torch.rand(1, 3, 32, 32)
        >>> ssim(image, image)
        tensor([1.])
    """
    if variant not in get_args(Variant):
        raise ValueError(f"variant={variant!r}: expected one of {', '.join(map(repr, get_args(Variant)))}")
    size = FLAT_WINDOW if variant == "skimage" else WINDOW
    least = 1 if variant == "3dgs" else size
    x, y, mask = check_for_masked_strips(x, y, mask, check_range, least, peak=peak, crop=crop)
    read = reader(x, space, SPACES, peak)
    if variant == "matlab":
        x, y = _shrink_luma(x, y, read)
        read, mask = to_float, mask if mask is None else _shrink_luma(mask, mask, to_float)[0]
    reach = size // 2 if variant in BORDERS else 0
    if mask is not None and not reach:
        mask = inner_mask(mask, size // 2, check_range, f"where windows are centred, {size // 2} pixels inside")
    return masked_mean(_maps(x, y, read, variant, reach), mask)


def _maps(x: Tensor, y: Tensor, read: Read, variant: Variant, reach: int) -> Iterator[Tensor]:
    """Yield the map of SSIM in strips, (N, C, rows, W), its windows reaching beyond the borders or not."""
    for strip in strips(x, y, read, window=FLAT_WINDOW if variant == "skimage" else WINDOW, above=reach, below=reach):
        a, b = (_extend(image, strip, BORDERS[variant]) if reach else image for image in strip[:2])
        window = _flat(a) if variant == "skimage" else _gaussian(a)
        luminance, contrast = _compare(a, b, window, unbiased=variant == "skimage")
        yield luminance * contrast


def ms_ssim(
    x: Tensor,
    y: Tensor,
    *,
    negative: Negative = "relu",
    space: Space = "rgb",
    crop: int = 0,
    peak: float = 1.0,
    check_range: RangeCheck = "auto",
) -> Tensor:
    """Return the multi-scale structural similarity of each pair.

    It is the product of the contrast and structure terms at five scales and the luminance term at the last scale, each
    to a power, averaged over channels. Each scale is half as large as the one before (means of 2×2 pixels). Equal to
    `pytorch_msssim.ms_ssim(data_range=1)`.

    Args:
        x: Images, (N, C, H, W), C = 3 or 1 (grayscale), float in [0, peak] or uint8, sides of at least 161.
        y: Images of the same shape.
        negative: What to do with a negative mean at some scale, which has no real power. "relu": count it as 0, with
            zero gradient. "raise": raise a ValueError.
        space: "rgb", channel by channel, or "y", luma (`spaces.to_y`).
        crop: Pixels to leave out at each border.
        peak: Largest value of float images.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), in [0, 1], higher = closer, 1 = identical.

    Raises:
        TypeError, ValueError: If dtype, shape, range, size, device or `negative` is not as described.

    References:
        Wang, Simoncelli, Bovik: Multiscale Structural Similarity for Image Quality Assessment, Asilomar 2003,
        https://doi.org/10.1109/ACSSC.2003.1292216

    Examples:
        >>> image = torch.rand(1, 3, 176, 176)
        >>> ms_ssim(image, image)
        tensor([1.])
    """
    if negative not in ("relu", "raise"):
        raise ValueError(f"negative={negative!r}: expected 'relu' or 'raise'")
    least = (WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
    x, y = check_for_strips(x, y, check_range, least, peak=peak, crop=crop)
    read, means = reader(x, space, SPACES, peak), []
    for scale in range(len(SCALE_WEIGHTS)):
        if scale:
            x, y = _halve(x, y, read)
            read = to_float
        last, parts = scale == len(SCALE_WEIGHTS) - 1, []
        for strip in strips(x, y, read, window=WINDOW):
            luminance, contrast = _compare(strip.x, strip.y, _gaussian(strip.x), unbiased=False)
            parts.append(((luminance * contrast if last else contrast).mean(dim=(2, 3)), contrast.shape[2]))
        means.append(average(parts))
    stacked = torch.stack(means)  # (scales, N, C)
    if negative == "raise" and (stacked < 0).any():
        raise ValueError(f"a mean over one scale is {stacked.min():g}; expected ≥ 0 (negative='relu' counts it as 0)")
    positive = ~(stacked <= 0)  # NaN stays NaN
    weights = numbers_like(stacked, SCALE_WEIGHTS).view(-1, 1, 1)
    powers = torch.where(positive, stacked, 1.0) ** weights  # the root of 0 has no finite gradient
    return torch.where(positive, powers, 0.0).prod(dim=0).mean(dim=1)


class SSIMLoss(nn.Module):
    """The mean over the batch of 1 − `ssim`: 0 = identical."""

    def __init__(
        self,
        *,
        variant: Variant = "wang2004",
        space: Space = "rgb",
        crop: int = 0,
        peak: float = 1.0,
        check_range: RangeCheck = "auto",
    ) -> None:
        super().__init__()
        self.variant, self.space, self.crop, self.peak, self.check_range = variant, space, crop, peak, check_range

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        found = ssim(
            x,
            y,
            variant=self.variant,
            space=self.space,
            crop=self.crop,
            peak=self.peak,
            mask=mask,
            check_range=self.check_range,
        )
        return 1 - found.mean()


class MSSSIMLoss(nn.Module):
    """The mean over the batch of 1 − `ms_ssim`: 0 = identical."""

    def __init__(
        self, *, space: Space = "rgb", crop: int = 0, peak: float = 1.0, check_range: RangeCheck = "auto"
    ) -> None:
        super().__init__()
        self.space, self.crop, self.peak, self.check_range = space, crop, peak, check_range

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        found = ms_ssim(x, y, space=self.space, crop=self.crop, peak=self.peak, check_range=self.check_range)
        return 1 - found.mean()


# -- shared by both --------------------------------------------------------------------------------------------------


def _gaussian(like: Tensor) -> Tensor:
    """Return the window along one direction, (11,)."""
    offsets = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    return window / window.sum()


def _flat(like: Tensor) -> Tensor:
    return torch.full((FLAT_WINDOW,), 1 / FLAT_WINDOW, dtype=like.dtype, device=like.device)


def _compare(x: Tensor, y: Tensor, window: Tensor, unbiased: bool) -> tuple[Tensor, Tensor]:
    """Return the luminance term and the contrast and structure term at each position where the window fits."""
    mean_x, mean_y, mean_square, mean_xy = _filter(torch.stack([x, y, x * x + y * y, x * y]), window)
    sample = len(window) ** 2 / (len(window) ** 2 - 1) if unbiased else 1.0
    square = mean_x**2 + mean_y**2
    variances, covariance = sample * (mean_square - square), sample * (mean_xy - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + K1**2) / (square + K1**2)
    return luminance, (2 * covariance + K2**2) / (variances + K2**2)


def _filter(images: Tensor, window: Tensor) -> Tensor:
    """Filter with the window along both directions, where it fits: (..., H, W) -> (..., H − K + 1, W − K + 1)."""
    flat = images.reshape(
        1, -1, *images.shape[-2:]
    )  # one channel per image: the fastest form of a convolution on the CPU
    down, across = window.view(1, 1, -1, 1), window.view(1, 1, 1, -1)
    with full_precision(images):
        for kernel in (down, across):
            flat = F.conv2d(flat, kernel.expand(flat.shape[1], 1, -1, -1), groups=flat.shape[1])
    return flat.view(*images.shape[:-2], *flat.shape[-2:])


def _extend(rows: Tensor, strip: Strip, border: str) -> Tensor:
    """Extend a strip beyond the image by half a window."""
    return F.pad(rows, (WINDOW // 2, WINDOW // 2, strip.above, strip.below), mode=border)


def _halve(x: Tensor, y: Tensor, read: Read) -> tuple[Tensor, Tensor]:
    """Return means over 2×2 pixels; odd sides begin with a row or column of zeros."""
    above, left = (side % 2 for side in x.shape[2:])
    halves = [
        [F.avg_pool2d(F.pad(rows, (left, 0, strip.above, 0)), 2) for rows in strip[:2]]
        for strip in strips(x, y, read, window=2, stride=2, above=above)
    ]
    return _stack_rows(halves)


def _shrink_luma(x: Tensor, y: Tensor, read: Read) -> tuple[Tensor, Tensor]:
    """Return luma averaged over f×f pixels around every f-th pixel, with mirrored borders: (N, 1, H/f, W/f)."""
    factor = shrinking_factor(x)
    before = (factor - 1) // 2
    below, right = (max(0, -(-side // factor) * factor - before - side) for side in x.shape[2:])
    shrunk = []
    for strip in strips(x, y, read, window=factor, stride=factor, above=before, below=below):
        images = [_mirror(_mirror(_luma(rows), 2, strip.above, strip.below), 3, before, right) for rows in strip[:2]]
        shrunk.append([F.avg_pool2d(image, factor) for image in images])
    return _stack_rows(shrunk)


def _luma(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    return (images * numbers_like(images, LUMA).view(3, 1, 1)).sum(dim=1, keepdim=True)


def _mirror(image: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Extend an image beyond its borders by mirroring, including the outermost pixels."""
    end = image.shape[dim]
    return torch.cat(
        [image.narrow(dim, 0, before).flip(dim), image, image.narrow(dim, end - after, after).flip(dim)], dim
    )


def _stack_rows(pairs: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
    x, y = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=2) for parts in zip(*pairs, strict=True))
    return x, y
