"""The report: results and the worst pairs' pictures in; one HTML file out that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lpips_lite import __version__
from lpips_lite.catalog import METRICS
from lpips_lite.files.decoding import Decoded
from lpips_lite.files.heatmap import colorize
from lpips_lite.files.results import Row, plain
from lpips_lite.files.summary import STATISTICS, Summary
from lpips_lite.images import to_float

BUDGET = 34_000_000  # bytes of pictures on a page, a third more in the page
SIDES = (640, 448, 320, 224, 160, 112, 80)  # of a picture; the largest that the budget allows
BINS = 32


class Page:
    """Pictures collected pair by pair, then written with the table.

    Args:
        pairs: How many there will be.
    """

    def __init__(self, pairs: int) -> None:
        self.allowance = BUDGET // (3 * pairs)
        self.pictures: list[str] = []  # data addresses
        self.entries: list[dict[str, Any]] = []
        self._references: dict[Path, int] = {}

    def add(self, row: Row, decoded: Decoded, distance_map: tuple[str, np.ndarray] | None) -> None:
        """Add a pair: its row, its images, and a metric's name with its map (H, W), if it has one."""
        assert decoded.image is not None
        assert decoded.reference is not None
        if decoded.pair.reference not in self._references:
            self._references[decoded.pair.reference] = self._keep(to_picture(decoded.reference))
        entry: dict[str, Any] = {
            "row": {key: value for key, value in plain(row).items() if key != "error"},
            "size": f"{decoded.image.shape[2]}×{decoded.image.shape[1]}",
            "reference": self._references[decoded.pair.reference],
            "image": self._keep(to_picture(decoded.image)),
        }
        if distance_map is not None:
            name, values = distance_map
            entry |= {"map": self._keep(colorize(values)), "mapped": name, "peak": f"{values.max():.4g}"}
        self.entries.append(entry)

    def write(self, path: Path, signatures: Mapping[str, str], summary: Summary, settings: Sequence[str]) -> None:
        """Write the page."""
        import jinja2

        data = {
            "metrics": [
                {"name": name, "title": METRICS[name].title, "direction": METRICS[name].direction,
                 "decimals": METRICS[name].decimals, "signature": signature,
                 "histogram": histogram(np.asarray(summary.values[name]))}
                for name, signature in signatures.items()
            ],
            "entries": self.entries,
            "pictures": self.pictures,
        }  # fmt: skip
        template = (files("lpips_lite.files") / "report.html.j2").read_text(encoding="utf-8")
        environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        text = environment.from_string(template).render(
            data=json.dumps(data).replace("<", "\\u003c"),  # nothing in it ends the script
            signatures=signatures,
            summary=summary,
            statistics=summary.statistics(),
            columns=STATISTICS,
            folders=summary.by_folder() if len(summary.folders) > 1 else {},
            metrics=METRICS,
            settings=settings,
            version=__version__,
            shown=len(self.entries),
        )
        path.write_text(text, encoding="utf-8")

    def _keep(self, picture: Image.Image) -> int:
        """Keep a picture as large as the allowance permits; return its place."""
        for side in SIDES:
            small = picture.copy()
            small.thumbnail((side, side), Image.Resampling.LANCZOS)
            file = io.BytesIO()
            small.save(file, "WEBP", quality=82)
            if file.tell() <= self.allowance:
                break
        self.pictures.append(f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}")
        return len(self.pictures) - 1


def to_picture(image: Any) -> Image.Image:
    """Turn a tensor (3, H, W), uint8 or in [0, 1], into a picture."""
    return Image.fromarray((to_float(image) * 255).round().byte().permute(1, 2, 0).numpy())


def histogram(values: np.ndarray) -> dict[str, Any]:
    """Return counts in equal bins from the least to the largest value."""
    if not len(values):
        return {"counts": [], "low": 0, "high": 0}
    counts, edges = np.histogram(values, BINS)
    return {"counts": counts.tolist(), "low": float(edges[0]), "high": float(edges[-1])}
