"""Match files that fit two patterns; find copies, and files without a partner."""

from __future__ import annotations

import filecmp
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lpips_lite.files.folders import some
from lpips_lite.files.names import printable
from lpips_lite.files.patterns import Fields, Fitting


class Match(NamedTuple):
    """A reference and an image whose shared fields are equal."""

    reference: str
    image: str
    fields: Fields


def match(references: Fitting, images: Fitting, shared: Sequence[str]) -> list[Match]:
    """Match files whose shared fields are equal, in order of references; never a file with itself.

    Args:
        references: References without duplicates in the shared fields, as returned by `without_copies`.
        images: Images that may belong to them.
        shared: Names of fields that both patterns have.

    Raises:
        ValueError: If an image belongs to several references.
    """
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


def without_copies(references: Fitting, shared: Sequence[str]) -> tuple[Fitting, list[str]]:
    """Keep the first of several references with the same shared fields, if all of them have the same bytes.

    Programs that render a scene by several methods often put the same references next to the images of each method.

    Returns:
        The remaining references, and notes on the others.

    Raises:
        ValueError: If two references with the same shared fields differ.
        OSError: If one of them cannot be read.
    """
    first: dict[tuple[str, ...], str] = {}
    copies = []
    for reference, (fields, *_) in references.files.items():
        other = first.setdefault(tuple(fields[name] for name in shared), reference)
        if other == reference:
            continue
        if not filecmp.cmp(references.root / other, references.root / reference, shallow=False):
            values = ", ".join(f"{name}={printable(fields[name])}" for name in shared)
            both = " and ".join(printable(references.root / name) for name in (other, reference))
            raise ValueError(f"{both} are both the reference of {values}, and differ; expected one")
        copies.append(reference)
    if not copies:
        return references, []
    left = {name: readings for name, readings in references.files.items() if name not in set(copies)}
    paths = [references.root / name for name in copies]
    return replace(references, files=left), [f"copies of other references, byte for byte, left out: {some(paths)}"]


def several_alike(images: Fitting, matches: Iterable[Match]) -> list[str]:
    """Return a note on images that no field distinguishes, which would count several times in groups of fields."""
    alike: dict[tuple[object, ...], list[Path]] = defaultdict(list)
    for found in matches:
        alike[found.reference, *found.fields.items()].append(images.root / found.image)
    paths = [path for group in alike.values() if len(group) > 1 for path in group]
    return [f"images that no field tells apart, all compared: {some(paths)}"] if paths else []


def without_partner(references: Fitting, images: Fitting, matches: Iterable[Match]) -> tuple[list[Path], list[Path]]:
    """Return the references and the images that are in no match, by relative name.

    If both sides are in one folder, a file that is matched on one side needs no partner on the other, and a file that
    fits both patterns is an image: the pattern of references often fits the names of images, too.
    """
    matched = {place for found in matches for place in (references.place(found.reference), images.place(found.image))}
    new = sorted(name for name in images.files if images.place(name) not in matched)
    taken = matched | {images.place(name) for name in new}
    missing = sorted(name for name in references.files if references.place(name) not in taken)
    return [references.root / name for name in missing], [images.root / name for name in new]
