"""The largest number of pixels of a picture, which replaces Pillow's limit while a file is read. Used by `reading.py`.

While a thread reads, Pillow's warnings are switched off in it, too: what matters is reported as a note or an error.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from PIL import Image


class _Thread(threading.local):
    max_pixels: int | None = None  # None: this thread is not reading


_thread = _Thread()


class _LimitOfThread(int):
    """A replacement for `Image.MAX_IMAGE_PIXELS`, with which Pillow compares the pixels of pictures, also inner ones.

    Pillow warns above its limit and raises an error above twice the limit. Here a thread that reads a file has its own
    limit, above which there is always an error; for all other threads this is the previous number.
    """

    def __rmul__(self, factor: int) -> int:
        return factor * int(self) if _thread.max_pixels is None else self

    def __lt__(self, pixels: int) -> bool:
        return pixels > (int(self) if _thread.max_pixels is None else _thread.max_pixels)


class _PillowInThread:
    """A module pattern for a warning filter that matches Pillow's modules in a thread that reads a file."""

    def match(self, module: str) -> bool:
        return _thread.max_pixels is not None and module.startswith("PIL.")


_QUIET = ("ignore", None, Warning, _PillowInThread(), 0)  # `catch_warnings` would affect all threads


class _Replacement:
    """Sets the limit and the filter when the first thread begins to read, and removes them after the last."""

    def __init__(self) -> None:
        self._lock, self._readers = threading.Lock(), 0
        self._before: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._readers == 0:
                self._before = Image.MAX_IMAGE_PIXELS
                Image.MAX_IMAGE_PIXELS = _LimitOfThread(sys.maxsize if self._before is None else self._before)
            self._readers += 1
            if _filters()[:1] != [_QUIET]:  # other filters may have been added in front meanwhile
                _remove_filter()
                _filters().insert(0, _QUIET)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                Image.MAX_IMAGE_PIXELS = self._before
                _remove_filter()


def _filters() -> list[Any]:
    return cast(list[Any], warnings.filters)


def _remove_filter() -> None:
    if _QUIET in _filters():
        _filters().remove(_QUIET)


_replacement = _Replacement()


@contextmanager
def size_limit(max_pixels: int) -> Iterator[None]:
    """Make Pillow refuse pictures with more than `max_pixels` in this thread, and no others, without warnings.

    Raises:
        Image.DecompressionBombError: From Pillow, inside the block.
    """
    before = _thread.max_pixels
    with _replacement:
        _thread.max_pixels = max_pixels
        try:
            yield
        finally:
            _thread.max_pixels = before
