"""The colour spaces in which baselines compare images: RGB, CIE L*a*b* and luma, computed from images in [0, 1]."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from lpips_lite.images import full_precision, numbers_like
from lpips_lite.strips import Read

Space = Literal["rgb", "lab", "y"]

# Linear sRGB -> CIE XYZ relative to the white D65, from which L*a*b* is computed: IEC 61966-2-1, CIE 15:2004.
RGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)
RGB_TO_Y = (65.481 / 255, 128.553 / 255, 24.966 / 255)  # ITU-R BT.601, as MATLAB's rgb2ycbcr, in [16/255, 235/255]
PEAK = {"rgb": 1.0, "lab": 100.0, "y": 1.0}


def reader(x: Tensor, space: Space, spaces: tuple[Space, ...], peak: float = 1.0) -> Read:
    """Return a function that turns images with the given peak into their coordinates in a space.

    Raises:
        ValueError: If the space is not among `spaces`, or needs three channels and `x` has one.
    """
    if space not in spaces:
        raise ValueError(f"space={space!r}: expected {' or '.join(map(repr, spaces))}")
    if space != "rgb" and x.shape[1] == 1:
        raise ValueError(f"space={space!r} with images of one channel; expected three (RGB), or space='rgb'")
    return partial(_to_space, space=space, peak=peak)


def _to_space(images: Tensor, space: Space, peak: float) -> Tensor:
    if peak != 1:
        images = images / peak
    return {"rgb": _same, "lab": to_lab, "y": to_y}[space](images)


def _same(images: Tensor) -> Tensor:
    return images


def to_lab(images: Tensor) -> Tensor:
    """Return CIE L*a*b* (white D65, 2° observer) of sRGB images (N, 3, H, W) in [0, 1], in at least float32.

    Equal to scikit-image's `rgb2lab`. L* is in [0, 100]. Values below 0 count as 0.
    """
    images = images.to(torch.promote_types(images.dtype, torch.float32)).clamp(min=0)
    curved = ((images.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    linear = torch.where(images > 0.04045, curved, images / 12.92)
    matrix = numbers_like(images, RGB_TO_XYZ) / numbers_like(images, WHITE).view(3, 1)
    with full_precision(images):
        xyz = torch.einsum("ij,njhw->nihw", matrix, linear)
    root = xyz.clamp(min=0.008856) ** (1 / 3)
    f_x, f_y, f_z = torch.where(xyz > 0.008856, root, 7.787 * xyz + 16 / 116).unbind(dim=1)
    return torch.stack([116 * f_y - 16, 500 * (f_x - f_y), 200 * (f_y - f_z)], dim=1)


def to_y(images: Tensor) -> Tensor:
    """Return the luma Y of YCbCr, (65.481 R + 128.553 G + 24.966 B + 16) / 255, not rounded: (N, 1, H, W).

    Equal to BasicSR's `rgb2ycbcr(image, y_only=True)` for float images in [0, 1]; computed in at least float32.
    """
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    weights = numbers_like(images, RGB_TO_Y).view(3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True) + 16 / 255
