"""Which files are compared with which: paths in, pairs out.

Before `reading.py`; the work is done in `folders.py`, `lists.py`, `patterns.py` and `matching.py`, and `decoding.py`
reads the pairs.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from lpips_lite.files.folders import find_images, split_suffix
from lpips_lite.files.lists import NO_COLUMNS, folder_of, read_list
from lpips_lite.files.matching import match, several_alike, without_copies, without_partner
from lpips_lite.files.names import STANDARD_INPUT, path_text, printable, unique_names
from lpips_lite.files.pairing import Pair, Pairing
from lpips_lite.files.patterns import read_pattern
from lpips_lite.files.proposals import propose_patterns
from lpips_lite.files.settings import Spelling, python_spelling


def find_pairs(reference: Path, images: Sequence[Path], *, spell: Spelling = python_spelling) -> Pairing:
    """Pair one reference with each image, or two folders by relative name without suffix.

    Patterns like `out/*.png` that name no file stand for the files they match, sorted; `-` stands for standard input.

    Args:
        reference: A file or a folder.
        images: Files, or one folder.
        spell: Argument and value -> how messages write them.

    Returns:
        The pairs. What only one folder has is missing or new; the notes may propose patterns that pair it.

    Raises:
        FileNotFoundError: If a path does not exist, or a pattern matches nothing.
        OSError: If a folder cannot be read.
        ValueError: If folders and files are mixed, a folder holds no image, or a name stands for two files.
    """
    images = [path for image in images for path in _expand(image)]
    if not images:
        raise ValueError(f"{printable(reference)}: nothing to compare with it; expected at least one image")
    missing = [path for path in dict.fromkeys((reference, *images)) if path != STANDARD_INPUT and not path.exists()]
    if missing:
        raise FileNotFoundError(f"no such file or folder: {', '.join(map(printable, missing))}")
    folders = [path for path in (reference, *images) if path.is_dir()]
    if not folders:
        return Pairing(_named([(reference, image) for image in images], [_stem(image) for image in images]))
    if len(folders) != 2 or len(images) != 1:
        raise ValueError(f"{printable(folders[0])} is a folder; expected either files only, or exactly two folders")
    return _pair_folders(reference, images[0], spell)


def find_all_pairs(folder: Path, *, spell: Spelling = python_spelling) -> Pairing:
    """Pair every image of a folder with every later one, in order of relative names.

    Raises:
        OSError: If there is no such folder, or it cannot be read.
        ValueError: If it holds fewer than two images, or a name stands for two files.
    """
    if not folder.is_dir():
        if folder.exists():
            raise NotADirectoryError(f"{printable(folder)}: is a file; expected a folder")
        raise FileNotFoundError(f"{printable(folder)}: no such folder")
    found = find_images(folder, spell=spell)
    if len(found.by_name) < 2:
        raise ValueError(f"{printable(folder)}: one image; expected at least two")
    both = list(combinations(found.by_name, 2))
    files = [(found.by_name[a], found.by_name[b]) for a, b in both]
    pairs = _named(files, [f"{a}_{b.replace('/', '_')}" for a, b in both])
    return Pairing(pairs, ignored=found.ignored, notes=found.notes, folders=[folder], root=folder)


def read_pairs(table: Path) -> Pairing:
    """Read a CSV with the columns `reference` and `image`, and `mask` if it has that; others are carried into results.

    Args:
        table: A file, which paths are relative to; `-` for standard input, or a pipe, whose paths are relative to the
            working folder.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such a list, a cell is missing, or there is no row.
    """
    lines, notes = read_list(table)
    names = unique_names([line.image.stem for line in lines])
    pairs = [Pair(*line[:2], name, *line[2:]) for line, name in zip(lines, names, strict=True)]
    source = Path("/dev/stdin") if table == STANDARD_INPUT else table
    return Pairing(pairs, notes=notes, sources=[source], root=folder_of(table))


def match_patterns(
    ref_pattern: str,
    image_pattern: str,
    reference_folder: Path | None = None,
    image_folder: Path | None = None,
    *,
    spell: Spelling = python_spelling,
) -> Pairing:
    """Pair the files that fit two patterns by the fields that both patterns have.

    Args:
        ref_pattern: Like "gt/{name}.png". `{field}` stands for one or more characters of the name of a file or folder,
            `*`, `?` and `**` mean what they mean in a shell; the rest is literal.
        image_pattern: Like "out/{method}/{name}x4.*". Its own fields give a reference several images.
        reference_folder: The folder that `ref_pattern` is relative to; `None`: the working folder.
        image_folder: The same for `image_pattern`.
        spell: Argument and value -> how messages write them.

    Returns:
        The pairs, in order of references; all fields are columns. Notes name copies of references, which are left out.

    Raises:
        FileNotFoundError: If there is no such folder.
        OSError: If a folder cannot be read.
        ValueError: If a text is no pattern, fits nothing, shares no field with the other, or is ambiguous; if two
            different references have the same shared fields.
    """
    left = read_pattern(ref_pattern, reference_folder, spell("ref_pattern", ref_pattern))
    right = read_pattern(image_pattern, image_folder, spell("image_pattern", image_pattern))
    shared = [name for name in left.fields if name in right.fields]
    if not shared:
        raise ValueError(f"{left.said} and {right.said} share no field; expected one in both, like {{name}}")
    references, copies = without_copies(left.find(), shared)
    images = right.find()
    matches = match(references, images, shared)
    files = [(references.root / found.reference, images.root / found.image) for found in matches]
    names = [split_suffix(found.image)[0] for found in matches]
    columns = [{name: path_text(found.fields[name]) for name in (*left.fields, *right.fields)} for found in matches]
    missing, new = without_partner(references, images, matches)
    return Pairing(
        _named(files, names, columns),
        missing,
        new,
        sorted({*references.ignored, *images.ignored}),
        list(dict.fromkeys([*references.notes, *images.notes, *copies, *several_alike(images, matches)])),
        [pattern.root for pattern in (left, right) if pattern.depth is None or pattern.root != Path()],
        root=references.root,
    )


def _pair_folders(left: Path, right: Path, spell: Spelling) -> Pairing:
    references, images = find_images(left, spell=spell), find_images(right, spell=spell)
    a, b = references.by_name, images.by_name
    names = sorted(a.keys() & b.keys())
    notes = [*references.notes, *images.notes, *_proposals(a, b, spell)]
    return Pairing(
        _named([(a[name], b[name]) for name in names], names),
        [a[name] for name in sorted(a.keys() - b.keys())],
        [b[name] for name in sorted(b.keys() - a.keys())],
        [*references.ignored, *images.ignored],
        list(dict.fromkeys(notes)),
        [left, right],
        root=left,
    )


def _proposals(references: Mapping[str, Path], images: Mapping[str, Path], spell: Spelling) -> list[str]:
    """Return a note with patterns that pair names which only one of the folders has, if there are such."""
    alone = [
        {name: a[name].suffix for name in sorted(a.keys() - b.keys())}
        for a, b in ((references, images), (images, references))
    ]
    proposal = propose_patterns(*alone)
    if proposal is None:
        return []
    ref_pattern, image_pattern, count = proposal
    patterns = f"{spell('ref_pattern', ref_pattern)} and {spell('image_pattern', image_pattern)}"
    return [f"with the same folders, {patterns} would pair {count} of the names without a partner"]


def _named(
    files: Sequence[tuple[Path, Path]], names: Sequence[str], columns: Sequence[Mapping[str, str]] | None = None
) -> list[Pair]:
    each = columns or [NO_COLUMNS] * len(files)
    return [Pair(*both, name, others) for both, name, others in zip(files, unique_names(names), each, strict=True)]


def _stem(image: Path) -> str:
    return "stdin" if image == STANDARD_INPUT else image.stem


def _expand(path: Path) -> list[Path]:
    """Return the files that a pattern of the shell stands for, or else the path itself."""
    if path == STANDARD_INPUT or os.path.lexists(path) or not glob.has_magic(str(path)):
        return [path]
    return [Path(match) for match in sorted(glob.glob(str(path), recursive=True))] or [path]  # noqa: PTH207
