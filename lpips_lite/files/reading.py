"""One image file -> its pixels as (3, H, W) in [0, 1], or the reason why not.

First room of `files/`; `decoding.py` reads ahead with it.

The policy for files: EXIF orientation is applied; grayscale, palette and CMYK become RGB; 16-bit grayscale keeps its
precision; an embedded colour profile is converted to sRGB; transparency is composited on white and an animation gives
its first frame, both with a warning. What would lose information silently is refused with the reason.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from lpips_lite.images import to_float


class ImageWarning(UserWarning):
    """Something about an image file that was handled, and that the numbers depend on."""


def read_image(path: str | os.PathLike[str]) -> Tensor:
    """Read an image file as RGB under the policy stated at the top of this module.

    Args:
        path: Any format that Pillow reads.

    Returns:
        (3, H, W), float32 in [0, 1].

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read as an image, or only with a silent loss (16-bit colour, floating point).

    Example:
        >>> tuple(read_image("examples/images/scene.png").shape)
        (3, 256, 256)
    """
    pixels, notes = read_pixels(Path(path))
    for note in notes:
        warnings.warn(note, ImageWarning, stacklevel=2)
    return to_float(pixels)


def read_pixels(path: Path) -> tuple[Tensor, list[str]]:
    """Read what `read_image` reads as it is in the file, without warnings, so that threads can share the work.

    Returns:
        (3, H, W), uint8, or float32 in [0, 1] for 16-bit grayscale; and notes on what was handled on the way.

    Raises:
        FileNotFoundError, ValueError: As `read_image`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'is a folder, not an image' if path.is_dir() else 'no such file'}")
    notes: list[str] = []
    try:
        with Image.open(path) as image:
            _refuse_silent_loss(image, path)
            if getattr(image, "n_frames", 1) > 1:
                notes.append(f"{path}: animated; only the first frame is used")
            image.load()
            pixels = _to_array(ImageOps.exif_transpose(image), path, notes)
    except UnidentifiedImageError as error:
        start = path.read_bytes()[:12]
        what = f"it starts with {start!r}" if start else "it is empty"
        raise ValueError(f"{path}: not an image file that Pillow can read ({what})") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}") from error
    except (OSError, SyntaxError) as error:  # truncated or corrupt data
        raise ValueError(f"{path}: cannot be decoded ({error})") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), notes


def _refuse_silent_loss(image: Image.Image, path: Path) -> None:
    if image.mode in ("F", "I"):
        raise ValueError(f"{path}: {image.mode}-mode pixels have no stated range; save it as 8-bit or 16-bit grayscale")
    if image.format == "PNG" and image.mode in ("RGB", "RGBA", "LA"):
        with path.open("rb") as file:
            depth = file.read(25)[24]  # 8 signature, 8 chunk header, 8 width and height, then the bit depth
        if depth == 16:
            raise ValueError(
                f"{path}: 16-bit colour PNG, which Pillow would cut to 8 bits; convert it to 8 bits yourself, "
                f"or pass float tensors in [0, 1] to the Python interface"
            )


def _to_array(image: Image.Image, path: Path, notes: list[str]) -> np.ndarray:
    """Return (H, W, 3), uint8 or float32 in [0, 1]."""
    if image.mode.startswith("I;16"):
        gray = np.asarray(image).astype(np.float32) / 65535
        return np.repeat(gray[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if np.asarray(rgba)[..., 3].min() < 255:  # else it is opaque everywhere
            notes.append(f"{path}: transparent; composited on white")
        icc = image.info.get("icc_profile")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        image.info["icc_profile"] = icc
    return np.array(_to_srgb(image, path, notes).convert("RGB"))


def _to_srgb(image: Image.Image, path: Path, notes: list[str]) -> Image.Image:
    """Convert pixels by the embedded colour profile, if there is one and it is not sRGB already."""
    if not (icc := image.info.get("icc_profile")):
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return image
        if image.mode == "P":
            image = image.convert("RGB")
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        notes.append(f"{path}: colour profile ignored, pixels taken as sRGB ({error})")
        return image
    return converted or image
