"""Train the far head of `lite` to see like AlexNet, and put a near head beside it, from which tuning starts.

The teacher is LPIPS with uniform channel weights on ImageNet's AlexNet, averaged with an older lite. Each step draws
photographs and copies of them (`calibration.unlike_pairs`) and learns the teachers' distances of all pairs, both values
and order. The loss is the squared difference of logarithms, so that relative errors count equally for barely visible
changes and different images.

    python -m calibration.distill --photos PHOTOS.tar --alex ALEXNET.pth --lite LITE.safetensors \
        --out distilled.safetensors

The near head is the older lite, unchanged. No judgments of people are used. Photographs are held out by index (every
14th), and some kinds of distortion by name; the log has the rank correlation with the teacher on held-out photographs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Generator, Tensor

from calibration.options import photo_options, plain_errors, read_lite, read_teacher
from calibration.photographs import read_photos, split_photos
from calibration.plain_metric import PlainMetric
from calibration.two_heads import TwoHeads
from calibration.unlike_pairs import COPIES, LAYER_FLOOR, all_pairs, draw_copies, pair_error, quadrants
from lpips_lite.tensor_files import spell_digests
from lpips_lite.towers import FAR, NEAR

TEACHER_SCALE = 1 / 6  # brings distances under uniform weights to the size of those under the published ones
EMA_DECAY = 0.998
FAR_SHARE = 1 / 20  # of the teachers' scale, for the far head in the written file, so that it is weak for small changes
FIRST_LAYER = 0.5  # of this share, for the first layer of the far network
NEAR_LIMIT = 0.06  # C in the written file
HELD_OUT_BATCHES = 20


@dataclass(frozen=True)
class Hyperparameters:
    """The settings that reproduce a run, together with its data.

    Attributes:
        steps: Number of updates.
        photographs: Number of photographs in a batch.
        sides: Sides of the squares in pixels, used in turn.
        objects: Share of photographs that are replaced by a drawn object.
        lr: Highest learning rate of a one-cycle schedule.
        seed: Seed of all randomness.
    """

    steps: int
    photographs: int
    sides: tuple[int, ...]
    objects: float
    lr: float
    seed: int


class Student:
    """The far head in training, and its moving average, which is kept."""

    def __init__(self, teacher: PlainMetric, generator: Generator) -> None:
        tensors = _draw(teacher, generator)
        self.average = PlainMetric(FAR, {key: tensor.clone() for key, tensor in tensors.items()})
        self.trained = PlainMetric(FAR, tensors).require_gradients()

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Project channel weights to ≥ 0 and update the moving average, without a bias to its start."""
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        self.trained.keep_weights_positive()
        for key, tensor in self.trained.tensors.items():
            self.average.tensors[key].lerp_(tensor, 1 - decay)


def _draw(teacher: PlainMetric, generator: Generator) -> dict[str, Tensor]:
    """Return random tensors to start from, whose distances are about as large as the teacher's."""
    tensors = {}
    for key, shape in FAR.shapes().items():
        scale = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5 if len(shape) == 4 else 0.0  # He et al. 2015
        tensors[key] = torch.randn(shape, generator=generator) * scale
    for index, (tap, weight) in enumerate(zip(FAR.find_taps(), teacher.channels, strict=True)):
        tensors[f"channel_weights.{index}"] = torch.full((tap.channels,), float(weight.sum()) / tap.channels)
    return tensors


class Run:
    """One distillation: its data, student and optimiser, which can be saved in a checkpoint and restored."""

    def __init__(self, photos: Tensor, teachers: Sequence[PlainMetric], hyper: Hyperparameters) -> None:
        self.photos, self.teachers, self.hyper = photos, teachers, hyper
        self.generator = Generator().manual_seed(hyper.seed)
        self.student = Student(teachers[0], self.generator)
        self.weights = list(self.student.trained.tensors.values())
        self.optimizer = torch.optim.Adam(self.weights, lr=hyper.lr)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, hyper.lr, total_steps=hyper.steps, pct_start=0.05
        )
        self.step = 0

    def advance(self) -> float:
        """Take one step and return its loss."""
        hyper = self.hyper
        side = hyper.sides[self.step % len(hyper.sides)]
        images = draw_copies(self.photos, hyper.photographs, side, self.generator, hyper.objects)
        with torch.no_grad():
            target = torch.stack([(see(t, images) + LAYER_FLOOR).log() for t in self.teachers]).mean(0).exp()
        loss = pair_error(see(self.student.trained, images), target)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.student.after_step(self.step)
        self.step += 1
        return loss.item()

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        state = {
            "step": self.step,
            "weights": {key: tensor.detach() for key, tensor in self.student.trained.tensors.items()},
            "average": self.student.average.tensors,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
        }
        torch.save(state, path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.step = state["step"]
        for metric, name in ((self.student.trained, "weights"), (self.student.average, "average")):
            for key, tensor in metric.tensors.items():
                tensor.data.copy_(state[name][key])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])


