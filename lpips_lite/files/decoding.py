"""Files read ahead of the metrics: pairs of paths in; pairs of pictures, or the reason why not, out, in order.

After `pairs.py`, before `measuring.py`. Threads do the work, since Pillow lets go of the interpreter while it decodes:
no start-up, nothing to copy between processes, and an interrupt finds nobody else to stop. What they hold is bounded
by bytes, not by the number of pairs.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice

import psutil
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lpips_lite.files.contents import bytes_on_disk
from lpips_lite.files.names import first_line, printable
from lpips_lite.files.pairs import Pair
from lpips_lite.files.picture import Picture
from lpips_lite.files.reading import ImageFile, Reader
from lpips_lite.files.settings import Settings, red_green_blue
from lpips_lite.images import to_float

AHEAD = 4  # pairs read in advance for each worker, if they are small
MOST_BYTES = 3 * 2**28  # that pictures read ahead may hold, or a quarter of the free memory if that is less
RESIZED_BYTES = 24  # for each pixel of a resized picture: float32 of three channels, twice while it is computed


@dataclass(frozen=True)
class Decoded:
    """A pair as pictures of equal size, or an error instead of them.

    Attributes:
        pair: Which files.
        image: (3, H, W), uint8 or float in [0, 1].
        reference: Likewise.
        identical: Whether the files' pixels are equal, transparency included.
        content: 16 hexadecimal digits that stand for the bytes of both files.
        error: Why there are no pictures.
        notes: On what was handled while reading.
        bytes: Of the image's file.
        pixels: Of the reference, before it is resized.
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


