"""Bits per channel of a file: what Pillow would silently cut is refused; gray of more than 8 bits is kept exactly.

Used by `reading.py`, on an image that Pillow has opened but not yet decoded. It checks what the decoder is about to do
(raw modes of tiles, tags, headers), never the suffix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image

_CUT_RAW_MODE = re.compile(r"[A-Za-z]+;16[LBN]|L;16")  # not "BGR;16", which is a pixel of 16 bits in all
_PNG_START, _JPEG_2000_START = b"\x89PNG\r\n\x1a\n", b"\xff\x4f\xff\x51"
_BITS_PER_SAMPLE, _PHOTOMETRIC, _COLOR_MAP, _SAMPLE_FORMAT = 258, 262, 320, 339  # tags of TIFF
_HOW_TO_GO_ON = "convert it to 8 bits yourself, or pass float tensors in [0, 1] to the Python interface"


class RefusedError(ValueError):
    """The reason why a file is refused although Pillow would read it; without the name of the file."""


@dataclass(frozen=True, slots=True)
class Samples:
    """The meaning of the numbers in a picture that Pillow has decoded.

    Attributes:
        white: The number for white in the file, if gray has more than 8 bits.
        stored_white: The number that Pillow stores for it.
        inverted: Whether zero is white, and Pillow has not inverted the picture.
        step: The factor by which Pillow multiplied gray of 2 or 4 bits, except the number of the transparent gray.
    """

    white: int = 65535
    stored_white: int = 65535
    inverted: bool = False
    step: int = 1


def samples_of(image: Image.Image, data: bytes) -> Samples:
    """Return the meaning of the numbers that Pillow will decode.

    Args:
        image: An image opened by Pillow, not yet loaded.
        data: The whole file.

    Raises:
        RefusedError: If decoding would lose or misread something: more than 8 bits per colour, floating point, signs.
    """
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise RefusedError(f"{image.mode}-mode pixels have no stated range; save it as 8-bit or 16-bit grayscale")
    own = _BITS.get(image.format or "", _no_more_bits)(image, data)
    bits = max([own, *(16 for mode in _raw_modes(image) if _CUT_RAW_MODE.fullmatch(mode))])
    if bits > 8 and not image.mode.startswith("I"):
        raise _cut(bits, image)
    if image.format == "TIFF":
        white = (1 << bits) - 1
        return Samples(white, white, inverted=_tags(image, _PHOTOMETRIC) in ((), (0,)))
    if image.format == "PPM":
        return Samples(white=_maxval(image, 65535))
    if image.format == "JPEG2000" and bits > 16:
        raise RefusedError(f"{bits}-bit gray JPEG 2000, which Pillow would cut to 16 bits")
    if image.format == "JPEG2000":
        return Samples((1 << bits) - 1, ((1 << bits) - 1) << (16 - bits))
    return Samples(step={"L;2": 85, "L;4": 17}.get(next(_raw_modes(image), ""), 1) if image.format == "PNG" else 1)


def unread_depth(data: bytes) -> str | None:
    """Return the bits per channel of a file that Pillow cannot read because of them, if they are known."""
    if data.startswith(b"8BPS") and len(data) >= 26 and (bits := int.from_bytes(data[22:24], "big")) > 8:
        return f"{bits}-bit Photoshop file, {_HOW_TO_GO_ON}"
    return None


def boxes(data: bytes, outer: bytes, inner: bytes) -> Iterator[bytes]:
    """Yield the contents of the `inner` boxes, at any depth, of the `outer` boxes of a JPEG 2000 or AVIF file."""
    at = 0
    while at + 8 <= len(data):
        size, kind, header = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = at + size if size >= header else len(data)  # 0: the last box
        if kind == outer:
            content = data[at + header : end]
            for found in re.finditer(re.escape(inner), content):
                start = found.start()
                yield content[start + 4 : start - 4 + int.from_bytes(content[max(0, start - 4) : start], "big")]
        at = end


def _cut(bits: int, image: Image.Image) -> RefusedError:
    gray_alpha = image.mode in ("LA", "La") or any(mode.startswith("LA") for mode in _raw_modes(image))
    kind = "gray with alpha" if gray_alpha else "gray" if image.mode in ("1", "L") else "colour"
    name = {"JPEG2000": "JPEG 2000"}.get(image.format or "", image.format)
    return RefusedError(f"{bits}-bit {kind} {name}, which Pillow would cut to 8 bits; {_HOW_TO_GO_ON}")


def _tiles(image: Image.Image) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield the decoder and its arguments for each part of the file that contains pixels."""
    for tile in getattr(image, "tile", ()):
        yield tile[0], tile[3] if isinstance(tile[3], tuple) else (tile[3],)


def _raw_modes(image: Image.Image) -> Iterator[str]:
    return (argument for _, arguments in _tiles(image) for argument in arguments if isinstance(argument, str))


def _no_more_bits(image: Image.Image, data: bytes) -> int:
    return 8


