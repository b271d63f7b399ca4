"""A summary of many rows: count, mean, median, p5, p95, extremes, by metric and by folder, and the worst pairs.

Infinity is the best value of some metrics, such as the PSNR of equal images. Means leave it out unless there is nothing
else; the median, percentiles and extremes count it. JSON has no infinity, so it is null there.
"""

from __future__ import annotations

import heapq
import math
import statistics
from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from lpips_lite.catalog import entry_of
from lpips_lite.files.results import Row

if TYPE_CHECKING:
    from lpips_lite.files.decoding import Decoded


def mean(values: Sequence[float]) -> float:
    """Return the mean of the finite values, or infinity if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else values[0]


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the percentile of the values, interpolated linearly as in NumPy, but never NaN."""
    whole, rest = divmod((len(ordered) - 1) * percent, 100)
    lower = ordered[whole]
    if not rest or ordered[whole + 1] == lower or math.isinf(lower):
        return lower
    return lower + (ordered[whole + 1] - lower) * (rest / 100)


STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {  # of values in ascending order
    "mean": mean,
    "median": partial(percentile, percent=50),
    "p5": partial(percentile, percent=5),  # the bad end if higher is closer
    "p95": partial(percentile, percent=95),
    "min": lambda ordered: ordered[0],
    "max": lambda ordered: ordered[-1],
}


class Summary:
    """The sink that keeps one number per row and metric, and the worst rows.

    Args:
        metrics: Names in the catalog's spelling; folders and worst rows use the first metric.
        keep: Largest number of rows that `worst` can return.

    Attributes:
        values: The finite numbers of each metric.
        folders: The numbers of the first metric for each folder of images.
        pairs: Number of rows.
        errors: Number of rows with an error; some of their metrics may have numbers.
    """

    def __init__(self, metrics: Sequence[str], keep: int = 10) -> None:
        self.metrics, self.keep = list(metrics), keep
        self.values: Mapping[str, array[float]] = {name: array("d") for name in metrics}
        self.folders: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self.pairs = self.errors = 0
        self._infinite: Mapping[str, array[float]] = {name: array("d") for name in metrics}
        self._lower_is_closer = entry_of(self.metrics[0]).direction == "lower"
        self._worst: list[tuple[float, int, Row]] = []

    @property
    def infinite(self) -> int:
        """The number of infinite values, over all metrics."""
        return sum(map(len, self._infinite.values()))

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Add a row, and each number that it has."""
        self.pairs += 1
        self.errors += bool(row["error"])
        for name in self.metrics:
            value = row[name]
            if has_number(row, name):
                (self.values if math.isfinite(value) else self._infinite)[name].append(value)
        if has_number(row, self.metrics[0]):
            self.folders[PurePath(row["image"]).parent.as_posix()].append(row[self.metrics[0]])
            self._keep_worst(row)

    def finish(self) -> None:
        """Do nothing, since results are computed on request."""

    def _keep_worst(self, row: Row) -> None:
        value = row[self.metrics[0]]
        entry = (value if self._lower_is_closer else -value, -self.pairs, row)  # the earlier one among equals
        if len(self._worst) < self.keep:
            heapq.heappush(self._worst, entry)
        elif self._worst:
            heapq.heappushpop(self._worst, entry)

    def worst(self, count: int) -> list[Row]:
        """Return the worst rows by the first metric, worst first, up to `keep` rows."""
        return [row for _, _, row in sorted(self._worst, key=lambda entry: entry[:2], reverse=True)][:count]

    def statistics(self) -> dict[str, dict[str, float]]:
        """Return `count`, the number of `infinite` values, and `STATISTICS` for each metric that has a number."""
        found = {}
        for name in self.metrics:
            ordered = sorted([*self.values[name], *self._infinite[name]])
            if ordered:
                counts = {"count": len(ordered), "infinite": len(self._infinite[name])}
                found[name] = {**counts, **{key: _digits(of(ordered)) for key, of in STATISTICS.items()}}
        return found

    def by_folder(self) -> dict[str, dict[str, float]]:
        """Return `count`, `mean` and `worst` value of the first metric for each folder of images."""
        extreme = max if self._lower_is_closer else min
        return {
            folder: {"count": len(values), "mean": _digits(mean(values)), "worst": _digits(extreme(values))}
            for folder, values in sorted(self.folders.items())
        }

    def as_json(self) -> dict[str, Any]:
        """Return everything for programs; infinity is `None`."""
        return {
            "pairs": self.pairs,
            "errors": self.errors,
            "infinite": self.infinite,
            "statistics": _without_infinity(self.statistics()),
            "folders": _without_infinity(self.by_folder()),
        }


def has_number(row: Row, metric: str) -> bool:
    """Return whether a row has a number for a metric; NaN does not count."""
    return row[metric] is not None and not math.isnan(row[metric])


def _digits(value: float) -> float:
    """Return a value rounded to the digits of float32, as in results."""
    return float(f"{value:.7g}")


def _without_infinity(found: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    return {
        name: {key: value if math.isfinite(value) else None for key, value in values.items()}
        for name, values in found.items()
    }
