"""Lists of pairs: read paths and other columns from a CSV, as programs and spreadsheets write it."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, NamedTuple

from lpips_lite.files.names import PATHS, RESULT_COLUMNS, STANDARD_INPUT, file_path, path_text, printable

EXPECTED = "the columns reference and image"
MASK = "mask"  # a column of paths, too, if it is there; empty where there is none
NO_COLUMNS: Mapping[str, str] = MappingProxyType({})
START = 4096  # bytes that show whether a file is text
NAMED_COLUMNS = 20  # columns listed in messages; more are only counted


class Line(NamedTuple):
    """One pair of a list: its files, and the other cells of its row."""

    reference: Path
    image: Path
    columns: Mapping[str, str]
    mask: Path | None


def read_list(table: Path) -> tuple[list[Line], list[str]]:
    """Read a CSV with the columns `reference` and `image`, and perhaps `mask`.

    Text is UTF-8, or UTF-16 with a byte order mark; separators are commas, semicolons or tabs. Spaces around a cell and
    empty rows are ignored. Paths are relative to the folder of the list; in standard input, `-`, and in pipes they are
    relative to the working folder.

    Returns:
        Its lines, and notes on what was left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such a list; the message names file and line.
    """
    name = _said(table)
    text = re.sub(r'\A"?sep=.?"?(?=[\r\n])', "", _read_text(table))  # Excel writes it before the header
    delimiter, header = _header(text, name)
    lines = list(_lines(_rows(text, delimiter, name), header, table, name))
    if not lines:
        raise ValueError(f"{name}: no pairs; expected at least one row")
    unnamed = [place for place, column in enumerate(header) if not column]
    notes = []
    if unnamed and any(cells[place].strip() for _, cells in _rows(text, delimiter, name) for place in unnamed):
        notes.append(f"{name}: left out cells in columns without a name")
    return lines, notes


def _lines(rows: Iterator[tuple[int, list[str]]], header: list[str], table: Path, name: str) -> Iterator[Line]:
    next(rows)  # the header
    carried = [(column, place) for place, column in enumerate(header) if column and column not in PATHS]
    reference, image = (header.index(column) for column in PATHS)
    mask = header.index(MASK) if MASK in header else None
    folder = folder_of(table)
    base = "" if folder is None else str(folder)
    paths: dict[str, Path] = {}  # they repeat, and making them is slow
    for number, cells in rows:
        if len(cells) != len(header):
            raise ValueError(f"{name}, line {number}: {len(cells)} cells; expected {len(header)}, as in the first line")
        masks = [cells[mask]] if mask is not None and cells[mask].strip() else []
        for cell in (cells[reference], cells[image], *masks):
            if cell not in paths:
                paths[cell] = _path(cell, base, table, f"{name}, line {number}")
        columns = {column: path_text(cells[place].strip()) for column, place in carried}
        both = paths[cells[reference]], paths[cells[image]]
        own = paths[masks[0]] if masks else None
        yield Line(*both, MappingProxyType(columns) if columns else NO_COLUMNS, own)


def _said(table: Path) -> str:
    return "standard input" if table == STANDARD_INPUT else printable(table)


# -- bytes to text ---------------------------------------------------------------------------------------------------


def _read_text(table: Path) -> str:
    """Read a file or a pipe once, and return its text; bytes that are not UTF-8 are kept, as in file names."""
    if table == STANDARD_INPUT:
        if sys.stdin is None:
            raise ValueError("standard input: closed; expected a CSV")
        return _decode(sys.stdin.buffer, "standard input")
    name = printable(table)
    if table.is_dir():
        raise IsADirectoryError(f"{name}: is a folder; expected a CSV with {EXPECTED}")
    try:
        file = table.open("rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: no such file") from None
    with file:
        return _decode(file, name)


def _decode(file: IO[bytes], name: str) -> str:
    start = file.read(START)
    wide = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in start and not wide:
        raise ValueError(f"{name}: not a text file; expected a CSV with {EXPECTED}")
    data = start + file.read()
    try:
        text = data.decode("utf-16") if wide else data.decode("utf-8", "surrogateescape")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: starts like UTF-16, but is not UTF-16 ({error.reason}); expected UTF-8") from None
    if "\0" in text:
        line = max(text.count(end, 0, text.index("\0")) for end in "\n\r") + 1
        raise ValueError(f"{name}, line {line}: a NUL character; expected a text file")
    return text.lstrip("\ufeff")


# -- text to rows ----------------------------------------------------------------------------------------------------


def _rows(text: str, delimiter: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row's last line, and its cells; empty rows are skipped."""
    lines = io.StringIO(text, newline="")
    # Strict, since otherwise a quote that is not closed would swallow the rest of the list.
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(f"{name}, line {reader.line_num}: {error}") from None


