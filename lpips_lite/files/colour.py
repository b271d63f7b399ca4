"""Colours as a file means them: profiles are converted to sRGB, judged by what they do and never by their name."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

GRID = (0, 32, 64, 96, 128, 160, 192, 224, 255)  # of each channel, on which a profile is tried
SRGB_GAMMA = 1 / 2.2
SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
GAMMA_SLACK, PRIMARIES_SLACK = 0.01, 0.005


def to_srgb(image: Image.Image, name: str, notes: list[str]) -> Image.Image:
    """Convert pixels by the embedded colour profile, unless that would change nothing."""
    if not (icc := image.info.get("icc_profile")):
        return image
    if image.mode in ("P", "1"):
        image = image.convert("RGB" if image.mode == "P" else "L")
    try:
        if _is_srgb(icc, image.mode):
            return image
        return _convert(image, icc)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        notes.append(f"{name}: colour profile ignored, pixels taken as sRGB ({error})")
        return image


def _convert(image: Image.Image, icc: bytes) -> Image.Image:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return converted or image


@lru_cache(64)
def _is_srgb(icc: bytes, mode: str) -> bool:
    """Say whether a profile leaves every colour of a grid where it is, but for one level."""
    if mode not in ("RGB", "L"):
        return False
    if mode == "L":
        grid = np.arange(256, dtype=np.uint8)[None]
    else:
        grid = np.stack(np.meshgrid(GRID, GRID, GRID), axis=-1).astype(np.uint8).reshape(1, -1, 3)
    before = Image.fromarray(grid)
    moved = np.asarray(_convert(before, icc)).astype(int) - np.asarray(before.convert("RGB"))
    return bool(np.abs(moved).max() <= 1)


def notes_on_tags(image: Image.Image, data: bytes, name: str) -> list[str]:
    """Return notes on what a PNG says of its colours outside a profile, where that is not sRGB."""
    if image.format != "PNG":
        return []
    chunk = data.find(b"cICP", 0, data.find(b"IDAT"))
    if chunk >= 0 and tuple(data[chunk + 4 : chunk + 6]) != (1, 13):
        codes = "/".join(map(str, data[chunk + 4 : chunk + 8]))
        return [f"{name}: its cICP chunk says {codes}, pixels taken as sRGB"]
    if image.info.get("icc_profile") or "srgb" in image.info:
        return []
    notes = []
    gamma, primaries = image.info.get("gamma"), image.info.get("chromaticity")
    if gamma is not None and abs(gamma - SRGB_GAMMA) > GAMMA_SLACK:
        notes.append(f"{name}: its gAMA chunk says {gamma:g}, pixels taken as sRGB")
    if primaries is not None and np.abs(np.subtract(primaries, SRGB_PRIMARIES)).max() > PRIMARIES_SLACK:
        notes.append(f"{name}: its cHRM chunk has other primaries, pixels taken as sRGB")
    return notes
