"""What a person sees: rows in; a table, JSON, JSONL or CSV with signatures out; and a progress bar meanwhile."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from lpips_lite.catalog import METRICS

if TYPE_CHECKING:
    from rich.table import Table

T = TypeVar("T")
Row = dict[str, Any]  # reference, image, one number a metric, identical


def render(rows: Sequence[Row], signatures: Mapping[str, str], style: str) -> str:
    """Format results as a table, JSON, JSONL or CSV."""
    if style == "table":
        return render_table(rows, signatures)
    plain = [{key: rounded(value) for key, value in row.items()} for row in rows]
    if style == "csv":
        joined = "; ".join(f"{name}: {signature}" for name, signature in signatures.items())
        text = io.StringIO()
        writer = csv.DictWriter(
            text, ["reference", "image", *signatures, "identical", "signature"], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows({**row, "signature": joined} for row in plain)
        return text.getvalue()
    finite = [{k: None if v in (math.inf, -math.inf) else v for k, v in row.items()} for row in plain]
    if style == "jsonl":
        return "".join(json.dumps({**row, "signature": signatures}) + "\n" for row in finite)
    return json.dumps({"signatures": signatures, "results": finite}, indent=2) + "\n"


def rounded(value: Any) -> Any:
    """Keep seven digits of a number, which is all that float32 has."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def render_table(rows: Sequence[Row], signatures: Mapping[str, str]) -> str:
    """Format results for people; the closest image of each column is bold on a terminal."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    references = {row["reference"] for row in rows}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    if len(references) > 1:
        table.add_column("reference", overflow="fold")
    table.add_column("image", overflow="fold")
    for name in signatures:
        table.add_column(f"{name} {'↓' if METRICS[name].direction == 'lower' else '↑'}", justify="right")
    closest = {name: (min if METRICS[name].direction == "lower" else max)((row[name] for row in rows), default=None)
               for name in signatures}  # fmt: skip
    for row in rows:
        cells = [escape(row["reference"])] if len(references) > 1 else []
        cells.append(escape(row["image"]) + ("  (identical)" if row["identical"] else ""))
        for name in signatures:
            text = f"{row[name]:.{METRICS[name].decimals}f}"
            cells.append(f"[bold]{text}[/bold]" if len(rows) > 1 and row[name] == closest[name] else text)
        table.add_row(*cells)
    heading = [f"reference: {references.pop()}"] if len(references) == 1 else []
    return to_text(*heading, table, *(f"{name}: {signature}" for name, signature in signatures.items()))


def to_text(*parts: Table | str) -> str:
    """Lay out tables and lines for stdout: in colour and as wide as it is on a terminal, plain and wide elsewhere."""
    from rich.console import Console

    terminal, text = sys.stdout.isatty(), io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=None if terminal else 200, highlight=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), markup=not isinstance(part, str))
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def progress(items: Sequence[T], title: str) -> Iterable[T]:
    """Go through items with a progress bar on stderr, if that is a terminal and there is something to wait for."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, title, console=console, transient=True, disable=len(items) < 2 or not console.is_terminal)