AllPairs = Callable[[Tensor], Tensor]  # images (N, 3, H, W) -> distances (N, N)


def see(metric: PlainMetric, images: Tensor) -> Tensor:
    """Return the distances of all pairs of images, followed by those of each quarter of the images: (5, L, N, N)."""
    features = metric.features(images)
    return torch.stack([all_pairs(part, metric.channels) for part in (features, *quadrants(features))])


def put_beside(far: PlainMetric, near: PlainMetric) -> TwoHeads:
    """Return a metric with these heads, of which the far one is made weak, and weaker in its first layer."""
    weak = far.scaled(FAR_SHARE)
    weak.channels[0].mul_(FIRST_LAYER)
    return TwoHeads(weak, near, NEAR_LIMIT)


@torch.no_grad()
def correlations(
    metrics: Mapping[str, AllPairs], teacher: AllPairs, photos: Tensor, seed: int
) -> dict[str, list[float]]:
    """Return Spearman's correlation of metrics with a teacher, on images that neither was trained on.

    It is the mean over images of the correlation over the images each is compared with: once the copies of the same
    photograph, and once all images of a batch.
    """
    generator = Generator().manual_seed(seed)
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in metrics}
    for _ in range(HELD_OUT_BATCHES):
        images = draw_copies(photos, 6, 96, generator)
        theirs, photo = teacher(images), torch.arange(len(images)) % (len(images) // COPIES)
        for name, metric in metrics.items():
            ours = metric(images)
            for k in range(len(images)):
                others = torch.arange(len(images)) != k
                for rows, compared in zip(found[name], (others & (photo == photo[k]), others), strict=True):
                    rows.append(spearmanr(ours[k][compared], theirs[k][compared]).statistic)
    return {name: [float(np.mean(row)) for row in rows] for name, rows in found.items()}


@click.command(context_settings={"show_default": True})
@photo_options(required=True)
@click.option("--lite", type=click.Path(exists=True, path_type=Path), required=True,
              help="An older lite with one head: the second teacher, and the near head.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Safetensors file to write.")
@click.option("--steps", type=click.IntRange(1), default=9000)
@click.option(
    "--photographs",
    type=click.IntRange(1),
    default=5,
    help=f"Photographs in a batch; each gives {COPIES} images, and all pairs are learnt.",
)
@click.option(
    "--side",
    "sides",
    type=click.IntRange(1),
    default=(64, 96, 96),
    multiple=True,
    help="Side of the squares; several are used in turn.",
)
@click.option("--objects", default=0.1, help="Share of photographs that are replaced by a drawn object.")
@click.option("--lr", default=1.5e-3)
@click.option("--seed", default=0)
@plain_errors
def main(photos: Path, alex: Path, lite: Path, out: Path, **settings: Any) -> None:
    """Distil the far head of lite; continues from OUT's checkpoint if there is one."""
    hyper, older = Hyperparameters(**settings), read_lite(lite)
    if older.tower.spec is not NEAR:
        raise ValueError(f"--lite {lite}: expected a lite with one network, as up to version 0.3")
    teacher = read_teacher(alex, "uniform").scaled(TEACHER_SCALE)
    train_photos, test_photos = split_photos(read_photos(photos))
    near = PlainMetric.of(older)
    run = Run(train_photos, [teacher, near], hyper)
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint, log = out.with_suffix(".ckpt"), out.with_suffix(".csv")
    if checkpoint.exists():
        run.restore(checkpoint)
        if run.step == hyper.steps:
            click.echo(f"{checkpoint} is finished: delete it to start again")
            return
    else:
        log.write_text("step,train_loss,spearman_within_photographs,spearman_among_all,seconds\n")
    began, losses = time.monotonic(), []
    while run.step < hyper.steps:
        losses.append(run.advance())
        if run.step % 500 == 0 or run.step == hyper.steps:
            judges = [lambda images, by=by: see(by, images)[0].sum(0) for by in (run.student.average, teacher)]
            found = correlations({"student": judges[0]}, judges[1], test_photos, 2**31)["student"]
            row = [np.mean(losses), *found, time.monotonic() - began]
            with log.open("a") as file:
                file.write(",".join([str(run.step), *(f"{value:.5g}" for value in row)]) + "\n")
            click.echo(f"step {run.step}/{hyper.steps}  loss {row[0]:.4f}  spearman {row[1]:.4f} {row[2]:.4f}")
            losses = []
            run.save(checkpoint)
    metadata = {
        "version": "distilled",
        "teacher": f"LPIPS alex, uniform weights, and {older.signature}",
        "recipe": f"calibration.distill {hyper}",
        "trained_on": spell_digests(older.trained_on),
    }
    put_beside(run.student.average, near).save(out, metadata)


if __name__ == "__main__":
    main()
