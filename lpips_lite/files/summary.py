"""What many rows come to: count, mean, median, p5, p95, extremes, the worst pairs, and the rules they must keep."""

from __future__ import annotations

import heapq
import math
import operator
import re
import statistics
from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any

from lpips_lite.catalog import METRICS
from lpips_lite.files.results import Row

COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of them lie below, interpolated linearly."""
    import numpy as np  # not needed for --help

    return float(np.percentile(values, percent))


STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "p5": partial(percentile, percent=5),  # the bad end where higher is closer
    "p95": partial(percentile, percent=95),
    "min": min,
    "max": max,
}


@dataclass(frozen=True)
class Rule:
    """A bound like "lite>0.2", on every pair, or "p95(lite)>0.1", on all of them together."""

    metric: str
    comparison: str
    threshold: float
    statistic: str | None = None

    def __str__(self) -> str:
        name = f"{self.statistic}({self.metric})" if self.statistic else self.metric
        return f"{name} {self.comparison} {self.threshold:g}"

    def crossed_by(self, value: float) -> bool:
        return bool(COMPARISONS[self.comparison](value, self.threshold))


def parse_rule(text: str) -> Rule:
    """Parse METRIC>NUMBER or STATISTIC(METRIC)>NUMBER.

    Raises:
        ValueError: If it is neither, or names no metric or statistic.
    """
    match = re.fullmatch(r"\s*(?:(\w+)\(\s*([\w-]+)\s*\)|([\w-]+))\s*(>=|<=|>|<)\s*(\S+)\s*", text)
    try:
        if not match or (match[1] and match[1] not in STATISTICS) or (match[2] or match[3]) not in METRICS:
            raise ValueError
        return Rule(match[2] or match[3], match[4], float(match[5]), match[1])
    except ValueError:
        raise ValueError(
            f"{text!r}; expected METRIC>NUMBER or METRIC<NUMBER, like lite>0.2, or of "
            f"{', '.join(STATISTICS)} like p95(lite)>0.1"
        ) from None


class Summary:
    """Rows added one by one; holds one number each for a metric, and the worst rows.

    Infinite values, the PSNR of equal images, are left out of means and counted.
    """

    def __init__(self, metrics: Sequence[str], keep: int = 10) -> None:
        self.metrics, self.keep = list(metrics), keep
        self.values: Mapping[str, array[float]] = {name: array("d") for name in metrics}
        self.folders: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self.pairs = self.errors = self.infinite = 0
        self._worst: list[tuple[float, int, Row]] = []

    def add(self, row: Row) -> None:
        """Take one row into account."""
        self.pairs += 1
        if row["error"]:
            self.errors += 1
            return
        for name in self.metrics:
            if math.isfinite(row[name]):
                self.values[name].append(row[name])
            else:
                self.infinite += 1
        first = self.metrics[0]
        badness = row[first] if METRICS[first].direction == "lower" else -row[first]
        if math.isfinite(badness):
            self.folders[PurePath(row["image"]).parent.as_posix()].append(row[first])
        entry = (badness, -self.pairs, row)  # among equals the earlier one
        if len(self._worst) < self.keep:
            heapq.heappush(self._worst, entry)
        elif self._worst:
            heapq.heappushpop(self._worst, entry)

    def worst(self, count: int) -> list[Row]:
        """Return the worst rows by the first metric, the worst one first, of at most as many as were kept."""
        return [row for _, _, row in sorted(self._worst, key=lambda entry: entry[:2], reverse=True)][:count]

    def statistics(self) -> dict[str, dict[str, float]]:
        """Return count, mean, median, p5, p95, min and max of each metric that has a finite value."""
        return {
            name: {"count": len(values), **{key: float(f"{f(values):.7g}") for key, f in STATISTICS.items()}}
            for name, values in self.values.items()
            if values
        }

    def by_folder(self) -> dict[str, dict[str, float]]:
        """Return count, mean and worst value of the first metric for each folder of images."""
        extreme = max if METRICS[self.metrics[0]].direction == "lower" else min
        return {
            folder: {"count": len(values), "mean": float(f"{statistics.fmean(values):.7g}"), "worst": extreme(values)}
            for folder, values in sorted(self.folders.items())
        }

    def crossed(self, rules: Sequence[Rule]) -> list[str]:
        """Return what to say of rules on statistics that are crossed."""
        found = self.statistics()
        together = [rule for rule in rules if rule.statistic and rule.metric in found]
        values = {rule: found[rule.metric][rule.statistic or ""] for rule in together}
        return [f"failed: {rule}: it is {value:.6g}" for rule, value in values.items() if rule.crossed_by(value)]

    def as_json(self) -> dict[str, Any]:
        """Return everything for a program."""
        return {
            "pairs": self.pairs,
            "errors": self.errors,
            "infinite": self.infinite,
            "statistics": self.statistics(),
            "folders": self.by_folder(),
        }
