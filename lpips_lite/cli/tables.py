"""Sinks that need all rows: they write a table for people, or a JSON document, with signatures."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lpips_lite.catalog import columns_of, entry_of
from lpips_lite.files.decoding import Decoded
from lpips_lite.files.names import printable
from lpips_lite.files.numbers import NO_NUMBER, format_number
from lpips_lite.files.results import Row, to_json, write_text
from lpips_lite.files.summary import STATISTICS, Summary
from lpips_lite.files.verdicts import FAILED, PASSED, STATES, Verdicts

if TYPE_CHECKING:
    from rich.table import Table

MANY = 40  # pairs above which a table shows only the worst ones
FEW = 10  # pairs up to which a table needs no summary


class JsonOutput:
    """The sink that writes one JSON document to a file, or to stdout if the path is None."""

    def __init__(self, path: Path | None, signatures: Mapping[str, str], summary: Summary, verdicts: Verdicts) -> None:
        self.path, self.signatures, self.summary, self.verdicts = path, signatures, summary, verdicts
        self.rows: list[Row] = []

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Keep a row."""
        self.rows.append(row)

    def finish(self) -> None:
        """Write the document."""
        write_text(
            self.path, to_json(self.rows, self.signatures, {**self.summary.as_json(), **self.verdicts.as_json()})
        )


class TableOutput:
    """The sink that writes a table for people, to a file, or to stdout if the path is None."""

    def __init__(
        self, path: Path | None, signatures: Mapping[str, str], summary: Summary, verdicts: Verdicts, worst: int
    ) -> None:
        self.path, self.signatures, self.summary, self.worst, self.verdicts = path, signatures, summary, worst, verdicts
        self.rows: list[Row] = []  # more than `MANY` are never shown
        self.count = 0
        self.errors: list[str] = []  # for files, since they are read without stderr

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Keep a row that has a number, and, for a file, its error."""
        if row["error"] and self.path is not None:
            self.errors.append(f"error: {printable(row['error'])}")
        if any(row[name] is not None for name in self.signatures):
            self.count += 1
            if self.count <= MANY:
                self.rows.append(row)

    def finish(self) -> None:
        """Write the table; write nothing to stdout if there are no rows."""
        if self.rows or self.path is not None:
            write_text(self.path, to_text(*self._parts(), terminal=self.path is None and sys.stdout.isatty()))

    def _parts(self) -> Iterator[Table | str]:
        """Yield a table of all pairs, or of the worst of many, and a summary if there are more than a few."""
        if self.count > MANY:
            named = self.summary.worst(self.worst)
            yield f"the {len(named)} worst of {self.count} pairs"
            yield from _all_pairs(named, self.signatures)
        else:
            yield from _all_pairs(self.rows, self.signatures)
        if self.count > FEW:
            yield summary_table(self.summary)
            if len(self.summary.folders) > 1:
                yield folder_table(self.summary)
        yield from state_lines(self.verdicts)
        for name, text in self.signatures.items():
            yield f"{printable(name)}: {printable(text)}"
        yield from self.errors


def _all_pairs(rows: Sequence[Row], signatures: Mapping[str, str]) -> list[Table | str]:
    references = {row["reference"] for row in rows}
    heading: list[Table | str] = [f"reference: {printable(references.pop())}"] if len(references) == 1 else []
    return [*heading, pair_table(rows, signatures)]


def pair_table(rows: Sequence[Row], signatures: Mapping[str, str]) -> Table:
    """Lay out one line per pair; the closest image of each column is bold on a terminal."""
    from rich.text import Text

    one_reference = len({row["reference"] for row in rows}) == 1
    columns = columns_of(signatures)
    headings = (_with_arrow(name) if name in signatures else printable(name) for name in columns)
    table = _table(["image"] if one_reference else ["reference", "image"], headings)
    closest = {name: _closest(name, rows) for name in signatures}
    for row in rows:
        cells = [] if one_reference else [Text(printable(row["reference"]))]
        cells.append(Text(printable(row["image"]) + ("  (identical)" if row["identical"] else "")))
        for name in columns:
            value = row[name]
            bold = len(rows) > 1 and value is not None and value == closest.get(name)
            text = _number(name, value) if name in signatures else value or NO_NUMBER
            cells.append(Text(text, style="bold" if bold else ""))
        table.add_row(*cells)
    return table


def _closest(name: str, rows: Sequence[Row]) -> float | None:
    values = [row[name] for row in rows if row[name] is not None]
    return (min if entry_of(name).direction == "lower" else max)(values, default=None)


def _number(name: str, value: float | None) -> str:
    return format_number(value, entry_of(name).decimals)


def summary_table(summary: Summary) -> Table:
    """Lay out one line per statistic."""
    found = summary.statistics()
    table = _table(["of all pairs"], map(_with_arrow, found))
    table.add_row("count", *(f"{values['count']:.0f}" for values in found.values()))
    if summary.infinite:
        table.add_row("infinite", *(f"{values['infinite']:.0f}" for values in found.values()))
    for key in STATISTICS:
        table.add_row(key, *(_number(name, values[key]) for name, values in found.items()))
    return table


def folder_table(summary: Summary) -> Table:
    """Lay out one line per folder, by the first metric."""
    from rich.text import Text

    first = summary.metrics[0]
    table = _table(["folder"], ["pairs", f"mean {_with_arrow(first)}", f"worst {_with_arrow(first)}"])
    for folder, found in summary.by_folder().items():
        numbers = (_number(first, found[key]) for key in ("mean", "worst"))
        table.add_row(Text(printable(folder)), f"{found['count']:.0f}", *numbers)
    return table


def state_lines(verdicts: Verdicts) -> list[str]:
    """Return how many pairs are in each state, if rules were asked for or something has no partner."""
    if not verdicts.rules and not any(verdicts.alone.values()):
        return []
    shown = (state for state in STATES if verdicts.counts[state] or state in (PASSED, FAILED))
    return [", ".join(f"{verdicts.counts[state]} {state}" for state in shown)]


def _table(texts: Iterable[str], numbers: Iterable[str]) -> Table:
    """Return an empty table with columns of texts, then of numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in texts:
        table.add_column(title, overflow="fold")
    for title in numbers:
        table.add_column(Text(title), justify="right", overflow="fold")
    return table


def _with_arrow(metric: str) -> str:
    return f"{printable(metric)} {'↓' if entry_of(metric).direction == 'lower' else '↑'}"


def to_text(*parts: Table | str, terminal: bool) -> str:
    """Lay out tables and lines: coloured and as wide as the terminal, or plain and wide for a file."""
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=None if terminal else 200, highlight=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), markup=False, emoji=False)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
