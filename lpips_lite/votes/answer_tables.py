"""Tables with one answer per row, and who gave it. Answers are counted per item and kept, to see how far people agree.

The columns are those of the raw table of `lpips-votes export`. Only rows of kind "judged" count, except those with
something in `left_out`. An answer "tie" is kept, but it is not a vote.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from lpips_lite.votes.csv_rows import Cells, Table
from lpips_lite.votes.records import Answer, Finding, JndPair, Judgments, Row, Triplet, same_path

ANSWERS = "answers"
COLUMNS = ("rater", "kind", "ref", "p0", "p1", "choice")
KINDS = ("judged", "repeat", "catch", "practice")
TRIPLET_CHOICES, PAIR_CHOICES = ("p0", "p1", "tie"), ("same", "different")

Key = tuple[str, ...]  # the images of an item, as written


def read_answers(table: Table, found: Judgments) -> None:
    """Count the answers of a table as triplets and pairs; see the top of this file."""
    family = table.path.parent.resolve().name
    counts: dict[Key, Counter[str]] = {}
    methods: dict[Key, tuple[str | None, str | None]] = {}
    rows: dict[Key, Row] = {}
    seen: dict[tuple[str, Key], int] = {}
    left_out, ties = Counter[str](), 0
    for line, values in table.rows:
        cells = Cells(table.path.parent, values)
        rater, kind = cells.text("rater"), cells.text("kind")
        if kind and kind not in KINDS:
            cells.problems.append(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
        row, key, choice = _row(table.path, line, cells, values, judged=kind == "judged")
        if kind == "judged" and not cells.problems:
            first = seen.setdefault((rater, key), line)
            if first != line:
                cells.problems.append(f"{rater} has already judged these images in line {first}")
        found.problems += [Finding(table.path, line, what) for what in cells.problems]
        if cells.problems or kind != "judged":
            continue
        if values.get("left_out"):
            left_out[rater] += 1
            continue
        rows.setdefault(key, row)
        methods.setdefault(key, (values.get("method_p0") or None, values.get("method_p1") or None))
        counts.setdefault(key, Counter())[choice] += 1
        ties += choice == "tie"
        found.answers.append(Answer(family, rater, key, choice))
    for key, counted in counts.items():
        _add(found, rows[key], family, counted, methods[key])
    if left_out:
        what = f"left out {left_out.total()} answers of {len(left_out)} people, as the column left_out says"
        found.notes.append(Finding(table.path, None, what))
    if ties:
        found.notes.append(Finding(table.path, None, f"{ties} answers are ties, which are not votes"))
    if not found.rows and not found.problems:
        found.problems.append(Finding(table.path, None, "has no votes; expected at least one judged row"))


def _row(path: Path, line: int, cells: Cells, values: dict[str, str], *, judged: bool) -> tuple[Row, Key, str]:
    """Read the images and the choice of a row; a row without p1 is a pair."""
    parts = ("ref", "p0", "p1") if values["p1"] else ("ref", "p0")
    images = {part: cells.path(part) for part in parts}
    choices = TRIPLET_CHOICES if values["p1"] else PAIR_CHOICES
    choice = cells.text("choice")
    if choice and choice not in choices:
        cells.problems.append(f"choice is {choice!r}; expected one of {', '.join(choices)}")
    if judged and not cells.problems and same_path(*list(images.values())[-2:]):
        cells.problems.append(f"{' and '.join(parts[-2:])} are the same file, {values[parts[-1]]}")
    named = images if values["p1"] else dict(zip(("p0", "p1"), images.values(), strict=True))
    return Row(path, line, named), tuple(os.path.normpath(image) for image in images.values()), choice


def _add(
    found: Judgments, row: Row, family: str, counted: Counter[str], methods: tuple[str | None, str | None]
) -> None:
    """Add the counts of one item, unless all its answers are ties."""
    first, second = ("p0", "p1") if "ref" in row.images else ("different", "same")
    votes = counted[first] + counted[second]
    if not votes:
        return
    found.rows.append(row)
    share = counted[second] / votes
    images = row.images
    if "ref" in images:
        known = methods if None not in methods else (None, None)
        found.triplets.append(Triplet(family, images["ref"], images["p0"], images["p1"], share, votes, *known))
    else:
        found.jnd.append(JndPair(family, images["p0"], images["p1"], share, votes))
