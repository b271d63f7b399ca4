"""The meaning of colours in a file: profiles are converted to sRGB unless they change nothing; other tags are noted.

Used by `reading.py`, on an image that Pillow has decoded.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from lpips_lite.files.depth import boxes

_SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x and y of white, red, green and blue
_CLOSE = 0.01  # tolerance for these
_CURVES = {1: "BT.709", 8: "linear", 13: "sRGB", 16: "PQ", 18: "HLG"}  # code points of H.273, like the next
_PRIMARIES = {1: "sRGB", 9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
_PLAIN_PRIMARIES, _PLAIN_CURVES = {1, 2}, {2, 13}  # 2: unspecified
_VIDEO_CURVES = {1, 6}  # AVIF encoders state these for ordinary pictures, too, which viewers show as sRGB
_PROFILED_MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK", "Lab": "LAB"}  # space of a profile -> Pillow's mode
_EXIF, _EXIF_COLOR_SPACE, _ADOBE_RGB, _UNCALIBRATED = 0x8769, 0xA001, 2, 65535
_TIFF_TRANSFER_FUNCTION, _TIFF_WHITE, _TIFF_PRIMARIES = 301, 318, 319


def srgb_conversion(image: Image.Image, data: bytes) -> tuple[ImageCms.ImageCmsTransform | None, list[str]]:
    """Find out how to convert the pixels to sRGB.

    In a PNG, cICP takes precedence over iCCP, then come sRGB, and then gAMA and cHRM.

    Args:
        image: An image loaded by Pillow.
        data: The whole file.

    Returns:
        The transform to apply to an image of its `input_mode`, or None if the pixels do not change; and notes, without
        the name of the file.
    """
    cicp = _png_chunk(data, b"cICP") if image.format == "PNG" else b""
    if cicp[:2] == b"\1\15":
        return None, []
    named = f"its cICP chunk says {_named(*cicp[:2])}, " if len(cicp) >= 2 and not _is_plain(*cicp[:2]) else ""
    profile = _profile(image, data)
    if profile is None:
        tag = named or _other_tag(image, data)
        return None, [f"{tag.removesuffix(', ')}, pixels taken as sRGB"] if tag else []
    transform, problem = _transform(profile, _profiled_mode(image))
    if transform and image.mode.startswith("I"):
        transform, problem = None, "16-bit gray is not converted"
    if problem:
        return None, [f"{named}colour profile ignored, pixels taken as sRGB ({problem})"]
    return transform, [f"{named}its colour profile is used instead"] if named else []


def _profiled_mode(image: Image.Image) -> str:
    if image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I"):
        return "L"
    return image.mode if image.mode in ("CMYK", "LAB") else "RGB"


def _profile(image: Image.Image, data: bytes) -> bytes | None:
    """Return the profile of a file, empty if Pillow could not unpack it; None if there is none."""
    if "icc_profile" in image.info:
        profile = image.info["icc_profile"]
        return profile if isinstance(profile, bytes) else b""
    if image.format == "JPEG2000":
        return next((box[3:] for box in boxes(data, b"jp2h", b"colr") if box[:1] in (b"\2", b"\3")), None)
    if image.format == "BMP" and data[14] == 124 and data[70:74] == b"DEBM":
        start, size = struct.unpack_from("<II", data, 126)
        return data[14 + start : 14 + start + size]
    return None


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """Return the transform from a profile to sRGB (None if it changes nothing), and why it cannot be used, or ""."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if _PROFILED_MODES.get(space) != mode and (mode, space) != ("L", "RGB"):
            return None, f"it describes {space}, the pixels are {'gray' if mode == 'L' else mode}"
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        flags = ImageCms.Flags.NOCACHE  # threads share the transform
        if space == "GRAY":  # otherwise its curve is sampled so coarsely that dark grays are wrong by 10 levels
            flags |= ImageCms.Flags.NOOPTIMIZE
        transform = ImageCms.buildTransform(source, srgb, _PROFILED_MODES[space], "RGB", flags=flags)
        return (None if _changes_nothing(transform, mode) else transform), ""
    except Exception as error:  # whatever a broken profile raises
        return None, str(error) or type(error).__name__


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Return whether all colours of a grid, and all grays, change by at most one level."""
    if mode not in ("L", "RGB"):
        return False
    colors = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(256, 3)
    if mode == "RGB":
        levels = np.arange(0, 256, 15, dtype=np.uint8)
        grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
        colors = np.concatenate([colors, grid])
    moved = np.asarray(transform.apply(Image.fromarray(colors[None]).convert(transform.input_mode)))[0]
    return int(np.abs(moved.astype(int) - colors).max()) <= 1


def _is_plain(primaries: int, curve: int) -> bool:
    return primaries in _PLAIN_PRIMARIES and curve in _PLAIN_CURVES


def _named(primaries: int, curve: int) -> str:
    return f"{_PRIMARIES.get(primaries, primaries)} primaries with the {_CURVES.get(curve, curve)} curve"


def _png_chunk(data: bytes, kind: bytes) -> bytes:
    """Return the contents of a chunk before the pixels, empty if there is none."""
    at = 8
    while at + 8 <= len(data) and data[at + 4 : at + 8] != b"IDAT":
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == kind:
            return data[at + 8 : at + 8 + size]
        at += 12 + size
    return b""


def _other_tag(image: Image.Image, data: bytes) -> str:
    """Return the tag of a file without a profile that says its colours are not sRGB, or ""."""
    if "srgb" in image.info:
        return ""
    found = _TAGS[image.format](image, data) if image.format in _TAGS else ""
    return found or _exif_tag(image)


def _exif_tag(image: Image.Image) -> str:
    try:
        space = image.getexif().get_ifd(_EXIF).get(_EXIF_COLOR_SPACE)
    except Exception:  # broken EXIF data are noted when the orientation is read
        return ""
    names = {_ADOBE_RGB: "Adobe RGB", _UNCALIBRATED: "other than sRGB (Adobe RGB, as a rule)"}
    return f"its EXIF data say that colours are {names[space]}" if space in names else ""


def _png_tag(image: Image.Image, data: bytes) -> str:
    if "gamma" in image.info and abs(image.info["gamma"] * 2.2 - 1) > 0.05:
        return f"its gAMA chunk says gamma {image.info['gamma']:g}"
    return "" if _are_srgb(image.info.get("chromaticity", ())) else "its cHRM chunk names other primaries than sRGB's"


def _are_srgb(chromaticities: Sequence[float]) -> bool:
    """Return whether primaries, if there are any, are those of sRGB."""
    if len(chromaticities) != len(_SRGB):
        return not chromaticities
    return all(abs(float(found) - own) <= _CLOSE for found, own in zip(chromaticities, _SRGB, strict=True))


def _avif_tag(image: Image.Image, data: bytes) -> str:
    for box in boxes(data, b"meta", b"colr"):
        if box[:4] == b"nclx" and len(box) >= 8:
            primaries, curve = struct.unpack_from(">HH", box, 4)
            plain = _is_plain(primaries, 13 if curve in _VIDEO_CURVES else curve)
            return "" if plain else f"its nclx box says {_named(primaries, curve)}"
    return ""


def _jpeg_2000_tag(image: Image.Image, data: bytes) -> str:
    spaces = [int.from_bytes(box[3:7], "big") for box in boxes(data, b"jp2h", b"colr") if box[:1] == b"\1"]
    handled = (0, 12, 15, 16, 17, 18)  # bilevel, CMYK, bilevel, sRGB, gray, sYCC
    return f"its colr box names colour space {spaces[0]}" if spaces and spaces[0] not in handled else ""


def _bmp_tag(image: Image.Image, data: bytes) -> str:
    if data[14] not in (108, 124):
        return ""
    if data[70:74] == b"KNIL":
        return "its header names the file of a colour profile, which is not read"
    gammas = [number / 65536 for number in struct.unpack_from("<3I", data, 110)]
    calibrated = data[70:74] == bytes(4) and any(gammas)
    odd = [gamma for gamma in gammas if abs(gamma / 2.2 - 1) > 0.05] if calibrated else []
    return f"its header says gamma {odd[0]:g}" if odd else ""


def _qoi_tag(image: Image.Image, data: bytes) -> str:
    return "its header says that its values are linear" if data[13] == 1 else ""


def _tiff_tag(image: Image.Image, data: bytes) -> str:
    tags = getattr(image, "tag_v2", {})
    if _TIFF_TRANSFER_FUNCTION in tags:
        return "its TransferFunction tag is not used"
    if _TIFF_PRIMARIES in tags and not _are_srgb((*tags.get(_TIFF_WHITE, _SRGB[:2]), *tags[_TIFF_PRIMARIES])):
        return "its PrimaryChromaticities tag names other primaries than sRGB's"
    return ""


_TAGS: dict[str | None, Callable[[Image.Image, bytes], str]] = {
    "PNG": _png_tag,
    "AVIF": _avif_tag,
    "JPEG2000": _jpeg_2000_tag,
    "BMP": _bmp_tag,
    "QOI": _qoi_tag,
    "TIFF": _tiff_tag,
}
