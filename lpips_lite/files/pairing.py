"""Pairs of files to compare, and what is said about them.

`pairs.py` finds them, `decoding.py` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from lpips_lite.files.folders import some
from lpips_lite.files.lists import NO_COLUMNS
from lpips_lite.files.names import printable
from lpips_lite.files.settings import Spelling, python_spelling


@dataclass(frozen=True, slots=True)
class Pair:
    """A reference, an image to compare with it, and what else is known about them.

    Attributes:
        reference: A file, or `-` for standard input.
        image: Likewise.
        name: Name of files made from them: a relative path without suffix, unique in its list.
        columns: Columns of a list, or fields of patterns; they go into results.
        mask: A file, white where to compare; `None`: everywhere.
    """

    reference: Path
    image: Path
    name: str
    columns: Mapping[str, str] = field(default_factory=lambda: NO_COLUMNS, hash=False)
    mask: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        return [self.reference, self.image, *([] if self.mask is None else [self.mask])]

    def __post_init__(self) -> None:
        if not isinstance(self.columns, MappingProxyType):
            object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))

    def __reduce__(self) -> tuple[type[Pair], tuple[Path, Path, str, dict[str, str], Path | None]]:
        return Pair, (self.reference, self.image, self.name, dict(self.columns), self.mask)  # a proxy cannot be pickled


@dataclass(frozen=True)
class Pairing:
    """The pairs that were found, and what else was.

    Attributes:
        pairs: In order of the arguments, of a list's rows, or of relative names.
        missing: References that have no image.
        new: Images that have no reference.
        ignored: Files in the folders that are no images by name, and what cannot be entered or read.
        notes: Lines to print about it.
        folders: Folders that were searched as a whole: what is written into them would be found the next time.
        sources: Lists that were read.
        root: The folder that names of references are relative to; `None`: each to its own folder.
        masks: What signatures say about the masks; empty if there are none.
    """

    pairs: list[Pair]
    missing: list[Path] = field(default_factory=list)
    new: list[Path] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)
    root: Path | None = None
    masks: str = ""

    @property
    def unmatched(self) -> list[Path]:
        """Files that have no partner on the other side."""
        return [*self.missing, *self.new]


def remarks(pairing: Pairing, unmatched_allowed: bool = False) -> list[str]:
    """Return what should be said about a pairing, also of what was left out."""
    found = list(pairing.notes)
    others = [path for path in pairing.ignored if path.is_file()]  # of all else, the notes speak
    if others:
        found.append(f"files that are not images, left out: {some(others)}")
    if unmatched_allowed and pairing.unmatched:
        sides = (
            ("missing, references without an image", pairing.missing),
            ("new, images without a reference", pairing.new),
        )
        found += [f"{what}, not compared: {some(paths)}" for what, paths in sides if paths]
    return found


def require_pairs(pairing: Pairing, unmatched_allowed: bool, *, spell: Spelling = python_spelling) -> None:
    """Check that there is something to compare, and, unless that is allowed, that nothing has no partner.

    Raises:
        ValueError: If not; it says what the notes say, which may be how to pair the rest.
    """
    alone = pairing.unmatched
    example = f", like {printable(alone[0])}" if alone else ""
    if not pairing.pairs:
        problem = f"nothing to compare: no image has a partner in the other folder{example}"
    elif alone and not unmatched_allowed:
        left_out = spell("allow_unmatched", True)
        problem = f"{len(alone)} images have no partner in the other folder{example}; {left_out} leaves them out"
    else:
        return
    raise ValueError("; ".join([problem, *remarks(pairing)]))
