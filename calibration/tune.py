"""Train the near head of `lite` on human judgments, and write a weight file.

    python -m calibration.tune DATA... --start DISTILLED.safetensors --out tuned.safetensors

Every step takes references with their judged images from each data set, enough for a batch. It cuts the same few random
squares from all copies of a reference, and increases the likelihood of the votes, P(p1) = σ(slope · (log N0 − log N1)).
N is the distance of the near head, averaged over the squares. People judge a whole image; from single squares the
metric hardly learns how much a change in the sky counts beside one in a tree. Logarithms are used because votes compare
images with the same reference, however large the distances are. The far head has no part in N: close to the limit, in
the distance of both heads, a vote would hardly change the near head. The far head's network and the limit do not
change, except that the whole is scaled at the end.

If the data names the method that made each copy, votes on single pairs of methods are first pooled, to estimate votes
on all pairs (`calibration.pool_by_method`).

Tuning improves the metric on the kinds of distortion it is trained on, but may make it worse on others (Zhang et al.
2018). With `--photos` and `--alex`, the near head also learns from `calibration.auxiliary_losses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from calibration.auxiliary_losses import DESCENDING, FLOOR, AuxiliaryLosses
from calibration.options import (
    data_options,
    load_data,
    photo_options,
    plain_errors,
    read_lite,
    read_teacher,
    start_option,
)
from calibration.plain_metric import PlainMetric
from calibration.pool_by_method import methods_to_pool, pool_by_method
from calibration.recipe import Recipe, recipe_options
from calibration.two_heads import TwoHeads
from calibration.votes_by_reference import ReferenceVotes, group_by_reference
from lpips_lite import LPIPS, read_image
from lpips_lite.terminal import progress, say
from lpips_lite.votes.distance_tables import read_distances
from lpips_lite.votes.objectives import Votes, best_slope, undetermined
from lpips_lite.votes.provenance import reference_digests, trained_on
from lpips_lite.votes.scale import distort_once_each, draw_leaves

MEDIAN = (
    0.0849  # median distance of a drawn picture from its distorted copies under LPIPS-alex v0.1, which fixes the scale
)


@lru_cache(maxsize=4096)
def read_pixels(path: Path) -> Tensor:
    """Read an image as (3, H, W) uint8; images are kept in memory."""
    return (read_image(path) * 255).round().byte()


def read_copies(group: ReferenceVotes, side: int, generator: Generator) -> Tensor:
    """Cut the same random square from the reference and its copies, half of them mirrored: (1 + K, 3, side, side)."""
    images = [read_pixels(path) for path in group.files]
    height, width = images[0].shape[1:]
    if min(height, width) < side:
        raise ValueError(f"--side {side}: {group.files[0]} is {width}×{height}; expected at least that size")
    top = int(torch.randint(height - side + 1, (), generator=generator))
    left = int(torch.randint(width - side + 1, (), generator=generator))
    squares = torch.stack([image[:, top : top + side, left : left + side] for image in images]).float() / 255
    return squares.flip(-1) if torch.rand((), generator=generator) < 0.5 else squares


def vote_loss(
    near: PlainMetric, log_slope: Tensor, group: ReferenceVotes, recipe: Recipe, generator: Generator
) -> Tensor:
    """Return the mean negative log-likelihood of a vote, given each copy's mean distance over a few random squares."""
    squares = [near.from_first(read_copies(group, recipe.side, generator)) for _ in range(recipe.squares)]
    logs = (torch.stack(squares).mean(0) + FLOOR).log()
    logits = log_slope.exp() * (logs[group.pairs[:, 0]] - logs[group.pairs[:, 1]])
    share = group.votes / group.votes.sum()
    return F.binary_cross_entropy_with_logits(logits, group.judgement, weight=share, reduction="sum")


@torch.no_grad()
def measure(metric: TwoHeads, group: ReferenceVotes) -> tuple[Tensor, Tensor]:
    """Return d0 and d1 of every triplet, on whole images."""
    images = torch.stack([read_pixels(path) for path in group.files])
    parts = torch.split(images[1:], 8)
    d = torch.cat([metric.from_first(torch.cat([images[:1], part]).float() / 255) for part in parts])
    return d[group.pairs[:, 0]], d[group.pairs[:, 1]]


def pool_data_sets(groups: Sequence[ReferenceVotes]) -> dict[str, list[ReferenceVotes]]:
    """Sort groups by data set, and pool the votes of data sets with methods."""
    found = {}
    for name in sorted({group.family for group in groups}):
        own = [group for group in groups if group.family == name]
        if methods := methods_to_pool(own):
            say(f"{name}: votes pooled over {len(methods)} methods")
        found[name] = pool_by_method(own)
    return found


