"""The report: results and the worst pairs' pictures in; one HTML file out that needs nothing else.

The sink of `--report`. The worst pairs are known when all rows have come; they are read once more, one at a time, and
only small pictures of them are kept.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lpips_lite import __version__
from lpips_lite.catalog import entry_of
from lpips_lite.files.decoding import Decoded
from lpips_lite.files.drawing import bounded, colorize, to_picture
from lpips_lite.files.heatmap import DrawMap, draw_measured
from lpips_lite.files.names import first_line, path_text, printable
from lpips_lite.files.pairs import Pair
from lpips_lite.files.results import Row, write_text
from lpips_lite.files.summary import Summary
from lpips_lite.files.table_formats import to_html
from lpips_lite.files.table_output import GroupTables

BUDGET = 34_000_000  # bytes of pictures on a page, a third more in the page
SIDES = (640, 448, 320, 224, 160, 112, 80)  # of a picture; the largest that the budget allows
BINS = 32
MISSING, INFINITE = "–", "∞"

Progress = Callable[[Iterable[Decoded], str], Iterable[Decoded]]


def is_page_file(path: Path) -> bool:
    """Say whether a page can be written to a path: its suffix is that of one, or it has none, like /dev/stdout."""
    return path.suffix.lower() in (".html", ".htm", "")


class Report:
    """The sink that writes a page about the worst pairs.

    Args:
        path: Of the page; written through if it is a link, a pipe or a device.
        count: Pairs to show at most.
        draw: Decoded pair -> a metric's name and its map; `None` if no metric has one.
        decode: Reads pairs.
        pairs: All that are compared.
        signatures: What makes the numbers of each metric.
        summary: Another sink, which takes rows before this one finishes.
        progress: Goes through pairs and shows how far it is.
        notes: Lines about how the numbers were made.
        tell: Is told of each pair that cannot be shown.
        groups: Another sink, whose tables and curves are put on the page; it finishes before this one.
    """

    def __init__(
        self,
        path: Path,
        *,
        count: int,
        draw: DrawMap | None,
        decode: Callable[[Sequence[Pair]], Iterable[Decoded]],
        pairs: Sequence[Pair],
        signatures: Mapping[str, str],
        summary: Summary,
        progress: Progress,
        notes: Sequence[str],
        tell: Callable[[str], None],
        groups: GroupTables | None = None,
    ) -> None:
        self.path, self.count, self.draw, self.decode, self.pairs = path, count, draw, decode, pairs
        self.signatures, self.summary, self.progress, self.notes, self.tell = signatures, summary, progress, notes, tell
        self.groups = groups

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Nothing is done yet: which pairs are the worst is known at the end."""

    def finish(self) -> None:
        """Read the worst pairs once more and write the page.

        Raises:
            OSError: If the page cannot be written.
        """
        wanted: dict[tuple[str, str], list[Row]] = {}
        for row in self.summary.worst(self.count):
            wanted.setdefault((row["reference"], row["image"]), []).append(row)
        keyed = {(path_text(pair.reference), path_text(pair.image)): pair for pair in self.pairs}
        chosen = [pair for key, pair in keyed.items() if key in wanted]
        gallery = Gallery(sum(map(len, wanted.values())), list(self.signatures))
        for decoded in self.progress(self.decode(chosen), "report"):
            for row in wanted[path_text(decoded.pair.reference), path_text(decoded.pair.image)]:
                problem = decoded.error or _change(row, decoded)
                try:
                    if problem is None:
                        gallery.add(row, decoded, self.draw)
                except (ValueError, RuntimeError, MemoryError) as error:  # no memory for a map, say
                    problem = f"{printable(decoded.pair.image)}: no pictures ({first_line(error)})"
                if problem is not None:
                    self.tell(f"{problem}; it is left out of {printable(self.path)}")
        write_text(self.path, self._page(gallery))

    def _page(self, gallery: Gallery) -> str:
        import jinja2

        summary, statistics = self.summary, self.summary.statistics()
        metrics = [
            {**_describe(name, signature), "statistics": statistics.get(name, {}), "values": summary.values[name]}
            for name, signature in self.signatures.items()
        ]
        data = {
            "metrics": [
                {key: metric[key] for key in ("name", "title", "direction", "decimals")}
                | {"histogram": histogram(np.asarray(metric["values"]))}
                for metric in metrics
            ],
            "entries": gallery.entries,
            "pictures": gallery.pictures,
        }
        folders = summary.by_folder() if len(summary.folders) > 1 else {}
        environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        environment.filters |= {"printable": printable, "number": format_number}
        template = (files("lpips_lite.files") / "report.html.j2").read_text(encoding="utf-8")
        return environment.from_string(template).render(
            data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),  # nothing in it ends the script
            metrics=metrics,
            columns=list(dict.fromkeys(key for found in statistics.values() for key in found)),
            summary=summary,
            folders=folders,
            notes=self.notes,
            tables=[to_html(grid) for grid in self.groups.grids] if self.groups else [],
            curves=base64.b64encode(self.groups.picture).decode() if self.groups else "",
            version=__version__,
            shown=len(gallery.entries),
        )


