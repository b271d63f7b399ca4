"""Items from folders: balanced triplets, or pairs, of references and the results of several methods.

Files are matched by their relative names without suffixes, as by `compare-images`. The method of an image is the name
of its folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import combinations
from pathlib import Path
from random import Random
from typing import TypeVar

from lpips_lite.files.folders import find_images, some
from lpips_lite.files.names import printable
from lpips_lite.votes.collect.study import Item, Mode

T = TypeVar("T", bound=Hashable)

COUNT = 300  # default number of items


def propose(
    references: Path, results: Sequence[Path], *, mode: Mode = "closer", count: int | None = None, seed: int = 0
) -> tuple[list[Item], list[str]]:
    """Choose items so that all methods (or pairs of them) and all references are used equally often.

    Args:
        references: Folder of the references.
        results: Folders of results, one per method; at least two in mode "closer".
        mode: The question to ask.
        count: Number of items; by default 300, or all possible items if there are fewer.
        seed: Seed for choosing among equals.

    Returns:
        Items, and notes on them.

    Raises:
        OSError: If a folder cannot be read.
        ValueError: If there is nothing to ask, or not as many items as wanted.
    """
    if len(results) < (least := 2 if mode == "closer" else 1):
        raise ValueError(
            f"results: {len(results)} folders in addition to {printable(references)}; expected at least {least}"
        )
    names = _method_names(results)
    refs = find_images(references).by_name
    found = {name: find_images(folder).by_name for name, folder in zip(names, results, strict=True)}
    notes = []
    for name, folder in zip(names, results, strict=True):
        lacking = [refs[stem] for stem in refs if stem not in found[name]]
        if lacking:
            what = f"no image for {len(lacking)} of {len(refs)} references ({some(lacking)})"
            notes.append(f"{printable(folder)}: {what}; they are not asked about")
    sets: list[tuple[str, ...]] = [*combinations(names, 2 if mode == "closer" else 1)]
    there = {methods: [stem for stem in refs if all(stem in found[m] for m in methods)] for methods in sets}
    possible = sum(map(len, there.values()))
    if not possible:
        raise ValueError(
            f"{printable(references)}: shares no name with the folders of results; expected the same names"
        )
    if count is not None and count > possible:
        raise ValueError(f"count is {count}; expected at most {possible}, all possible items")
    wanted = min(COUNT, possible) if count is None else count
    if count is None and wanted < possible:
        notes.append(f"{wanted} of {possible} possible items are asked about; count changes this number")
    return [_item(refs, found, methods, stem) for methods, stem in _balanced(there, wanted, Random(seed))], notes


def _method_names(folders: Sequence[Path]) -> list[str]:
    """Return names of folders that tell them apart: their last parts, or more of them."""
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise ValueError("results: a folder is named twice; expected each folder once")
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def _balanced(
    there: dict[tuple[str, ...], list[str]], wanted: int, random: Random
) -> list[tuple[tuple[str, ...], str]]:
    """Choose the methods used least often, and for them the reference used least often, at random among equals."""
    left = {methods: set(stems) for methods, stems in there.items()}
    asked: Counter[Hashable] = Counter()
    chosen: list[tuple[tuple[str, ...], str]] = []
    while len(chosen) < wanted:
        methods = _least([m for m in sorted(left) if left[m]], asked, random)
        stem = _least(sorted(left[methods]), asked, random)
        left[methods].discard(stem)
        asked.update((methods, stem))
        chosen.append((methods, stem))
    return chosen


def _least(options: Sequence[T], asked: Counter[Hashable], random: Random) -> T:
    least = min(asked[option] for option in options)
    return random.choice([option for option in options if asked[option] == least])


def _item(refs: dict[str, Path], found: dict[str, dict[str, Path]], methods: tuple[str, ...], stem: str) -> Item:
    first, *second = methods
    other = (found[second[0]][stem], second[0]) if second else (None, None)
    return Item(refs[stem], found[first][stem], other[0], first, other[1])
