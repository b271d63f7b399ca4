"""Images for the page: decoded as metrics decode them, and encoded as PNG without name, date or metadata."""

from __future__ import annotations

import io
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from PIL import Image

from lpips_lite.votes.collect.catches import catch_picture
from lpips_lite.votes.collect.study import Item

KEPT = 256 * 2**20  # size of the cache in bytes, since several people see the same pictures

PLACES = {"closer": ("ref", "left", "right"), "same": ("left", "right")}


class Pictures:
    """The pictures of a study, with a cache by file and distortion."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, str | None], bytes] = OrderedDict()
        self._bytes, self._lock = 0, Lock()

    def picture(self, item: Item, place: str, flipped: bool) -> bytes:
        """Return the PNG for a place of a trial.

        Raises:
            OSError: If the file can no longer be read.
            ValueError: If it can no longer be decoded.
        """
        key = _source(item, place, flipped)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        png = _encode(*key)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = png
                self._bytes += len(png)
            while self._bytes > KEPT and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return png


def _source(item: Item, place: str, flipped: bool) -> tuple[Path, str | None]:
    """Return the file of an image and its distortion, which only the last image of a catch item has."""
    if place == "ref":
        return item.ref, None
    sides = [(item.ref, None), (item.p0, item.distortion)]
    if item.p1 is not None:
        sides = [(item.p0, None), (item.p1, item.distortion)]
    return sides[(place == "right") != flipped]


def _encode(path: Path, distortion: str | None) -> bytes:
    pixels = (catch_picture(path, distortion) * 255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=3)
    return file.getvalue()
