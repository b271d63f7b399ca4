"""Structural similarity. Pairs in, one number a pair out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpips_lite.images import check_pair, to_float

WINDOW, SIGMA = 11, 1.5  # Gaussian window and
K1, K2 = 0.01, 0.03  # stabilising constants of Wang et al. 2004, section III-B


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean structural similarity of each pair, as Wang et al. (2004) define it, for a peak value of 1.

        SSIM = (2 μ_x μ_y + C1)(2 σ_xy + C2) / ((μ_x² + μ_y² + C1)(σ_x² + σ_y² + C2))

    Gaussian window 11×11 with σ = 1.5, biased moments, no downsampling, averaged over channels and over the positions
    where the window fits. Equal to `pytorch_msssim.ssim(data_range=1)`, `piq.ssim(downsample=False)` and scikit-image's
    `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1)`.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8, sides of at least 11.
        y: Likewise, same shape.

    Returns:
        (N,), in [-1, 1], higher = closer, 1 = identical.

    Raises:
        TypeError, ValueError: If dtype, shape, size or device is not as described.

    References:
        Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural Similarity,
        IEEE TIP 2004, https://doi.org/10.1109/TIP.2003.819861

    Example:
        >>> image = torch.rand(1, 3, 32, 32)
        >>> ssim(image, image)
        tensor([1.])
    """
    check_pair(x, y, min_side=WINDOW)
    x, y = to_float(x), to_float(y)
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    x, y = x.to(dtype), y.to(dtype)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = _blur(torch.stack([x, y, x * x, y * y, x * y]))
    variance_x, variance_y, covariance = mean_xx - mean_x**2, mean_yy - mean_y**2, mean_xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + K1**2) / (mean_x**2 + mean_y**2 + K1**2)
    structure = (2 * covariance + K2**2) / (variance_x + variance_y + K2**2)
    index: Tensor = (luminance * structure).mean(dim=(1, 2, 3))
    return index


def _blur(images: Tensor) -> Tensor:
    """Filter with the window where it fits: (..., H, W) -> (..., H − 10, W − 10)."""
    offsets = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    window = window / window.sum()
    flat = images.reshape(-1, 1, *images.shape[-2:])
    flat = F.conv2d(F.conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return flat.view(*images.shape[:-2], *flat.shape[-2:])


class SSIMLoss(nn.Module):
    """The mean over the batch of 1 − `ssim`: 0 = identical."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 1 - ssim(x, y).mean()
