"""Results in files: rows out to CSV or JSON lines one by one, and in again, to go on where a run was interrupted."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from lpips_lite.catalog import METRICS

Row = dict[str, Any]  # reference, image, one number a metric, identical, error


def columns(signatures: Mapping[str, str]) -> list[str]:
    """Return the columns of a table of results."""
    return ["reference", "image", *signatures, "identical", "error", "signature"]


def header(signatures: Mapping[str, str], style: str) -> str:
    """Return the first line of a CSV; JSON lines have none."""
    return _csv_line(columns(signatures)) if style == "csv" else ""


def line(row: Row, signatures: Mapping[str, str], style: str) -> str:
    """Return one row as a line of CSV or JSON, with what made its numbers."""
    if style == "csv":
        joined = "; ".join(f"{name}: {signature}" for name, signature in signatures.items())
        return _csv_line([*row.values(), joined])
    return json.dumps({**plain(row), "signature": dict(signatures)}) + "\n"


def plain(row: Row) -> Row:
    """Return a row as JSON can hold it: infinity, which is the PSNR of equal images, is null."""
    return {key: None if value in (math.inf, -math.inf) else value for key, value in row.items()}


class Stream:
    """A file or stdout that rows are written to at once, so that nothing is lost whenever the program is stopped."""

    def __init__(self, target: Path | IO[str], signatures: Mapping[str, str], style: str, kept: Sequence[Row]) -> None:
        self.signatures, self.style = signatures, style
        text = header(signatures, style) + "".join(line(row, signatures, style) for row in kept)
        if isinstance(target, Path):
            partial = target.with_name(f"{target.name}.partial")
            partial.write_text(text, encoding="utf-8")
            partial.replace(target)
            self.file: IO[str] = target.open("a", encoding="utf-8", newline="")
        else:
            self.file = target
            self.file.write(text)
        self.close = self.file.close if isinstance(target, Path) else self.file.flush

    def write(self, row: Row) -> None:
        """Write one row and hand it to the operating system."""
        self.file.write(line(row, self.signatures, self.style))
        self.file.flush()


def read_results(path: Path, signatures: Mapping[str, str], style: str) -> list[Row]:
    """Read the rows that an interrupted run has written, but not those with an error, which are tried again.

    A last line that was cut off is left out.

    Raises:
        ValueError: If the file was made by other metrics, or is not such a file.
    """
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    try:
        rows = _read_csv(whole, signatures) if style == "csv" else _read_jsonl(whole, signatures)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--resume: {path} does not continue: {error}; use another --output") from error
    return [row for row in rows if not row["error"]]


def _read_jsonl(text: str, signatures: Mapping[str, str]) -> list[Row]:
    rows = []
    for raw in map(json.loads, text.splitlines()):
        if raw.pop("signature") != dict(signatures):
            raise ValueError("its rows were made by other metrics or settings")
        rows.append({key: _finite(key, value, raw["error"]) for key, value in raw.items()})
    return rows


def _read_csv(text: str, signatures: Mapping[str, str]) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text))
    if text and reader.fieldnames != columns(signatures):
        raise ValueError(f"its columns are {reader.fieldnames}, expected {columns(signatures)}")
    joined = "; ".join(f"{name}: {signature}" for name, signature in signatures.items())
    rows = []
    for raw in reader:
        if raw.pop("signature") != joined:
            raise ValueError("its rows were made by other metrics or settings")
        numbers = {name: float(raw[name]) if raw[name] else None for name in signatures}
        paths = {"reference": raw["reference"], "image": raw["image"]}
        identical = {"True": True, "False": False}.get(raw["identical"])
        rows.append({**paths, **numbers, "identical": identical, "error": raw["error"] or None})
    return rows


def _finite(key: str, value: Any, error: str | None) -> Any:
    """Undo `plain`."""
    if value is None and not error and key in METRICS:
        return math.inf if METRICS[key].direction == "higher" else -math.inf
    return value


def _csv_line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["" if cell is None else cell for cell in cells])
    return text.getvalue()
