"""Train the tower too, together with its channel weights, on human judgments: triplets in, one weight file out.

    python -m calibration.tune DATA... --net lite --out tuned.safetensors

Every step takes, from each data set, as many references with their judged images as make a batch, cuts the same random
square from all copies of a reference, and raises the likelihood of the votes, P(p1) = σ(slope · (log d0 − log d1)).
Logarithms, because votes compare images of one reference whatever the distances are there.

Where every reference was distorted by the same methods, votes on single pairs are pooled to those on all of them first.

Tuning gains on the kinds of distortion it is trained on and may lose on others (Zhang et al. 2018). With `--photos` and
`--teacher-weights` it goes on learning what `calibration.lessons` teaches, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from calibration.judged import Judged, by_reference, pool_votes
from calibration.lessons import FLOOR, PRETENDERS, SIDE, Lessons, distances, read_lessons, teacher_options
from calibration.options import data_argument, net_option, tower_option
from lpips_lite import LPIPS, read_image
from lpips_lite.distance import unit_normalize
from lpips_lite.tensor_files import content_hash, save_tensors
from lpips_lite.terminal import progress
from lpips_lite.votes.fit import Votes, best_slope
from lpips_lite.votes.triplets import load


@lru_cache(maxsize=4096)
def read_pixels(path: Path) -> Tensor:
    """Read an image as (3, H, W) uint8; the ones read before stay in memory."""
    return (read_image(path) * 255).round().byte()


def read_copies(judged: Judged, side: int, generator: Generator) -> Tensor:
    """Cut the same random square from the reference and its copies, half of them mirrored: (1 + K, 3, side, side)."""
    images = [read_pixels(path) for path in judged.files]
    height, width = images[0].shape[1:]
    if min(height, width) < side:
        raise ValueError(f"--side {side}: {judged.files[0]} is {width}×{height}; expected at least that size")
    top = int(torch.randint(height - side + 1, (), generator=generator))
    left = int(torch.randint(width - side + 1, (), generator=generator))
    squares = torch.stack([image[:, top : top + side, left : left + side] for image in images]).float() / 255
    return squares.flip(-1) if torch.rand((), generator=generator) < 0.5 else squares


class Tunable:
    """The tensors of a metric, trainable: tower, channel weights (kept ≥ 0), and each data set's slope."""

    def __init__(self, metric: LPIPS, families: Sequence[str] = ()) -> None:
        self.spec, self.taps = metric.tower.spec, metric.tower.taps
        self.mean, self.std = metric.tower.tensors["mean"], metric.tower.tensors["std"]
        tower = {key: tensor for key, tensor in metric.tower.tensors.items() if key in self.spec.shapes()}
        self.tower = {key: tensor.clone().requires_grad_() for key, tensor in tower.items()}
        self.channels = [tensor.clone().requires_grad_() for tensor in metric.tensors.values()]
        self.log_slopes = {family: torch.tensor(0.7, requires_grad=True) for family in families}

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the tower's features, L × (N, C_l, H_l, W_l)."""
        images = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return tuple(self.spec.run(images, self.tower, self.taps))

    def from_first(self, images: Tensor) -> Tensor:
        """Return the distances of the first image from each of the others: (1 + K, 3, H, W) -> (K,)."""
        features = self.features(images)
        return distances([f[1:] for f in features], [unit_normalize(f[:1]) for f in features], self.channels)

    def vote_error(self, judged: Judged, side: int, generator: Generator) -> Tensor:
        """Return the mean negative log-likelihood of a vote, from one square of one reference's copies."""
        logs = (self.from_first(read_copies(judged, side, generator)) + FLOOR).log()
        logits = self.log_slopes[judged.family].exp() * (logs[judged.pairs[:, 0]] - logs[judged.pairs[:, 1]])
        share = judged.votes / judged.votes.sum()
        return F.binary_cross_entropy_with_logits(logits, judged.judgement, weight=share, reduction="sum")

    @torch.no_grad()
    def measure(self, judged: Judged) -> tuple[Tensor, Tensor]:
        """Return d0 and d1 of every triplet, on whole images."""
        images = torch.stack([read_pixels(path) for path in judged.files])
        parts = torch.split(images[1:], 8)
        d = torch.cat([self.from_first(torch.cat([images[:1], part]).float() / 255) for part in parts])
        return d[judged.pairs[:, 0]], d[judged.pairs[:, 1]]


