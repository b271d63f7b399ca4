"""The grouped table: for each group and measure a statistic, its interval, and the difference from another group.

Uses `grouping.py` and `resampling.py`; `table_cells.py` lays it out for people, `table_records.py` for programs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lpips_lite.catalog import columns_of, entry_of, parse_metric
from lpips_lite.entries import did_you_mean
from lpips_lite.files.grouping import Groups, Item, Key, group
from lpips_lite.files.names import RESULT_COLUMNS, printable
from lpips_lite.files.resampling import (
    STATISTICS,
    Statistic,
    by_image,
    difference_interval,
    interval,
    psnr_of_mean_mse,
    subtract,
)
from lpips_lite.files.results import Row
from lpips_lite.files.settings import Spelling, python_spelling
from lpips_lite.files.summary import has_number

MEAN_MSE = "psnr of mean mse"  # a separate statistic, only for metrics with the name psnr

# Columns of the table for programs, after those of groups.
NUMBERS = ("value", "n", "infinite", "low", "high")
DIFFERENCES = ("against", "difference", "difference_low", "difference_high", "difference_n", "wins", "ties")
AFTER = ("measure", "statistic", *NUMBERS, *DIFFERENCES, "signature")


@dataclass(frozen=True)
class TableSettings:
    """The settings of the table.

    Attributes:
        by: Columns whose values make groups.
        statistic: Statistic of the numbers of each group: "mean" · "median" · "p5" · "p95" · "min" · "max".
        interval: Whether to compute 95 % intervals.
        against: The value of a column; other groups are compared with the group that has it, image by image; `None`:
            there is no comparison.
        psnr_of_mean_mse: Whether to add, for each PSNR, the PSNR of the mean of the squared errors.
        spell: Argument and value -> how messages write them.

    Raises:
        ValueError: If there is no such statistic, or a column of `by` is also a column of the table.
    """

    by: tuple[str, ...]
    statistic: str = "mean"
    interval: bool = False
    against: str | None = None
    psnr_of_mean_mse: bool = False
    spell: Spelling = python_spelling

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS:
            said, near = self.spell("statistic", self.statistic), did_you_mean(str(self.statistic), STATISTICS)
            raise ValueError(f"{said}: expected one of {', '.join(STATISTICS)}{near}")
        taken = next((name for name in self.by if name in AFTER), None)
        if taken is not None:
            problem = f"{taken!r} is also the name of a column of the table"
            raise ValueError(f"{self.spell('by', ','.join(self.by))}: {problem}; expected another name")

    def measures(self, metrics: Sequence[str]) -> list[Measure]:
        """Return the columns of numbers for the metrics.

        Raises:
            ValueError: If the PSNR of the mean squared error is requested, but there is no PSNR.
        """
        found = [Measure(name, name, self.statistic) for name in metrics]
        if not self.psnr_of_mean_mse:
            return found
        again = [
            Measure(f"{name} of mean MSE", name, MEAN_MSE) for name in metrics if parse_metric(name).name == "psnr"
        ]
        if not again:
            raise ValueError(f"{self.spell('psnr_of_mean_mse', True)}: expected psnr among {', '.join(metrics)}")
        return [*found, *again]

    def groups(self, items: Sequence[Item]) -> tuple[Groups, dict[Key, Key]]:
        """Group rows, and find the group that each is compared with: it differs in one column, where it has `against`.

        Raises:
            ValueError: If there is no such column or value, or an image is in a group several times.
        """
        groups = group(items, self.by, spell=self.spell)
        if self.against is None:
            return groups, {}
        said = self.spell("against", self.against)
        places = [place for place in range(len(groups.by)) if self.against in {key[place] for key in groups.members}]
        if len(places) != 1:
            values = (f"{name}: {', '.join(_values(groups, place))}" for place, name in enumerate(groups.by))
            expected = "expected a value of just one of the columns"
            raise ValueError(f"{said}: {expected} ({printable('; '.join(values))})")
        (place,) = places
        for key, positions in groups.members.items():
            references = [groups.references[position] for position in positions]
            if len(set(references)) < len(references):
                problem = f"{groups.said(key)} has several images of one reference"
                more = self.spell("by", ",".join([*self.by, "COLUMN"]))
                raise ValueError(f"{said}: {problem}; expected one, so name the column that tells them apart: {more}")
        others = {key: (*key[:place], self.against, *key[place + 1 :]) for key in groups.members}
        return groups, {key: other for key, other in others.items() if other != key and other in groups.members}


@dataclass(frozen=True)
class Measure:
    """A column of numbers: a statistic of a metric."""

    name: str
    metric: str
    statistic: str

    @property
    def is_lower_closer(self) -> bool:
        return entry_of(self.metric).direction == "lower"

    @property
    def compute(self) -> Statistic:
        return psnr_of_mean_mse if self.statistic == MEAN_MSE else STATISTICS[self.statistic]


@dataclass(frozen=True)
class Number:
    """A statistic of a group.

    Attributes:
        value: The statistic; NaN if no row has a number.
        n: Number of rows with a number.
        infinite: How many of these are infinite; means leave them out.
        low, high: The 95 % interval; NaN if there is none.
    """

    value: float
    n: int
    infinite: int
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Difference:
    """The statistic of a group minus that of another, over the images for which both have a finite number.

    The PSNR of the mean squared error also uses infinite numbers, as errors of 0.

    Attributes:
        value, low, high: The difference and its 95 % interval.
        n: Number of images.
        wins: Share of the images of both, including those with infinite numbers, for which this group is strictly
            closer.
        ties: Share of these images for which both are equal.
        left_out: Number of images left out of the difference because a number is infinite.
    """

    value: float
    low: float
    high: float
    n: int
    wins: float
    ties: float
    left_out: int


@dataclass(frozen=True)
class GroupTable:
    """The table of groups.

    Attributes:
        settings: The settings.
        groups: The groups and their rows.
        measures: The columns of numbers.
        numbers: Group -> one number per measure.
        differences: Group -> one difference per measure, for groups that are compared with another.
        signatures: The signature of each metric.
        notes: Notes on missing numbers.
    """

    settings: TableSettings
    groups: Groups
    measures: Sequence[Measure]
    numbers: Mapping[Key, Sequence[Number]]
    differences: Mapping[Key, Sequence[Difference]]
    signatures: Mapping[str, str]
    notes: Sequence[str] = field(default=())


def group_table(
    rows: Sequence[Row], settings: TableSettings, signatures: Mapping[str, str], notes: Sequence[str] = ()
) -> GroupTable:
    """Compute the table.

    Args:
        rows: Rows as described in `results.py`, all with the same columns.
        settings: The settings.
        signatures: The signature of each metric.
        notes: Notes for below the table, before those on groups.

    Raises:
        ValueError: If there is no such column; also same as `TableSettings`.
    """
    groups, opposite = settings.groups(items_of(rows, signatures))
    measures = settings.measures(list(signatures))
    taken = {key: [rows[position] for position in positions] for key, positions in groups.members.items()}
    numbers = {key: [_number(own, measure, settings.interval) for measure in measures] for key, own in taken.items()}
    differences = {
        key: [_difference(taken[key], taken[other], measure) for measure in measures] for key, other in opposite.items()
    }
    alone = settings.against is not None and not differences
    lonely = [f"no differences: no group to compare with {printable(settings.against or '')}"] if alone else []
    said = [*notes, *lonely, *groups.notes, *_missing(groups, measures, numbers), *_infinite(groups, measures, numbers)]
    return GroupTable(settings, groups, measures, numbers, differences, dict(signatures), said)


def items_of(rows: Sequence[Row], signatures: Mapping[str, str]) -> list[Item]:
    """Return the reference of each row, and its columns that come from a pattern or a list."""
    others = {*columns_of(signatures), *RESULT_COLUMNS}
    return [Item(row["reference"], {name: value for name, value in row.items() if name not in others}) for row in rows]


def _number(rows: Sequence[Row], measure: Measure, with_interval: bool) -> Number:
    own = [row for row in rows if has_number(row, measure.metric)]
    values = by_image([row[measure.metric] for row in own], [row["reference"] for row in own])
    if not values.size:
        return Number(math.nan, 0, 0)
    low, high = interval(values, measure.compute) if with_interval else (math.nan, math.nan)
    return Number(float(measure.compute(values.ravel())), len(own), int(np.isinf(values).sum()), low, high)


def _difference(rows: Sequence[Row], others: Sequence[Row], measure: Measure) -> Difference:
    pairs = _both(rows, others, measure.metric)
    if not len(pairs):
        return Difference(math.nan, math.nan, math.nan, 0, math.nan, math.nan, 0)
    own, other = pairs.T
    closer = own < other if measure.is_lower_closer else own > other
    taken = np.isfinite(pairs).all(axis=1) | (measure.statistic == MEAN_MSE)  # an infinite PSNR is a squared error of 0
    value, low, high = math.nan, math.nan, math.nan
    if taken.any():
        value = float(subtract(measure.compute(own[taken]), measure.compute(other[taken])))
        low, high = difference_interval(own[taken], other[taken], measure.compute)
    left_out = int((~taken).sum())
    return Difference(value, low, high, int(taken.sum()), float(closer.mean()), float((own == other).mean()), left_out)


def _both(rows: Sequence[Row], others: Sequence[Row], metric: str) -> np.ndarray:
    """Return the numbers of images for which both groups have one, (images, 2)."""
    known = {row["reference"]: row[metric] for row in others if has_number(row, metric)}
    both = [
        (row[metric], known[row["reference"]]) for row in rows if row["reference"] in known and has_number(row, metric)
    ]
    return np.array(both, dtype=np.float64).reshape(-1, 2)


def _missing(groups: Groups, measures: Sequence[Measure], numbers: Mapping[Key, Sequence[Number]]) -> list[str]:
    return [
        f"{groups.said(key)}: {printable(measure.name)} of {number.n} of {len(groups.members[key])} images only"
        for key, own in numbers.items()
        for measure, number in zip(measures, own, strict=True)
        if number.n < len(groups.members[key]) and measure.statistic != MEAN_MSE
    ]


def _infinite(groups: Groups, measures: Sequence[Measure], numbers: Mapping[Key, Sequence[Number]]) -> list[str]:
    return [
        f"{groups.said(key)}: {number.infinite} infinite {printable(measure.name)} (identical images), "
        f"{'not in the mean' if number.infinite < number.n else 'no finite one'}"
        for key, own in numbers.items()
        for measure, number in zip(measures, own, strict=True)
        if number.infinite and measure.statistic == "mean"
    ]


def _values(groups: Groups, place: int) -> list[str]:
    return list(dict.fromkeys(key[place] for key in groups.members))
