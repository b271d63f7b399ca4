"""Which files are compared with which: paths in, pairs out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image


@dataclass(frozen=True)
class Pair:
    """A reference, an image to compare with it, and a name for what is made of them, unique in its list."""

    reference: Path
    image: Path
    name: str


@dataclass(frozen=True)
class Pairing:
    """What was found.

    Attributes:
        pairs: In order of the arguments, or of relative names.
        unmatched: Images in one folder that have no partner in the other.
        ignored: Files in the folders that are not images by their suffix.
    """

    pairs: list[Pair]
    unmatched: list[Path]
    ignored: list[Path]


def find_pairs(reference: Path, images: Sequence[Path]) -> Pairing:
    """Pair one reference with each image, or two folders by relative name without suffix.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If folders and files are mixed, a folder holds no image, or a name stands for two files.
    """
    missing = [str(path) for path in (reference, *images) if not path.exists()]
    if missing:
        raise FileNotFoundError(f"no such file or folder: {', '.join(missing)}")
    folders = [path for path in (reference, *images) if path.is_dir()]
    if not folders:
        unique = len({image.stem for image in images}) == len(images)
        names = [image.stem if unique else f"{number:03}_{image.stem}" for number, image in enumerate(images, start=1)]
        return Pairing([Pair(reference, *named) for named in zip(images, names, strict=True)], [], [])
    if len(folders) != 2 or len(images) != 1:
        raise ValueError(f"{folders[0]} is a folder; expected either files only, or exactly two folders")
    (left, ignored_left), (right, ignored_right) = (_images_by_name(folder) for folder in folders)
    return Pairing(
        [Pair(left[name], right[name], name) for name in sorted(left.keys() & right.keys())],
        [side[name] for name in sorted(left.keys() ^ right.keys()) for side in (left, right) if name in side],
        ignored_left + ignored_right,
    )


def _images_by_name(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """Return a folder's images by relative name without suffix, and the files that are no images."""
    suffixes = Image.registered_extensions()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = defaultdict(list)
    for path in files:
        if path.suffix.lower() in suffixes:
            found[path.relative_to(folder).with_suffix("").as_posix()].append(path)
    if not found:
        raise ValueError(f"{folder}: no image files in this folder")
    for name, paths in found.items():
        if len(paths) > 1:
            raise ValueError(f"{folder}: {name!r} stands for several files: {', '.join(path.name for path in paths)}")
    ignored = [path for path in files if path.suffix.lower() not in suffixes]
    return {name: paths[0] for name, paths in found.items()}, ignored
