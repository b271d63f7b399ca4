"""Heatmaps as files: measured pairs in; one picture for each out, which says what it was made from.

The sink of `--heatmap`; `drawing.py` makes the pictures. A PNG carries text chunks: the program, the signatures of the
metrics, the content of the pair, and whether the map lies over the image. By these a later run knows what it need not
draw again, and what it must not replace.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo
from torch import Tensor

from lpips_lite.files.decoding import Decoded
from lpips_lite.files.drawing import SMOOTHING, Label, heatmap
from lpips_lite.files.folders import image_suffixes
from lpips_lite.files.names import MADE_SUFFIX, printable
from lpips_lite.files.outputs import replace_file
from lpips_lite.files.pairing import Pair
from lpips_lite.files.results import Row
from lpips_lite.files.settings import Spelling, python_spelling

DrawMap = Callable[[Decoded], tuple[str, Tensor]]  # the metric's name, and its map (H, W) on the CPU

SOFTWARE = "lpips_lite"
PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"


def is_picture_file(text: str) -> bool:
    """Return whether the target of heatmaps, as it was typed, is one file rather than a folder.

    It is a folder if it exists as one, ends in a slash, or has no suffix of a format in which Pillow writes colours.
    """
    if text.endswith(("/", os.sep)) or Path(text).is_dir():
        return False
    return _writes_color(Path(text).suffix.lower())


@cache
def _writes_color(suffix: str) -> bool:
    name = Image.registered_extensions().get(suffix)
    try:
        Image.new("RGB", (8, 8)).save(io.BytesIO(), name)
    except (OSError, KeyError, ValueError):  # no such format, one that is only read, or one without colours
        return False
    return True


def not_heatmaps(paths: Iterable[Path]) -> list[Path]:
    """Return the paths at which there is something that is not a heatmap of this program."""
    return [path for path in paths if path.exists() and _text_chunks(path).get("Software") != SOFTWARE]


def draw_measured(draw: DrawMap, row: Row, decoded: Decoded) -> tuple[str, Tensor] | None:
    """Return a metric's name and its map of a pair, or `None` if that metric has refused the pair.

    Raises:
        ValueError, RuntimeError: If there is no map although the row has no error.
    """
    try:
        name, values = draw(decoded)
    except (ValueError, RuntimeError):
        if row["error"] is None:
            raise
        return None  # the row says why
    return None if row[name] is None else (name, values)


def pair_labels(pair: Pair, metric: str, value: float, *, overlay: bool) -> list[Label]:
    """Return the labels above the panels of a pair."""
    over = " over the image" if overlay else ""
    return [
        ("reference", pair.reference.name),
        ("image", pair.image.name),
        (f"distance{over}: {metric} {value:.4f}", f"map smoothed by {SMOOTHING} pixels as drawn"),
    ]


class HeatmapFiles:
    """Where heatmaps go.

    Args:
        target: As it was typed: a folder, in which each picture is named after its pair; or a file for one pair.
    """

    def __init__(self, target: str) -> None:
        self.target, self.is_folder = Path(target), not is_picture_file(target)

    def path(self, pair: Pair) -> Path:
        """Return the path that is written for a pair."""
        return self.target / f"{pair.name}{MADE_SUFFIX}" if self.is_folder else self.target

    def check(self, pairs: Sequence[Pair], *, spell: Spelling = python_spelling) -> None:
        """Check that the pictures can be written, and in a folder replace nothing but older heatmaps.

        Raises:
            ValueError: If there are several pairs for one file.
            NotADirectoryError: If a file lies where a folder is needed.
            FileExistsError: If something else lies where a heatmap is to go in a folder.
        """
        said = spell("heatmap", printable(self.target))
        if not self.is_folder and len(pairs) > 1:
            raise ValueError(f"{said}: there are {len(pairs)} pairs; expected a folder, not a file")
        suffix = self.target.suffix.lower()
        if self.is_folder and suffix in image_suffixes() and not _writes_color(suffix) and not self.target.exists():
            raise ValueError(f"{said}: pictures are not written as {suffix}; expected .png, .jpg, .webp, or a folder")
        paths = [self.path(pair) for pair in pairs]
        for folder in {path.parent for path in paths}:
            nearest = next(ancestor for ancestor in (folder, *folder.absolute().parents) if ancestor.exists())
            if not nearest.is_dir():
                raise NotADirectoryError(
                    f"{said}: {printable(nearest)} is a file; expected a folder, or a picture like heat.png"
                )
        others = not_heatmaps(paths) if self.is_folder else []
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise FileExistsError(
                f"{said}: {printable(others[0])}{more} would be replaced and is not a heatmap of this program; "
                f"expected another folder"
            )


class Heatmaps:
    """The sink that draws one heatmap for each measured pair.

    Args:
        files: Where heatmaps go.
        draw: Returns a metric's name and its map of a decoded pair.
        overlay: Whether to draw the map over the image in gray.
        signatures: Signature of each metric.
    """

    def __init__(self, files: HeatmapFiles, draw: DrawMap, overlay: bool, signatures: Mapping[str, str]) -> None:
        self.files, self.draw, self.overlay = files, draw, overlay
        self._made_by = printable("; ".join(f"{name}: {signature}" for name, signature in signatures.items()))

    def has(self, pair: Pair, content: str | None) -> bool:
        """Return whether a pair's heatmap exists, is complete, and was made from this content in this way."""
        path = self.files.path(pair)
        if content is None or not self._chunks(content).items() <= _text_chunks(path).items():
            return False
        try:
            with PngImageFile(path) as picture:
                picture.verify()  # every checksum but the last one
            return path.read_bytes().endswith(PNG_END)
        except (OSError, SyntaxError, ValueError):
            return False

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Draw a pair that was measured.

        Raises:
            OSError: If the picture cannot be written.
        """
        if decoded is None or decoded.image is None or decoded.reference is None:
            return
        drawn = draw_measured(self.draw, row, decoded)
        if drawn is None:
            return
        name, values = drawn
        labels = pair_labels(decoded.pair, name, row[name], overlay=self.overlay)
        picture = heatmap(values, decoded.image, decoded.reference, labels, overlay=self.overlay)
        path = self.files.path(decoded.pair)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, self._encode(picture, path.suffix, row["content"]))

    def finish(self) -> None:
        """Nothing is left to do: each heatmap was written when its pair came."""

    def _chunks(self, content: str) -> dict[str, str]:
        return {
            "Software": SOFTWARE,
            "Signature": self._made_by,
            "Content": content,
            "Overlay": "yes" if self.overlay else "no",
            "Panels": "reference, image, distance",
        }

    def _encode(self, picture: Image.Image, suffix: str, content: str | None) -> bytes:
        file, texts = io.BytesIO(), PngInfo()
        for key, text in self._chunks(content or "").items():
            texts.add_text(key, text)
        format_name = Image.registered_extensions()[suffix.lower()]
        picture.save(file, format_name, **({"pnginfo": texts} if format_name == "PNG" else {}))
        return file.getvalue()


def _text_chunks(path: Path) -> dict[str, str]:
    """Return the texts at the start of a PNG; none if the file is something else."""
    try:
        with PngImageFile(path) as picture:  # not Image.open, which warns of large pictures
            return {key: text for key, text in picture.info.items() if isinstance(key, str) and isinstance(text, str)}
    except (OSError, SyntaxError, ValueError):
        return {}
