"""Output of rate-distance curves: a table of Bjøntegaard deltas for people, records for programs, pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lpips_lite.catalog import entry_of
from lpips_lite.files.curve_picture import FORMATS, draw_curves
from lpips_lite.files.names import printable
from lpips_lite.files.outputs import replace_file
from lpips_lite.files.rate_distance import Comparison, Curves, MeanDelta, lower_is_closer
from lpips_lite.files.resampling import RESAMPLES
from lpips_lite.files.results import write_text
from lpips_lite.files.table_cells import Cell, Grid, Heading, decimals, interval_text, number_text
from lpips_lite.files.table_records import Record, json_record, to_csv

FEW_IMAGES = 12  # images up to which each has its own line in the table for people; a CSV has them all
RATE_DECIMALS = 1  # decimals of a percentage
MEAN = "mean"
COLUMNS = (
    *("against", "image", "bd_rate_percent", "bd_rate_low", "bd_rate_high", "rate_overlap"),
    *("bd_distance", "bd_distance_low", "bd_distance_high", "distance_overlap", "n", "reason", "signature"),
)


def curve_files(stem: Path) -> list[Path]:
    """Return the files that curves are written to."""
    return [stem.with_name(f"{stem.name}.{suffix}") for suffix in (*FORMATS, "csv")]


def usual_stem(rate: str, distance: str) -> Path:
    """Return the default name of curves: that of their axes."""
    words = (re.sub(r"\W+", "-", name).strip("-") for name in (rate, distance))
    return Path("-".join(filter(None, words)))


def write_curves(stem: Path, curves: Curves, signatures: Mapping[str, str]) -> bytes:
    """Write pictures and records, and return the SVG.

    Raises:
        OSError: If a file cannot be written.
    """
    pictures = draw_curves(curves, signatures)
    for suffix, data in pictures.items():
        replace_file(stem.with_name(f"{stem.name}.{suffix}"), data)
    columns = [curves.column, "rate", "distance", *COLUMNS]
    write_text(stem.with_name(f"{stem.name}.csv"), to_csv(columns, records(curves, signatures)))
    return pictures["svg"]


def records(curves: Curves, signatures: Mapping[str, str]) -> list[Record]:
    """Return one record per codec (except the first) and image, and one for the mean over images."""
    found = []
    for codec in list(curves.by_image)[1:]:
        start = {curves.column: codec, "rate": curves.settings.rate, "distance": curves.settings.distance}
        start |= {"against": curves.first, "signature": "; ".join(_signed_by(curves, signatures))}
        own = [comparison for comparison in curves.comparisons if comparison.codec == codec]
        found += [{**start, **_of_image(comparison)} for comparison in own]
        found.append({**start, **_of_mean(curves.rates[codec], curves.distances[codec])})
    return found


def to_json(curves: Curves, signatures: Mapping[str, str]) -> dict[str, Any]:
    """Return the curves in a form that can be written as JSON."""
    return {
        "rate": curves.settings.rate,
        "distance": curves.settings.distance,
        "interpolation": curves.settings.interpolation,
        "points": {
            codec: {image: list(points) for image, points in own.items()} for codec, own in curves.by_image.items()
        },
        "mean_points": {codec: list(points) for codec, points in curves.means.items()},
        "deltas": [json_record(record) for record in records(curves, signatures)],
        "notes": list(curves.notes),
    }


def to_grid(curves: Curves, signatures: Mapping[str, str]) -> Grid:
    """Lay out the deltas of each codec except the first: those of each image, if there are few, and their mean."""
    distance, lower = curves.settings.distance, lower_is_closer(curves.settings)
    names = [Heading(printable(curves.column), is_number=False), Heading("image", is_number=False)]
    headings = [*names, Heading("n"), Heading("BD-rate, %", True), Heading(f"BD-{printable(distance)}", lower)]
    halves = [(own.high - own.low) / 2 for own in curves.distances.values()]
    digits = decimals(entry_of(distance).decimals, halves)
    rows, breaks = list[list[Cell]](), set[int]()
    for codec in list(curves.by_image)[1:]:
        own = [comparison for comparison in curves.comparisons if comparison.codec == codec]
        if rows:
            breaks.add(len(rows))
        for found in own if len(own) <= FEW_IMAGES else ():
            deltas = (found.rate, found.distance)
            values = [math.nan if delta is None else delta.value for delta in deltas]
            rows.append([*_names(codec, found.image), Cell("1"), *_signed(values, digits)])
        rows.append(_mean_row(codec, curves.rates[codec], curves.distances[codec], digits))
    what = f"{printable(distance)} over {printable(curves.settings.rate)}"
    title = f"Bjøntegaard deltas against {printable(curves.first)}, {what}"
    return Grid(title, headings, rows, frozenset(breaks), "", _under(curves, signatures))


def _mean_row(codec: str, rate: MeanDelta, distance: MeanDelta, digits: int) -> list[Cell]:
    cells = [
        Cell(number_text(own.value, places, sign=True), small=interval_text(own.low, own.high, places, sign=True))
        for own, places in ((rate, RATE_DECIMALS), (distance, digits))
    ]
    return [*_names(codec, MEAN), Cell(str(rate.n)), *cells]


def _names(codec: str, image: str) -> list[Cell]:
    return [Cell(printable(codec)), Cell(printable(image))]


def _signed(values: list[float], digits: int) -> list[Cell]:
    return [
        Cell(number_text(value, places, sign=True))
        for value, places in zip(values, (RATE_DECIMALS, digits), strict=True)
    ]


def _under(curves: Curves, signatures: Mapping[str, str]) -> list[str]:
    kind = {"akima": "Akima", "pchip": "PCHIP"}[curves.settings.interpolation]
    about = f"{kind} interpolation over the logarithm of the rate; means over n images with 95 % interval by bootstrap"
    lines = [f"{about} over images ({RESAMPLES} resamples); BD-rate below 0: less rate at the same distance"]
    lines += map(printable, _signed_by(curves, signatures))
    return [*lines, *(f"note: {note}" for note in curves.notes)]


def _signed_by(curves: Curves, signatures: Mapping[str, str]) -> list[str]:
    """Return the signatures of the numbers; a rate from a column has none."""
    used = (curves.settings.rate, curves.settings.distance)
    return [f"{name}: {signatures[name]}" for name in used if name in signatures]


def _of_image(found: Comparison) -> Record:
    rate = (math.nan, math.nan) if found.rate is None else found.rate
    distance = (math.nan, math.nan) if found.distance is None else found.distance
    nothing = math.nan, math.nan
    values = found.image, rate[0], *nothing, rate[1], distance[0], *nothing, distance[1], 1, found.reason
    return dict(zip(COLUMNS[1:-1], values, strict=True))


def _of_mean(rate: MeanDelta, distance: MeanDelta) -> Record:
    numbers = rate.value, rate.low, rate.high, math.nan, distance.value, distance.low, distance.high, math.nan
    return dict(zip(COLUMNS[1:-1], (MEAN, *numbers, rate.n, ""), strict=True))
