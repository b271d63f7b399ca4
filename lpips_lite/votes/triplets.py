"""Judgments of people: folders and tables in, triplets out.

Four formats are read; `read` tells them apart:

* BAPPS 2AFC: a folder with `ref/ p0/ p1/` (images) and `judge/` (`.npy`, fraction who chose p1), or a folder of such;
* votes: a CSV with `ref,p0,p1,votes_p0,votes_p1`, paths relative to the file;
* NIGHTS: `data.csv` with `ref_path,left_path,right_path,right_vote,votes`; only unanimous rows of ≥ 6 votes are meant;
* opinion scores: a CSV with `file,ref,mos` (higher = better), turned into pairs by `pairs_from_scores`.

BAPPS' JND folders (`p0/ p1/ same/`) are read by `read_jnd`, and `check` takes them too. Files are paired by stem, never
by position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lpips_lite.files.reading import read_image
from lpips_lite.votes.progress import Progress, silently

SCORE_GAP = 0.5  # opinion scores at least this far apart make a pair
NIGHTS_VOTES = 6  # as its authors use it


@dataclass(frozen=True)
class Triplet:
    """A reference, two distorted images, and what people chose.

    Attributes:
        family: Kind of distortion, or the data set's name.
        ref: The reference image.
        p0: The first distorted image.
        p1: The second.
        judgement: Fraction of observers who chose p1 as closer, in [0, 1].
        votes: Number of observers.
    """

    family: str
    ref: Path
    p0: Path
    p1: Path
    judgement: float
    votes: float


@dataclass(frozen=True)
class JndPair:
    """Two images and the fraction of observers, `same`, who could not tell them apart."""

    family: str
    p0: Path
    p1: Path
    same: float
    votes: float


@dataclass
class Judgments:
    """What a reader found: triplets in the order of the data, and a line for everything that is wrong."""

    triplets: list[Triplet] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(path: Path) -> Judgments:
    """Read any of the formats above.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If the format is not one of them.
    """
    if path.is_dir():
        families = [path] if (path / "judge").is_dir() else sorted(p.parent for p in path.rglob("judge") if p.is_dir())
        if families:
            parts = [read_bapps(family) for family in families]
            return Judgments([t for p in parts for t in p.triplets], [t for p in parts for t in p.problems])
        for name in ("votes.csv", "data.csv", "labels.csv"):
            if (path / name).exists():
                return read(path / name)
        raise ValueError(f"{path}: no judge/ folder, votes.csv, data.csv or labels.csv in it")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    table = pd.read_csv(path)
    for columns, reader in (
        ({"ref", "p0", "p1", "votes_p0", "votes_p1"}, _from_votes),
        ({"ref_path", "left_path", "right_path", "right_vote", "votes"}, _from_nights),
        ({"file", "ref", "mos"}, pairs_from_scores),
    ):
        if columns <= set(table.columns):
            return reader(table, path)
    raise ValueError(f"{path}: columns {', '.join(table.columns)}; expected one of the formats of {__name__}")


def load(paths: Iterable[Path]) -> list[Triplet]:
    """Read data that must be whole.

    Raises:
        ValueError: If anything is wrong with any row; `check` lists everything.
    """
    triplets = []
    for path in paths:
        found = read(path)
        if found.problems:
            raise ValueError(
                f"{path}: {len(found.problems)} problems, the first: {found.problems[0]} "
                f"(all: python -m lpips_lite.votes.triplets check {path})"
            )
        triplets += found.triplets
    return triplets


def distinct_pairs(triplets: Sequence[Triplet]) -> tuple[list[tuple[Path, Path]], NDArray[np.int64]]:
    """Return every (reference, image) once, and where p0 and p1 of each triplet stand among them, (T, 2).

    References, and the images of each, come in the order of the triplets, whatever the files are called.
    """
    by_reference: dict[Path, dict[Path, None]] = {}
    for t in triplets:
        by_reference.setdefault(t.ref, {}).update({t.p0: None, t.p1: None})
    pairs = [(ref, image) for ref, images in by_reference.items() for image in images]
    position = {pair: row for row, pair in enumerate(pairs)}
    return pairs, np.array([[position[t.ref, t.p0], position[t.ref, t.p1]] for t in triplets])


# -- readers ---------------------------------------------------------------------------------------------------------


def read_bapps(folder: Path) -> Judgments:
    """Read one family of BAPPS 2AFC; its name is the folder's."""
    files, fractions, problems = _by_stem(folder, ("ref", "p0", "p1", "judge"), "judgement ")
    votes = fewest_votes(fractions.values())
    triplets = []
    for stem, fraction in fractions.items():
        ref, p0, p1 = (files[part][stem] for part in ("ref", "p0", "p1"))
        triplets.append(Triplet(folder.name, ref, p0, p1, round(fraction * votes) / votes, votes))
    return Judgments(triplets, problems)


