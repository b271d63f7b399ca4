"""Propose patterns if names in two folders have no partner."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

SAMPLE = 1000  # number of names to look at


@dataclass(frozen=True)
class _Around:
    """The text before and after the part of a name that two files share, and its depth in folders."""

    before: str
    after: str
    depth: int

    def cores(self, names: Iterable[str]) -> dict[str, str]:
        """Return (folder, shared part) -> name, for the names that have such a part."""
        cores = {}
        for name in names:
            folder, slash, stem = name.rpartition("/")
            core = stem.removeprefix(self.before).removesuffix(self.after)
            if core and stem == self.before + core + self.after and name.count("/") == self.depth:
                cores[f"{folder}{slash}{core}"] = name
        return cores

    def pattern(self, suffixes: Collection[str]) -> str:
        folders = "".join(f"{{folder{number or ''}}}/" for number in range(self.depth))
        return f"{folders}{self.before}{{name}}{self.after}{min(suffixes) if len(suffixes) == 1 else '.*'}"


def propose_patterns(references: Mapping[str, str], images: Mapping[str, str]) -> tuple[str, str, int] | None:
    """Find the beginning or end of names whose removal pairs most of them.

    Args:
        references: Relative names of references without a partner, without suffix -> their suffix.
        images: The same for images.

    Returns:
        The patterns for references and images, and the number of pairs they make; None if there are none.
    """
    votes: Counter[tuple[_Around, _Around]] = Counter()
    votes.update((_bare(around), around) for around in _leftovers(images, references))
    votes.update((around, _bare(around)) for around in _leftovers(references, images))
    if not votes:  # then both may have different ends
        votes[_Around("", _common_end(references), 0), _Around("", _common_end(images), 0)] = 1
    sides = max(votes, key=lambda sides: (votes[sides], -sum(len(side.before + side.after) for side in sides)))
    left, right = sides[0].cores(references), sides[1].cores(images)
    pairs = [(left[core], right[core]) for core in left.keys() & right.keys()]
    if not pairs or any(re.search(r"[{}*?]", side.before + side.after) for side in sides):
        return None
    suffixes = {references[name] for name, _ in pairs}, {images[name] for _, name in pairs}
    return sides[0].pattern(suffixes[0]), sides[1].pattern(suffixes[1]), len(pairs)


def _leftovers(longer: Iterable[str], shorter: Collection[str]) -> Iterator[_Around]:
    """Yield what is left of names after removing a name of the other side from their beginning or end."""
    for name in islice(longer, SAMPLE):
        folder, slash, stem = name.rpartition("/")
        for cut in range(1, len(stem)):
            if f"{folder}{slash}{stem[:cut]}" in shorter:
                yield _Around("", stem[cut:], name.count("/"))
            if f"{folder}{slash}{stem[cut:]}" in shorter:
                yield _Around(stem[:cut], "", name.count("/"))


def _bare(around: _Around) -> _Around:
    return _Around("", "", around.depth)


def _common_end(names: Iterable[str]) -> str:
    return os.path.commonprefix([name[::-1] for name in names])[::-1]