def tune(start: LPIPS, groups: Sequence[ReferenceVotes], others: AuxiliaryLosses | None, recipe: Recipe) -> TwoHeads:
    """Train a copy of the near head of a metric on judgments, and on auxiliary losses if there are any."""
    data = pool_data_sets(groups)
    weight_of = recipe.weight_of(list(data))
    metric, generator = TwoHeads.of(start), Generator().manual_seed(recipe.seed)
    near = metric.near
    weights = list(near.require_gradients().tensors.values())
    log_slopes = {name: torch.tensor(0.7, requires_grad=True) for name in data}
    optimizer = torch.optim.Adam([{"params": weights}, {"params": list(log_slopes.values())}])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [recipe.lr, 1e-2], total_steps=recipe.steps, pct_start=0.05
    )
    descending = others.start_descents(DESCENDING, generator) if others is not None else None
    for step in progress(range(recipe.steps), "tuning"):
        loss = torch.zeros(())
        for family, own in data.items():
            losses, copies = [], 0
            while copies < recipe.copies:
                chosen = own[int(torch.randint(len(own), (), generator=generator))]
                drawn = chosen.draw(recipe.copies, generator)
                if len(drawn.pairs):
                    losses.append(vote_loss(near, log_slopes[family], drawn, recipe, generator))
                copies += len(chosen.files) - 1
            if losses:
                loss = loss + weight_of[family] * torch.stack(losses).mean()
        if others is not None and descending is not None:
            found = others.all(near, step, descending, generator)
            loss = loss + torch.stack([getattr(recipe, name) * value for name, value in found.items()]).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        near.keep_weights_positive()
    metric = replace(metric, near=near.balanced(draw_leaves()))
    return metric.scaled(MEDIAN / median_distance(metric))


@torch.no_grad()
def median_distance(metric: TwoHeads) -> float:
    """Return the median distance of a drawn picture from all its distorted copies."""
    picture = draw_leaves()
    distances = [metric.from_first(torch.cat([picture, copy])) for copy in distort_once_each(picture)]
    return float(torch.stack(distances).median())


def fit_slope(distances: Path, family: str | None) -> dict[str, str]:
    """Return the most likely slope of P(p1) = σ(slope · (d0 − d1)), as metadata; or the reason why there is none.

    Args:
        distances: Distances of held-out triplets, as written by `calibration.cross_validate`.
        family: The data set whose votes count; `None`: all.

    Raises:
        ValueError: If there is no such data set.
    """
    table = read_distances(distances)
    if family is not None:
        names = sorted(set(table["family"]))
        if family not in names:
            raise ValueError(f"--slope-of {family}: {distances} has {', '.join(names)}")
        table = table[table["family"] == family]
    votes = Votes(table["judgement"].to_numpy(), table["votes"].to_numpy(), table["ref"].to_numpy(dtype=str))
    margin = (table["d0"] - table["d1"]).to_numpy()
    if reason := undetermined(margin, votes):
        say(f"warning: no slope: {reason}")
        return {"uncertain": reason}
    return {"slope": f"{best_slope(margin, votes):.6g}"}


def read_auxiliary_losses(photos: Path | None, alex: Path | None, batches: int) -> AuxiliaryLosses | None:
    """Make the auxiliary losses that the options request, or none."""
    if photos is None and alex is None:
        return None
    if photos is None or alex is None:
        raise click.UsageError("--photos and --alex: expected both or neither, got one")
    return AuxiliaryLosses.read(photos, read_teacher(alex, "v0.1"), batches)


@click.command(context_settings={"show_default": True})
@data_options
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Safetensors file to write.")
@start_option
@click.option("--version", help="Version to record in the file.")
@click.option("--held-out", type=click.Path(exists=True, path_type=Path),
              help="Distances from calibration.cross_validate, to fit the slope of LPIPS.preference to.")  # fmt: skip
@click.option("--slope-of", help="The data set whose votes are used for the slope; by default all.")
@photo_options(required=False)
@recipe_options
@plain_errors
def main(
    data: tuple[Path, ...],
    method_patterns: tuple[str, ...],
    out: Path,
    start: Path,
    version: str | None,
    held_out: Path | None,
    slope_of: str | None,
    photos: Path | None,
    alex: Path | None,
    **settings: object,
) -> None:
    """Train the near head of lite on human judgments."""
    metric, recipe = read_lite(start), Recipe(**settings)  # type: ignore[arg-type]
    triplets = load_data(data, method_patterns)
    groups, digests = group_by_reference(triplets), reference_digests(triplets, progress)
    tuned = tune(metric, groups, read_auxiliary_losses(photos, alex, recipe.photo_batches), recipe)
    metadata = {
        **(fit_slope(held_out, slope_of) if held_out else {}),
        "objective": "tune",
        "start": metric.signature,
        "recipe": str(recipe),
        "triplets": f"{len(triplets)}",
        "trained_on": trained_on(metric, digests.values()),
    } | ({"version": version} if version else {})
    tuned.save(out, metadata)
    click.echo(f"wrote {out}: use it as LPIPS('lite', tower_weights={str(out)!r}, channel_weights={str(out)!r})")


if __name__ == "__main__":
    main()
