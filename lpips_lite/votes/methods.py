"""The method that made each image, read from its path by a pattern like "out/{method}/*"; never guessed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from lpips_lite.files.patterns import Pattern, read_pattern
from lpips_lite.votes.records import Judgments, Row

FIELD = "method"


def read_method_pattern(text: str, folder: Path) -> Pattern:
    """Read a pattern of paths relative to a folder; it must have the field `{method}`.

    Raises:
        ValueError: If it is not a pattern, or has no such field.
    """
    pattern = read_pattern(text, folder, f"method_pattern {text!r}")
    if FIELD not in pattern.fields:
        raise ValueError(f"{pattern.said}: expected the field {{{FIELD}}}, as in out/{{{FIELD}}}/*")
    return pattern


def name_methods(found: Judgments, pattern: Pattern) -> None:
    """Set the method of each distorted image; rows with an image whose path does not tell it are problems."""
    methods: dict[Path, str] = {}
    for row in list(found.rows):
        for part, path in _distorted(row):
            names = sorted(_methods(pattern, path))
            if len(names) == 1:
                methods[path] = names[0]
                continue
            which = f"fits {pattern.said} with {' and '.join(names)}" if names else f"does not fit {pattern.said}"
            found.problems.append(row.finding(f"{part} {path} {which}"))
    found.rows = [row for row in found.rows if all(path in methods for _, path in _distorted(row))]
    found.triplets = [
        replace(t, method0=methods[t.p0], method1=methods[t.p1])
        for t in found.triplets
        if t.p0 in methods and t.p1 in methods
    ]


def _distorted(row: Row) -> list[tuple[str, Path]]:
    """Return the images of a row that were made by a method; JND pairs have no reference and no methods."""
    return [(part, path) for part, path in row.images.items() if part != "ref"] if "ref" in row.images else []


def _methods(pattern: Pattern, path: Path) -> set[str]:
    name = Path(os.path.relpath(path, pattern.root)).as_posix()
    return set() if name.startswith("../") else {fields[FIELD] for fields in pattern.readings(name)}