def read_jnd(folder: Path) -> tuple[list[JndPair], list[str]]:
    """Read one family of BAPPS JND; return its pairs and a line for everything that is wrong."""
    files, fractions, problems = _by_stem(folder, ("p0", "p1", "same"), "")
    votes = fewest_votes(fractions.values())
    pairs = []
    for stem, fraction in fractions.items():
        same = round(fraction * votes) / votes
        pairs.append(JndPair(folder.name, files["p0"][stem], files["p1"][stem], same, votes))
    return pairs, problems


def _by_stem(
    folder: Path, parts: Sequence[str], what: str
) -> tuple[dict[str, dict[str, Path]], dict[str, float], list[str]]:
    """Pair the files of subfolders by stem; the last one's hold a fraction of observers.

    Returns:
        The files of each part by stem, the fraction of each stem that is whole, and a line for each that is not.
    """
    files = {part: {p.stem: p for p in (folder / part).glob("*")} for part in parts}
    fractions, problems = {}, []
    for stem in sorted(set().union(*files.values())):
        absent = [part for part, named in files.items() if stem not in named]
        if absent:
            problems.append(f"{folder}: {stem} is missing in {', '.join(absent)}")
            continue
        path = files[parts[-1]][stem]
        fraction = float(np.load(path).reshape(-1)[0])
        if 0 <= fraction <= 1:
            fractions[stem] = fraction
        else:
            problems.append(f"{path}: {what}{fraction}; expected a fraction in [0, 1]")
    return files, fractions, problems


def _from_votes(table: pd.DataFrame, path: Path) -> Judgments:
    found = Judgments()
    for line, row in enumerate(table.to_dict("records"), start=2):
        votes = np.array([row["votes_p0"], row["votes_p1"]], dtype=float)
        if not np.isfinite(votes).all() or (votes < 0).any() or votes.sum() == 0:
            what = "no votes" if np.isfinite(votes).all() and (votes == 0).all() else f"votes {votes.tolist()}"
            found.problems.append(f"{path}:{line}: {what}; expected numbers ≥ 0 with a positive sum")
            continue
        ref, p0, p1 = (path.parent / str(name) for name in (row["ref"], row["p0"], row["p1"]))
        share, total = float(votes[1] / votes.sum()), float(votes.sum())
        found.triplets.append(Triplet(path.parent.resolve().name, ref, p0, p1, share, total))
    return found


def _from_nights(table: pd.DataFrame, path: Path) -> Judgments:
    found = Judgments()
    for line, row in enumerate(table.to_dict("records"), start=2):
        if row["votes"] < NIGHTS_VOTES:
            continue  # by its authors' rule, not a fault of the data
        if not 0 <= row["right_vote"] <= 1:
            found.problems.append(f"{path}:{line}: right_vote {row['right_vote']}; expected a fraction in [0, 1]")
            continue
        ref, left, right = (path.parent / str(name) for name in (row["ref_path"], row["left_path"], row["right_path"]))
        found.triplets.append(Triplet("nights", ref, left, right, float(row["right_vote"]), float(row["votes"])))
    return found


