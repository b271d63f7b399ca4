"""Tables of judgments: one reader per CSV format; `COLUMNS` lists the formats.

Votes are numbers ≥ 0 with a positive sum. If both are whole, they are numbers of observers. Fractions (shares, or
weighted votes) are the weight of the triplet, and the number of observers is unknown.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

from lpips_lite.votes import answer_tables
from lpips_lite.votes.answer_tables import ANSWERS
from lpips_lite.votes.csv_rows import Cells, Table, read_table
from lpips_lite.votes.records import Finding, JndPair, Judgments, Row, Triplet, same_path, whole_votes

VOTES, NIGHTS, SCORES, PAIRS = "votes", "NIGHTS", "opinion scores", "same or different"
COLUMNS = {
    VOTES: ("ref", "p0", "p1", "votes_p0", "votes_p1"),
    NIGHTS: ("ref_path", "left_path", "right_path", "right_vote", "votes"),
    SCORES: ("file", "ref", "mos"),
    PAIRS: ("p0", "p1", "votes_same", "votes_different"),
    ANSWERS: answer_tables.COLUMNS,
}
METHODS = ("method_p0", "method_p1")
SCORE_GAP = 0.5  # opinion scores that differ by more than this make a pair
NIGHTS_VOTES = 6  # its authors use rows with at least this many votes


def read_csv(path: Path) -> Judgments:
    """Read a CSV of any format."""
    table = read_table(path, COLUMNS)
    readers: dict[str, Callable[[Table, Judgments], None]] = {
        VOTES: _read_votes,
        NIGHTS: _read_nights,
        SCORES: _read_scores,
        PAIRS: _read_pairs,
        ANSWERS: answer_tables.read_answers,
    }
    found = Judgments(table.format, problems=table.problems)
    if table.format:
        readers[table.format](table, found)
    return found


def has_methods(found: Judgments) -> bool:
    """Return whether the data has columns for the methods that made the images."""
    return any(t.method0 is not None for t in found.triplets)


def _read_votes(table: Table, found: Judgments) -> None:
    methods = [column for column in METHODS if column in table.columns]
    if len(methods) == 1:
        absent = next(column for column in METHODS if column not in methods)
        what = f"column {methods[0]} without {absent}; expected both, or none"
        found.problems.append(Finding(table.path, 1, what))
    family = table.path.parent.resolve().name
    for line, values in table.rows:
        cells = Cells(table.path.parent, values)
        ref, p0, p1 = _images(cells, COLUMNS[VOTES][:3])
        v0, v1 = _votes(cells, COLUMNS[VOTES][3:])
        method0, method1 = [cells.text(column) for column in methods] if len(methods) == 2 else (None, None)
        row = Row(table.path, line, {"ref": ref, "p0": p0, "p1": p1})
        if _is_good(row, cells, found):
            counted = v0.is_integer() and v1.is_integer()
            found.triplets.append(Triplet(family, ref, p0, p1, v1 / (v0 + v1), v0 + v1, method0, method1, counted))


def _read_pairs(table: Table, found: Judgments) -> None:
    """Read pairs of images, and how many people called them the same."""
    family = table.path.parent.resolve().name
    for line, values in table.rows:
        cells = Cells(table.path.parent, values)
        p0, p1 = (cells.path(column) for column in COLUMNS[PAIRS][:2])
        same, different = _votes(cells, COLUMNS[PAIRS][2:])
        row = Row(table.path, line, {"p0": p0, "p1": p1})
        if _is_good(row, cells, found):
            counted = same.is_integer() and different.is_integer()
            found.jnd.append(JndPair(family, p0, p1, same / (same + different), same + different, counted))


def _read_nights(table: Table, found: Judgments) -> None:
    few = 0
    for line, values in table.rows:
        cells = Cells(table.path.parent, values)
        columns = COLUMNS[NIGHTS]
        ref, left, right = _images(cells, columns[:3])
        judgement, votes = cells.number(columns[3], 0, 1), cells.number(columns[4], 0)
        if votes < NIGHTS_VOTES and not cells.problems:
            few += 1
            continue
        row = Row(table.path, line, dict(zip(("ref", "p0", "p1"), (ref, left, right), strict=True)))
        if _is_good(row, cells, found):
            counted = whole_votes(judgement, votes)
            found.triplets.append(Triplet("nights", ref, left, right, judgement, votes, counted=counted))
    if few:
        rule = f"fewer than {NIGHTS_VOTES} votes, by its authors' rule"
        what = f"left out {few} of {len(table.rows)} rows: {rule}"
        enough = found.triplets or found.problems
        (found.notes if enough else found.problems).append(Finding(table.path, None, what))


def _read_scores(table: Table, found: Judgments) -> None:
    """Turn mean opinion scores (higher = better) into pairs: within a reference, |ΔMOS| > 0.5.

    The better of the two counts as chosen. Nobody voted on the pair, so its weight is 1 and it has no observers.
    """
    groups: dict[str, dict[str, tuple[Path, Path, float, int]]] = {}
    for line, values in table.rows:
        cells = Cells(table.path.parent, values)
        ref, file = cells.path("ref"), cells.path("file")
        mos = cells.number("mos")
        group = groups.setdefault(os.path.normpath(ref), {})
        first = group.setdefault(os.path.normpath(file), (ref, file, mos, line))
        if first[-1] != line and not cells.problems:
            cells.problems.append(f"{values['file']} already has a score in line {first[-1]}")
        row = Row(table.path, line, {"ref": ref, "file": file})
        if not _is_good(row, cells, found) and first[-1] == line:
            del group[os.path.normpath(file)]
    family = table.path.parent.resolve().name
    for _, group in sorted(groups.items()):
        for (ref, p0, mos0, _), (_, p1, mos1, _) in combinations(group.values(), 2):
            if abs(mos0 - mos1) > SCORE_GAP:
                found.triplets.append(Triplet(family, ref, p0, p1, float(mos1 > mos0), 1.0, counted=False))
    if not found.triplets and not found.problems:
        what = f"no two scores of one reference are more than {SCORE_GAP:g} apart, so there is no pair to learn from"
        found.problems.append(Finding(table.path, None, what))


def _votes(cells: Cells, columns: tuple[str, ...]) -> list[float]:
    """Return two numbers of votes, of which at least one must be positive."""
    v0, v1 = (cells.number(column, low=0) for column in columns)
    if not (math.isnan(v0) or math.isnan(v1) or 0 < v0 + v1 < math.inf):
        no = "no votes" if v0 + v1 == 0 else f"votes {v0:g} and {v1:g}"
        cells.problems.append(f"{no}; expected numbers ≥ 0 with a positive, finite sum")
    return [v0, v1]


def _images(cells: Cells, columns: tuple[str, ...]) -> list[Path]:
    """Return reference, p0 and p1 of a row; the last two must differ."""
    ref, p0, p1 = (cells.path(column) for column in columns)
    if not cells.problems and same_path(p0, p1):
        cells.problems.append(f"{columns[1]} and {columns[2]} are the same file, {cells.cells[columns[1]]}")
    return [ref, p0, p1]


def _is_good(row: Row, cells: Cells, found: Judgments) -> bool:
    """Add a row to the good rows, or its problems to the others, and return whether it is good."""
    found.problems += [row.finding(what) for what in cells.problems]
    if not cells.problems:
        found.rows.append(row)
    return not cells.problems
