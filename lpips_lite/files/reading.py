"""One image file -> its pixels as (3, H, W) in [0, 1], or the reason why not.

First room of `files/`; `decoding.py` reads ahead with it. A file's bytes are read once, hashed and decoded from memory.

The policy for files: EXIF orientation is applied; grayscale, palette and CMYK become RGB; 16-bit grayscale keeps its
precision; an embedded colour profile is converted to sRGB; transparency is composited on a background (white) and an
animation gives its first frame, both with a note. What would lose information silently is refused with the reason.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lpips_lite.files.colour import notes_on_tags, to_srgb
from lpips_lite.files.depth import refuse_silent_loss
from lpips_lite.files.names import first_line, printable
from lpips_lite.files.settings import MAX_PIXELS, Spelling, python_spelling, red_green_blue
from lpips_lite.images import to_float

PEAK_BYTES = 10  # for each pixel while it is decoded: Pillow's four, an array's three, the tensor's three


class ImageWarning(UserWarning):
    """Something about an image file that was handled, and that the numbers depend on."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded file.

    Attributes:
        pixels: (3, H, W), uint8, or float32 in [0, 1] for 16-bit grayscale.
        notes: On what was handled on the way.
        alpha: Stands for the transparency of all pixels; `None` if they are opaque.
        rgba: Stands for colours and transparency, before compositing; `None` if they are opaque.
    """

    pixels: Tensor
    notes: tuple[str, ...] = ()
    alpha: bytes | None = None
    rgba: bytes | None = None


def read_image(path: str | os.PathLike[str], *, background: str = "white", max_pixels: int = MAX_PIXELS) -> Tensor:
    """Read an image file as RGB under the policy stated at the top of this module.

    Args:
        path: Any format that Pillow reads.
        background: What transparent pixels are put on: a colour name or "#rrggbb".
        max_pixels: A larger image is an error.

    Returns:
        (3, H, W), float32 in [0, 1].

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read as an image, or only with a silent loss (16-bit colour, floating point).

    Example:
        >>> tuple(read_image("examples/images/scene.png").shape)
        (3, 256, 256)
    """
    picture = Reader(background, max_pixels).open(Path(path)).decode()
    for note in picture.notes:
        warnings.warn(note, ImageWarning, stacklevel=2)
    return to_float(picture.pixels)


class Reader:
    """Opens image files; remembers what came through a pipe or standard input, which can be read only once.

    Args:
        background: What transparent pixels are put on.
        max_pixels: A larger image is an error.
        spell: How messages name arguments.
    """

    def __init__(
        self, background: str = "white", max_pixels: int = MAX_PIXELS, spell: Spelling = python_spelling
    ) -> None:
        self.background, self.max_pixels, self.spell = background, max_pixels, spell
        self._piped: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def open(self, path: Path) -> ImageFile:
        """Read a file's bytes and its header.

        Raises:
            OSError, ValueError: As `read_image`.
        """
        return ImageFile(path, self._bytes_of(path), self)

    def _bytes_of(self, path: Path) -> bytes:
        if path.is_file():
            with _named_errors(path):
                return path.read_bytes()
        is_stdin = path in (Path("-"), Path("/dev/stdin")) and not path.is_dir()
        if path.is_dir() or not (is_stdin or path.exists()):
            raise FileNotFoundError(
                f"{printable(path)}: {'is a folder, not an image' if path.is_dir() else 'no such file'}"
            )
        with self._lock, _named_errors(path):
            key = "-" if is_stdin else str(path)
            if key not in self._piped:
                if is_stdin and sys.stdin is None:
                    raise ValueError("standard input is closed")
                self._piped[key] = sys.stdin.buffer.read() if is_stdin else path.read_bytes()
            return self._piped[key]


class ImageFile:
    """A file's bytes in memory, and what its header says.

    Attributes:
        path: Where it was.
        digest: SHA-256 of its bytes.
        size: Width and height.
        peak_bytes: Estimate of the memory that decoding takes at its peak.
    """

    def __init__(self, path: Path, data: bytes, reader: Reader) -> None:
        self.path, self._data, self._reader = path, data, reader
        self.digest = hashlib.sha256(data).digest()
        with self._opened() as image:
            self.size = image.size
        pixels = self.size[0] * self.size[1]
        if pixels > reader.max_pixels:
            allowed = reader.spell("max_pixels", reader.max_pixels)
            sizes = f"{self.size[0]}×{self.size[1]} are {pixels} pixels"
            raise ValueError(f"{printable(path)}: {sizes}; expected at most {allowed}")
        self.peak_bytes = PEAK_BYTES * pixels

    def decode(self) -> Picture:
        """Decode the pixels.

        Raises:
            ValueError: If they cannot be decoded, or only with a silent loss.
        """
        name = printable(self.path)
        notes: list[str] = []
        with self._opened() as image:
            refuse_silent_loss(image, self._data, name)
            if getattr(image, "n_frames", 1) > 1:
                notes.append(f"{name}: animated; only the first frame is used")
            notes += notes_on_tags(image, self._data, name)
            image.load()
            return self._to_picture(ImageOps.exif_transpose(image), notes)

    @contextmanager
    def _opened(self) -> Iterator[Image.Image]:
        with _named_errors(self.path), _pillow_without_limit():
            try:
                image = Image.open(io.BytesIO(self._data))
            except UnidentifiedImageError as error:
                what = f"it starts with {self._data[:12]!r}" if self._data else "it is empty"
                raise ValueError(f"{self.path}: not an image file that Pillow can read ({what})") from error
            with image:
                yield image

    def _to_picture(self, image: Image.Image, notes: list[str]) -> Picture:
        name = printable(self.path)
        if image.mode.startswith("I;16"):
            gray = np.asarray(image).astype(np.float32) / 65535
            if image.info.get("icc_profile"):
                notes.append(f"{name}: colour profile of 16-bit grayscale ignored, pixels taken as sRGB")
            return Picture(torch.from_numpy(gray).expand(3, -1, -1).contiguous(), tuple(notes))
        alpha = rgba = None
        if image.has_transparency_data:
            image, alpha, rgba = self._composite(image, notes)
        array = np.array(to_srgb(image, name, notes).convert("RGB"))
        return Picture(torch.from_numpy(array).permute(2, 0, 1).contiguous(), tuple(notes), alpha, rgba)

    def _composite(self, image: Image.Image, notes: list[str]) -> tuple[Image.Image, bytes | None, bytes | None]:
        icc = image.info.get("icc_profile")
        full = image.convert("RGBA")
        color = red_green_blue(self._reader.background)
        flat = Image.alpha_composite(Image.new("RGBA", full.size, (*color, 255)), full).convert("RGB")
        flat.info["icc_profile"] = icc
        plane = full.getchannel("A")
        if plane.getextrema()[0] == 255:
            return flat, None, None  # opaque everywhere
        notes.append(f"{printable(self.path)}: transparent; composited on {self._reader.background}")
        size = repr(full.size).encode()
        return flat, _digest(size, plane.tobytes()), _digest(size, full.tobytes())


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn whatever a decoder throws into an error that names the file."""
    name = printable(path)
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: no such file") from None
    except ValueError as error:
        if type(error) is ValueError and name in str(error):
            raise
        raise ValueError(f"{name}: cannot be decoded ({first_line(error)})") from error
    except MemoryError as error:
        raise ValueError(f"{name}: needs more memory than there is") from error
    except Exception as error:  # decoders throw anything
        raise ValueError(f"{name}: cannot be decoded ({first_line(error)})") from error


_limit_lock = threading.Lock()
_limit_users = 0
_limit: int | None = None


@contextmanager
def _pillow_without_limit() -> Iterator[None]:
    """Take back Pillow's own limit of pixels while a file is read: `max_pixels` is ours."""
    global _limit_users, _limit
    with _limit_lock:
        if _limit_users == 0:
            _limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _limit_users += 1
    try:
        yield
    finally:
        with _limit_lock:
            _limit_users -= 1
            if _limit_users == 0:
                Image.MAX_IMAGE_PIXELS = _limit
