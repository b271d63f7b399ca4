"""Records of judgments: triplets, their places in the data, and findings about them.

The readers (`judgment_tables.py`, `bapps.py`) make these records, `triplets.py` collects them, and `checking.py` checks
them.
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
        family: Kind of distortion, or name of the data set.
        ref: The reference image.
        p0: The first distorted image.
        p1: The second distorted image.
        judgement: Fraction of observers who chose p1 as closer, in [0, 1], as in the data.
        votes: Weight of the triplet: the number of observers, or 1 if it is unknown.
        method0: The method that made p0, if the data names it.
        method1: The method that made p1, if the data names it.
        counted: Whether `votes` is a number of observers, from the data or from an argument.
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
    """Two images and the fraction of observers, `same`, who could not tell them apart; for votes see `Triplet`."""

    family: str
    p0: Path
    p1: Path
    same: float
    votes: float
    counted: bool = True


@dataclass(frozen=True)
class Answer:
    """The answer of one observer to one item, which is named by its images; `choice` is one of a few words."""

    family: str
    rater: str
    item: tuple[str, ...]
    choice: str


@dataclass(frozen=True)
class Finding:
    """A problem or note about data: the file, the line if there are lines, and the text."""

    file: Path
    line: int | None
    what: str

    def __str__(self) -> str:
        place = printable(self.file) if self.line is None else f"{printable(self.file)}:{self.line}"
        return f"{place}: {printable(self.what)}"


@dataclass(frozen=True)
class Row:
    """One row of data: its place, and its images by column; the first image is the one to compare with."""

    file: Path
    line: int | None
    images: dict[str, Path]

    def finding(self, what: str) -> Finding:
        """Return a finding about this row."""
        return Finding(self.file, self.line, what)


@dataclass
class Judgments:
    """The result of a reader.

    Attributes:
        layout: Name of the format.
        triplets: Triplets in the order of the data.
        jnd: Pairs of images that people called the same or different.
        answers: Answers of single observers, if the data has them.
        rows: Rows without problems; their images were not checked.
        problems: Problems, row by row.
        notes: Remarks that are not problems.
    """

    layout: str
    triplets: list[Triplet] = field(default_factory=list)
    jnd: list[JndPair] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def add(self, others: Iterable[Judgments]) -> Judgments:
        """Append the contents of others, and return this object."""
        for other in others:
            for name in ("triplets", "jnd", "answers", "rows", "problems", "notes"):
                getattr(self, name).extend(getattr(other, name))
        return self


def same_path(a: Path, b: Path) -> bool:
    """Return whether two paths are the same in different spellings, like `x.png` and `./y/../x.png`."""
    return os.path.normpath(a) == os.path.normpath(b)


def whole_votes(judgement: float, votes: float) -> bool:
    """Return whether a whole number of `votes` observers can give this fraction, up to float32 rounding."""
    chosen = judgement * votes
    return float(votes).is_integer() and abs(chosen - round(chosen)) <= 1e-6 * votes
