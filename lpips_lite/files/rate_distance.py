"""Rate-distance curves from rows: the curve of each codec and image, mean curves, and Bjøntegaard deltas.

Uses `grouping.py`, and `bjontegaard.py` to compare curves; `curve_picture.py` draws them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lpips_lite.catalog import entry_of, parse_metric
from lpips_lite.file_measures import FILE_MEASURES
from lpips_lite.files.bjontegaard import Delta, Interpolation, bd_distance, bd_rate
from lpips_lite.files.grouping import Item, distinct_in_order, varying
from lpips_lite.files.names import printable
from lpips_lite.files.resampling import interval, mean
from lpips_lite.files.results import Row
from lpips_lite.files.settings import Spelling, python_spelling

FEW_IN_COMMON = 0.75  # common share of the range below which a delta tells little; as in `bjontegaard`

Points = Sequence[tuple[float, float]]  # (rate, distance), by rate


@dataclass(frozen=True)
class CurveSettings:
    """The settings of curves.

    Attributes:
        rate: "bpp" · "bytes" · a column with numbers.
        distance: A metric of pixels, in the spelling of the catalog.
        anchor: The codec that the others are compared with; `None`: the first one.
        interpolation: "akima" · "pchip".
        spell: Argument and value -> how messages write them.
    """

    rate: str
    distance: str
    anchor: str | None = None
    interpolation: Interpolation = "akima"
    spell: Spelling = python_spelling

    def check(self, items: Sequence[Item], column: str, metrics: Sequence[str]) -> None:
        """Check that the rate is a size of files or a column of numbers, and the distance a metric that is measured.

        Args:
            items: Items of all pairs.
            column: The column whose values are the codecs; the anchor is one of them.
            metrics: Metrics that are measured.

        Raises:
            ValueError: If not.
        """
        codecs = distinct_in_order(item.columns[column] for item in items)
        if self.anchor is not None and self.anchor not in codecs:
            expected = f"expected a value of {printable(column)}: {', '.join(map(printable, codecs))}"
            raise ValueError(f"{self.spell('anchor', self.anchor)}: {expected}")
        said = f"{self.spell('curve', self.rate)} {self.distance}"
        if self.distance in FILE_MEASURES:
            raise ValueError(f"{said}: {self.distance} is a rate; expected the rate first, then the metric")
        if self.distance not in metrics:
            raise ValueError(f"{said}: {self.distance} is not measured; expected one of {', '.join(metrics)}")
        if self.rate in FILE_MEASURES:
            return
        columns = list(items[0].columns) if items else []
        if self.rate not in columns:
            expected = f"expected one of {', '.join([*FILE_MEASURES, *map(printable, columns)])}"
            raise ValueError(f"{said}: {self.rate!r} is neither a size of files nor a column; {expected}")
        for item in items:
            if math.isnan(_as_number(item.columns[self.rate])):
                value = printable(item.columns[self.rate])
                raise ValueError(f"{said}: column {printable(self.rate)} holds {value!r}; expected numbers")


@dataclass(frozen=True)
class Comparison:
    """A codec compared with the anchor on one image; `reason` says why there is no number."""

    codec: str
    image: str
    rate: Delta | None
    distance: Delta | None
    reason: str = ""


@dataclass(frozen=True)
class MeanDelta:
    """The mean of a delta over `n` images, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Curves:
    """The curves of all codecs and their comparison.

    Attributes:
        settings: The settings.
        column: The column whose values are the codecs.
        by_image: Codec -> image -> points.
        means: Codec -> points, each the mean over all images at one setting; empty if settings cannot be distinguished.
        comparisons: Comparisons of each codec except the anchor, on each image.
        rates, distances: Codec -> mean delta.
        notes: Notes on what is left out.
    """

    settings: CurveSettings
    column: str
    by_image: Mapping[str, Mapping[str, Points]]
    means: Mapping[str, Points]
    comparisons: Sequence[Comparison]
    rates: Mapping[str, MeanDelta]
    distances: Mapping[str, MeanDelta]
    notes: Sequence[str]

    @property
    def first(self) -> str:
        """The codec that the others are compared with."""
        return next(iter(self.by_image))


def curves_of(rows: Sequence[Row], items: Sequence[Item], column: str, settings: CurveSettings) -> Curves:
    """Collect the curves from rows, and compare them.

    Args:
        rows: Rows with numbers.
        items: Reference and columns of each row.
        column: The column whose values are the codecs.
        settings: The settings; after an interrupt, the anchor may be missing in the rows.
    """
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    codecs = distinct_in_order(item.columns[column] for item in items)
    for codec in sorted(codecs, key=lambda codec: codec != settings.anchor):
        found[codec] = defaultdict(list)
    lost = 0
    for row, item in zip(rows, items, strict=True):
        point = _number(row, settings.rate), _number(row, settings.distance)
        if all(map(math.isfinite, point)):
            found[item.columns[column]][item.reference].append(point)
        else:
            lost += 1
    by_image = {codec: {image: sorted(points) for image, points in own.items()} for codec, own in found.items()}
    means, notes = _mean_curves(rows, items, column, settings)
    if len(by_image) == 1:
        notes.append(f"no deltas: nothing to compare with {printable(next(iter(by_image)))}")
    if lost:
        notes.append(f"{lost} points without a finite {settings.rate} and {settings.distance}, left out")
    comparisons = _comparisons(by_image, settings)
    return Curves(
        settings,
        column,
        by_image,
        means,
        comparisons,
        _means(comparisons, lambda own: own.rate),
        _means(comparisons, lambda own: own.distance),
        [*notes, *_remarks(comparisons)],
    )


