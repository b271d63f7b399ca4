"""Files that fit two patterns: which of them belong together, and which have no partner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lpips_lite.files.names import printable
from lpips_lite.files.patterns import Fields, Fitting


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
