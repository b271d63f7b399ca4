"""A comparison of metrics as tables for people, in plain text and Markdown."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lpips_lite.votes.comparison import Comparison, DataSet, Line
from lpips_lite.votes.exports import HUMAN, means
from lpips_lite.votes.observers import Alpha
from lpips_lite.votes.reliability import Bin

NOTHING = "–"


@dataclass(frozen=True)
class Grid:
    """A table: title, names of columns, and rows with the same number of cells."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


# -- cells -----------------------------------------------------------------------------------------------------------


def _share(line: Line) -> str:
    return f"{line.value:.2f}" + ("" if math.isnan(line.low) else f" [{line.low:.1f}, {line.high:.1f}]")


def _difference(line: Line) -> str:
    if math.isnan(line.low):
        return f"{line.value:+.2f}"
    return f"{line.value:+.2f} [{line.low:+.2f}, {line.high:+.2f}] p = {line.p_value:.3f}"


def _across(title: str, lines: Iterable[Line], cell: Callable[[Line], str], mean: bool) -> Grid:
    """Return a table with a row per name and a column per family, and the mean for names that have all families."""
    lines = list(lines)
    families, names = list(dict.fromkeys(x.family for x in lines)), list(dict.fromkeys(x.name for x in lines))
    over_all = means(lines) if mean else {}
    rows = []
    for name in names:
        own = {line.family: line for line in lines if line.name == name}
        cells = [cell(own[family]) if family in own else NOTHING for family in families]
        whole = [f"{over_all[name]:.2f}" if name in over_all else NOTHING] if over_all else []
        rows.append([name, *cells, *whole])
    return Grid(title, ["metric", *families, *(["mean"] if over_all else [])], rows)


def _data(data: Sequence[DataSet]) -> Grid:
    rows = []
    for part in data:
        votes = NOTHING if math.isnan(part.votes) else f"{part.votes:g}"
        rows.append([part.family, f"{part.rows} {part.kind}", votes, str(part.references)])
    return Grid("data", ["family", "rows", "votes", "references"], rows)


def _ties(triplets: Sequence[DataSet], metrics: Iterable[str]) -> Grid:
    rows = [[name, *(str(part.ties.get(name, NOTHING)) for part in triplets)] for name in metrics]
    return Grid("ties: triplets whose images are equally far", ["metric", *(part.family for part in triplets)], rows)


def _alphas(found: Sequence[Alpha]) -> Grid:
    rows = []
    for alpha in found:
        interval = "" if math.isnan(alpha.low) else f" [{alpha.low:.3f}, {alpha.high:.3f}]"
        value = NOTHING if math.isnan(alpha.value) else f"{alpha.value:.3f}{interval}"
        rows.append([alpha.family, str(alpha.raters), str(alpha.answers), value])
    title = "Krippendorff's alpha: 1 = people agree, 0 = as by chance"
    return Grid(title, ["family", "people", "answers on shared items", "alpha"], rows)


def _bins(name: str, by_family: dict[str, Sequence[Bin]]) -> Grid:
    def cell(part: Bin) -> str:
        return f"{100 * part.predicted:.1f} / {100 * part.actual:.1f} / {part.votes:g}" if part.votes else NOTHING

    columns = list(by_family.values())
    rows = [
        [f"{100 * first.low:.0f} to {100 * first.high:.0f}", *(cell(bins[place]) for bins in columns)]
        for place, first in enumerate(columns[0])
    ]
    title = f"reliability of {name}: predicted and actual share of votes for p1 in %, and number of votes"
    return Grid(title, ["predicted", *by_family], rows)


def grids(comparison: Comparison, source: str = HUMAN) -> list[Grid]:
    """Return all tables that are not empty.

    Args:
        comparison: What to show.
        source: Where the judgments come from, for the title.
    """
    count, against = comparison.count, comparison.against
    made = [_data(comparison.data)]
    if comparison.agreement:
        triplets = [part for part in comparison.data if part.kind == "triplets"]
        votes = sum(part.votes for part in triplets)
        numbers = f"{sum(part.rows for part in triplets)} triplets" + (
            "" if math.isnan(votes) else f", {votes:g} votes"
        )
        lines = [*comparison.ceilings, *comparison.agreement]
        made.append(_across(f"2AFC agreement in % of {count}, {source}; {numbers}", lines, _share, True))
        made.append(_ties(triplets, dict.fromkeys(line.name for line in comparison.agreement)))
    if comparison.alphas:
        made.append(_alphas(comparison.alphas))
    if comparison.differences:
        title = f"difference of agreement from {against} in points, paired, with 95 % interval"
        made.append(_across(title, comparison.differences, _difference, False))
    if comparison.precision:
        made.append(_across("JND average precision in %", comparison.precision, _share, True))
    if comparison.precision_differences:
        title = f"difference of JND average precision from {against} in points, paired, with 95 % interval"
        made.append(_across(title, comparison.precision_differences, _difference, False))
    for name in dict.fromkeys(name for name, _ in comparison.reliability):
        made.append(_bins(name, {f: bins for (n, f), bins in comparison.reliability.items() if n == name}))
    return made


# -- formats ---------------------------------------------------------------------------------------------------------


def _width(text: str) -> int:
    """Return the width of a text on a terminal, in columns."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def to_text(made: Sequence[Grid], notes: Iterable[str] = ()) -> str:
    """Lay out tables for people, with columns in line."""
    blocks = []
    for grid in made:
        cells = [grid.header, *grid.rows]
        widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(text + " " * (width - _width(text)) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in (*cells[:1], ["─" * width for width in widths], *cells[1:])
        ]
        blocks.append("\n".join([grid.title, *lines]))
    return "\n\n".join([*blocks, *notes])


def to_markdown(made: Sequence[Grid], notes: Iterable[str] = ()) -> str:
    """Lay out tables in Markdown."""
    blocks = []
    for grid in made:
        rows = [grid.header, ["---"] * len(grid.header), *grid.rows]
        lines = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
        blocks.append("\n".join([grid.title, "", *lines]))
    return "\n\n".join([*blocks, *notes])
