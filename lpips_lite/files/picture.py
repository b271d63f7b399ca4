"""Turn a picture that Pillow has decoded into pixels: sRGB, composited, (3, H, W). Used by `reading.py`.

It works in strips, so that little memory is needed in addition to Pillow's picture and the result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import Tensor

from lpips_lite.files.depth import Samples
from lpips_lite.files.settings import red_green_blue

_STRIP_PIXELS = 2**18
_DECODER_BYTES = {"WEBP": 12, "AVIF": 8, "JPEG2000": 18}  # per pixel, in addition to Pillow's picture, as measured


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """The pixels of a file.

    Attributes:
        pixels: (3, H, W), uint8, or float32 in [0, 1] for gray of more than 8 bits.
        notes: Notes on what was converted while reading, each with the name of the file.
        alpha: Digest of size and transparency; None if everything is opaque.
        rgba: Digest of size, colours and transparency before they were composited; None if everything is opaque.
    """

    pixels: Tensor
    notes: tuple[str, ...] = ()
    alpha: bytes | None = None
    rgba: bytes | None = None


def picture_of(
    image: Image.Image, samples: Samples, transform: ImageCms.ImageCmsTransform | None, background: str
) -> Picture:
    """Turn a decoded picture into pixels.

    Args:
        image: The picture, upright.
        samples: The meaning of its numbers.
        transform: Transform of its colours to sRGB.
        background: Colour behind transparent pixels.
    """
    if image.mode.startswith("I"):
        return _from_deep_gray(image, samples, background)
    if "transparency" in image.info and samples.step > 1:
        image.info["transparency"] = image.info["transparency"] % (255 // samples.step + 1) * samples.step
    transparent = _is_transparent(image)
    if not transparent:
        image.info.pop("transparency", None)  # otherwise Pillow would keep it, and warn
    pixels = np.empty((3, image.height, image.width), np.uint8)
    digests = _Digests(image.size)
    for rows, strip in _strips(image):
        if transparent:
            layer = _with_alpha(strip, transform)
            digests.update(np.asarray(layer))
            ground = Image.new("RGBA", strip.size, red_green_blue(background))
            flat = Image.alpha_composite(ground, layer).convert("RGB")
        else:
            flat = _in_mode(strip, "RGB") if transform is None else _apply(transform, strip)
        pixels[:, rows] = np.asarray(flat).transpose(2, 0, 1)
    return digests.picture(pixels) if transparent else Picture(torch.from_numpy(pixels))


def peak_bytes(image: Image.Image, data: bytes) -> int:
    """Estimate the peak memory for decoding a picture and turning it into pixels."""
    pixels = image.width * image.height
    stored = 2 if image.mode.startswith("I;") else 1 if image.mode in ("1", "L", "P") else 4  # in Pillow's picture
    result = 12 if image.mode.startswith("I") else 3
    decoder = 2 * len(image.getbands()) if "progressive" in image.info else _DECODER_BYTES.get(image.format or "", 0)
    own = len(data) * (2 if image.format in ("WEBP", "AVIF") else 1)  # these are copied by Pillow
    return own + pixels * (stored + max(stored, result, decoder)) + 64 * min(pixels, _STRIP_PIXELS)


def _from_deep_gray(image: Image.Image, samples: Samples, background: str) -> Picture:
    pixels = np.empty((3, image.height, image.width), np.float32)
    clear = image.info.get("transparency")  # one number, if a PNG has it
    ground = np.array(red_green_blue(background), np.float32)[:, None, None] / 255
    digests, transparent = _Digests(image.size), False
    for rows, strip in _strips(image):
        stored = np.asarray(strip).astype(np.float64)
        numbers = np.rint(stored * (samples.white / samples.stored_white))
        gray = (samples.white - numbers if samples.inverted else numbers) / samples.white
        opaque = stored != (-1 if clear is None else clear)
        pixels[:, rows] = np.where(opaque, gray, ground)
        digests.update(np.stack([gray * 65535, opaque * 255.0], axis=-1))
        transparent = transparent or not opaque.all()
    return digests.picture(pixels) if transparent else Picture(torch.from_numpy(pixels))


class _Digests:
    """Digests of the transparency of a picture, and of all its channels, computed strip by strip."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._alpha, self._rgba = hashlib.sha256(repr(size).encode()), hashlib.sha256(repr(size).encode())

    def update(self, strip: np.ndarray) -> None:
        """Add a strip (H, W, C), whose last channel is transparency in [0, 255]."""
        self._alpha.update(strip[..., -1].astype(np.uint8).tobytes())
        self._rgba.update(strip.tobytes())

    def picture(self, pixels: np.ndarray) -> Picture:
        return Picture(torch.from_numpy(pixels), alpha=self._alpha.digest(), rgba=self._rgba.digest())


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    height = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, height):
        bottom = min(top + height, image.height)
        whole = bottom - top == image.height
        yield slice(top, bottom), image if whole else image.crop((0, top, image.width, bottom))


def _is_transparent(image: Image.Image) -> bool:
    return image.has_transparency_data and any(
        np.asarray(_in_mode(strip, "RGBA"))[..., 3].min() < 255 for _, strip in _strips(image)
    )


def _in_mode(strip: Image.Image, mode: str) -> Image.Image:
    if strip.mode == "La":  # Pillow has no other conversion from premultiplied gray
        strip = strip.convert("LA")
    return strip if strip.mode == mode else strip.convert(mode)


def _apply(transform: ImageCms.ImageCmsTransform, strip: Image.Image) -> Image.Image:
    return transform.apply(_in_mode(strip, transform.input_mode))


def _with_alpha(strip: Image.Image, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    layer = _in_mode(strip, "RGBA")
    if transform is None:
        return layer
    colors = _apply(transform, layer)
    colors.putalpha(layer.getchannel("A"))
    return colors
