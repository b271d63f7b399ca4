"""Folders of BAPPS: 2AFC (`ref/ p0/ p1/ judge/`) and JND (`p0/ p1/ same/`), one for each family.

The last subfolder holds `.npy` files with one number: the fraction of observers who chose p1, or who saw no difference.
The number of observers is not in the data. Files are paired by stem, never by position.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lpips_lite.votes.records import Finding, JndPair, Judgments, Row, Triplet, whole_votes

BAPPS = "BAPPS"
UNKNOWN_VOTES = (
    "the number of observers is not in the data, so each judgement counts once; "
    "votes_per_judgement sets it (published: 2 in BAPPS' training set, 5 in its validation set)"
)


def find_families(folder: Path, last: str) -> list[Path]:
    """Return the folder itself, or else all folders below it, that contain the subfolder `last`."""
    found = [folder / last, *sorted(folder.rglob(last))]
    families = [
        path.parent for path in found if path.is_dir() and any((path.parent / p).is_dir() for p in ("p0", "p1"))
    ]
    return families[:1] if families[:1] == [folder] else families


def read_bapps(folder: Path, votes: int | None = None) -> Judgments:
    """Read one family of BAPPS 2AFC, named after its folder.

    Args:
        folder: Folder with `ref/ p0/ p1/ judge/`.
        votes: Number of observers per triplet, if known.
    """
    found = Judgments(BAPPS)
    for row, fraction in _rows(folder, ("ref", "p0", "p1", "judge"), votes, found):
        weight, counted = float(votes or 1), votes is not None
        ref, p0, p1 = row.images.values()
        found.triplets.append(Triplet(folder.name, ref, p0, p1, fraction, weight, counted=counted))
    return found


def read_jnd(folder: Path, votes: int | None = None) -> Judgments:
    """Read one family of BAPPS JND, from a folder with `p0/ p1/ same/`; see `read_bapps`."""
    found = Judgments(BAPPS)
    for row, fraction in _rows(folder, ("p0", "p1", "same"), votes, found):
        weight, counted = float(votes or 1), votes is not None
        p0, p1 = row.images.values()
        found.jnd.append(JndPair(folder.name, p0, p1, fraction, weight, counted))
    return found


def _rows(folder: Path, parts: Sequence[str], votes: int | None, found: Judgments) -> Iterator[tuple[Row, float]]:
    """Yield the images that belong together, and their fraction; rows and problems are added to `found`."""
    named = {part: _by_stem(folder / part, found) for part in parts}
    stems = sorted(set().union(*named.values()))
    if not stems:
        found.problems.append(Finding(folder, None, f"no file in {', '.join(f'{part}/' for part in parts)}"))
    for stem in stems:
        absent = [part for part, files in named.items() if stem not in files]
        if absent:
            found.problems.append(Finding(folder, None, f"{stem} is missing in {', '.join(absent)}"))
            continue
        several = [part for part, files in named.items() if len(files[stem]) > 1]
        *images, judged = (files[stem][0] for files in named.values())
        row = Row(judged, None, dict(zip(parts, images, strict=False)))
        try:
            fraction = _read_fraction(judged)
            if votes and not whole_votes(fraction, votes):
                raise ValueError(f"{fraction:g} of {votes} observers is not a whole number")
        except (OSError, ValueError) as error:
            found.problems.append(row.finding(str(error)))
            continue
        if not several:
            found.rows.append(row)
            yield row, fraction


def _by_stem(folder: Path, found: Judgments) -> dict[str, list[Path]]:
    """Return the files of a folder by stem, without hidden ones."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.name.startswith("."):
            files[path.stem].append(path)
    for paths in files.values():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            found.problems.append(Finding(folder, None, f"{names} differ only in their suffix; expected one of them"))
    return files


def _read_fraction(path: Path) -> float:
    """Read a `.npy` file that holds one number in [0, 1].

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not such a file.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # whatever NumPy raises for other files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"not a .npy file of numbers ({reason})") from None
    if not isinstance(array, np.ndarray) or array.size != 1 or array.dtype.kind not in "biuf":
        got = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise ValueError(f"holds {got}; expected one number")
    fraction = float(array.item())
    if not 0 <= fraction <= 1:
        raise ValueError(f"holds {fraction:g}; expected a fraction in [0, 1]")
    return fraction
