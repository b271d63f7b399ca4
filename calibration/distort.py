"""The distortion library: photographs in, distorted copies out, for distillation and synthetic triplets.

Every distortion is a function `(images, level, generator) -> images` on a batch (N, 3, H, W) in [0, 1] with one level
in [0, 1] per image: 0 is about the threshold of visibility, 1 is very strong, and steps between are geometric in the
parameter. Random draws do not depend on the level, so one seed at rising levels gives rising strengths of one pattern.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

Distortion = Callable[[Tensor, Tensor, Generator], Tensor]


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


# -- helpers ---------------------------------------------------------------------------------------------------------


def _between(level: Tensor, low: float, high: float) -> Tensor:
    """Map levels 0…1 to low…high in geometric steps, shaped to multiply a batch: (N,) -> (N, 1, 1, 1)."""
    return (low * (high / low) ** level).view(-1, 1, 1, 1)


def _normal(images: Tensor, generator: Generator, channels: int = 3, scale: int = 1) -> Tensor:
    """Draw normal noise (N, channels, H/scale, W/scale)."""
    n, _, height, width = images.shape
    return torch.randn(n, channels, math.ceil(height / scale), math.ceil(width / scale), generator=generator)


def _sign(images: Tensor, generator: Generator) -> Tensor:
    """Draw −1 or +1 for each image, (N, 1, 1, 1)."""
    return torch.randint(0, 2, (len(images), 1, 1, 1), generator=generator) * 2.0 - 1


def _direction(images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw a unit vector for each image: (N, 1, 1, 1) twice."""
    angle = torch.rand(len(images), 1, 1, 1, generator=generator) * 2 * math.pi
    return angle.cos(), angle.sin()


def _resize(images: Tensor, size: Sequence[int], mode: str = "bicubic") -> Tensor:
    size = list(size)
    if mode == "nearest":
        return F.interpolate(images, size=size, mode=mode)
    return F.interpolate(images, size=size, mode=mode, align_corners=False, antialias=True)


def _luma(images: Tensor) -> Tensor:
    return (images * images.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)


def _filter(images: Tensor, kernels: Tensor) -> Tensor:
    """Filter each image with its own kernel, borders reflected: kernels (N, 1, K, L), normalised here."""
    n, channels, height, width = images.shape
    kernels = kernels / kernels.sum(dim=(2, 3), keepdim=True)
    rows, columns = kernels.shape[2] // 2, kernels.shape[3] // 2
    padded = F.pad(images, (columns, columns, rows, rows), mode="reflect").transpose(0, 1)
    return F.conv2d(padded, kernels, groups=n).transpose(0, 1).reshape(n, channels, height, width)


def _offsets(radius: int) -> tuple[Tensor, Tensor]:
    steps = torch.arange(-radius, radius + 1.0)
    return steps.view(1, 1, -1, 1), steps.view(1, 1, 1, -1)


def _gaussian(images: Tensor, sigma: Tensor, radius: int = 12) -> Tensor:
    down, across = _offsets(min(radius, min(images.shape[-2:]) - 1))
    images = _filter(images, torch.exp(-0.5 * (down / sigma) ** 2))
    return _filter(images, torch.exp(-0.5 * (across / sigma) ** 2))


def _box(images: Tensor) -> Tensor:
    """Average over 7×7 pixels, fewer at the borders; one direction after the other, which is several times faster."""
    images = F.avg_pool2d(images, (7, 1), 1, (3, 0), count_include_pad=False)
    return F.avg_pool2d(images, (1, 7), 1, (0, 3), count_include_pad=False)


