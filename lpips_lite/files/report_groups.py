"""Groups of the report: rows and their states in; a table of counts and numbers for each column, and for folders, out.

Before `report.py`.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from lpips_lite.catalog import entry_of
from lpips_lite.files.names import printable
from lpips_lite.files.results import Row
from lpips_lite.files.summary import has_number, mean
from lpips_lite.files.verdicts import ERROR, FAILED

FOLDER = "folder"
MOST_VALUES = 200  # of a column that is shown; one with more, like a name, is not shown; use the search


@dataclass
class Group:
    """The rows with one value of a column.

    Attributes:
        states: State -> how many rows.
        values: Numbers of the first metric.
    """

    states: dict[str, int] = field(default_factory=dict)
    values: array[float] = field(default_factory=lambda: array("d"))


@dataclass(frozen=True)
class GroupLine:
    """A line of a table: a value of the column, how many pairs have it, the first metric's mean and worst number."""

    value: str
    pairs: int
    failed: int
    errors: int
    mean: float | None
    worst: float | None


class GroupCounts:
    """States and numbers by folder of the images, and by the columns of a list or pattern.

    Args:
        metric: The metric whose numbers are kept.
        columns: Columns of the rows.
    """

    def __init__(self, metric: str, columns: Sequence[str]) -> None:
        self.metric, self.columns = metric, [*columns, *([] if FOLDER in columns else [FOLDER])]
        self._worst = max if entry_of(metric).direction == "lower" else min
        self._groups: dict[str, dict[str, Group]] = {column: {} for column in self.columns}

    def of(self, row: Row) -> dict[str, str]:
        """Return the groups of a row, for people: column -> value."""
        folder = PurePath(row["image"]).parent.as_posix()
        return {column: printable(row.get(column, folder)) for column in self.columns}

    def take(self, row: Row, state: str) -> None:
        """Count a row."""
        for column, value in self.of(row).items():
            groups = self._groups[column]
            if len(groups) > MOST_VALUES:
                continue  # it is not shown anyway
            group = groups.setdefault(value, Group())
            group.states[state] = group.states.get(state, 0) + 1
            if has_number(row, self.metric):
                group.values.append(row[self.metric])

    def tables(self) -> dict[str, list[GroupLine]]:
        """Return the lines of each column that makes groups: it has several values, but not one for each pair."""
        return {
            column: [self._line(value, group) for value, group in sorted(groups.items())]
            for column, groups in self._groups.items()
            if 1 < len(groups) <= MOST_VALUES and any(sum(group.states.values()) > 1 for group in groups.values())
        }

    def _line(self, value: str, group: Group) -> GroupLine:
        states, values = group.states, group.values
        pairs, failed, errors = sum(states.values()), states.get(FAILED, 0), states.get(ERROR, 0)
        return GroupLine(
            value, pairs, failed, errors, mean(values) if values else None, self._worst(values) if values else None
        )
