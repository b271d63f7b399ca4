"""Distortions by resampling and compression."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from lpips_lite.votes.distort.pixels import between, resize, through_codec
from lpips_lite.votes.distort.sharpness import sharpen


def _resample(x: Tensor, level: Tensor, down: str, up: str) -> Tensor:
    """Shrink each image by its own factor and enlarge it again, as inputs of super-resolution are made."""
    height, width = x.shape[-2:]
    out = []
    for image, factor in zip(x.unsqueeze(1), between(level, 1.15, 8.0).flatten().tolist(), strict=True):
        small = resize(image, (max(2, round(height / factor)), max(2, round(width / factor))), down)
        out.append(resize(small, (height, width), up))
    return torch.cat(out)


def upsampled_bicubic(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return _resample(x, level, "bicubic", "bicubic")


def upsampled_bilinear(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return _resample(x, level, "bilinear", "bilinear")


def pixelated(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    return _resample(x, level, "bilinear", "nearest")


def super_resolved(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    """Upsample, then sharpen too much, which rings at edges like learned upsampling."""
    return sharpen(_resample(x, 0.8 * level, "bicubic", "bicubic"), 0.6 * level + 0.2, g)


def jpeg(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    quality = (95 - 92 * level**0.7).round().int().tolist()
    subsampling = torch.randint(3, (len(x),), generator=g).tolist()  # 4:4:4, 4:2:2 or 4:2:0
    return through_codec(
        x,
        lambda image, buffer, i: image.save(buffer, "JPEG", quality=quality[i], subsampling=subsampling[i]),
    )


def webp(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    quality = (92 - 92 * level**0.6).round().int().tolist()
    return through_codec(x, lambda image, buffer, i: image.save(buffer, "WEBP", quality=quality[i], method=2))


def jpeg2000(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    rate = between(level, 4, 120).flatten().tolist()
    return through_codec(
        x,
        lambda image, buffer, i: image.save(
            buffer, "JPEG2000", quality_mode="rates", quality_layers=[rate[i]], irreversible=True
        ),
    )


def posterize(x: Tensor, level: Tensor, g: Generator) -> Tensor:
    steps = between(level, 48, 2).round()
    return (x * steps).round() / steps