def _mean_curves(
    rows: Sequence[Row], items: Sequence[Item], column: str, settings: CurveSettings
) -> tuple[dict[str, Points], list[str]]:
    """Return the mean over images at each setting that all images of a codec have, and notes on other settings."""
    names = [name for name in varying(items, list(items[0].columns)) if name not in (column, settings.rate)]
    points: dict[str, dict[tuple[str, ...], dict[str, tuple[float, float]]]] = defaultdict(lambda: defaultdict(dict))
    images: dict[str, set[str]] = defaultdict(set)
    notes = []
    for row, item in zip(rows, items, strict=True):
        codec, setting = item.columns[column], tuple(item.columns[name] for name in names)
        images[codec].add(item.reference)
        if item.reference in points[codec][setting]:
            return {}, ["no mean curves: no column tells the points of an image apart, like that of a quality"]
        points[codec][setting][item.reference] = _number(row, settings.rate), _number(row, settings.distance)
    means: dict[str, Points] = {}
    for codec in distinct_in_order(item.columns[column] for item in items):
        whole = []
        for setting, own in points[codec].items():
            values = np.array(list(own.values()))
            if len(own) == len(images[codec]) and np.isfinite(values).all():
                whole.append((float(values[:, 0].mean()), float(values[:, 1].mean())))
            else:
                said = ", ".join(f"{name}={printable(value)}" for name, value in zip(names, setting, strict=True))
                count = f"{len(own)} of {len(images[codec])} images"
                notes.append(f"{column}={printable(codec)}, {said}: of {count}, not in the mean curve")
        means[codec] = sorted(whole)
    return means, notes


def _comparisons(by_image: Mapping[str, Mapping[str, Points]], settings: CurveSettings) -> list[Comparison]:
    first, *others = by_image
    return [
        _compare(codec, image, by_image[first].get(image, ()), by_image[codec].get(image, ()), settings.interpolation)
        for codec in others
        for image in {**by_image[first], **by_image[codec]}
    ]


def _compare(codec: str, image: str, first: Points, second: Points, interpolation: Interpolation) -> Comparison:
    (x, x_values), (y, y_values) = (np.array(points, dtype=np.float64).reshape(-1, 2).T for points in (first, second))
    deltas: list[Delta | None] = []
    reasons: list[str] = []
    for delta in (bd_rate, bd_distance):
        try:
            deltas.append(delta(x, x_values, y, y_values, interpolation=interpolation))
        except ValueError as error:
            deltas.append(None)
            reasons.append(str(error))
    return Comparison(codec, image, deltas[0], deltas[1], "; ".join(dict.fromkeys(reasons)))


def _means(comparisons: Sequence[Comparison], part: Callable[[Comparison], Delta | None]) -> dict[str, MeanDelta]:
    values: dict[str, list[float]] = {own.codec: [] for own in comparisons}
    for own in comparisons:
        delta = part(own)
        if delta is not None:
            values[own.codec].append(delta.value)
    return {codec: _mean_delta(np.array(known, dtype=np.float64)) for codec, known in values.items()}


def _mean_delta(values: np.ndarray) -> MeanDelta:
    if not len(values):
        return MeanDelta(math.nan, math.nan, math.nan, 0)
    return MeanDelta(float(values.mean()), *interval(values[:, None], mean), len(values))


def _remarks(comparisons: Sequence[Comparison]) -> list[str]:
    """Return notes on images without a delta, and on curves with little in common."""
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for own in comparisons:
        if own.reason:
            reasons[own.codec, own.reason].append(own.image)
        overlap = min((delta.overlap for delta in (own.rate, own.distance) if delta is not None), default=1.0)
        if overlap < FEW_IN_COMMON:
            reasons[own.codec, f"curves have less than {100 * FEW_IN_COMMON:.0f} % in common"].append(own.image)
    return [
        f"{printable(codec)}: {reason}: {len(images)} images, like {printable(images[0])}"
        for (codec, reason), images in reasons.items()
    ]


def _number(row: Row, name: str) -> float:
    value = row[name]
    return math.nan if value is None else _as_number(value)


def _as_number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan


def metrics_of(rate: str, distance: str) -> list[str]:
    """Return the metrics to measure for a curve: the distance, then the rate, unless it is a column.

    Raises:
        ValueError: If the distance is not a metric.
    """
    found = [parse_metric(distance).text]
    try:
        return [*found, parse_metric(rate).text]
    except ValueError:
        return found


def lower_is_closer(settings: CurveSettings) -> bool:
    """Return the direction of the distance."""
    return entry_of(settings.distance).direction == "lower"
