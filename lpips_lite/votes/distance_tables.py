"""Distances measured by another program: a CSV with `d0,d1,judgement`, or a folder of CSVs, checked row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

NEEDED = ("d0", "d1", "judgement")
COLUMNS = ("family", "ref", "judgement", "votes", "d0", "d1")


def read_distances(path: Path) -> pd.DataFrame:
    """Read the distances of another metric from a CSV or a folder of CSVs.

    Columns are `d0` and `d1` (lower = closer), `judgement` (fraction of observers who chose p1) and, optionally,
    `family` (default: the file's name), `ref` (default: each row has its own reference) and `votes` (default: unknown).

    Returns:
        `family, ref, judgement, votes, d0, d1`; unknown votes are NaN.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If a file is not such a table; the message names file and line.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no CSV file in this folder")
    return pd.DataFrame([row for file in files for row in _read(file)], columns=list(COLUMNS))


def parse_distances(texts: Iterable[str]) -> dict[str, Path]:
    """Parse strings like "mine=distances.csv" into name -> path.

    Raises:
        ValueError: If a string has another form, or a name is used twice.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, path = (part.strip() for part in text.partition("="))
        if not (name and equals and path):
            raise ValueError(f"{text!r}; expected NAME=PATH, like mine=distances.csv")
        if name in found:
            raise ValueError(f"{text!r}: {name} is already used for {found[name]}; expected another name")
        found[name] = Path(path)
    return found


def _read(file: Path) -> list[tuple[str, str, float, float, float, float]]:
    lines = _lines(file)
    _, header = next(lines, (0, []))
    header = [cell.strip() for cell in header]
    absent = [column for column in NEEDED if column not in header]
    if absent:
        found = ", ".join(header) or "nothing"
        raise ValueError(f"{file}: no column {', '.join(absent)}; expected d0, d1 and judgement; found {found}")
    twice = [column for column in COLUMNS if header.count(column) > 1]
    if twice:
        raise ValueError(f"{file}: column {twice[0]} appears twice; expected each column once")
    rows = [_row(file, line, header, cells) for line, cells in lines]
    if not rows:
        raise ValueError(f"{file}: no rows; expected at least one triplet")
    return rows


def _lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each row that is not empty."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            for cells in reader:
                if any(map(str.strip, cells)):
                    yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file}: not a table ({error}); expected a CSV in UTF-8") from None


def _row(file: Path, line: int, header: list[str], cells: list[str]) -> tuple[str, str, float, float, float, float]:
    if len(cells) != len(header):
        raise ValueError(f"{file}:{line}: {len(cells)} cells; expected {len(header)}, as in the header")
    row = {column: cell.strip() for column, cell in zip(header, cells, strict=True)}

    def number(column: str) -> float:
        try:
            value = float(row[column])
        except ValueError:
            value = np.nan
        if np.isnan(value):
            raise ValueError(f"{file}:{line}: {column} is {row[column]!r}; expected a number")
        return value

    judgement, votes = number("judgement"), number("votes") if "votes" in row else np.nan
    if not 0 <= judgement <= 1:
        raise ValueError(f"{file}:{line}: judgement {judgement:g}; expected a fraction in [0, 1]")
    if votes <= 0 or np.isinf(votes):
        raise ValueError(f"{file}:{line}: votes {votes:g}; expected a number above 0")
    for column in ("family", "ref"):
        if row.get(column) == "":
            raise ValueError(f"{file}:{line}: {column} is empty; expected a name")
    family, ref = row.get("family", file.stem), row.get("ref", f"{file.stem}:{line}")
    return family, ref, judgement, votes, number("d0"), number("d1")
