"""Patterns like "out/{method}/{name}x4.*": which files fit, what their fields hold, and which belong together."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from lpips_lite.files.folders import is_image, is_resource_fork, walk_folder
from lpips_lite.files.names import RESULT_COLUMNS, printable, same_name

FOLDERS, SUFFIX = "**/", ".*"
# What is not literal: any folders, a field, the last suffix, any characters, one character.
_SPECIAL = re.compile(r"((?:(?<=/)|^)\*\*/|\{[^{}/]*\}|\.\*$|\*+|\?)")

_LAST_SUFFIX = re.compile(r"\.[^./]+\Z")

Fields = dict[str, str]


@dataclass(frozen=True)
class Fitting:
    """The files that fit a pattern.

    Attributes:
        said: How messages name the pattern.
        root: The folder below which they lie.
        real_root: The same without links.
        files: Relative name -> what the fields may hold, in one or several ways.
        ignored: Files that would fit, but are not images, and what cannot be entered or read.
        notes: What to say about the latter.
    """

    said: str
    root: Path
    real_root: str
    files: dict[str, list[Fields]]
    ignored: list[Path]
    notes: list[str]

    def place(self, name: str) -> str:
        """Return where a file lies, however its folder is spelled."""
        return f"{self.real_root}/{name}"


@dataclass(frozen=True)
class Pattern:
    """A pattern that has been read.

    Attributes:
        said: How messages name it.
        root: The folder below which files that fit lie.
        tokens: Its parts below that: literal text, "{field}", "*", "?", "**/", or ".*" at the end.
        depth: How many folders deep, the root included; None if any.
    """

    said: str
    root: Path
    tokens: tuple[str, ...]
    depth: int | None

    @property
    def fields(self) -> list[str]:
        return list(dict.fromkeys(token[1:-1] for token in self.tokens if token[0] == "{"))

    def find(self) -> Fitting:
        """Find the files that fit. If the pattern leaves the suffix open, only images are meant.

        Raises:
            FileNotFoundError: If there is no such folder.
            OSError: If a folder cannot be read.
            ValueError: If no file fits.
        """
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.said}: no such folder: {printable(self.root)}")
        walk = walk_folder(self.root, self.depth)
        suffix_open = bool(_SPECIAL.fullmatch(self.tokens[-1]))
        files, ignored = {}, []
        for name in walk.files:
            if readings := list(self.readings(name)):
                if is_resource_fork(name) or (suffix_open and not is_image(name)):
                    ignored.append(name)
                else:
                    files[name] = readings
        if not files:
            raise ValueError(f"{self.said}: no file in {printable(self.root)} fits; expected at least one")
        left_out = {name: reason for name, reason in walk.left_out.items() if self._may_hold(name)}
        paths = [self.root / name for name in sorted([*ignored, *left_out])]
        return Fitting(
            self.said, self.root, os.path.realpath(self.root), files, paths, replace(walk, left_out=left_out).notes()
        )

    def _may_hold(self, name: str) -> bool:
        """Say whether an entry fits, or might have been a folder in which a file fits."""
        above = self.depth is None or name.count("/") + 1 < self.depth
        return above or next(self.readings(name), None) is not None

    def readings(self, name: str) -> Iterator[Fields]:
        """Yield what the fields may hold for a relative name, longest first; nothing if it does not fit."""
        return _readings(self.tokens, same_name(name), 0, {})


def read_pattern(text: str, folder: Path | None, said: str) -> Pattern:
    """Read a pattern.

    Args:
        text: `{field}` stands for one or more characters of a name, `*`, `?` and `**` for what they do in a shell; the
            rest is literal.
        folder: Where it is relative to; None: the working folder, or it is absolute.
        said: How messages name it.

    Raises:
        ValueError: If it is no pattern.
    """
    if folder is not None and text.startswith("/"):
        raise ValueError(f"{said}: expected a pattern relative to {printable(folder)}")
    if not text or text.endswith("/"):
        raise ValueError(f"{said}: expected a pattern of files, like {{name}}.png")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if parts[-1:] == ["**"]:
        parts.append("*")
    fixed = list(takewhile(lambda part: not re.search(r"[{}*?]", part), parts[:-1]))
    tokens = tuple(token for token in _SPECIAL.split(same_name("/".join(parts[len(fixed) :]))) if token)
    _check_tokens(tokens, said)
    root = Path("/" if text.startswith("/") else "", *fixed)
    depth = None if FOLDERS in tokens else len(parts) - len(fixed)
    return Pattern(said, root if folder is None else folder / root, tokens, depth)


def _check_tokens(tokens: tuple[str, ...], said: str) -> None:
    for token, following in zip(tokens, (*tokens[1:], ""), strict=True):
        field = token[1:-1] if _SPECIAL.fullmatch(token) and token[0] == "{" else None
        if field is None and ("{" in token or "}" in token):
            raise ValueError(f"{said}: a brace that belongs to no field; expected fields like {{name}}")
        if field is not None and not field.isidentifier():
            raise ValueError(f"{said}: {token} is no field; expected letters, digits and _, like {{name}}")
        if field is not None and field.casefold() in RESULT_COLUMNS:
            raise ValueError(f"{said}: {token} is also the name of a result; expected another one, like {{name}}")
        if field is not None and following[:1] == "{":
            raise ValueError(f"{said}: {token}{following}: expected something between two fields")


def _readings(tokens: tuple[str, ...], name: str, start: int, known: Fields) -> Iterator[Fields]:
    """Yield what the fields may hold if `tokens` are to fit `name` from `start` on."""
    if not tokens:
        if start == len(name):
            yield known
        return
    token, rest = tokens[0], tokens[1:]
    if token[0] != "{":
        for end in _ends(token, name, start):
            yield from _readings(rest, name, end, known)
    elif (field := token[1:-1]) in known:
        if name.startswith(known[field], start):
            yield from _readings(rest, name, start + len(known[field]), known)
    else:
        for end in range(_part_end(name, start), start, -1):
            yield from _readings(rest, name, end, {**known, field: name[start:end]})


def _ends(token: str, name: str, start: int) -> Collection[int]:
    """Return where a token that is no field, and begins at `start`, may end."""
    hidden = name[start : start + 1] == "." and name[start - 1 : start] in ("", "/")  # fits no wildcard, as in a shell
    if token == FOLDERS:
        ends = [start]
        for folder in takewhile(lambda part: part[:1] != ".", name[start:].split("/")[:-1]):
            ends.append(ends[-1] + len(folder) + 1)
        return ends
    if token == SUFFIX:
        return [len(name)] if _LAST_SUFFIX.match(name, start) and name[start - 1 : start] not in ("", "/") else []
    if token[0] == "*":
        return [] if hidden else range(start, _part_end(name, start) + 1)
    if token == "?":
        return [] if hidden or start == _part_end(name, start) else [start + 1]
    return [start + len(token)] if name.startswith(token, start) else []


def _part_end(name: str, start: int) -> int:
    stop = name.find("/", start)
    return len(name) if stop < 0 else stop


# -- which of two sides belong together ------------------------------------------------------------------------------


class Match(NamedTuple):
    """A reference and an image whose shared fields are equal."""

    reference: str
    image: str
    fields: Fields


def match(references: Fitting, images: Fitting, shared: Sequence[str]) -> list[Match]:
    """Match files whose shared fields are equal, in order of references; never a file with itself.

    Raises:
        ValueError: If two references have the same shared fields, or an image belongs to several references.
    """
    _check_one_each(references, shared)
    by_key: dict[tuple[str, ...], dict[str, Fields]] = defaultdict(dict)
    for reference, readings in references.files.items():
        for fields in readings:
            by_key[tuple(fields[name] for name in shared)].setdefault(reference, fields)
    matches = []
    for image, readings in images.files.items():
        hits: dict[str, Fields] = {}
        for fields in readings:
            for reference, others in by_key.get(tuple(fields[name] for name in shared), {}).items():
                if references.place(reference) != images.place(image):
                    hits.setdefault(reference, {**others, **fields})
        if len(hits) > 1:
            several = " and ".join(printable(references.root / reference) for reference in sorted(hits)[:2])
            raise ValueError(
                f"{images.said}: {printable(images.root / image)} could belong to {several}; "
                f"expected patterns that leave no choice"
            )
        matches += [Match(reference, image, fields) for reference, fields in hits.items()]
    return sorted(matches, key=lambda match: match[:2])


def _check_one_each(references: Fitting, shared: Sequence[str]) -> None:
    first: dict[tuple[str, ...], str] = {}
    for reference, (fields, *_) in references.files.items():
        other = first.setdefault(tuple(fields[name] for name in shared), reference)
        if other != reference:
            values = ", ".join(f"{name}={printable(fields[name])}" for name in shared)
            both = " and ".join(printable(references.root / name) for name in (other, reference))
            raise ValueError(f"{both} are both the reference of {values}; expected one")


def without_partner(references: Fitting, images: Fitting, matches: Iterable[Match]) -> list[Path]:
    """Return the files of both sides that are in no match, by relative name.

    If both sides lie in one folder, a file that is matched on one side needs no partner on the other.
    """
    matched = {place for found in matches for place in (references.place(found.reference), images.place(found.image))}
    both = [(name, side) for side in (references, images) for name in side.files]
    alone = {side.place(name): side.root / name for name, side in sorted(both, key=lambda item: item[0])}
    return [path for place, path in alone.items() if place not in matched]
