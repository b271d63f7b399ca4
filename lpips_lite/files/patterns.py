"""Patterns like "out/{method}/{name}x4.*": find the files that fit, and the values of their fields."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from lpips_lite.files.folders import is_image, is_resource_fork, walk_folder
from lpips_lite.files.names import RESULT_COLUMNS, printable, same_name

FOLDERS, SUFFIX = "**/", ".*"
# Parts that are not literal: any folders, a field, the last suffix, any characters, one character.
_SPECIAL = re.compile(r"((?:(?<=/)|^)\*\*/|\{[^{}/]*\}|\.\*$|\*+|\?)")
_LAST_SUFFIX = re.compile(r"\.[^./]+\Z")

Fields = dict[str, str]


@dataclass(frozen=True)
class Fitting:
    """The files that fit a pattern.

    Attributes:
        said: The pattern as messages write it.
        root: The folder that contains the files.
        real_root: The same folder without links.
        files: Relative name -> values of the fields, in one or several ways.
        ignored: Files that would fit but are not images, and entries that cannot be entered or read.
        notes: Notes on entries that were left out.
    """

    said: str
    root: Path
    real_root: str
    files: dict[str, list[Fields]]
    ignored: list[Path]
    notes: list[str]

    def place(self, name: str) -> str:
        """Return the real path of a file, however its folder is spelled."""
        return f"{self.real_root}/{name}"


@dataclass(frozen=True)
class Pattern:
    """A parsed pattern.

    Attributes:
        said: The pattern as messages write it.
        root: The folder that contains the files.
        tokens: The parts of the pattern below the folder: literal text, "{field}", "*", "?", "**/", or ".*" at the end.
        depth: Depth in folders, including the root; None if any depth fits.
    """

    said: str
    root: Path
    tokens: tuple[str, ...]
    depth: int | None

    @property
    def fields(self) -> list[str]:
        return list(dict.fromkeys(token[1:-1] for token in self.tokens if token[0] == "{"))

    def find(self) -> Fitting:
        """Find the files that fit. If the pattern leaves the suffix open, only images fit.

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
        """Return whether an entry fits, or could be a folder that contains a file that fits."""
        above = self.depth is None or name.count("/") + 1 < self.depth
        return above or next(self.readings(name), None) is not None

    def readings(self, name: str) -> Iterator[Fields]:
        """Yield possible values of the fields for a relative name, longest first; nothing if it does not fit."""
        return _readings(self.tokens, same_name(name), 0, {}, set())


def read_pattern(text: str, folder: Path | None, said: str) -> Pattern:
    """Read a pattern.

    Args:
        text: `{field}` stands for one or more characters of a name; `*`, `?` and `**` work as in a shell; the rest is
            literal.
        folder: The folder that it is relative to; None: the working folder, or the pattern is absolute.
        said: The pattern as messages write it.

    Raises:
        ValueError: If it is not a pattern.
    """
    if folder is not None and text.startswith("/"):
        raise ValueError(f"{said}: expected a pattern relative to {printable(folder)}")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or text.endswith(("/", "/.")):
        raise ValueError(f"{said}: expected a pattern of files, like {{name}}.png")
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
            raise ValueError(f"{said}: {token} is not a field; expected letters, digits and _, like {{name}}")
        if field is not None and field.casefold() in RESULT_COLUMNS:
            raise ValueError(f"{said}: {token} is also the name of a result; expected another one, like {{name}}")
        if field is not None and following[:1] == "{":
            raise ValueError(f"{said}: {token}{following}: expected something between two fields")


def _readings(
    tokens: tuple[str, ...], name: str, start: int, known: Fields, seen: set[tuple[object, ...]]
) -> Iterator[Fields]:
    """Yield the possible values of the fields if `tokens` fit `name` from `start` on, each way once."""
    state = (len(tokens), start, *known.values())
    if state in seen:  # several wildcards lead here many times
        return
    seen.add(state)
    if not tokens:
        if start == len(name):
            yield known
        return
    token, rest = tokens[0], tokens[1:]
    field = token[1:-1] if token[0] == "{" else None
    for end in _ends(token, name, start) if field is None else _field_ends(known.get(field), name, start):
        if _may_begin(rest, name, end):
            now = known if field is None else {**known, field: name[start:end]}
            yield from _readings(rest, name, end, now, seen)


def _may_begin(tokens: tuple[str, ...], name: str, start: int) -> bool:
    """Return whether the next token may begin at `start`, as a quick test."""
    literal = "." if tokens[:1] == (SUFFIX,) else "" if not tokens or tokens[0][0] in "{*?" else tokens[0]
    return name.startswith(literal, start)


def _field_ends(value: str | None, name: str, start: int) -> Collection[int]:
    """Return where a field that begins at `start` may end, longest first."""
    if value is None:
        return range(_part_end(name, start), start, -1)
    return [start + len(value)] if name.startswith(value, start) else []


def _ends(token: str, name: str, start: int) -> Collection[int]:
    """Return where a token that begins at `start` and is not a field may end."""
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
