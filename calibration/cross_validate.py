"""Judge a recipe of `calibration.tune` on references, or kinds of distortion, that it has not seen.

    python -m calibration.cross_validate DATA... --by kind --start DISTILLED.safetensors --out FOLDER

For each fold the metric is tuned on the others, and its distances on this one are written to FOLDER/FOLD.csv, which
`benchmarks/two_afc.py --distances` reads. Folds whose file exists are not run again; several processes may divide them
with `--share 0/2`, `--share 1/2`. FOLDER/run.json records the run: another start, recipe or data set needs another
folder.

With `--by reference`, the references of each data set are assigned to five folds. With `--by kind`, the kinds of
distortion in a table of opinion scores (its column `type`) are. Then pairs with a held-out kind on either side are
judged, and images of this kind are not seen.

The start has to be named, and must not have been trained on people's judgments of references that it is judged on. The
output of `calibration.distill` has not been trained on any.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from calibration.options import data_options, load_data, photo_options, plain_errors, read_lite, start_option
from calibration.recipe import Recipe, recipe_options
from calibration.tune import measure, read_auxiliary_losses, tune
from calibration.votes_by_reference import group_by_reference
from lpips_lite import LPIPS
from lpips_lite.terminal import progress
from lpips_lite.votes.features import fingerprint
from lpips_lite.votes.fit import folds_by_reference
from lpips_lite.votes.provenance import check_unseen, reference_digests
from lpips_lite.votes.triplets import Triplet

Fold = tuple[str, list[Triplet], list[Triplet]]  # name, triplets to learn from, triplets to be judged on
FOLDS = 5
KIND_FOLDS = 5


def split_by_reference(triplets: Sequence[Triplet], seed: int) -> list[Fold]:
    """Assign the references of each family to five folds.

    Raises:
        ValueError: If a family has fewer than five references.
    """
    families = np.array([t.family for t in triplets])
    fold = np.empty(len(triplets), dtype=int)
    for family in sorted(set(families)):
        own = families == family
        fold[own] = folds_by_reference(np.array([str(t.ref) for t in triplets])[own], FOLDS, seed)
    return [_fold(f"reference-{held_out}", triplets, fold == held_out) for held_out in range(FOLDS)]


def split_by_kind(triplets: Sequence[Triplet], data: Sequence[Path]) -> list[Fold]:
    """Assign kinds of distortion to five folds; triplets without a kind are always used for training.

    Raises:
        ValueError: If no table of the data has two kinds or more.
    """
    kinds = {path: kind for table in data for path, kind in _kinds_in(table).items()}
    names = sorted(set(kinds.values()))
    if len(names) < 2:
        raise ValueError(
            f"--by kind: {', '.join(map(str, data))} names {len(names)} kinds of distortion; "
            f"expected a labels.csv with a column `type` that has two or more"
        )
    folds = []
    for first in range(min(KIND_FOLDS, len(names))):
        held_out = names[first::KIND_FOLDS]
        has = [kinds.get(t.p0) in held_out or kinds.get(t.p1) in held_out for t in triplets]
        name = re.sub(r"[^\w.-]", "_", f"kind-{'-'.join(map(str, held_out))}")
        folds.append(_fold(name, triplets, np.array(has)))
    return folds


def _fold(name: str, triplets: Sequence[Triplet], held_out: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Fold:
    learnt = [t for t, out in zip(triplets, held_out, strict=True) if not out]
    judged = [t for t, out in zip(triplets, held_out, strict=True) if out]
    for part, what in ((learnt, "to learn from"), (judged, "to be judged on")):
        if not part:
            raise ValueError(f"fold {name} has no triplets {what}")
    return name, learnt, judged


def _kinds_in(data: Path) -> dict[Path, Any]:
    """Return the kind of distortion of each image in a table of opinion scores; other data has no kinds."""
    path = data / "labels.csv" if data.is_dir() else data
    if path.suffix != ".csv" or not path.exists():
        return {}
    table = pd.read_csv(path)
    if not {"file", "type"} <= set(table.columns):
        return {}
    rows = table[["file", "type"]].dropna().itertuples(index=False)
    return {path.parent / str(name): kind for name, kind in rows}


def check_folds(start: LPIPS, folds: Sequence[Fold], by: str) -> None:
    """Check that no judged reference was seen, by the start or, with `by="reference"`, in other folds by another name.

    Raises:
        ValueError: If one was.
    """
    digests = reference_digests([t for _, _, judged in folds for t in judged], progress)
    check_unseen(start, digests)
    for name, learnt, judged in folds if by == "reference" else ():
        known = {digests[t.ref]: t.ref for t in learnt}
        for ref in dict.fromkeys(t.ref for t in judged):
            if digests[ref] in known:
                raise ValueError(f"fold {name}: {ref} has the pixels of {known[digests[ref]]}, which is learnt from")


def claim_folder(folder: Path, run: dict[str, str]) -> None:
    """Make a folder for a run, or check that it belongs to this run.

    Raises:
        ValueError: If it belongs to another run.
    """
    record = folder / "run.json"
    if record.exists():
        known = json.loads(record.read_text(encoding="utf-8"))
        for key, value in run.items():
            if known.get(key) != value:
                raise ValueError(f"{record}: {key} is {known.get(key)!r}; expected {value!r}, or another --out")
    folder.mkdir(parents=True, exist_ok=True)
    record.with_suffix(".partial").write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    record.with_suffix(".partial").replace(record)


def read_share(ctx: click.Context, parameter: click.Parameter, value: str) -> slice:
    """Parse `--share 0/2`."""
    found = re.fullmatch(r"(\d+)/(\d+)", value)
    if not found or int(found[1]) >= int(found[2]):
        raise click.BadParameter(f"{value!r}: expected FIRST/EVERY with FIRST < EVERY, like 0/2")
    return slice(int(found[1]), None, int(found[2]))


@click.command(context_settings={"show_default": True})
@data_options
@click.option("--by", type=click.Choice(["reference", "kind"]), default="reference", help="How to make folds.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for one CSV per fold.")
@click.option("--share", default="0/1", callback=read_share,
              help="Run only some folds, like every second from the first (0/2) or second (1/2) on.")  # fmt: skip
@start_option
@photo_options(required=False)
@recipe_options
@plain_errors
def main(
    data: tuple[Path, ...],
    method_patterns: tuple[str, ...],
    by: str,
    out: Path,
    share: slice,
    start: Path,
    photos: Path | None,
    alex: Path | None,
    **settings: object,
) -> None:
    """For each fold, tune on all others and judge on this one."""
    metric = read_lite(start)
    triplets, recipe = load_data(data, method_patterns), Recipe(**settings)  # type: ignore[arg-type]
    folds = split_by_reference(triplets, recipe.seed) if by == "reference" else split_by_kind(triplets, data)
    check_folds(metric, folds, by)
    claim_folder(out, {"start": metric.signature, "by": by, "data": fingerprint(triplets), "recipe": str(recipe)})
    others = read_auxiliary_losses(photos, alex, recipe.photo_batches)
    for name, learnt, judged in folds[share]:
        path = out / f"{name}.csv"
        if path.exists():
            continue
        tuned = tune(metric, group_by_reference(learnt), others, recipe)
        rows = []
        for group in group_by_reference(judged):
            d0, d1 = measure(tuned, group)
            columns = zip(group.judgement.tolist(), group.votes.tolist(), d0.tolist(), d1.tolist(), strict=True)
            rows += [(group.family, group.files[0].name, *row) for row in columns]
        table = pd.DataFrame(rows, columns=["family", "ref", "judgement", "votes", "d0", "d1"])
        table.assign(start=metric.signature).to_csv(path.with_suffix(".partial"), index=False)
        path.with_suffix(".partial").replace(path)


if __name__ == "__main__":
    main()
