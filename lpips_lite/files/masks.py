"""Which mask each pair has: one file for all, or one from a folder, with the name of the reference.

After `pairs.py`; `areas.py` reads them. Pairs of a list may have masks of their own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from lpips_lite.catalog import METRICS, entry_of
from lpips_lite.files.contents import Contents, is_stream
from lpips_lite.files.folders import find_images, some, split_suffix
from lpips_lite.files.names import printable, same_name
from lpips_lite.files.pairing import Pairing
from lpips_lite.files.settings import Settings, Spelling, python_spelling

EACH = "each"  # in signatures: pairs have masks of their own, which their `content` tells apart


def give_masks(
    pairing: Pairing, mask: Path | None, unmatched_allowed: bool, *, spell: Spelling = python_spelling
) -> Pairing:
    """Give each pair its mask.

    Args:
        pairing: Pairs as they were found; pairs of a list may have masks already.
        mask: A picture · a folder of pictures, each for the reference with the same relative name without suffix.
        unmatched_allowed: Whether references that have none in the folder are compared whole.
        spell: Argument and value -> how messages write them.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        OSError: If it cannot be read.
        ValueError: If a reference has no mask in the folder or another has the same, it is a device, or pairs have
            masks already.
    """
    listed = any(pair.mask is not None for pair in pairing.pairs)
    if mask is None:
        return replace(pairing, masks=EACH) if listed else pairing
    said = spell("mask", printable(mask))
    if listed:
        raise ValueError(f"{said}: the list has a column mask, too; expected one of the two")
    if is_stream(mask):
        raise ValueError(f"{said}: expected a file or a folder, not a pipe")
    if mask.is_dir():
        return _by_name(pairing, mask, said, unmatched_allowed, spell)
    if not mask.exists():
        raise FileNotFoundError(f"{said}: no such file or folder")
    digest = hashlib.sha256(Contents().read(mask)).hexdigest()[:8]
    return replace(pairing, pairs=[replace(pair, mask=mask) for pair in pairing.pairs], masks=digest)


def check_masked(metrics: Iterable[str], mask: Path | None, pairing: Pairing, settings: Settings) -> None:
    """Check that all metrics can leave pixels out, if some are to be left out.

    Raises:
        ValueError: If one cannot.
    """
    if not (pairing.masks or settings.ignore_boxes):
        return
    without = [text for text in metrics if not entry_of(text).takes_mask]
    if without:
        if mask is not None:
            said = settings.spell("mask", printable(mask))
        else:
            said = "column mask" if pairing.masks else settings.spell("ignore_boxes", list(settings.ignore_boxes))
        have = ", ".join(name for name, entry in METRICS.items() if entry.takes_mask)
        verb = "has" if len(without) == 1 else "have"
        raise ValueError(f"{said}: {', '.join(without)} {verb} no meaning for some of the pixels; expected {have}")


def _by_name(pairing: Pairing, folder: Path, said: str, unmatched_allowed: bool, spell: Spelling) -> Pairing:
    found = find_images(folder, spell=spell)
    names = {pair.reference: _name(pair.reference, pairing.root) for pair in pairing.pairs}
    without = [reference for reference, name in names.items() if name not in found.by_name]
    _check_names(names, said)
    notes = [*pairing.notes, *found.notes]
    if without:
        wanted = printable(folder / f"{names[without[0]]}.png")
        if not unmatched_allowed:
            whole = spell("allow_unmatched", True)
            raise ValueError(
                f"{said}: {len(without)} of {len(names)} references have no mask there, like {printable(without[0])}; "
                f"expected {wanted}; a white one leaves nothing out, {whole} compares all of these whole"
            )
        notes.append(f"references without a mask, compared whole: {some(without)}")
    known = set(names.values())
    alone = [path for name, path in found.by_name.items() if name not in known]
    if alone:
        notes.append(f"masks that belong to no reference, left out: {some(alone)}")
    pairs = [replace(pair, mask=found.by_name.get(names[pair.reference])) for pair in pairing.pairs]
    return replace(pairing, pairs=pairs, masks=EACH, notes=notes, ignored=[*pairing.ignored, *found.ignored])


def _check_names(names: Mapping[Path, str], said: str) -> None:
    """Check that references in different folders have different names; of those elsewhere only the last part counts."""
    first: dict[str, Path] = {}
    for reference, name in names.items():
        other = first.setdefault(name, reference)
        if other is not reference and os.path.realpath(other.parent) != os.path.realpath(reference.parent):
            both = f"{printable(other)} and {printable(reference)}"
            raise ValueError(f"{said}: {both} would have the same mask, {printable(name)}; expected a column mask")


def _name(reference: Path, root: Path | None) -> str:
    """Return the name of a reference's mask: its name relative to the root, or its last part if it lies elsewhere."""
    text = reference.name
    if root is not None and reference.is_relative_to(root) and ".." not in (below := reference.relative_to(root)).parts:
        text = below.as_posix()
    return same_name(split_suffix(text)[0])
