"""One image file -> its pixels as (3, H, W) in [0, 1], or the reason why not.

After `pairs.py`; `decoding.py` reads ahead with it.

The policy for files: EXIF orientation is applied; grayscale, palette and CMYK become RGB; grayscale of up to 16 bits
keeps its precision; an embedded colour profile is converted to sRGB; transparency is composited on white or another
background, and an animation gives its first frame, both with a warning. What would lose information silently is
refused with the reason. Whatever error a decoder raises becomes a `ValueError` that names the file.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from PIL import Image, ImageFile as PillowFile, UnidentifiedImageError
from torch import Tensor

from lpips_lite.files.colour import srgb_conversion
from lpips_lite.files.contents import SMALL, Contents, is_stream
from lpips_lite.files.depth import RefusedError, samples_of, unread_depth
from lpips_lite.files.names import printable
from lpips_lite.files.picture import Picture, peak_bytes, picture_of
from lpips_lite.files.settings import MAX_PIXELS, Settings, Spelling, python_spelling
from lpips_lite.files.size_limit import size_limit
from lpips_lite.images import to_float

logging.getLogger("PIL").addHandler(logging.NullHandler())  # or Pillow's complaints would go to standard error

_COMMON = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"P5", b"P6")  # of these, opening reads no more than the header
_plugins_lock = threading.Lock()
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageWarning(UserWarning):
    """Something noticed in an image file on which the numbers depend."""


def read_image(path: str | os.PathLike[str], *, background: str = "white", max_pixels: int = MAX_PIXELS) -> Tensor:
    """Read an image file as RGB under the policy stated at the top of this module.

    Args:
        path: Any format that Pillow reads.
        background: What transparent pixels are put on: a colour name or "#rrggbb".
        max_pixels: Largest number of pixels of the image.

    Returns:
        (3, H, W), float32 in [0, 1].

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If the file cannot be read.
        ValueError: If it cannot be read as an image, or only with a silent loss (16-bit colour, floating point), or if
            it is too large; if `background` is no colour.

    Examples:
        >>> tuple(read_image("examples/images/scene.png").shape)
        (3, 256, 256)
    """
    settings = Settings(background=background, max_pixels=max_pixels)
    picture = Reader(settings.background, settings.max_pixels).open(Path(path)).decode()
    for note in picture.notes:
        warnings.warn(note, ImageWarning, stacklevel=2)
    return to_float(picture.pixels)


class Reader:
    """Opens image files, and remembers what it has read from pipes; threads may share it.

    Args:
        background: What transparent pixels are put on: a colour name or "#rrggbb".
        max_pixels: Largest number of pixels of an image.
        spell: Argument and value -> how messages write them.
    """

    def __init__(
        self, background: str = "white", max_pixels: int = MAX_PIXELS, spell: Spelling = python_spelling
    ) -> None:
        self.background, self.max_pixels, self.spell = background, max_pixels, spell
        self._contents = Contents()

    def read_streams(self, paths: Iterable[Path]) -> None:
        """Read what comes from pipes now, in the caller's thread, where an interrupt can end the waiting."""
        for path in filter(is_stream, paths):
            with suppress(OSError, ValueError):  # which come again when it is opened
                self._contents.read(path)

    def open(self, path: Path) -> ImageFile:
        """Read the bytes of a file and look at its header.

        Raises:
            FileNotFoundError: If there is no such file.
            OSError: If the file cannot be read.
            ValueError: If its header says that it is no image, or one that `read_image` refuses.
        """
        data = self._contents.read(path)
        with self._errors_named(path, data), self._opened(data) as image:
            samples_of(image, data)
            width, height = image.size
            digest = hashlib.sha256(data).digest()
            return ImageFile(path, data, digest, (int(width), int(height)), peak_bytes(image, data), self)

    def decode(self, file: ImageFile, background: str | None = None) -> Picture:
        """Do what `ImageFile.decode` says."""
        background = background or self.background
        name, notes = printable(file.path), []
        with self._errors_named(file.path, file.data), self._opened(file.data) as image:
            samples = samples_of(image, file.data)
            if image.format != "PSD" and getattr(image, "is_animated", False):  # "frames" of PSD are layers
                notes.append("animated; only the first frame is used")
            _check_memory(file.peak_bytes)
            image.decodermaxblock = max(image.decodermaxblock, 8 * image.width)  # Pillow is slow with parts of rows
            image.load()
            self._check_size(image)
            transform, found = srgb_conversion(image, file.data)
            upright, problem = _upright(image)
            picture = picture_of(upright, samples, transform, background)
            notes += [*found, *problem]
            if picture.alpha is not None:
                notes.append(f"transparent; composited on {background}")
            return replace(picture, notes=tuple(f"{name}: {note}" for note in notes))

    @contextmanager
    def _opened(self, data: bytes) -> Iterator[PillowFile.ImageFile]:
        common = data.startswith(_COMMON)
        _load_plugins(everything=not common)
        with size_limit(sys.maxsize if common else self.max_pixels):  # the error of `_check_size` says more
            image = Image.open(io.BytesIO(data))
        with image, size_limit(self.max_pixels):
            self._check_size(image)
            yield image

    @contextmanager
    def _errors_named(self, path: Path, data: bytes) -> Iterator[None]:
        """Turn whatever goes wrong while a file is opened or decoded into a `ValueError` that names it."""
        try:
            yield
        except Image.DecompressionBombError as error:
            pixels, allowed = re.findall(r"\d+", f"{error} 0")[0], self.spell("max_pixels", self.max_pixels)
            reason = f"{printable(path)}: {pixels} pixels; expected no more than {allowed}"
            raise ValueError(reason) from error
        except Exception as error:
            raise ValueError(f"{printable(path)}: {_reason(error, data)}") from error

    def _check_size(self, image: Image.Image) -> None:
        width, height = image.size
        if width * height > self.max_pixels:
            allowed = self.spell("max_pixels", self.max_pixels)
            raise RefusedError(f"{width} × {height} = {width * height} pixels; expected no more than {allowed}")