def pairs_from_scores(table: pd.DataFrame, path: Path) -> Judgments:
    """Turn mean opinion scores (higher = better) into pairs: within a reference, |ΔMOS| > 0.5.

    The better of the two counts as chosen, by one vote.
    """
    found = Judgments()
    bad = ~np.isfinite(table["mos"].astype(float))
    found.problems = [f"{path}:{line + 2}: mos is not a number" for line in np.flatnonzero(bad)]
    for ref, group in table[~bad].groupby("ref", sort=True):
        for first, second in combinations(group.to_dict("records"), 2):
            if abs(first["mos"] - second["mos"]) > SCORE_GAP:
                p0, p1 = (path.parent / str(row["file"]) for row in (first, second))
                chosen = float(second["mos"] > first["mos"])
                found.triplets.append(Triplet(path.parent.resolve().name, path.parent / str(ref), p0, p1, chosen, 1.0))
    return found


def fewest_votes(fractions: Iterable[float]) -> float:
    """Return the smallest number of observers that explains all fractions: 2 in BAPPS training, 5 in its validation."""
    values = np.array(list(fractions))
    for votes in range(1, 100):
        if np.abs(values * votes - np.round(values * votes)).max(initial=0) < 1e-4:
            return float(votes)
    return 1.0


# -- check -----------------------------------------------------------------------------------------------------------


def duplicates(triplets: Sequence[Triplet]) -> list[str]:
    """Say which triplets occur more than once, with p0 and p1 in either order."""
    counts = Counter((t.ref, *sorted((t.p0, t.p1))) for t in triplets)
    return [f"{ref}: {p0.name} and {p1.name} judged in {n} rows" for (ref, p0, p1), n in counts.items() if n > 1]


def image_problems(pairs: Sequence[tuple[Path, Path]], progress: Progress = silently) -> Iterator[str]:
    """Decode every image once and say which cannot be read, or differ in size from what they are compared with."""
    sizes: dict[Path, tuple[int, ...]] = {}
    for path in progress(list(dict.fromkeys(path for pair in pairs for path in pair)), "reading images"):
        try:
            sizes[path] = tuple(read_image(path).shape)
        except (OSError, ValueError) as error:
            yield str(error)
    for ref, image in dict.fromkeys(pairs):
        if ref in sizes and image in sizes and sizes[ref] != sizes[image]:
            yield f"{image}: size {sizes[image][1:]} differs from {sizes[ref][1:]} of {ref}"


def inspect(path: Path, progress: Progress = silently) -> tuple[list[str], list[str]]:
    """Return everything that is wrong with data, and its totals; see `read` and `read_jnd` for errors."""
    if (path / "same").is_dir():
        pairs, problems = read_jnd(path)
        problems += image_problems([(pair.p0, pair.p1) for pair in pairs], progress)
        votes = sum(pair.votes for pair in pairs)
        totals = [f"{path.name}: {len(pairs)} pairs, {votes:g} votes"]
        return problems, [*totals, f"{path}: {len(pairs)} good rows, {len(problems)} problems"]
    found = read(path)
    pairs_of_images = [(t.ref, image) for t in found.triplets for image in (t.p0, t.p1)]
    problems = [*found.problems, *duplicates(found.triplets), *image_problems(pairs_of_images, progress)]
    totals = []
    for family, count in Counter(t.family for t in found.triplets).items():
        votes = sum(t.votes for t in found.triplets if t.family == family)
        references = len({t.ref for t in found.triplets if t.family == family})
        totals.append(f"{family}: {count} triplets, {votes:g} votes, {references} references")
    return problems, [*totals, f"{path}: {len(found.triplets)} good rows, {len(problems)} problems"]
