"""Pictures of pairs for a page: decoded pairs and their maps in; WebP files of bounded size and their places out.

Before `report.py`. Every picture is made from the decoded files and encoded once: without loss where that fits, else
with loss and as large as fits. What differs most is cut out as well, always without loss.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from lpips_lite.files.decoding import Decoded
from lpips_lite.files.drawing import bounded, map_picture, to_picture
from lpips_lite.files.heatmap import DrawMap, draw_measured
from lpips_lite.files.names import printable
from lpips_lite.files.results import Row
from lpips_lite.images import to_float

PICTURES, CROPS = 28_000_000, 5_000_000  # bytes of all pictures and of all crops on a page; base64 adds a third
MOST_PICTURE, MOST_CROPS = 300_000, 40_000  # bytes of one picture, and of the crops of one pair
SIDES = (80, 112, 160, 224, 320, 448, 640, 1024, 1440, 2048, 4096)  # longest sides; the largest that fits is used
PROBE, GROWTH = 2, 0.8  # the place in `SIDES` that is tried first; bytes grow like pixels to this power
THUMB, NEEDS_THUMB = 96, 320  # longest side of the list's picture, and of a picture which is too large for the list
CROP_SIDES = (96, 64, 48, 32, 16)
REGIONS, CELLS = 3, 256  # crops of a pair, and cells along a side, whose largest values are looked at
LEAST_SHARE = 0.25  # of the largest value, which any other region must have at least

LOSSY: Mapping[str, Any] = {"quality": 82}
LOSSLESS: Mapping[str, Any] = {"lossless": True, "method": 1, "quality": 30}  # fast, and hardly larger than the slowest

Size = tuple[int, int]


class Gallery:
    """Small pictures of pairs, and what a page says about them.

    Args:
        pairs: Largest number of pairs that will be added.

    Attributes:
        pictures: WebP files in base64.
        peak: The largest value of all maps.
    """

    def __init__(self, pairs: int) -> None:
        self.pictures: list[str] = []
        self.peak = 0.0
        self._allowance = min(PICTURES // (3 * max(pairs, 1)), MOST_PICTURE)
        self._crop_allowance = min(CROPS // max(pairs, 1), MOST_CROPS)
        self._references: dict[object, int] = {}  # which file, in which size, how encoded -> place
        self._last: tuple[object, dict[object, bytes]] = (
            None,
            {},
        )  # the last reference, and its files by size and coding

    def add(self, row: Row, decoded: Decoded, draw: DrawMap | None) -> dict[str, Any]:
        """Keep the pictures of a pair that was decoded without an error; return their places and what they are."""
        reference, image, path = decoded.reference, decoded.image, decoded.pair.reference
        if reference is None or image is None or decoded.compared is None:
            raise ValueError("decoded has no pictures; expected a pair that was decoded without an error")
        drawn = draw_measured(draw, row, decoded) if draw else None
        full = (image.shape[2], image.shape[1])
        shown, lossless, files = self._fit(path, reference, image)
        key = path, full, shown, lossless
        if key not in self._references:
            self._references[key] = self._keep(files[0])
        found: dict[str, Any] = {"size": full, "shown": shown, "lossless": lossless}
        found |= {"reference": self._references[key], "image": self._keep(files[1])}
        if max(shown) > NEEDS_THUMB:
            found["thumb"] = self._keep(_encode(to_picture(image, bounded(full, THUMB)), LOSSY))
        if drawn is None:
            differences = (to_float(decoded.compared) - to_float(reference)).abs().mean(dim=0)
        else:
            name, differences = drawn
            picture, largest = map_picture(differences, max(shown))
            self.peak = max(self.peak, largest)
            found |= {"map": self._keep(self._shrunk(picture)), "mapped": printable(name), "peak": largest}
        return found | {"crops": self._crops(reference, image, differences)}

    def _fit(self, path: Path, reference: Tensor, image: Tensor) -> tuple[Size, bool, list[bytes]]:
        """Return the size at which both pictures fit, whether that is without loss, and their files."""
        full = (image.shape[2], image.shape[1])
        if self._last[0] != (path, full):
            self._last = (path, full), {}

        def encode(size: Size, lossless: bool) -> list[bytes]:
            coding, known = LOSSLESS if lossless else LOSSY, self._last[1]
            if (size, lossless) not in known:
                known[size, lossless] = _encode(to_picture(reference, size), coding)
            return [known[size, lossless], _encode(to_picture(image, size), coding)]

        if self._may_fit_without_loss(image):
            files = encode(full, True)
            if max(map(len, files)) <= self._allowance:
                return full, True, files
        sizes = list(dict.fromkeys(bounded(full, side) for side in SIDES))

        @cache
        def files_at(place: int) -> list[bytes]:
            return encode(sizes[place], False)

        def fits(place: int) -> bool:
            return max(map(len, files_at(place))) <= self._allowance

        probe = min(PROBE, len(sizes) - 1)
        room = self._allowance / max(map(len, files_at(probe)))  # by which a file may be larger than the probe's
        growth = [(math.prod(size) / math.prod(sizes[probe])) ** GROWTH for size in sizes]
        place = max((at for at, factor in enumerate(growth) if factor <= room), default=0)
        while place > 0 and not fits(place):
            place -= 1
        while place + 1 < len(sizes) and fits(place + 1):
            place += 1
        return sizes[place], False, files_at(place)

    def _may_fit_without_loss(self, image: Tensor) -> bool:
        """Estimate from a sixteenth of its rows whether an image may fit."""
        height, width = image.shape[1:]
        if bounded((width, height), SIDES[-1]) != (width, height):
            return False
        rows = -(-height // 16)
        top = (height - rows) // 2
        band = _encode(to_picture(image[:, top : top + rows], (width, rows)), LOSSLESS)
        return len(band) * (height / rows) <= 2 * self._allowance

    def _shrunk(self, picture: Image.Image) -> bytes:
        """Return the file of a map, made smaller until it fits."""
        file = b""
        for size in dict.fromkeys(bounded(picture.size, side) for side in reversed(SIDES)):
            file = _encode(picture.resize(size, Image.Resampling.BOX), LOSSY)
            if len(file) <= self._allowance:
                break
        return file

    def _crops(self, reference: Tensor, image: Tensor, values: Tensor) -> list[dict[str, Any]]:
        """Keep reference and image, side by side in one file, around the largest values of a map."""
        found: list[dict[str, Any]] = []
        for side in dict.fromkeys(min(side, *values.shape) for side in CROP_SIDES):
            left = self._crop_allowance
            for at, value in regions(values, side):
                file = _encode(_side_by_side(reference, image, at, side), LOSSLESS)
                if len(file) > (left if found else left // 2) and side > CROP_SIDES[-1]:
                    break
                left -= len(file)
                found.append({"picture": self._keep(file), "at": at, "side": side, "value": value})
                if left <= 0:
                    break
            if found:
                break
        return found

    def _keep(self, file: bytes) -> int:
        """Keep a file; return its place."""
        self.pictures.append(base64.b64encode(file).decode())
        return len(self.pictures) - 1


def regions(values: Tensor, side: int) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield left and top of squares around the largest values of a map (H, W), and that value, the largest first.

    No square begins within another; values below a quarter of the largest are left out. NaN counts as 0.
    """
    height, width = values.shape
    cells = adaptive_max_pool2d(torch.nan_to_num(values.float(), 0)[None], (min(height, CELLS), min(width, CELLS)))[0]
    rows, columns = cells.shape
    reach = -(-side * rows // height), -(-side * columns // width)
    largest = float(cells.max())
    for _ in range(REGIONS):
        row, column = divmod(int(cells.argmax()), columns)
        value = float(cells[row, column])
        if value <= 0 or value < LEAST_SHARE * largest:
            return
        top = round((row + 0.5) * height / rows - side / 2)
        left = round((column + 0.5) * width / columns - side / 2)
        yield (min(max(left, 0), width - side), min(max(top, 0), height - side)), value
        cells[max(row - reach[0], 0) : row + reach[0] + 1, max(column - reach[1], 0) : column + reach[1] + 1] = 0


def _side_by_side(reference: Tensor, image: Tensor, at: tuple[int, int], side: int) -> Image.Image:
    strip = Image.new("RGB", (2 * side, side))
    for place, whole in enumerate((reference, image)):
        part = whole[:, at[1] : at[1] + side, at[0] : at[0] + side]
        strip.paste(to_picture(part, (side, side)), (place * side, 0))
    return strip


def _encode(picture: Image.Image, coding: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", **coding)
    return file.getvalue()