def _tags(image: Image.Image, tag: int) -> tuple[int, ...]:
    values = getattr(image, "tag_v2", {}).get(tag, ())
    return values if isinstance(values, tuple) else (values,)


def _tiff_bits(image: Image.Image, data: bytes) -> int:
    if 2 in _tags(image, _SAMPLE_FORMAT):
        raise RefusedError("signed samples, which Pillow would take as unsigned; save it as unsigned 8-bit or 16-bit")
    if image.mode in ("P", "PA") and any(value % 256 and value % 257 for value in _tags(image, _COLOR_MAP)):
        return 16
    return max(_tags(image, _BITS_PER_SAMPLE), default=1)


def _maxval(image: Image.Image, default: int) -> int:
    """Return the number for white in a PPM or PGM file; Pillow states it only if it is not the largest number."""
    numbers = [value for _, arguments in _tiles(image) for value in arguments if isinstance(value, int)]
    return max(numbers, default=default)


def _ppm_bits(image: Image.Image, data: bytes) -> int:
    return _maxval(image, 65535 if image.mode == "I" else 255).bit_length()


def _jpeg_2000_bits(image: Image.Image, data: bytes) -> int:
    """Read the bits from the marker segment SIZ, which is at the start of the codestream."""
    if any(max(palette[3 : 3 + palette[2]], default=0) & 0x7F > 7 for palette in boxes(data, b"jp2h", b"pclr")):
        raise RefusedError("palette of more than 8 bits in a JPEG 2000 file, which Pillow would ignore")
    start = data.index(_JPEG_2000_START) + 40
    count = int.from_bytes(data[start : start + 2], "big")
    components = data[start + 2 : start + 2 + 3 * count : 3]
    if any(component & 0x80 for component in components):
        raise RefusedError("signed samples in a JPEG 2000 file")
    bits = {component + 1 for component in components}
    if not image.mode.startswith("I") and min(bits) < 8:
        raise RefusedError(f"{min(bits)}-bit JPEG 2000, which Pillow would misread; save it with 8 bits")
    return max(bits)


def _avif_bits(image: Image.Image, data: bytes) -> int:
    settings = [found for outer in (b"meta", b"moov") for found in boxes(data, outer, b"av1C")]
    flags = [found[2] for found in settings if len(found) > 2]
    return max([8, *(12 if flag & 0x20 else 10 for flag in flags if flag & 0x40)])


def _dds_bits(image: Image.Image, data: bytes) -> int:
    decoder, arguments = next(_tiles(image))
    if "BC5S" in arguments:
        raise RefusedError("signed samples in a DDS file")
    if decoder == "dds_rgb" and isinstance(masks := arguments[1], tuple):
        return max(8, *(f"{mask:b}".count("1") for mask in masks))
    return 16 if "BC6H" in arguments or "BC6HS" in arguments else 8


def _fits_bits(image: Image.Image, data: bytes) -> int:
    if image.mode.startswith("I"):
        raise RefusedError(
            "signed 16-bit samples in a FITS file, which Pillow would take as unsigned; save it as PNG or TIFF"
        )
    return 8


def _sgi_bits(image: Image.Image, data: bytes) -> int:
    return 8 * data[3]


def _xpm_bits(image: Image.Image, data: bytes) -> int:
    for digits in re.findall(rb"\bc\s+#([0-9A-Fa-f]+)", data):
        if len(digits) != 6:
            raise RefusedError(f"colours of {len(digits)} digits in an XPM file, which Pillow would misread; use 6")
    return 8


def _psd_bits(image: Image.Image, data: bytes) -> int:
    if data[25] in (7, 8):
        raise RefusedError("multichannel or duotone Photoshop file, of which Pillow reads one channel; save it as RGB")
    return 8


def _drawing(image: Image.Image, data: bytes) -> int:
    raise RefusedError(f"{image.format} is a drawing, whose pixels depend on the program that draws it; save it as PNG")


def _bits_inside(image: Image.Image, data: bytes) -> int:
    """Check the PNG and JPEG 2000 files inside an icon."""
    depths = [data[at.start() + 24] for at in re.finditer(re.escape(_PNG_START), data[:-25])]
    if _JPEG_2000_START in data and image.format == "ICNS":
        depths.append(_jpeg_2000_bits(image, data))
    return max(depths, default=8)


_BITS: dict[str, Callable[[Image.Image, bytes], int]] = {
    "TIFF": _tiff_bits,
    "PPM": _ppm_bits,
    "JPEG2000": _jpeg_2000_bits,
    "AVIF": _avif_bits,
    "DDS": _dds_bits,
    "FITS": _fits_bits,
    "SGI": _sgi_bits,
    "XPM": _xpm_bits,
    "PSD": _psd_bits,
    "EPS": _drawing,
    "WMF": _drawing,
    "ICO": _bits_inside,
    "ICNS": _bits_inside,
    "IPTC": _bits_inside,
}
