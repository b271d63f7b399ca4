"""What an image is: files in, (3, H, W) floats in [0, 1] out; and the checks a pair must pass before any computing.

First room of the flow; `towers.py` takes over from here.

The policy for files: EXIF orientation is applied; grayscale, palette and CMYK become RGB; 16-bit grayscale keeps its
precision; an embedded colour profile is converted to sRGB; transparency is composited on white and an animation gives
its first frame, both with a warning. What would lose information silently is refused with the reason.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

RangeCheck = Literal["auto", "always", "never"]

TARGET_SLACK = 1e-3  # y is a real image: rounding is all that may take it out of [0, 1]
INPUT_SLACK = 0.5  # x may be optimised and overshoot


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


def to_float(image: Tensor) -> Tensor:
    """Turn uint8 in [0, 255] into float32 in [0, 1]; floats stay as they are."""
    return image.float().div_(255) if image.dtype == torch.uint8 else image


def to_common(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return both tensors in the wider of their dtypes, which is at least float32."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return x.to(dtype), y.to(dtype)


def check_image(image: Tensor, name: str, min_side: int = 1) -> None:
    """Check type, dtype, layout and size of one batch; reads no values.

    Raises:
        TypeError: If `image` is not a tensor of uint8 or floating dtype.
        ValueError: If it is not (N, 3, H, W) with N ≥ 1 and sides of at least `min_side`.
    """
    if not isinstance(image, Tensor):
        raise TypeError(f"{name} is a {type(image).__name__}; expected a torch.Tensor (N, 3, H, W)")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise TypeError(f"{name} has dtype {image.dtype}; expected floats in [0, 1] or uint8 in [0, 255]")
    shape = tuple(image.shape)
    if image.ndim != 4:
        hint = f"; add the batch dimension with {name}[None]" if image.ndim == 3 else ""
        raise ValueError(f"{name} has shape {shape}; expected (N, 3, H, W){hint}")
    if shape[1] != 3:
        hint = "expected 3 (RGB)"
        if shape[3] == 3:
            hint += f"; the layout looks like (N, H, W, 3): use {name}.permute(0, 3, 1, 2)"
        elif shape[1] == 1:
            hint += f"; for grayscale use {name}.expand(-1, 3, -1, -1)"
        raise ValueError(f"{name} has shape {shape}, {shape[1]} channels; {hint}")
    if shape[0] == 0:
        raise ValueError(f"{name} has shape {shape}; expected at least one image")
    if min(shape[2:]) < min_side:
        raise ValueError(f"{name} is {shape[2]}×{shape[3]}; expected at least {min_side}×{min_side}")


def check_pair(x: Tensor, y: Tensor, min_side: int = 1) -> None:
    """Check both images with `check_image`, then that shape and device agree.

    Raises:
        TypeError, ValueError: As `check_image`; ValueError if shapes or devices differ.
    """
    check_image(x, "x", min_side)
    check_image(y, "y", min_side)
    if x.shape != y.shape:
        raise ValueError(f"y has shape {tuple(y.shape)}; expected x's shape {tuple(x.shape)}")
    if x.device != y.device:
        raise ValueError(f"y is on {y.device}; expected x's device {x.device}")


def check_values(image: Tensor, name: str, slack: float, low: float = 0.0, high: float = 1.0) -> None:
    """Check that floats lie in [low − slack, high + slack]; uint8 always passes. Waits for an accelerator.

    Raises:
        ValueError: If a value is NaN, infinite or out of range, with the likely mistake.
    """
    if image.dtype == torch.uint8:
        return
    smallest, largest = (bound.item() for bound in image.detach().aminmax())
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        raise ValueError(f"{name} has NaN or infinite values; expected floats in [{low:g}, {high:g}]")
    if smallest >= low - slack and largest <= high + slack:
        return
    hint = ""
    if largest > 1.5 * high:
        hint = f": values look like 0…255; divide by 255, or pass uint8 for {name}"
    elif smallest < 0 and low == 0:
        hint = f": values look like −1…1; use ({name} + 1) / 2, or lpips_lite.compat.LPIPS"
    raise ValueError(f"{name} has values from {smallest:.4g} to {largest:.4g}; expected [{low:g}, {high:g}]{hint}")


def check_mask(mask: Tensor, x: Tensor, *, values: bool) -> None:
    """Check that a mask fits images `x`: (N, 1, H, W), same device; and its values, if they may be read.

    Raises:
        ValueError: If it does not fit, has negative or non-finite values, or a row without a positive one.
    """
    expected = (x.shape[0], 1, x.shape[2], x.shape[3])
    if tuple(mask.shape) != expected:
        raise ValueError(f"mask has shape {tuple(mask.shape)}; expected (N, 1, H, W) = {expected}")
    if mask.device != x.device:
        raise ValueError(f"mask is on {mask.device}; expected x's device {x.device}")
    if not values:
        return
    totals = mask.float().sum(dim=(1, 2, 3))
    if not (mask.min() >= 0 and torch.isfinite(totals).all()):
        raise ValueError("mask has negative, NaN or infinite values; expected values ≥ 0")
    if not totals.all():
        rows = (totals == 0).nonzero().flatten().tolist()
        raise ValueError(f"mask is empty for rows {rows}; expected a positive value in each")
