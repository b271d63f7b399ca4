"""What reading judgments gives: triplets, and where in the data they stand, with everything that is to say about them.

The readers (`judgment_tables.py`, `bapps.py`) make these records, `triplets.py` hands them on, and `checking.py` looks
closer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lpips_lite.files.names import printable


@dataclass(frozen=True)
class Triplet:
    """A reference, two distorted images, and what people chose.

    Attributes:
        family: Kind of distortion, or the data set's name.
        ref: The reference image.
        p0: The first distorted image.
        p1: The second.
        judgement: Fraction of observers who chose p1 as closer, in [0, 1], as the data has it.
        votes: What the triplet weighs: the number of observers, or 1 where the data does not tell it.
        method0: What made p0, if the data says so.
        method1: What made p1.
        counted: Whether `votes` is a number of observers that the data, or who reads it, has declared.
    """

    family: str
    ref: Path
    p0: Path
    p1: Path
    judgement: float
    votes: float
    method0: str | None = None
    method1: str | None = None
    counted: bool = True


@dataclass(frozen=True)
class JndPair:
    """Two images and the fraction of observers, `same`, who could not tell them apart; votes as in `Triplet`."""

    family: str
    p0: Path
    p1: Path
    same: float
    votes: float
    counted: bool = True


@dataclass(frozen=True)
class Answer:
    """What one observer said of the images of one item, which are its name; `choice` is one of a few words."""

    family: str
    rater: str
    item: tuple[str, ...]
    choice: str


@dataclass(frozen=True)
class Finding:
    """Something to say about data: the file, the line in it if it has lines, and what it is."""

    file: Path
    line: int | None
    what: str

    def __str__(self) -> str:
        place = printable(self.file) if self.line is None else f"{printable(self.file)}:{self.line}"
        return f"{place}: {printable(self.what)}"


@dataclass(frozen=True)
class Row:
    """One row of data: where it stands, and its images by column; the others are compared with the first."""

    file: Path
    line: int | None
    images: dict[str, Path]

    def finding(self, what: str) -> Finding:
        """Say something about this row."""
        return Finding(self.file, self.line, what)


@dataclass
class Judgments:
    """What a reader found.

    Attributes:
        layout: Name of the format.
        triplets: In the order of the data.
        jnd: Pairs of which it is known who called them the same.
        answers: Of single observers, where the data tells them apart.
        rows: Those in which nothing is wrong, but for what only their images can show.
        problems: What is wrong, row by row.
        notes: What is not wrong, but good to know.
    """

    layout: str
    triplets: list[Triplet] = field(default_factory=list)
    jnd: list[JndPair] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def add(self, others: Iterable[Judgments]) -> Judgments:
        """Append what others hold, and return this."""
        for other in others:
            for name in ("triplets", "jnd", "answers", "rows", "problems", "notes"):
                getattr(self, name).extend(getattr(other, name))
        return self


def same_path(a: Path, b: Path) -> bool:
    """Say whether two paths are spellings of one, like `x.png` and `./y/../x.png`."""
    return os.path.normpath(a) == os.path.normpath(b)


def whole_votes(judgement: float, votes: float) -> bool:
    """Say whether some of `votes` observers can make this fraction, but for the noise of float32."""
    chosen = judgement * votes
    return float(votes).is_integer() and abs(chosen - round(chosen)) <= 1e-6 * votes