class Gallery:
    """Small pictures of pairs, and what the page tells about them.

    Args:
        pairs: How many there will be at most.
        metrics: Whose numbers are shown.
    """

    def __init__(self, pairs: int, metrics: Sequence[str]) -> None:
        self.metrics, self._allowance = metrics, BUDGET // (3 * max(pairs, 1))
        self.pictures: list[str] = []  # data addresses
        self.entries: list[dict[str, Any]] = []
        self._references: dict[Path, int] = {}

    def add(self, row: Row, decoded: Decoded, draw: DrawMap | None) -> None:
        """Add a pair that was decoded without an error."""
        reference, image = decoded.reference, decoded.image
        if reference is None or image is None:
            raise ValueError("decoded has no pictures; expected a pair that was decoded without an error")
        drawn = draw_measured(draw, row, decoded) if draw else None
        path, size = decoded.pair.reference, (image.shape[2], image.shape[1])
        if path not in self._references:
            self._references[path] = self._keep(to_picture(reference, bounded(size, SIDES[0])))
        entry: dict[str, Any] = {
            "names": {side: printable(row[side]) for side in ("reference", "image")},
            "numbers": [_encode(row[name]) for name in self.metrics],
            "error": printable(row["error"] or ""),
            "size": f"{size[0]}×{size[1]}",
            "reference": self._references[path],
            "image": self._keep(to_picture(image, bounded(size, SIDES[0]))),
        }
        if drawn is not None:
            picture, largest = colorize(drawn[1], SIDES[0])
            entry |= {"map": self._keep(picture), "mapped": printable(drawn[0]), "peak": f"{largest:.4g}"}
        self.entries.append(entry)

    def _keep(self, picture: Image.Image) -> int:
        """Keep a picture as large as the allowance permits; return its place."""
        for side in SIDES:
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
            file = io.BytesIO()
            picture.save(file, "WEBP", quality=82)
            if file.tell() <= self._allowance:
                break
        self.pictures.append(f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}")
        return len(self.pictures) - 1


def histogram(values: np.ndarray) -> dict[str, Any]:
    """Return counts of the finite values in equal bins from the least to the largest; one bin if all are equal."""
    values = values[np.isfinite(values)]
    if not len(values):
        return {"counts": [], "low": 0, "high": 0}
    low, high = float(values.min()), float(values.max())
    if low == high:
        return {"counts": [len(values)], "low": low, "high": high}
    places = ((values - low) / (high - low) * BINS).astype(int).clip(max=BINS - 1)
    return {"counts": np.bincount(places, minlength=BINS).tolist(), "low": low, "high": high}


def format_number(value: float | None, decimals: int) -> str:
    """Format a number for people; counts have no decimals."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return INFINITE if value > 0 else f"−{INFINITE}"
    return str(value) if isinstance(value, int) else f"{value:.{decimals}f}"


def _describe(name: str, signature: str) -> dict[str, Any]:
    entry = entry_of(name)
    return {
        "name": printable(name),
        "title": printable(entry.title),
        "direction": entry.direction,
        "decimals": entry.decimals,
        "signature": printable(signature),
    }


def _encode(value: float | None) -> float | str | None:
    """Return a number as JSON can hold it; an infinite one, as of the PSNR of equal images, is text and no gap."""
    return value if value is None or math.isfinite(value) else str(float(value))


def _change(row: Row, decoded: Decoded) -> str | None:
    """Return what to say if the files are not those that were measured."""
    if decoded.content is not None and decoded.content == row["content"]:
        return None
    names = " or ".join(printable(os.fspath(path)) for path in (decoded.pair.image, decoded.pair.reference))
    return f"{names}: has changed since it was measured"