@dataclass(frozen=True, slots=True, eq=False)
class ImageFile:
    """A file in memory that has been found to be an image.

    Attributes:
        path: Path of the file.
        data: Its bytes.
        digest: Their SHA-256.
        size: Width and height, before a turn by EXIF.
        peak_bytes: Estimate of the largest memory taken while it is decoded, its own bytes included.
    """

    path: Path
    data: bytes = field(repr=False)
    digest: bytes
    size: tuple[int, int]
    peak_bytes: int
    _reader: Reader = field(repr=False)

    def decode(self, background: str | None = None) -> Picture:
        """Decode the pixels; it can be done again, also on another background than the reader's.

        Raises:
            ValueError: If the data are corrupt, or need more memory than there is.
        """
        return self._reader.decode(self, background)


def _load_plugins(*, everything: bool) -> None:
    """Load Pillow's readers of formats; left to two threads at once, it overlooks some."""
    with _plugins_lock:
        Image.preinit()
        if everything:
            Image.init()


def _check_memory(peak: int) -> None:
    if peak > SMALL and peak > (free := psutil.virtual_memory().available):
        raise RefusedError(f"needs more memory than there is (about {peak >> 20} MiB; {free >> 20} MiB are free)")


def _upright(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Return a picture turned as its EXIF data say, and a note if they cannot be read."""
    try:
        method = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception as error:  # whatever broken EXIF data lead to
        return image, [f"EXIF data ignored, picture taken as upright ({_text(error)})"]
    if method is None:
        return image, []
    turned = image.transpose(method)
    image.close()  # gives its memory back
    return turned, []


def _reason(error: Exception, data: bytes) -> str:
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        start = f"it starts with {data[:12]!r}{_plugin_reason(data)}" if data else "it is empty"
        return f"not an image file that Pillow can read ({unread_depth(data) or start})"
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    return f"cannot be decoded ({_text(error)})"


def _plugin_reason(data: bytes) -> str:
    """Return the error of the format whose files begin like this one."""
    for name in Image.ID:
        factory, accept = Image.OPEN[name]
        try:
            begins_like = accept is not None and accept(data[:16]) is True
        except Exception:  # of some formats, where the file ends too soon
            continue
        if begins_like:
            try:
                with size_limit(MAX_PIXELS):
                    factory(io.BytesIO(data), "")
            except Exception as error:
                return f"; as {name}: {_text(error)}"
    return ""


def _text(error: Exception) -> str:
    """Return what an error says on one line, after its kind if that says more than that something is wrong."""
    text = printable(" ".join(str(error).split()))[:200]
    if text and isinstance(error, OSError | SyntaxError | ValueError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
