"""Read judgments of people from folders and tables as triplets.

`read` recognises these formats:

* votes: a CSV with `ref,p0,p1,votes_p0,votes_p1`, paths relative to the file, and `method_p0,method_p1` if known;
* BAPPS 2AFC: a folder with `ref/ p0/ p1/` (images) and `judge/` (`.npy`, fraction who chose p1), or a folder of these;
* NIGHTS: `data.csv` with `ref_path,left_path,right_path,right_vote,votes`; only rows with ≥ 6 votes are used;
* opinion scores: a CSV with `file,ref,mos` (higher = better); scores that differ by more than 0.5 make a pair;
* answers: a CSV with `rater,kind,ref,p0,p1,choice`, one row per answer, as `lpips-votes export --raw` writes it.

BAPPS' JND folders (`p0/ p1/ same/`), and a CSV with `p0,p1,votes_same,votes_different`, are read, too; they hold pairs
and no triplets. Judgements are kept as they are in the data, and a number of observers only if it is given.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lpips_lite.votes.bapps import BAPPS, UNKNOWN_VOTES, find_families, read_bapps, read_jnd
from lpips_lite.votes.judgment_tables import has_methods, read_csv
from lpips_lite.votes.methods import name_methods, read_method_pattern
from lpips_lite.votes.records import Finding, JndPair, Judgments, Row, Triplet

__all__ = [
    "Finding",
    "JndPair",
    "Judgments",
    "Row",
    "Triplet",
    "distinct_pairs",
    "load",
    "load_judgments",
    "read",
]

TABLES = ("votes.csv", "data.csv", "labels.csv")  # names of tables in folders


def read(path: Path, *, votes_per_judgement: int | None = None, method_pattern: str | None = None) -> Judgments:
    """Read any of the formats above; everything wrong with the data is listed in the problems of the result.

    Args:
        path: A table or a folder.
        votes_per_judgement: Number of observers per judgement in BAPPS' folders, which do not contain it.
        method_pattern: Pattern that finds the method in the path of a distorted image, relative to the folder of the
            table, like "out/{method}/*".

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If an argument is wrong or does not fit the data.
    """
    if votes_per_judgement is not None and votes_per_judgement < 1:
        raise ValueError(f"votes_per_judgement is {votes_per_judgement}; expected a whole number ≥ 1")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    pattern_folder = path if path.is_dir() else path.parent
    pattern = None if method_pattern is None else read_method_pattern(method_pattern, pattern_folder)
    found = _read_folder(path, votes_per_judgement) if path.is_dir() else read_csv(path)
    if pattern is not None:
        if has_methods(found):
            raise ValueError(f"{path}: {pattern.said} names methods, but the table has columns that name them")
        name_methods(found, pattern)
    if votes_per_judgement is not None and found.layout != BAPPS:
        found.notes.append(Finding(path, None, "votes_per_judgement is for BAPPS' folders, and has no effect here"))
    found.notes += _judged_again(found.rows)
    return found


def _read_folder(folder: Path, votes: int | None) -> Judgments:
    readers = (("judge", read_bapps), ("same", read_jnd))
    parts = [reader(family, votes) for last, reader in readers for family in find_families(folder, last)]
    if parts:
        return Judgments(BAPPS, notes=[] if votes else [Finding(folder, None, UNKNOWN_VOTES)]).add(parts)
    tables = [folder / name for name in TABLES if (folder / name).exists()]
    if len(tables) == 1:
        return read_csv(tables[0])
    expected = "ref/ p0/ p1/ judge/ (BAPPS 2AFC), p0/ p1/ same/ (BAPPS JND), votes.csv, data.csv or labels.csv"
    what = " and ".join(table.name for table in tables) + " in it; name one of them"
    return Judgments("", problems=[Finding(folder, None, what if tables else f"no {expected} in it")])


def _judged_again(rows: Sequence[Row]) -> list[Finding]:
    """Return a note on pairs that are judged in several rows, in either order: by several observers, or by mistake."""
    first: dict[tuple[str, ...], Row] = {}
    again = []
    for row in rows:
        ref, *images = (os.path.normpath(image) for image in row.images.values())
        earlier = first.setdefault((ref, *sorted(images)), row)
        if earlier is not row:
            again.append((earlier, row))
    if not again:
        return []
    earlier, row = again[0]
    several = f" ({len(again)} such rows)" if len(again) > 1 else ""
    what = f"judges the pair of line {earlier.line} again{several}; each row counts as a separate triplet"
    return [row.finding(what)]


# -- data that must be whole -----------------------------------------------------------------------------------------


def load_judgments(
    paths: Iterable[Path], *, votes_per_judgement: int | None = None, method_pattern: str | None = None
) -> Judgments:
    """Read data that must have no problems; images are checked when they are used, or by `lpips-votes check`.

    Args:
        paths: Tables and folders of triplets.
        votes_per_judgement: See `read`.
        method_pattern: See `read`.

    Returns:
        All triplets and JND pairs, and notes on them.

    Raises:
        FileNotFoundError: If there is nothing at a path.
        ValueError: If any row has a problem, or there are no rows; the message names file and line.
    """
    parts = []
    for path in paths:
        found = read(path, votes_per_judgement=votes_per_judgement, method_pattern=method_pattern)
        if found.problems:
            raise ValueError(_first_problem(path, found.problems, votes_per_judgement, method_pattern))
        parts.append(found)
    return Judgments(" and ".join(dict.fromkeys(found.layout for found in parts))).add(parts)


def load(
    paths: Iterable[Path], *, votes_per_judgement: int | None = None, method_pattern: str | None = None
) -> list[Triplet]:
    """Return the triplets of `load_judgments`; see there for arguments and errors.

    Raises:
        ValueError: Also if there are only JND pairs.
    """
    found = load_judgments(paths, votes_per_judgement=votes_per_judgement, method_pattern=method_pattern)
    if found.jnd and not found.triplets:
        raise ValueError(f"{found.jnd[0].p0.parent.parent}: holds pairs, same or different; expected triplets")
    return found.triplets


def _first_problem(path: Path, problems: Sequence[Finding], votes: int | None, pattern: str | None) -> str:
    command = ["lpips-votes", "check", str(path)]
    command += [] if votes is None else ["--votes-per-judgement", str(votes)]
    command += [] if pattern is None else ["--method-pattern", pattern]
    first = min(problems, key=lambda finding: (str(finding.file), finding.line or 0))
    return f"{first} ({len(problems) - 1} more; all: {shlex.join(command)})"


# -- triplets as pairs -----------------------------------------------------------------------------------------------


def distinct_pairs(triplets: Sequence[Triplet]) -> tuple[list[tuple[Path, Path]], NDArray[np.int64]]:
    """Return every distinct (reference, image), and the indices of p0 and p1 of each triplet in it, (T, 2).

    References, and the images of each reference, are in the order of the triplets; file names do not matter.
    """
    by_reference: dict[Path, dict[Path, None]] = {}
    for t in triplets:
        by_reference.setdefault(t.ref, {}).update({t.p0: None, t.p1: None})
    pairs = [(ref, image) for ref, images in by_reference.items() for image in images]
    position = {pair: row for row, pair in enumerate(pairs)}
    return pairs, np.array([[position[t.ref, t.p0], position[t.ref, t.p1]] for t in triplets])