def _move(images: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Sample each pixel from `right`, `down` pixels away: displacements (N, 1, 1, 1) or (N, 1, H, W)."""
    n, _, height, width = images.shape
    rows = (torch.arange(height).view(1, height, 1) + down.squeeze(1)).expand(n, height, width)
    columns = (torch.arange(width).view(1, 1, width) + right.squeeze(1)).expand(n, height, width)
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    return F.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def _through_codec(images: Tensor, save: Callable[[Image.Image, io.BytesIO, int], None]) -> Tensor:
    """Encode and decode each image; `save` gets the image, a buffer and its position in the batch."""
    decoded = []
    for position, pixels in enumerate((images * 255).round().byte().permute(0, 2, 3, 1).numpy()):
        buffer = io.BytesIO()
        save(Image.fromarray(pixels), buffer, position)
        decoded.append(np.asarray(Image.open(buffer).convert("RGB")))
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float() / 255


# -- noise -----------------------------------------------------------------------------------------------------------


def white_noise(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x + _between(level, 0.006, 0.35) * _normal(x, g)


def gray_noise(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x + _between(level, 0.006, 0.35) * _normal(x, g, channels=1)


def chroma_noise(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    noise = _normal(x, g)
    return x + _between(level, 0.01, 0.4) * (noise - _luma(noise))


def coarse_noise(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x + _between(level, 0.006, 0.3) * _resize(_normal(x, g, scale=4), x.shape[-2:])


def fine_noise(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    noise = _normal(x, g)
    return x + _between(level, 0.008, 0.5) * (noise - F.avg_pool2d(noise, 3, 1, 1))


def speckle(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x * (1 + _between(level, 0.01, 0.8) * _normal(x, g))


def impulse_noise(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    draw = torch.rand(x.shape, generator=g)
    share = _between(level, 0.001, 0.25)
    return torch.where(draw < share / 2, 0.0, torch.where(draw > 1 - share / 2, 1.0, x))


# -- blur and sharpness ----------------------------------------------------------------------------------------------


def gaussian_blur(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return _gaussian(x, _between(level, 0.35, 4.0))


def motion_blur(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    (down, across), (cos, sin) = _offsets(9), _direction(x, g)
    along, aside = across * cos + down * sin, down * cos - across * sin
    half = _between(level, 0.7, 8.0)
    return _filter(x, torch.sigmoid(4 * (half - along.abs())) * torch.exp(-2 * aside**2))


def defocus(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    down, across = _offsets(7)
    radius = _between(level, 0.7, 6.0)
    return _filter(x, torch.sigmoid(5 * (radius - (down**2 + across**2).sqrt())))


def sharpen(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x + _between(level, 0.2, 6.0) * (x - _gaussian(x, torch.full((len(x), 1, 1, 1), 1.2), radius=4))


def smooth(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Denoise until texture goes and edges stay: the guided filter of He et al. (2010) on its own input."""
    epsilon = _between(level, 3e-4, 0.1)
    mean = _box(x)
    variance = _box(x * x) - mean**2
    gain = variance / (variance + epsilon)
    return _box(gain) * x + _box(mean - gain * mean)


def denoised(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Add noise, then remove it, as a weak denoiser leaves it."""
    noisy = x + _between(level, 0.02, 0.35) * _normal(x, g)
    return smooth(noisy, (0.25 + 0.75 * level).clamp(max=1), g)


# -- resampling and compression --------------------------------------------------------------------------------------


def _resample(x: Tensor, level: Tensor, down: str, up: str) -> Tensor:
    """Shrink each image by its own factor and enlarge it again, as a super-resolution input is made."""
    height, width = x.shape[-2:]
    out = []
    for image, factor in zip(x.unsqueeze(1), _between(level, 1.15, 8.0).flatten().tolist(), strict=True):
        small = _resize(image, (max(2, round(height / factor)), max(2, round(width / factor))), down)
        out.append(_resize(small, (height, width), up))
    return torch.cat(out)


def upsampled_bicubic(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return _resample(x, level, "bicubic", "bicubic")


def upsampled_bilinear(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return _resample(x, level, "bilinear", "bilinear")


def pixelated(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return _resample(x, level, "bilinear", "nearest")


def super_resolved(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Upsample, then over-sharpen, which rings at edges as learned upsamplers do."""
    return sharpen(_resample(x, 0.8 * level, "bicubic", "bicubic"), 0.6 * level + 0.2, g)


def jpeg(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    quality = (95 - 92 * level**0.7).round().int().tolist()
    subsampling = torch.randint(3, (len(x),), generator=g).tolist()  # 4:4:4, 4:2:2 or 4:2:0
    return _through_codec(
        x,
        lambda image, buffer, i: image.save(buffer, "JPEG", quality=quality[i], subsampling=subsampling[i]),
    )


def webp(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    quality = (92 - 92 * level**0.6).round().int().tolist()
    return _through_codec(x, lambda image, buffer, i: image.save(buffer, "WEBP", quality=quality[i], method=2))


def jpeg2000(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    rate = _between(level, 4, 120).flatten().tolist()
    return _through_codec(
        x,
        lambda image, buffer, i: image.save(
            buffer, "JPEG2000", quality_mode="rates", quality_layers=[rate[i]], irreversible=True
        ),
    )


def posterize(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    steps = _between(level, 48, 2).round()
    return (x * steps).round() / steps


# -- light and colour ------------------------------------------------------------------------------------------------


def brightness(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x + _sign(x, g) * _between(level, 0.015, 0.4)


def contrast(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) * torch.exp(_sign(x, g) * _between(level, 0.04, 1.5))


def gamma(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x.clamp(min=1e-6) ** torch.exp(_sign(x, g) * _between(level, 0.04, 1.1))


def saturation(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    gray = _luma(x)
    return gray + (x - gray) * (1 + _sign(x, g) * _between(level, 0.08, 1.0))


def white_balance(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    gains = torch.randn(len(x), 3, 1, 1, generator=g)
    return x * torch.exp(_between(level, 0.02, 0.5) * (gains - gains.mean(1, keepdim=True)))


def hue(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Turn the chrominance plane (U, V at equal luma) by up to 180 degrees."""
    angle = _sign(x, g) * _between(level, 0.05, math.pi)
    gray = _luma(x)
    u, v = x[:, 2:3] - gray, x[:, 0:1] - gray  # B − Y, R − Y
    turned_u, turned_v = u * angle.cos() - v * angle.sin(), u * angle.sin() + v * angle.cos()
    green = gray - (0.299 * turned_v + 0.114 * turned_u) / 0.587
    return torch.cat([gray + turned_v, green, gray + turned_u], dim=1)


def shading(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return x * torch.exp(_between(level, 0.02, 0.7) * _resize(_normal(x, g, 1, scale=24), x.shape[-2:]))


# -- geometry --------------------------------------------------------------------------------------------------------


def shift(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    cos, sin = _direction(x, g)
    distance = _between(level, 0.2, 10.0)
    return _move(x, distance * cos, distance * sin)


def _about_centre(x: Tensor) -> tuple[Tensor, Tensor]:
    height, width = x.shape[-2:]
    down = torch.arange(height).view(1, 1, height, 1) - (height - 1) / 2
    return down, torch.arange(width).view(1, 1, 1, width) - (width - 1) / 2


def rotate(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    (down, across), angle = _about_centre(x), _sign(x, g) * _between(level, 0.005, 0.4)
    return _move(x, across * (angle.cos() - 1) - down * angle.sin(), across * angle.sin() + down * (angle.cos() - 1))


def zoom(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    (down, across), factor = _about_centre(x), torch.exp(_sign(x, g) * _between(level, 0.005, 0.3)) - 1
    return _move(x, across * factor, down * factor)


def warp(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    right, down = _resize(_normal(x, g, 2, scale=12), x.shape[-2:]).chunk(2, dim=1)
    strength = _between(level, 0.3, 6.0)
    return _move(x, strength * right, strength * down)


def color_fringe(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    (cos, sin), distance = _direction(x, g), _between(level, 0.2, 5.0)
    red = _move(x[:, :1], distance * cos, distance * sin)
    return torch.cat([red, x[:, 1:2], _move(x[:, 2:], -distance * cos, -distance * sin)], dim=1)


def ghost(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Average with a shifted copy, as frame interpolation does where motion is wrong."""
    return (x + shift(x, (0.3 + 0.7 * level), g)) / 2


# -- local damage and other content ----------------------------------------------------------------------------------


def displaced_patches(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Replace random 8×8 blocks by content from elsewhere in the image, as transmission errors do."""
    drawn = torch.rand(len(x), 1, math.ceil(x.shape[2] / 8), math.ceil(x.shape[3] / 8), generator=g)
    mask = F.interpolate((drawn < _between(level, 0.02, 0.5)).float(), scale_factor=8, mode="nearest")
    moved = x.roll((13, 17), dims=(2, 3))
    return torch.where(mask[..., : x.shape[2], : x.shape[3]] > 0, moved, x)


def flat_patch(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Cover a square with its image's mean colour."""
    height, width = x.shape[-2:]
    half = _between(level, 0.03, 0.4) * min(height, width)
    down = torch.arange(height).view(1, 1, -1, 1) - torch.rand(len(x), 1, 1, 1, generator=g) * height
    across = torch.arange(width).view(1, 1, 1, -1) - torch.rand(len(x), 1, 1, 1, generator=g) * width
    return torch.where((down.abs() < half) & (across.abs() < half), x.mean(dim=(2, 3), keepdim=True), x)


def checkerboard(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Modulate with a 2-pixel lattice, as transposed convolutions leave it."""
    down, across = torch.arange(x.shape[2]).view(-1, 1), torch.arange(x.shape[3])
    lattice = ((down % 2) * 2.0 - 1) * ((across % 2) * 2.0 - 1)
    return x + _between(level, 0.01, 0.25) * lattice * torch.randn(len(x), 3, 1, 1, generator=g)


def blend(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Mix in the next image of the batch; at level 1 it replaces the image."""
    return x.lerp(x.roll(1, dims=0), _between(level, 0.02, 1.0))


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
