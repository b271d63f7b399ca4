"""Rows of a CSV with their line numbers; a problem in one row does not hide those in others.

Text is UTF-8, with or without a byte order mark, or UTF-16 with one, and separated by commas. Spaces around a cell and
empty rows are ignored. Lines are counted as in an editor: a quoted cell may contain several.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lpips_lite.votes.records import Finding

OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
NAMED_COLUMNS = 20  # columns listed in messages; more are only counted


@dataclass
class Table:
    """A CSV.

    Attributes:
        path: The file.
        format: The format whose columns it has; empty if it fits no format.
        columns: Names in its header.
        rows: Line number and cells by column, for every row with as many cells as the header.
        problems: Problems of the other rows, or of the file.
    """

    path: Path
    format: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)


def read_table(path: Path, formats: Mapping[str, Sequence[str]]) -> Table:
    """Read a CSV that has the columns of one of the formats, name -> columns; additional columns are kept."""
    table = Table(path)
    try:
        text = _decode(path.read_bytes())
    except OSError as error:
        table.problems.append(Finding(path, None, f"cannot be read ({(error.strerror or str(error)).lower()})"))
        return table
    except ValueError as error:
        table.problems.append(Finding(path, None, str(error)))
        return table
    rows = split_rows(text, ",")
    line, header = next(rows, (1, "empty"))
    table.columns = [cell.strip() for cell in header] if isinstance(header, list) else []
    matching = [name for name, columns in formats.items() if set(columns) <= set(table.columns)]
    if isinstance(header, str):
        problem = f"{header}; expected {_spell(formats)}"
    elif not matching:
        problem = _no_format(text, table.columns, formats)
    else:
        problem = _named_twice(table.columns)
    if problem:
        table.problems.append(Finding(path, line, problem))
        return table
    table.format = matching[0]
    for line, cells in rows:
        if isinstance(cells, str):
            table.problems.append(Finding(path, line, cells))
        elif len(cells) != len(table.columns):
            expected = f"expected {len(table.columns)}, as in the header"
            table.problems.append(Finding(path, line, f"{len(cells)} cells; {expected}"))
        else:
            table.rows.append((line, dict(zip(table.columns, map(str.strip, cells), strict=True))))
    if not table.rows and not table.problems:
        table.problems.append(Finding(path, line, "no rows after the header; expected at least one"))
    return table


def _decode(data: bytes) -> str:
    """Return the text of a file; bytes that are not UTF-8 are kept, as in file names."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16") if wide else data.decode("utf-8-sig", "surrogateescape")
    except UnicodeDecodeError as error:
        raise ValueError(f"starts like UTF-16, but is not UTF-16 ({error.reason}); expected a CSV in UTF-8") from None
    if "\0" in text:
        raise ValueError("not a text file; expected a CSV in UTF-8")
    return text


def split_rows(text: str, separator: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the first line of each row that is not empty, and its cells, or else the problem.

    If a quote is not closed, or is closed too early, reading continues in the next line, so that only one row is lost.
    """
    lines = list(io.StringIO(text, newline=""))
    start = 0
    while start < len(lines):
        reader = csv.reader((lines[k] for k in range(start, len(lines))), delimiter=separator,
                            skipinitialspace=True, strict=True)  # fmt: skip
        try:
            cells = next(reader)
        except csv.Error as error:
            yield start + 1, f"a quote that is not closed, or not at the end of its cell ({error})"
            start += 1
            continue
        if any(map(str.strip, cells)):
            yield start + 1, cells
        start += reader.line_num


# -- headers ---------------------------------------------------------------------------------------------------------


def _spell(formats: Mapping[str, Sequence[str]]) -> str:
    """List the formats with their headers, for messages."""
    return "the columns of " + " or ".join(f"{name} ({','.join(columns)})" for name, columns in formats.items())


def _no_format(text: str, found: Sequence[str], formats: Mapping[str, Sequence[str]]) -> str:
    """Say why a header fits no format: another separator, or missing columns."""
    for separator, said in OTHER_SEPARATORS.items():
        _, header = next(split_rows(text, separator), (1, ""))
        named = {cell.strip() for cell in header} if isinstance(header, list) else set()
        if any(set(columns) <= named for columns in formats.values()):
            return f"cells are separated by {said}; expected commas, and {_spell(formats)}"
    nearest = max(formats.values(), key=lambda columns: len(set(columns) & set(found)))
    absent = [column for column in nearest if column not in found]
    missing = f"no column {', '.join(absent)}; " if len(absent) < len(nearest) - 1 else ""
    more = f" and {len(found) - NAMED_COLUMNS} more" if len(found) > NAMED_COLUMNS else ""
    columns = ", ".join(column[:80] for column in found[:NAMED_COLUMNS])
    return f"{missing}columns {columns}{more}; expected {_spell(formats)}"


def _named_twice(columns: Sequence[str]) -> str:
    twice = [name for name, count in Counter(filter(None, columns)).items() if count > 1]
    return f"column {', '.join(twice)} appears twice; expected each column once" if twice else ""


# -- cells -----------------------------------------------------------------------------------------------------------


class Cells:
    """The cells of one row, read one by one; their problems are collected in `problems`."""

    def __init__(self, folder: Path, cells: Mapping[str, str]) -> None:
        self.folder, self.cells = folder, cells
        self.problems: list[str] = []

    def text(self, column: str) -> str:
        """Return the text of a cell, which must not be empty."""
        if not self.cells[column]:
            self.problems.append(f"{column} is empty")
        return self.cells[column]

    def path(self, column: str) -> Path:
        """Return the file that a cell names, relative to the table's folder."""
        text = self.text(column)
        if text == "-":
            self.problems.append(f"{column} is '-', which stands for standard input; expected a file")
        return self.folder / text

    def number(self, column: str, low: float = -math.inf, high: float = math.inf) -> float:
        """Return a finite number in a range, or NaN."""
        if not (text := self.text(column)):
            return math.nan
        try:
            value = float(text) if "_" not in text else math.nan  # which Python reads as a separator
        except ValueError:
            value = math.nan
        if low <= value <= high and math.isfinite(value):
            return value
        ranges = {0: "a number ≥ 0", -math.inf: "a number"}
        expected = ranges[low] if high == math.inf else f"a fraction in [{low:g}, {high:g}]"
        self.problems.append(f"{column} is {text!r}; expected {expected}")
        return math.nan
