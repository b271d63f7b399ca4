"""Bits per channel: what Pillow would cut to eight is refused, by what the decoder reports, not by a suffix."""

from __future__ import annotations

import re

from PIL import Image

_SIXTEEN = re.compile(r";16|I16|;1[02]")
_COLOR_MODES = ("RGB", "RGBA", "RGBX", "LA", "CMYK", "YCbCr", "LAB", "P", "L")


def refuse_silent_loss(image: Image.Image, data: bytes, name: str) -> None:
    """Refuse an image, opened but not loaded, of which Pillow would lose something.

    Raises:
        ValueError: With the reason.
    """
    if image.mode in ("F", "I"):
        raise ValueError(f"{name}: {image.mode}-mode pixels have no stated range; save it as 8-bit or 16-bit grayscale")
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16") and (tags.get(262) == 0 or "transparency" in image.info):
        raise ValueError(
            f"{name}: 16-bit grayscale that is white at zero or transparent; convert it to 8 bits yourself"
        )
    bits = max(_bits_of_tiff(tags), _bits_of_tiles(image), _bits_of_codestream(image, data))
    if bits > 8 and not image.mode.startswith("I;16"):
        raise ValueError(
            f"{name}: {bits}-bit colour {image.format}, which Pillow would cut to 8 bits; "
            f"convert it to 8 bits yourself, or pass float tensors in [0, 1] to the Python interface"
        )


def _bits_of_tiff(tags: object) -> int:
    found = tags.get(258, 8) if hasattr(tags, "get") else 8
    return max(found) if isinstance(found, tuple) else int(found)


def _bits_of_tiles(image: Image.Image) -> int:
    """Return 16 if a raw mode of the decoder has more than eight bits."""
    for tile in getattr(image, "tile", ()):
        values = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if tile[0] == "SGI16" or any(isinstance(value, str) and _SIXTEEN.search(value) for value in values):
            return 16
        if image.format == "PPM" and any(isinstance(value, int) and value > 255 for value in values):
            return 16
    return 8


def _bits_of_codestream(image: Image.Image, data: bytes) -> int:
    """Return the depth that the headers of JPEG 2000 and AVIF state; Pillow does not say it."""
    if image.format == "JPEG2000":
        start = data.find(b"\xff\x4f\xff\x51")
        sizes = data[start + 42 :] if start >= 0 else b""  # one entry of three bytes for each component
        count = int.from_bytes(data[start + 40 : start + 42], "big") if start >= 0 else 0
        return max(((sizes[3 * i] & 0x7F) + 1 for i in range(count) if 3 * i < len(sizes)), default=8)
    if image.format == "AVIF":
        place = data.find(b"av1C")
        flags = data[place + 6] if 0 <= place < len(data) - 6 else 0
        return 12 if flags & 0x60 == 0x60 else 10 if flags & 0x40 else 8
    return 8