@dataclass(frozen=True)
class Recipe:
    """What a run is reproduced from, beside its data.

    Attributes:
        steps: Number of updates.
        lr: Highest learning rate of a one-cycle schedule.
        side: Of the squares that are compared, in pixels.
        copies: Judged images of each data set in a step, at least.
        lessons: Number of different batches of photographs.
        teacher: Weight of the teacher's distances in the loss.
        order: Weight of the order of two levels of a distortion.
        rank: Weight of MDSI's ranking of copies.
        shift: Weight of the tolerance of small shifts.
        pretender: Weight of being deceived by descent on the distance.
        emphasis: Weights of data sets, as "name=3,other=0.5"; those not named have 1.
        seed: Of everything random.
    """

    steps: int = 1700
    lr: float = 4e-3
    side: int = SIDE
    copies: int = 32
    lessons: int = 400
    teacher: float = 0.4
    order: float = 3.0
    rank: float = 2.0
    shift: float = 0.6
    pretender: float = 0.2
    emphasis: str = ""
    seed: int = 0

    def weights(self, families: Sequence[str]) -> dict[str, float]:
        """Return the weight of each data set's votes in the loss."""
        named = dict(part.partition("=")[::2] for part in self.emphasis.split(",") if part)
        unknown = sorted(named.keys() - set(families))
        if unknown:
            raise ValueError(
                f"emphasis={self.emphasis!r}: {unknown[0]!r} is not a data set here ({', '.join(families)})"
            )
        return {family: float(named.get(family, 1)) for family in families}


def recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each field of `Recipe`."""
    for field in reversed(fields(Recipe)):
        command = click.option(f"--{field.name}", default=field.default, show_default=True)(command)
    return command


def tune(metric: LPIPS, judged: Sequence[Judged], lessons: Lessons | None, recipe: Recipe) -> Tunable:
    """Train a copy of a metric's tensors on judgments, and on lessons if there are any."""
    names = sorted({group.family for group in judged})
    families = {name: pool_votes([group for group in judged if group.family == name]) for name in names}
    model, generator = Tunable(metric, names), Generator().manual_seed(recipe.seed)
    weights = [*model.tower.values(), *model.channels]
    optimizer = torch.optim.Adam([{"params": weights}, {"params": list(model.log_slopes.values())}])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [recipe.lr, 1e-2], total_steps=recipe.steps, pct_start=0.05
    )
    weight_of = recipe.weights(names)
    enrolled = lessons.enrol(PRETENDERS, generator) if lessons is not None else None
    for step in progress(range(recipe.steps), "tuning"):
        loss = torch.zeros(())
        for family, groups in families.items():
            errors, copies = [], 0
            while copies < recipe.copies:
                chosen = groups[int(torch.randint(len(groups), (), generator=generator))]
                drawn = chosen.draw(recipe.copies, generator)
                if len(drawn.pairs):
                    errors.append(model.vote_error(drawn, recipe.side, generator))
                copies += len(chosen.files) - 1
            if errors:
                loss = loss + weight_of[family] * torch.stack(errors).mean()
        if lessons is not None and enrolled is not None:
            taught = lessons.errors(model.features, model.channels, step, enrolled, generator)
            loss = loss + torch.stack([getattr(recipe, name) * error for name, error in taught.items()]).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        for weight in model.channels:
            weight.data.clamp_(min=0)
    return model


@click.command(context_settings={"show_default": True})
@data_argument
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Safetensors file to write.")
@net_option
@tower_option
@click.option("--channel-weights", default="calibrated", help="To start from: a version or a file.")
@click.option("--version", help="To record in the file.")
@teacher_options
@recipe_options
def main(
    data: tuple[Path, ...],
    out: Path,
    net: str,
    tower_weights: str | None,
    channel_weights: str,
    version: str | None,
    photos: Path | None,
    teacher_weights: Path | None,
    teacher_channels: str,
    **settings: object,
) -> None:
    """Train tower and channel weights on human judgments.

    From scratch, as Zhang et al. call it: --tower-weights random:0 --channel-weights uniform.
    """
    metric = LPIPS(net, tower_weights=tower_weights, channel_weights=channel_weights)
    triplets, recipe = load(data), Recipe(**settings)  # type: ignore[arg-type]
    judged = by_reference(triplets)
    model = tune(metric, judged, read_lessons(photos, teacher_weights, teacher_channels, recipe.lessons), recipe)
    found = [model.measure(group) for group in progress(judged, "slope")]
    margin = torch.cat([d0 - d1 for d0, d1 in found]).double().numpy()
    tensors = {**model.tower, **{f"channel_weights.{index}": weight for index, weight in enumerate(model.channels)}}
    votes = Votes(
        torch.cat([group.judgement for group in judged]).double().numpy(),
        torch.cat([group.votes for group in judged]).double().numpy(),
        np.repeat([str(group.files[0]) for group in judged], [len(group.votes) for group in judged]),
    )
    metadata = {
        "net": net,
        "tower": content_hash(model.tower),
        "slope": f"{best_slope(margin, votes):.6g}",
        "objective": "tune",
        "start": metric.signature,
        "recipe": " ".join(f"{key}={value}" for key, value in asdict(recipe).items()),
        "triplets": f"{len(triplets)}",
        "licence": "BSD-2-Clause",
    } | ({"version": version} if version else {})
    save_tensors(out, tensors, metadata)
    shown = str(out)
    click.echo(f"wrote {out}: use it as LPIPS({net!r}, tower_weights={shown!r}, channel_weights={shown!r})")


if __name__ == "__main__":
    main()