def decode(pairs: Iterable[Pair], settings: Settings, reader: Reader) -> Iterator[Decoded]:
    """Read pairs in order, a few of them ahead of time. A reference that follows itself is read once."""
    pairs = list(pairs)
    reader.read_streams(path for pair in pairs for path in (pair.reference, pair.image))
    budget = Budget(min(MOST_BYTES, psutil.virtual_memory().available // 4))
    todo = zip(count(), _with_references(pairs, reader), strict=False)
    with ThreadPoolExecutor(settings.workers) as pool:

        def submit(numbered: tuple[int, tuple[Pair, _Reference]]) -> Future[Decoded]:
            turn, (pair, reference) = numbered
            return pool.submit(_decode_pair, pair, reference, settings, reader, budget, turn)

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


def content_of(reference: ImageFile, image: ImageFile) -> str:
    """Return 16 hexadecimal digits that stand for the bytes of two files."""
    return hashlib.sha256(reference.digest + image.digest).hexdigest()[:16]


class _Reference:
    """A reference that pairs following each other share: read by the first that needs it."""

    def __init__(self, pair: Pair, reader: Reader) -> None:
        self.path = pair.reference
        self._reader, self._lock = reader, threading.Lock()
        self._file: ImageFile | None = None
        self._picture: Picture | None = None

    def open(self) -> ImageFile:
        with self._lock:
            self._file = self._file or self._reader.open(self.path)
            return self._file

    def decode(self) -> Picture:
        file = self.open()
        with self._lock:
            self._picture = self._picture or file.decode()
            return self._picture


def _with_references(pairs: Iterable[Pair], reader: Reader) -> Iterator[tuple[Pair, _Reference]]:
    reference: _Reference | None = None
    for pair in pairs:
        if reference is None or reference.path != pair.reference:
            reference = _Reference(pair, reader)
        yield pair, reference


def _decode_pair(
    pair: Pair, reference: _Reference, settings: Settings, reader: Reader, budget: Budget, turn: int
) -> Decoded:
    """Read one pair when its turn has come and there is memory for it."""
    content = None
    try:
        budget.enter(turn, bytes_on_disk(pair.image) + bytes_on_disk(pair.reference))
        image_file, reference_file = reader.open(pair.image), reference.open()
        content = content_of(reference_file, image_file)
        budget.take(turn, _peak_bytes(image_file, reference_file, settings))
        decoded = _to_pair(pair, image_file.decode(), reference.decode(), settings)
    except (OSError, ValueError) as error:
        budget.take(turn, 0)
        return Decoded(pair, content=content, error=str(error))
    except (MemoryError, RuntimeError) as error:  # the latter from torch; a file's own is a ValueError that names it
        budget.take(turn, 0)
        reason = f"{printable(pair.image)}: needs more memory than there is ({first_line(error)})"
        return Decoded(pair, content=content, error=reason)
    budget.settle(turn, sum(side.nbytes for side in (decoded.image, decoded.reference) if side is not None))
    return replace(decoded, content=content, bytes=len(image_file.data), pixels=math.prod(reference_file.size))


def _to_pair(pair: Pair, image: Picture, reference: Picture, settings: Settings) -> Decoded:
    x, y = image.pixels, reference.pixels
    if settings.resize == "ref":
        x = fit(x, (y.shape[1], y.shape[2]))
    elif isinstance(settings.resize, tuple):
        x, y = fit(x, settings.resize), fit(y, settings.resize)
    names = printable(pair.image), printable(pair.reference)
    if x.shape != y.shape:
        sizes = " against ".join(f"{side.shape[2]}×{side.shape[1]}" for side in (x, y))
        remedy = settings.spell("resize", "ref")
        raise ValueError(f"{names[0]}: sizes differ, {sizes} of {names[1]}; {remedy} makes them equal")
    equal = _equal(x, y)
    if equal and image.alpha != reference.alpha:
        black = red_green_blue(settings.background) == (0, 0, 0)
        hidden, other = (settings.spell("background", c) for c in (settings.background, "white" if black else "black"))
        raise ValueError(
            f"{names[0]}: differs from {names[1]} only in what is transparent, which {hidden} hides; try {other}"
        )
    return Decoded(pair, x, y, equal and image.rgba == reference.rgba, notes=(*image.notes, *reference.notes))


def _equal(x: Tensor, y: Tensor) -> bool:
    return torch.equal(x, y) if x.dtype == y.dtype else torch.equal(to_float(x), to_float(y))


def _peak_bytes(image: ImageFile, reference: ImageFile, settings: Settings) -> int:
    """Estimate the memory that reading a pair takes at its peak."""
    peak = image.peak_bytes + reference.peak_bytes
    if settings.resize != "no":
        width, height = reference.size if settings.resize == "ref" else settings.resize
        peak += RESIZED_BYTES * width * height
    return peak


def fit(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (3, H, W) to (height, width), bicubic and antialiased, in [0, 1]; left alone if it has that size."""
    if tuple(image.shape[1:]) == size:
        return image
    return interpolate(to_float(image)[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)


class Budget:
    """Bytes that may be held at once, granted in the order of the pairs, so that nobody waits for a later one.

    A pair that alone needs more than there is gets it when nothing else is held. Before that, a quarter as much may be
    held by files that have been read and wait for their turn.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: dict[int, int] = {}  # turn -> bytes
        self._waiting: dict[int, int] = {}  # turn -> bytes of files
        self._next, self._closed = 0, False
        self._changed = threading.Condition()

    def enter(self, turn: int, wanted: int) -> None:
        """Wait until files of `wanted` bytes may be read; the next turn always may."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or turn <= self._next or self._may_enter(wanted))
            self._waiting[turn] = wanted

    def _may_enter(self, wanted: int) -> bool:
        return sum(self._waiting.values()) + wanted <= self.limit // 4

    def take(self, turn: int, wanted: int) -> None:
        """Wait until every earlier turn has been granted its bytes and there is room for `wanted` more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or turn < self._next or self._may_take(turn, wanted))
            if turn == self._next:
                self._held[turn] = wanted
                self._waiting.pop(turn, None)
                self._next += 1
                self._changed.notify_all()

    def _may_take(self, turn: int, wanted: int) -> bool:
        held = sum(self._held.values())
        return turn == self._next and (held == 0 or held + wanted <= self.limit)

    def settle(self, turn: int, held: int) -> None:
        """Say how much a turn goes on to hold."""
        with self._changed:
            self._held[turn] = held
            self._changed.notify_all()

    def give_back(self, turn: int) -> None:
        """Give back what a turn held."""
        with self._changed:
            self._held.pop(turn, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody go on: nobody takes what they read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
