"""A check of judgments: everything that is wrong, row by row, including images, and the totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lpips_lite.files.names import path_text, printable
from lpips_lite.files.reading import Reader
from lpips_lite.votes.progress import Progress, silently
from lpips_lite.votes.records import Finding, JndPair, Judgments, Row, Triplet
from lpips_lite.votes.triplets import read


@dataclass(frozen=True)
class Family:
    """Totals of one family; the number of observers is known for `counted` of its judgements, with `votes` votes."""

    name: str
    judgements: int
    counted: int
    votes: float
    references: int

    def __str__(self) -> str:
        votes = f"{self.votes:g} votes" if self.counted else "number of votes unknown"
        some = f" in {self.counted} of them" if 0 < self.counted < self.judgements else ""
        judged = (
            f"{printable(self.name)}: {self.judgements} {'triplets' if self.references else 'pairs'}, {votes}{some}"
        )
        return f"{judged}, {self.references} references" if self.references else judged


@dataclass(frozen=True)
class Report:
    """The result of a check: format, problems and notes by file and line, families, and rows without any problem."""

    path: Path
    layout: str
    problems: list[Finding]
    notes: list[Finding]
    families: list[Family]
    good_rows: int

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        total = f"{printable(self.path)}: {self.good_rows} good rows, {len(self.problems)} problems"
        found = [*(f"bad: {problem}" for problem in self.problems), *(f"note: {note}" for note in self.notes)]
        return [*found, *map(str, self.families), total]


def as_json(reports: Sequence[Report]) -> dict[str, object]:
    """Return reports as one JSON document; votes are null unless they are known for every judgement."""
    families = [family for report in reports for family in report.families]
    return {
        "data": [
            {
                "path": path_text(report.path),
                "layout": report.layout or None,
                "good_rows": report.good_rows,
                "families": [{"family": path_text(family.name), **_totals([family])} for family in report.families],
            }
            for report in reports
        ],
        "problems": [_finding(problem) for report in reports for problem in report.problems],
        "notes": [_finding(note) for report in reports for note in report.notes],
        "totals": {
            **_totals(families),
            "good_rows": sum(report.good_rows for report in reports),
            "problems": sum(len(report.problems) for report in reports),
        },
    }


def _totals(families: Sequence[Family]) -> dict[str, float | None]:
    judgements = sum(family.judgements for family in families)
    counted = sum(family.counted for family in families)
    votes = sum(family.votes for family in families) if counted == judgements else None
    return {"judgements": judgements, "votes": votes, "references": sum(family.references for family in families)}


def _finding(finding: Finding) -> dict[str, str | int | None]:
    return {"file": path_text(finding.file), "line": finding.line, "what": path_text(finding.what)}


def inspect(
    path: Path,
    progress: Progress = silently,
    *,
    votes_per_judgement: int | None = None,
    method_pattern: str | None = None,
) -> Report:
    """Check data and their images; see `read` for arguments.

    Raises:
        ValueError: If an argument is wrong or does not fit the data. Problems of the data are in the report instead.
    """
    try:
        found = read(path, votes_per_judgement=votes_per_judgement, method_pattern=method_pattern)
    except FileNotFoundError:
        found = Judgments("", problems=[Finding(path, None, "no such file or folder")])
    in_images, notes = look_at_images(found.rows, progress)
    problems = sorted([*found.problems, *in_images], key=lambda problem: (str(problem.file), problem.line or 0))
    bad = {(problem.file, problem.line) for problem in problems}
    good = sum((row.file, row.line) not in bad for row in found.rows)
    return Report(path, found.layout, problems, [*found.notes, *notes], _families(found), good)


def _families(found: Judgments) -> list[Family]:
    families: dict[str, list[Triplet | JndPair]] = {}
    judgements: list[Triplet | JndPair] = [*found.triplets, *found.jnd]
    for judged in judgements:
        families.setdefault(judged.family, []).append(judged)
    return [
        Family(
            name,
            len(part),
            sum(judged.counted for judged in part),
            sum(judged.votes for judged in part if judged.counted),
            len({judged.ref for judged in part if isinstance(judged, Triplet)}),
        )
        for name, part in families.items()
    ]


def look_at_images(rows: Sequence[Row], progress: Progress = silently) -> tuple[list[Finding], list[Finding]]:
    """Decode every image once; return the problems of the rows that name it, and notes."""
    sizes: dict[Path, tuple[int, ...]] = {}
    digests: dict[Path, bytes] = {}
    errors: dict[Path, str] = {}
    notes, reader = [], Reader()
    for path in progress(list(dict.fromkeys(path for row in rows for path in row.images.values())), "reading images"):
        try:
            file = reader.open(path)
            picture = file.decode()
        except (OSError, ValueError) as error:
            errors[path] = str(error)
            continue
        sizes[path], digests[path] = tuple(picture.pixels.shape[1:]), file.digest
        notes += [Finding(path, None, note.removeprefix(f"{printable(path)}: ")) for note in picture.notes]
    problems = [row.finding(what) for row in rows for what in _wrong_images(row, errors, sizes)]
    return problems, [*notes, *_same_bytes(rows, digests)]


def _wrong_images(row: Row, errors: dict[Path, str], sizes: dict[Path, tuple[int, ...]]) -> list[str]:
    wrong = [f"{part} {errors[path]}" for part, path in row.images.items() if path in errors]
    first, *others = row.images.items()
    for part, path in others:
        if path in sizes and first[1] in sizes and sizes[path] != sizes[first[1]]:
            wrong.append(f"{part} {path}: size {sizes[path]} differs from {sizes[first[1]]} of {first[1]}")
    return wrong


def _same_bytes(rows: Sequence[Row], digests: dict[Path, bytes]) -> list[Finding]:
    """Return a note if p0 and p1 have the same bytes: two methods may give the same, but votes on it tell nothing."""
    judged = [row for row in rows if {"ref", "p0", "p1"} <= row.images.keys()]
    same = [row for row in judged if digests.get(row.images["p0"], b"0") == digests.get(row.images["p1"], b"1")]
    if not same:
        return []
    several = f" ({len(same)} such rows)" if len(same) > 1 else ""
    return [same[0].finding(f"p0 and p1 have the same bytes{several}; votes on them tell nothing about distances")]
