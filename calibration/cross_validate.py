"""Judge a recipe of `calibration.tune` where it has not seen the references, or the kind of distortion.

    python -m calibration.cross_validate DATA... --by reference --tower-weights DISTILLED --out FOLDER

For each fold the metric is tuned on the others and its distances on this one are written to FOLDER/FOLD.csv, which
`benchmarks/two_afc.py --distances` reads. Folds whose file is there are not run again; several processes may share
them out with `--share 0/2`, `--share 1/2`.

By "reference", references are dealt to five folds in each data set. By "kind", the kinds of distortion of a table of
opinion scores (its column `type`) are: pairs with a held-out kind on either side are judged, its images are not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import pandas as pd

from calibration.judged import by_reference
from calibration.lessons import read_lessons, teacher_options
from calibration.options import data_argument, net_option, tower_option
from calibration.tune import Recipe, recipe_options, tune
from lpips_lite import LPIPS
from lpips_lite.votes.fit import folds_by_reference
from lpips_lite.votes.triplets import Triplet, load

Fold = tuple[str, list[Triplet], list[Triplet]]  # name, to learn from, to be judged on
FOLDS = 5
KIND_FOLDS = 5


def split_by_reference(triplets: Sequence[Triplet], seed: int) -> Iterator[Fold]:
    """Deal the references of each family to five folds."""
    families = np.array([t.family for t in triplets])
    fold = np.empty(len(triplets), dtype=int)
    for family in sorted(set(families)):
        own = families == family
        fold[own] = folds_by_reference(np.array([str(t.ref) for t in triplets])[own], FOLDS, seed)
    for held_out in range(FOLDS):
        learnt = [t for t, f in zip(triplets, fold, strict=True) if f != held_out]
        yield f"reference-{held_out}", learnt, [t for t, f in zip(triplets, fold, strict=True) if f == held_out]


def split_by_kind(triplets: Sequence[Triplet], tables: Sequence[Path]) -> Iterator[Fold]:
    """Deal kinds of distortion to five folds; triplets without a kind are always learnt from."""
    kinds = {
        folder / name: kind
        for folder in tables
        if (folder / "labels.csv").exists()
        for name, kind in pd.read_csv(folder / "labels.csv")[["file", "type"]].itertuples(index=False)
    }
    names = sorted(set(kinds.values()))
    for first in range(min(KIND_FOLDS, len(names))):
        held_out = names[first::KIND_FOLDS]
        has = [kinds.get(t.p0) in held_out or kinds.get(t.p1) in held_out for t in triplets]
        learnt = [t for t, out in zip(triplets, has, strict=True) if not out]
        judged = [t for t, out in zip(triplets, has, strict=True) if out]
        yield f"kind-{'-'.join(map(str, held_out))}", learnt, judged


@click.command(context_settings={"show_default": True})
@data_argument
@click.option("--by", type=click.Choice(["reference", "kind"]), default="reference")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for one CSV a fold.")
@click.option("--share", default="0/1", help="Run every second fold, say, from the first (0/2) or second (1/2) on.")
@net_option
@tower_option
@click.option("--channel-weights", default="calibrated", help="To start from: a version or a file.")
@teacher_options
@recipe_options
def main(
    data: tuple[Path, ...],
    by: str,
    out: Path,
    share: str,
    net: str,
    tower_weights: str | None,
    channel_weights: str,
    photos: Path | None,
    teacher_weights: Path | None,
    teacher_channels: str,
    **settings: object,
) -> None:
    """Tune on all folds but one, and judge on that one, for each."""
    metric = LPIPS(net, tower_weights=tower_weights, channel_weights=channel_weights)
    triplets, recipe = load(data), Recipe(**settings)  # type: ignore[arg-type]
    splits = split_by_reference(triplets, recipe.seed) if by == "reference" else split_by_kind(triplets, data)
    first, _, every = share.partition("/")
    lessons = read_lessons(photos, teacher_weights, teacher_channels, recipe.lessons)
    out.mkdir(parents=True, exist_ok=True)
    for name, learnt, judged in list(splits)[int(first) :: int(every)]:
        path = out / f"{name}.csv"
        if path.exists():
            continue
        model = tune(metric, by_reference(learnt), lessons, recipe)
        rows = []
        for group in by_reference(judged):
            d0, d1 = model.measure(group)
            columns = zip(group.judgement.tolist(), group.votes.tolist(), d0.tolist(), d1.tolist(), strict=True)
            rows += [(group.family, group.files[0].name, *row) for row in columns]
        table = pd.DataFrame(rows, columns=["family", "ref", "judgement", "votes", "d0", "d1"])
        table.to_csv(path.with_suffix(".partial"), index=False)
        path.with_suffix(".partial").replace(path)


if __name__ == "__main__":
    main()