def _header(text: str, name: str) -> tuple[str, list[str]]:
    """Return the separator that splits the first row into the required columns, and the names in that row."""
    found, problem = [], None
    for delimiter in ",;\t":
        try:
            cells = next(_rows(text, delimiter, name), (0, []))[1]
        except ValueError as error:
            problem = problem or error
            continue
        header = [_column(cell) for cell in cells]
        if set(PATHS) <= set(header):
            _check_header(header, name)
            return delimiter, header
        found.append(header)
    if problem and not found:
        raise problem
    header = max(found, key=len)
    if not header:
        raise ValueError(f"{name}: empty; expected {EXPECTED}")
    absent = next(column for column in PATHS if column not in header)
    columns = ", ".join(printable(column[:80]) for column in header[:NAMED_COLUMNS])
    more = f" and {len(header) - NAMED_COLUMNS} more" if len(header) > NAMED_COLUMNS else ""
    raise ValueError(f"{name}: no column '{absent}'; expected {EXPECTED}; found {columns}{more}")


def _column(cell: str) -> str:
    name = path_text(cell.strip())
    return name.lower() if name.lower() in (*PATHS, MASK) else name


def _check_header(header: list[str], name: str) -> None:
    count = Counter(column.casefold() for column in header if column)
    twice = [column for column in header if count[column.casefold()] > 1]
    if twice:
        raise ValueError(f"{name}: column '{printable(twice[0])}' appears twice; expected each column once")
    taken = [column for column in header if column.casefold() in RESULT_COLUMNS and column not in PATHS]
    if taken:
        names = ", ".join(map(printable, taken))
        raise ValueError(f"{name}: {names}: also the name of a result; expected another name for the column")


# -- cells to paths --------------------------------------------------------------------------------------------------


def _path(cell: str, base: str, table: Path, where: str) -> Path:
    """Return the file that a cell names. Spaces at its end are ignored unless there is a file with such a name."""
    text = cell.rstrip()
    if text in ("", "-"):
        got = "; '-' stands for standard input, which a list cannot name" if text else ""
        raise ValueError(f"{where}: expected a reference and an image{got}")
    if text != cell and os.path.lexists(os.path.join(base, cell)):  # noqa: PTH118
        text = cell
    path = file_path(os.path.join(base, text))  # noqa: PTH118 - twice as fast
    if not base and _is_same_pipe(path, table):
        raise ValueError(f"{where}: {printable(path)} is the list itself; expected a file")
    return path


def folder_of(table: Path) -> Path | None:
    """Return the folder of a list; standard input, an open file given by its number, and a pipe have none."""
    numbered = re.match("/dev/stdin$|/dev/fd/|/proc/[^/]+/fd/", str(table))
    return None if table == STANDARD_INPUT or numbered or not table.is_file() else table.parent


def _is_same_pipe(path: Path, table: Path) -> bool:
    """Return whether an image is the pipe that the list came from, which cannot be read twice."""
    if not str(path).startswith(("/dev/", "/proc/")):  # an ordinary file, which need not be checked
        return path == table
    try:
        return path == table or path.samefile("/dev/stdin" if table == STANDARD_INPUT else table)
    except OSError:
        return False
