"""Which files are compared with which: paths in, pairs out."""

from __future__ import annotations

import csv
import glob
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from PIL import Image


@dataclass(frozen=True, slots=True)
class Pair:
    """A reference, an image to compare with it, and a name for what is made of them, unique in its list."""

    reference: Path
    image: Path
    name: str


@dataclass(frozen=True)
class Pairing:
    """What was found.

    Attributes:
        pairs: In order of the arguments, of a list's rows, or of relative names.
        unmatched: Images in one folder that have no partner in the other.
        ignored: Files in the folders that are not images by their suffix.
    """

    pairs: list[Pair]
    unmatched: list[Path]
    ignored: list[Path]


def find_pairs(reference: Path, images: Sequence[Path]) -> Pairing:
    """Pair one reference with each image, or two folders by relative name without suffix.

    Patterns like `out/*.png` that name no file stand for the files they match, sorted.

    Raises:
        FileNotFoundError: If a path does not exist, or a pattern matches nothing.
        ValueError: If folders and files are mixed, a folder holds no image, or a name stands for two files.
    """
    images = [path for image in images for path in _expand(image)]
    missing = [shown(path) for path in (reference, *images) if not path.exists()]
    if missing:
        raise FileNotFoundError(f"no such file or folder: {', '.join(missing)}")
    folders = [path for path in (reference, *images) if path.is_dir()]
    if not folders:
        return Pairing(_name([(reference, image) for image in images]), [], [])
    if len(folders) != 2 or len(images) != 1:
        raise ValueError(f"{shown(folders[0])} is a folder; expected either files only, or exactly two folders")
    (left, ignored_left), (right, ignored_right) = (_images_by_name(folder) for folder in folders)
    return Pairing(
        [Pair(left[name], right[name], name) for name in sorted(left.keys() & right.keys())],
        [side[name] for name in sorted(left.keys() ^ right.keys()) for side in (left, right) if name in side],
        ignored_left + ignored_right,
    )


def find_all_pairs(folder: Path) -> Pairing:
    """Pair every image of a folder with every later one, in order of relative names.

    Raises:
        ValueError: If it is not a folder with at least two images, or a name stands for two files.
    """
    if not folder.is_dir():
        raise ValueError(f"{shown(folder)}: expected a folder")
    found, ignored = _images_by_name(folder)
    if len(found) < 2:
        raise ValueError(f"{shown(folder)}: one image; expected at least two")
    both = combinations(sorted(found), 2)
    return Pairing([Pair(found[a], found[b], f"{a}_{b.replace('/', '_')}") for a, b in both], [], ignored)


def read_pairs(table: Path) -> Pairing:
    """Read a CSV with the columns `reference` and `image`, paths relative to its folder.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a column or a cell is missing, or there is no row.
    """
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        absent = [column for column in ("reference", "image") if column not in (reader.fieldnames or [])]
        if absent:
            raise ValueError(f"{shown(table)}: no column {absent[0]!r}; expected the columns reference and image")
        rows = []
        for row in reader:
            if not (row["reference"] and row["image"]):
                raise ValueError(f"{shown(table)}, line {reader.line_num}: expected a reference and an image")
            rows.append((table.parent / row["reference"], table.parent / row["image"]))
    if not rows:
        raise ValueError(f"{shown(table)}: no pairs; expected at least one row")
    return Pairing(_name(rows), [], [])


def shown(path: Path) -> str:
    """Return a path as text that can be printed and written, whatever bytes are in its name."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _name(rows: Sequence[tuple[Path, Path]]) -> list[Pair]:
    """Name pairs after their images; with a number in front if that is not unique."""
    unique = len({image.stem for _, image in rows}) == len(rows)
    digits = max(3, len(str(len(rows))))
    return [
        Pair(reference, image, image.stem if unique else f"{number:0{digits}}_{image.stem}")
        for number, (reference, image) in enumerate(rows, start=1)
    ]


def _expand(path: Path) -> list[Path]:
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [path]
    return [Path(match) for match in sorted(glob.glob(str(path), recursive=True))] or [path]  # noqa: PTH207


def _images_by_name(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """Return a folder's images by relative name without suffix, and the files that are no images."""

    def refuse(error: OSError) -> None:
        raise error

    suffixes = Image.registered_extensions()
    files = sorted(Path(root, name) for root, _, names in os.walk(folder, onerror=refuse) for name in names)
    found = defaultdict(list)
    for path in files:
        if path.suffix.lower() in suffixes:
            found[path.relative_to(folder).with_suffix("").as_posix()].append(path)
    if not found:
        raise ValueError(f"{shown(folder)}: no image files in this folder")
    for name, paths in found.items():
        if len(paths) > 1:
            files_of_it = ", ".join(path.name for path in paths)
            raise ValueError(f"{shown(folder)}: {name!r} stands for several files: {files_of_it}")
    ignored = [path for path in files if path.suffix.lower() not in suffixes]
    return {name: paths[0] for name, paths in found.items()}, ignored
