"""Files read ahead of the metrics: pairs of paths in; pairs of pictures, or the reason why not, out, in order.

After `pairs.py`, before `measuring.py`. Threads do the work, since Pillow releases the interpreter lock while it
decodes: no start-up, nothing to copy between processes, and no process to stop after an interrupt. What they hold is
bounded by bytes, not by the number of pairs.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Generic, TypeVar

import psutil
import torch
from torch import Tensor

from lpips_lite.files.areas import Mask, area_of, read_mask
from lpips_lite.files.budget import Budget
from lpips_lite.files.contents import bytes_on_disk
from lpips_lite.files.names import first_line, printable
from lpips_lite.files.pairing import Pair
from lpips_lite.files.picture import Picture
from lpips_lite.files.reading import ImageFile, Reader
from lpips_lite.files.resizing import resized_bytes, to_one_size
from lpips_lite.files.settings import Settings, red_green_blue
from lpips_lite.images import to_float

AHEAD = 4  # pairs read in advance for each worker, if they are small
MOST_BYTES = 3 * 2**28  # that pictures read ahead may hold, or a quarter of the free memory if that is less

Made = TypeVar("Made")


@dataclass(frozen=True)
class Decoded:
    """A pair as pictures of equal size, or an error instead of them.

    Attributes:
        pair: Which files.
        image: (3, H, W), uint8 or float in [0, 1].
        reference: Likewise.
        identical: Whether the files' size, pixels and transparency are equal; under a mask, the pixels that it leaves.
        content: A hash of the bytes of the files, a mask's included: 16 hexadecimal digits.
        error: Why there are no pictures.
        notes: What was noticed while reading.
        bytes: Size of the image's file.
        pixels: Number of pixels of the reference, before it is resized.
        area: (H, W), bool: where the pair is compared; `None`: everywhere.
        resized: Whether the size of a picture was changed.
    """

    pair: Pair
    image: Tensor | None = None
    reference: Tensor | None = None
    identical: bool | None = None
    content: str | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    bytes: int = 0
    pixels: int = 0
    area: Tensor | None = None
    resized: bool = False

    @property
    def held(self) -> int:
        """Bytes of the pictures."""
        return sum(part.nbytes for part in (self.image, self.reference, self.area) if part is not None)

    @property
    def compared(self) -> Tensor | None:
        """The image as it is measured: where it is not compared it shows the reference, so nothing there counts."""
        if self.area is None or self.image is None or self.reference is None:
            return self.image
        x, y = self.image, self.reference
        return torch.where(self.area, *((x, y) if x.dtype == y.dtype else (to_float(x), to_float(y))))


def decode(pairs: Iterable[Pair], settings: Settings, reader: Reader) -> Iterator[Decoded]:
    """Read pairs in order, a few of them ahead of time. A reference or mask that follows itself is read once."""
    pairs = list(pairs)
    reader.read_streams(path for pair in pairs for path in pair.files)
    budget = Budget(min(MOST_BYTES, psutil.virtual_memory().available // 4))
    todo = zip(count(), _with_shared(pairs, reader), strict=False)
    with ThreadPoolExecutor(settings.workers) as pool:

        def submit(numbered: tuple[int, _Task]) -> Future[Decoded]:
            turn, task = numbered
            return pool.submit(_decode_pair, *task, settings, reader, budget, turn)

        pending = deque(map(submit, islice(todo, AHEAD * settings.workers)))
        try:
            for turn in count():
                if not pending:
                    return
                decoded = pending.popleft().result()
                pending.extend(map(submit, islice(todo, 1)))
                yield decoded
                budget.give_back(turn)
        finally:
            budget.close()
            for future in pending:
                future.cancel()


def content_of(reference: ImageFile, image: ImageFile, mask: ImageFile | None = None) -> str:
    """Return a hash of the bytes of two files, and of a mask: 16 hexadecimal digits."""
    digests = reference.digest + image.digest + (b"" if mask is None else mask.digest)
    return hashlib.sha256(digests).hexdigest()[:16]


class _Shared(Generic[Made]):
    """A file that pairs following each other share: read and made into something by the first that needs it."""

    def __init__(self, path: Path, reader: Reader, make: Callable[[ImageFile], Made]) -> None:
        self.path = path
        self._reader, self._make, self._lock = reader, make, threading.Lock()
        self._file: ImageFile | None = None
        self._made: Made | None = None

    def open(self) -> ImageFile:
        with self._lock:
            self._file = self._file or self._reader.open(self.path)
            return self._file

    def made(self) -> Made:
        file = self.open()
        with self._lock:
            if self._made is None:
                self._made = self._make(file)
            return self._made


_Task = tuple[Pair, _Shared[Picture], _Shared[Mask] | None]


def _with_shared(pairs: Iterable[Pair], reader: Reader) -> Iterator[_Task]:
    reference: _Shared[Picture] | None = None
    mask: _Shared[Mask] | None = None
    for pair in pairs:
        if reference is None or reference.path != pair.reference:
            reference = _Shared(pair.reference, reader, ImageFile.decode)
        if pair.mask is None:
            mask = None
        elif mask is None or mask.path != pair.mask:
            mask = _Shared(pair.mask, reader, read_mask)
        yield pair, reference, mask


def _decode_pair(
    pair: Pair,
    reference: _Shared[Picture],
    mask: _Shared[Mask] | None,
    settings: Settings,
    reader: Reader,
    budget: Budget,
    turn: int,
) -> Decoded:
    """Read one pair when its turn has come and there is memory for it."""
    content = None
    try:
        budget.enter(turn, sum(map(bytes_on_disk, pair.files)))
        files = reader.open(pair.image), reference.open()
        mask_file = mask.open() if mask else None
        content = content_of(files[1], files[0], mask_file)
        peak = sum(file.peak_bytes for file in (*files, mask_file) if file is not None)
        budget.take(turn, peak + resized_bytes(files[0].size, files[1].size, settings))
        decoded = _to_pair(pair, files, reference.made(), mask.made() if mask else None, settings)
    except (OSError, ValueError) as error:
        budget.take(turn, 0)
        return Decoded(pair, content=content, error=str(error))
    except (MemoryError, RuntimeError) as error:  # the latter from torch; a file's own is a ValueError that names it
        budget.take(turn, 0)
        reason = f"{printable(pair.image)}: needs more memory than there is ({first_line(error)})"
        return Decoded(pair, content=content, error=reason)
    budget.settle(turn, decoded.held)
    return replace(decoded, content=content, bytes=len(files[0].data), pixels=math.prod(files[1].size))


def _to_pair(
    pair: Pair, files: tuple[ImageFile, ImageFile], reference: Picture, mask: Mask | None, settings: Settings
) -> Decoded:
    image = files[0].decode()
    own, notes = area_of(pair, mask, (reference.pixels.shape[1], reference.pixels.shape[2]), settings)

    def alike(x: Tensor, y: Tensor) -> tuple[bool, Tensor, Tensor, Tensor | None]:
        x, y, area = to_one_size(pair, x, y, own, settings)
        if area is not None and not area.any():
            raise ValueError(f"{printable(pair.image)}: no pixel is left to compare, after masks, boxes and resizing")
        return _equal(x, y, area), x, y, area

    equal, x, y, area = alike(image.pixels, reference.pixels)
    if equal and image.alpha != reference.alpha:
        black = red_green_blue(settings.background) == (0, 0, 0)
        other = "white" if black else "black"
        if area is None or not alike(files[0].decode(other).pixels, files[1].decode(other).pixels)[0]:
            hidden, another = (settings.spell("background", color) for color in (settings.background, other))
            names = printable(pair.image), printable(pair.reference)
            raise ValueError(
                f"{names[0]}: differs from {names[1]} only in what is transparent, which {hidden} hides; try {another}"
            )
    return Decoded(
        pair,
        x,
        y,
        equal and image.pixels.shape == reference.pixels.shape and (area is not None or image.rgba == reference.rgba),
        notes=(*image.notes, *reference.notes, *notes),
        area=area,
        resized=(x.shape, y.shape) != (image.pixels.shape, reference.pixels.shape),
    )


def _equal(x: Tensor, y: Tensor, area: Tensor | None) -> bool:
    if x.dtype != y.dtype:
        x, y = to_float(x), to_float(y)
    return torch.equal(x, y) if area is None else not ((x != y).any(dim=0) & area).any()
