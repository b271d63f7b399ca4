"""A library of distortions of photographs, for synthetic triplets, catch trials and distillation.

Every distortion is a function `(images, level, generator) -> images` on a batch (N, 3, H, W) in [0, 1] with one level
in [0, 1] per image. Level 0 is about the threshold of visibility, 1 is very strong, and steps between are geometric in
the parameter. Random draws do not depend on the level, so rising levels with the same seed strengthen the same pattern.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Generator, Tensor

from lpips_lite.votes.distort.compression import (
    jpeg,
    jpeg2000,
    pixelated,
    posterize,
    super_resolved,
    upsampled_bicubic,
    upsampled_bilinear,
    webp,
)
from lpips_lite.votes.distort.geometry import color_fringe, ghost, rotate, shift, warp, zoom
from lpips_lite.votes.distort.light import brightness, contrast, gamma, hue, saturation, shading, white_balance
from lpips_lite.votes.distort.local import blend, checkerboard, displaced_patches, flat_patch
from lpips_lite.votes.distort.noise import (
    chroma_noise,
    coarse_noise,
    fine_noise,
    gray_noise,
    impulse_noise,
    speckle,
    white_noise,
)
from lpips_lite.votes.distort.sharpness import defocus, denoised, gaussian_blur, motion_blur, sharpen, smooth

Distortion = Callable[[Tensor, Tensor, Generator], Tensor]

DISTORTIONS: dict[str, Distortion] = {
    function.__name__: function
    for function in (
        *(white_noise, gray_noise, chroma_noise, coarse_noise, fine_noise, speckle, impulse_noise),
        *(gaussian_blur, motion_blur, defocus, sharpen, smooth, denoised),
        *(upsampled_bicubic, upsampled_bilinear, pixelated, super_resolved, jpeg, webp, jpeg2000, posterize),
        *(brightness, contrast, gamma, saturation, white_balance, hue, shading),
        *(shift, rotate, zoom, warp, color_fringe, ghost),
        *(displaced_patches, flat_patch, checkerboard, blend),
    )
}


def distort(images: Tensor, name: str, level: Tensor, generator: Generator) -> Tensor:
    """Distort a batch and round it to 8 bits, as if it had been saved.

    Args:
        images: (N, 3, H, W) in [0, 1].
        name: A key of `DISTORTIONS`.
        level: Strength of each image's distortion, (N,) in [0, 1].
        generator: Source of all randomness.

    Returns:
        (N, 3, H, W) in [0, 1], multiples of 1/255.
    """
    return DISTORTIONS[name](images, level, generator).mul(255).round_().clamp_(0, 255).div_(255)
