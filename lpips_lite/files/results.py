"""Files of results: write rows to CSV, JSON lines or JSON, and read them again to resume an interrupted run.

A row has `reference` and `image`, the columns of a list or pattern, one number per metric, `identical`, `content` (a
hash of the bytes of both files, 16 hexadecimal digits) and `error`. A metric that has a box, like `region`, has a
second column with it, "left,top,width,height". If a metric refuses a pair, it has no number, and
`error` says why; other metrics keep their numbers. CSV and JSON lines also have the `signature` of the metrics.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from lpips_lite.catalog import box_column, columns_of, may_be_infinite, plain_spelling
from lpips_lite.files.names import PATHS, RESULT_COLUMNS
from lpips_lite.files.outputs import errors_named, open_output, replace_file

if TYPE_CHECKING:
    from lpips_lite.files.decoding import Decoded

Row = dict[str, Any]
Format = Literal["csv", "jsonl"]  # formats that are written row by row

_BOX = re.compile("[0-9]+(,[0-9]+){3}")
MADE = ("identical", "content", "error")  # columns after the numbers


def arrange(row: Row, metrics: Iterable[str]) -> Row:
    """Return a row with all its columns in order, and None for a metric without a number."""
    numbers = {name: row.get(name) for name in columns_of(metrics)}
    carried = {key: value for key, value in row.items() if key not in numbers and key not in RESULT_COLUMNS}
    return {**{key: row[key] for key in PATHS}, **carried, **numbers, **{key: row[key] for key in MADE}}


def add_error(row: Row, reason: str) -> None:
    """Add a reason why something is missing in a row."""
    row["error"] = f"{row['error']}; {reason}" if row["error"] else reason


def check_columns(carried: Iterable[str], metrics: Iterable[str]) -> None:
    """Check that no column of a list or a pattern has the name of a result, in any spelling.

    Raises:
        ValueError: If a column has.
    """
    taken = {plain_spelling(name) for name in (*RESULT_COLUMNS, *columns_of(metrics))}
    for name in carried:
        if plain_spelling(name) in taken:
            raise ValueError(f"column {name!r} is also the name of a result; expected another name")


def json_safe(row: Row) -> Row:
    """Return a row for JSON, in which infinity, such as the PSNR of equal images, is null."""
    return {key: None if value in (math.inf, -math.inf) else value for key, value in row.items()}


def to_json(rows: Sequence[Row], signatures: Mapping[str, str], summary: Mapping[str, Any]) -> str:
    """Format results as one JSON document; a pair refused by some metrics is in both the results and the errors."""
    results, errors = [], []
    for row in rows:
        if any(row[name] is not None for name in signatures):
            results.append({key: value for key, value in json_safe(row).items() if key != "error" or value})
        if row["error"]:
            errors.append(
                {key: value for key, value in row.items() if key not in (*columns_of(signatures), "identical")}
            )
    document = {"signatures": signatures, "results": results, "errors": errors, "summary": summary}
    return json.dumps(document, indent=2) + "\n"


@dataclass(frozen=True)
class RowFormat:
    """The format of rows as lines of a file, for writing and reading.

    Attributes:
        format: "csv" · "jsonl".
        signatures: The signature of each metric.
        carried: Columns from a list or pattern.
    """

    format: Format
    signatures: Mapping[str, str]
    carried: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        return [*PATHS, *self.carried, *columns_of(self.signatures), *MADE, "signature"]

    def header(self) -> str:
        """Return the first line of a CSV; empty for JSON lines."""
        return _csv_line(self.columns) if self.format == "csv" else ""

    def line(self, row: Row) -> str:
        """Return one row as a line, with the signatures of its numbers."""
        if self.format == "csv":
            return _csv_line([*row.values(), self._joined()])
        return json.dumps({**json_safe(row), "signature": dict(self.signatures)}) + "\n"

    def _joined(self) -> str:
        return "; ".join(f"{name}: {signature}" for name, signature in self.signatures.items())

    def read(self, path: Path) -> Iterator[Row]:
        """Yield the rows of a file, except a last one that was cut off.

        Raises:
            ValueError: If the file does not have this format, or was made by other metrics or settings.
        """
        whole = path.read_bytes()
        lines, _, cut = whole.rpartition(b"\n")
        start = (self.header() or '{"reference": ').encode()  # every file of this format begins with this
        if not lines and not start.startswith(cut[: len(start)]):
            raise ValueError(f"it does not begin with {start.decode().strip()}")
        text = whole[: len(whole) - len(cut)].decode("utf-8")
        for number, record in self._csv_records(text) if self.format == "csv" else _json_records(text):
            try:
                yield self._row(self._from_text(record) if self.format == "csv" else record)
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"line {number}: {error}") from error

    def _csv_records(self, text: str) -> Iterator[tuple[int, Row]]:
        """Yield line number and cells by column, without a last row with unclosed quotes, which was cut off."""
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            header = next(reader, self.columns)
            if header != self.columns:
                raise ValueError(f"its columns are {', '.join(header)}; expected {', '.join(self.columns)}")
            for cells in reader:
                if len(cells) != len(self.columns):
                    raise ValueError(f"line {reader.line_num}: {len(cells)} cells; expected {len(self.columns)}")
                yield reader.line_num, dict(zip(self.columns, cells, strict=True))
        except csv.Error as error:
            if "unexpected end of data" not in str(error):
                raise ValueError(f"line {reader.line_num}: {error}") from error

    def _from_text(self, cells: Row) -> Row:
        """Turn the cells of a CSV into the values that JSON would have."""
        made = {*columns_of(self.signatures), *MADE}
        record = {name: cells[name] or None if name in made else cells[name] for name in cells}
        for name in self.signatures:
            record[name] = float(cells[name]) if cells[name] else None
        record["identical"] = {"True": True, "False": False}.get(cells["identical"], record["identical"])
        record["signature"] = dict(self.signatures) if cells["signature"] == self._joined() else None
        return record

    def _row(self, record: Row) -> Row:
        """Check a record and return it as a row."""
        if not isinstance(record, dict) or list(record) != self.columns:
            raise ValueError(f"its columns differ; expected {', '.join(self.columns)}")
        if record.pop("signature") != dict(self.signatures):
            raise ValueError("its numbers were made by other metrics or settings")
        for name in self.signatures:
            value = record[name]
            if value is None and record["error"]:
                continue
            if value is None and self.format == "jsonl" and may_be_infinite(name):
                record[name] = math.inf  # JSON has no infinity
            elif not isinstance(value, (int, float)) or isinstance(value, bool) or math.isnan(value):
                raise ValueError(f"{name} is {value}; expected a number")
            box = box_column(name)
            if box and record[box] is not None and not _BOX.fullmatch(str(record[box])):
                raise ValueError(f"{box} is {record[box]}; expected left,top,width,height")
        if record["identical"] not in (True, False, None):
            raise ValueError(f"identical is {record['identical']!r}; expected True or False")
        content = record["content"]
        if not (content is None and record["error"]) and not _is_content(content):
            raise ValueError(f"content is {content}; expected 16 hexadecimal digits")
        return record


def _json_records(text: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: not JSON ({error})") from error


def _is_content(value: object) -> bool:
    return isinstance(value, str) and len(value) == 16 and set(value) <= set("0123456789abcdef")


class ResultsFile:
    """The sink that writes each row at once to a file or stdout, so that nothing is lost if the program is stopped.

    Args:
        target: A path, which may be a link, a pipe or a device; or an open text stream.
        row_format: The format of rows.
        kept: Rows of an earlier run that are kept; the sink will get them again.
    """

    def __init__(self, target: Path | IO[str], row_format: RowFormat, kept: Sequence[Row] = ()) -> None:
        self.row_format, self.target = row_format, target
        self._kept = {id(row) for row in kept}
        self._order: list[bool] = []  # for each row so far: whether it was kept
        start = row_format.header() + "".join(map(row_format.line, kept))
        if not isinstance(target, Path):
            self._file = target
        elif kept:
            _put_back(target, start)
            self._file, start = open_output(target, "a"), ""
        else:
            self._file = open_output(target)
        self._write(start)

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Write one row and pass it to the operating system."""
        was_kept = id(row) in self._kept
        if not was_kept:
            self._write(self.row_format.line(row))
        self._order.append(was_kept)

    def _write(self, text: str) -> None:
        if not isinstance(self.target, Path):
            self._file.write(text)
            self._file.flush()
            return
        try:
            with errors_named(self.target):
                self._file.write(text)
                self._file.flush()
        except OSError:
            with suppress(OSError):
                self._file.close()  # otherwise it would raise an error later
            raise

    def finish(self) -> None:
        """Sort kept and new rows into the order of the run, if necessary."""
        if not isinstance(self.target, Path):
            return
        self._file.close()
        if False in self._order[: len(self._kept)]:  # a new row belongs before a kept one, which the file has first
            rows = list(self.row_format.read(self.target))
            kept, new = iter(rows[: len(self._kept)]), iter(rows[len(self._kept) :])
            taken = [next(kept if was_kept else new) for was_kept in self._order]
            in_order = [*taken, *new, *kept]  # an interrupt may come between writing a row and noting its place
            _put_back(self.target, self.row_format.header() + "".join(map(self.row_format.line, in_order)))


def write_text(target: Path | None, text: str) -> None:
    """Write to a path, which may be a link, a pipe or a device, or to stdout if it is None."""
    if target is None:
        sys.stdout.write(text)
    else:
        with errors_named(target), open_output(target) as file:
            file.write(text)


def _put_back(path: Path, text: str) -> None:
    """Replace the contents of a file in one step, so that a kill leaves old or new; keep links and permissions."""
    data, real = text.encode("utf-8"), Path(os.path.realpath(path))
    if real.read_bytes().startswith(data):
        os.truncate(real, len(data))
        return
    replace_file(path, data)


def _csv_line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(["" if cell is None else cell for cell in cells])
    return text.getvalue()[:-2] + "\n"  # with this line terminator the writer also quotes carriage returns
