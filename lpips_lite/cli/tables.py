"""What a person sees: rows in; a table or JSON document with signatures out."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lpips_lite.catalog import METRICS
from lpips_lite.files.results import Row, plain
from lpips_lite.files.summary import STATISTICS, Summary

if TYPE_CHECKING:
    from rich.table import Table

MANY = 40  # pairs beyond which a table shows the worst ones only
FEW = 10  # pairs up to which a table needs no summary


def render_json(rows: Sequence[Row], signatures: Mapping[str, str], summary: Summary) -> str:
    """Format results as one JSON document."""
    results = [{key: value for key, value in plain(row).items() if key != "error"} for row in rows if not row["error"]]
    errors = [{key: row[key] for key in ("reference", "image", "error")} for row in rows if row["error"]]
    document = {"signatures": signatures, "results": results, "errors": errors, "summary": summary.as_json()}
    return json.dumps(document, indent=2) + "\n"


def render_table(rows: Sequence[Row], signatures: Mapping[str, str], summary: Summary, worst: int) -> str:
    """Format results for people: every pair, or the worst of many, and a summary if there are more than a few."""
    rows = [row for row in rows if not row["error"]]
    if len(rows) > MANY:
        named = summary.worst(worst)
        parts: list[Table | str] = [f"the {len(named)} worst of {len(rows)} pairs", *_all_pairs(named, signatures)]
    else:
        parts = _all_pairs(rows, signatures)
    if len(rows) > FEW:
        parts.append(summary_table(summary))
        if len(summary.folders) > 1:
            parts.append(folder_table(summary))
    return to_text(*parts, *(f"{name}: {signature}" for name, signature in signatures.items()))


def _all_pairs(rows: Sequence[Row], signatures: Mapping[str, str]) -> list[Table | str]:
    references = {row["reference"] for row in rows}
    heading: list[Table | str] = [f"reference: {references.pop()}"] if len(references) == 1 else []
    return [*heading, pair_table(rows, signatures)]


def pair_table(rows: Sequence[Row], signatures: Mapping[str, str]) -> Table:
    """Lay out one line a pair; the closest image of each column is bold on a terminal."""
    from rich.markup import escape

    one_reference = len({row["reference"] for row in rows}) == 1
    table = _table([] if one_reference else ["reference"], ["image"], signatures)
    closest = {name: (min if METRICS[name].direction == "lower" else max)((row[name] for row in rows), default=None)
               for name in signatures}  # fmt: skip
    for row in rows:
        cells = [] if one_reference else [escape(row["reference"])]
        cells.append(escape(row["image"]) + ("  (identical)" if row["identical"] else ""))
        for name in signatures:
            text = f"{row[name]:.{METRICS[name].decimals}f}"
            cells.append(f"[bold]{text}[/bold]" if len(rows) > 1 and row[name] == closest[name] else text)
        table.add_row(*cells)
    return table


def summary_table(summary: Summary) -> Table:
    """Lay out one line a statistic."""
    found = summary.statistics()
    table = _table(["of all pairs"], [], found)
    for key in ("count", *STATISTICS):
        digits = {name: 0 if key == "count" else METRICS[name].decimals for name in found}
        table.add_row(key, *(f"{values[key]:.{digits[name]}f}" for name, values in found.items()))
    return table


def folder_table(summary: Summary) -> Table:
    """Lay out one line a folder, by the first metric."""
    from rich.markup import escape

    first = summary.metrics[0]
    table = _table(["folder"], [], ["pairs", f"mean {first}", f"worst {first}"])
    for folder, found in summary.by_folder().items():
        numbers = (f"{found[key]:.{METRICS[first].decimals}f}" for key in ("mean", "worst"))
        table.add_row(escape(folder), f"{found['count']:.0f}", *numbers)
    return table


def _table(paths: Sequence[str], more: Sequence[str], numbers: Iterable[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in (*paths, *more):
        table.add_column(title, overflow="fold")
    for name in numbers:
        arrow = "" if name not in METRICS else " ↓" if METRICS[name].direction == "lower" else " ↑"
        table.add_column(f"{name}{arrow}", justify="right")
    return table


def to_text(*parts: Table | str) -> str:
    """Lay out tables and lines for stdout: in colour and as wide as it is on a terminal, plain and wide elsewhere."""
    from rich.console import Console

    terminal, text = sys.stdout.isatty(), io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=None if terminal else 200, highlight=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), markup=not isinstance(part, str))
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
