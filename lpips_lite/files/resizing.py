"""Pictures of different sizes are brought to one size, and so is the area that is compared.

Used by `decoding.py`. Resizing resamples; cropping and padding leave the pixels that stay as they are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from lpips_lite.files.names import printable
from lpips_lite.files.pairing import Pair
from lpips_lite.files.settings import Settings, red_green_blue
from lpips_lite.images import to_float

RESIZED_BYTES = 24  # for each pixel of a resized picture: float32 of three channels, twice while it is computed
Size = tuple[int, int]


def to_one_size(
    pair: Pair, image: Tensor, reference: Tensor, area: Tensor | None, settings: Settings
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return pictures (3, H, W) and the area (H, W), of the reference's pixels, all of one height and width.

    Raises:
        ValueError: If sizes differ and are not to be changed, or the padded picture has too many pixels.
    """
    sizes = _size(image), _size(reference)
    if settings.resize == "crop":
        size = min(side[0] for side in sizes), min(side[1] for side in sizes)
        image, reference = _crop(image, size), _crop(reference, size)
        return image, reference, None if area is None else _crop(area, size)
    if settings.resize == "pad":
        size = max(side[0] for side in sizes), max(side[1] for side in sizes)
        _check_padded(pair, size, settings)
        image, reference = (_extend(side, size, settings.background) for side in (image, reference))
        return image, reference, None if area is None else _extend_area(area, size)
    if settings.resize != "no":
        size = sizes[1] if settings.resize == "ref" else settings.resize
        return fit(image, size), fit(reference, size), None if area is None else _fit_area(area, size)
    if sizes[0] != sizes[1]:
        told = " against ".join(f"{width}×{height}" for height, width in sizes)
        remedy = settings.spell("resize", "ref")
        names = printable(pair.image), printable(pair.reference)
        raise ValueError(f"{names[0]}: sizes differ, {told} of {names[1]}; {remedy} makes them equal")
    return image, reference, area


def fit(image: Tensor, size: Size) -> Tensor:
    """Resize (3, H, W) to (height, width), bicubic and antialiased, in [0, 1]; left alone if it has that size."""
    if _size(image) == size:
        return image
    return interpolate(to_float(image)[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)


def resized_bytes(image: Size, reference: Size, settings: Settings) -> int:
    """Estimate the memory that resizing takes; sizes are widths and heights."""
    if settings.resize in ("no", "crop"):
        return 0
    if settings.resize == "pad":
        return RESIZED_BYTES * max(image[0], reference[0]) * max(image[1], reference[1])
    return RESIZED_BYTES * math.prod(settings.resize if isinstance(settings.resize, tuple) else reference)


def least_pixels(image: Size, reference: Size, settings: Settings) -> int:
    """Return how many pixels are compared, at least: files may be turned by EXIF before they are cropped or padded."""
    if settings.resize in ("crop", "pad"):
        return min(*image, *reference) ** 2
    return math.prod(settings.resize if isinstance(settings.resize, tuple) else reference)


def resize_notes(settings: Settings, changed: int, pairs: int) -> list[str]:
    """Return a note on how many pairs have pictures whose size was changed."""
    said = settings.spell("resize", settings.resize)
    return [f"{said}: changed the size of pictures in {changed} of {pairs} pairs"] if changed else []


def _size(image: Tensor) -> Size:
    return image.shape[-2], image.shape[-1]


def _crop(image: Tensor, size: Size) -> Tensor:
    """Return the middle of a picture; if an odd number of pixels is cut, one less at the top or on the left."""
    top, left = ((side - least) // 2 for side, least in zip(_size(image), size, strict=True))
    return image[..., top : top + size[0], left : left + size[1]].contiguous()


def _extend(image: Tensor, size: Size, background: str) -> Tensor:
    """Extend a picture with the background on the right and at the bottom."""
    if _size(image) == size:
        return image
    color = torch.tensor(red_green_blue(background), dtype=torch.uint8)
    color = color if image.dtype == torch.uint8 else to_float(color).to(image.dtype)
    padded = color[:, None, None].repeat(1, *size)
    padded[:, : image.shape[1], : image.shape[2]] = image
    return padded


def _extend_area(area: Tensor, size: Size) -> Tensor:
    return pad(area, (0, size[1] - area.shape[1], 0, size[0] - area.shape[0]), value=True)


def _fit_area(area: Tensor, size: Size) -> Tensor:
    return interpolate(area[None, None].byte(), size, mode="nearest-exact")[0, 0].bool()


def _check_padded(pair: Pair, size: Size, settings: Settings) -> None:
    pixels = math.prod(size)
    if pixels > settings.max_pixels:
        name, allowed = printable(pair.image), settings.spell("max_pixels", settings.max_pixels)
        raise ValueError(f"{name}: padded to {size[1]}×{size[0]} = {pixels} pixels; expected no more than {allowed}")
