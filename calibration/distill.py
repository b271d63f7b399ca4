"""Train the `lite` tower to give the distances of a published LPIPS network (by default LPIPS-alex v0.1).

Each step crops photographs, distorts every crop twice, and compares all three copies with each other under teacher and
student. The loss is the squared difference of the logarithms of their distances, in total and layer by layer: relative
errors count alike from a barely visible change to a different image. In every second step the two copies differ only in
the strength of their distortion, and the stronger must be the farther one.

    python -m calibration.distill --photos PHOTOS.tar --teacher-tower-weights ALEXNET.pth --out distilled.safetensors

Photographs are held out by index (every 14th), and some kinds of distortion by name; the log has the rank correlation
with the teacher on the held-out photographs, for the kinds trained on and for the others.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from torch import Generator, Tensor

from calibration.distorted_twice import (
    HELD_OUT_KINDS,
    TRAINED_KINDS,
    distort_randomly,
    log_error,
    make_copies,
    order_error,
)
from calibration.options import load_teacher, plain_errors, teacher_options
from calibration.photographs import crop, read_photos, split_photos
from calibration.plain_metric import PlainMetric
from lpips_lite.tensor_files import save_tensors
from lpips_lite.towers import TOWERS

EMA_DECAY = 0.999


class Student:
    """The metric in training, and the moving average of it, which is what is kept."""

    def __init__(self, teacher: PlainMetric, generator: Generator) -> None:
        tensors = {}
        for key, shape in TOWERS["lite"].shapes().items():
            scale = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5 if len(shape) == 4 else 0.0  # He et al. 2015
            tensors[key] = torch.randn(shape, generator=generator) * scale
        for index, (tap, weight) in enumerate(zip(TOWERS["lite"].find_taps(), teacher.channels, strict=True)):
            tensors[f"channel_weights.{index}"] = torch.full((tap.channels,), float(weight.sum()) / tap.channels)
        self.average = PlainMetric("lite", {key: tensor.clone() for key, tensor in tensors.items()})
        self.trained = PlainMetric("lite", tensors).require_gradients()

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Project channel weights to ≥ 0 and follow the moving average, whose start is not remembered."""
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        self.trained.keep_weights_positive()
        for key, tensor in self.trained.tensors.items():
            self.average.tensors[key].lerp_(tensor, 1 - decay)


@torch.no_grad()
def correlations(
    student: PlainMetric, teacher: PlainMetric, photos: Tensor, kinds: Sequence[str]
) -> tuple[float, float]:
    """Return Spearman's and Pearson's correlation with the teacher on photographs and seeds never trained on."""
    generator = Generator().manual_seed(2**31)
    found, expected = [], []
    for side in (64, 64, 64, 96):
        ref = crop(photos, 128, side, generator)
        images = torch.cat([ref, *(distort_randomly(ref, kinds, generator) for _ in range(2))])
        found.append(student.three_way(images).sum(1))
        expected.append(teacher.three_way(images).sum(1))
    pair = torch.cat(found), torch.cat(expected)
    return float(spearmanr(*pair).statistic), float(pearsonr(*pair).statistic)


@dataclass(frozen=True)
class Hyperparameters:
    """What a run is reproduced from, beside its data."""

    steps: int
    batch_size: int
    lr: float
    seed: int


class Run:
    """One distillation: its data, student and optimiser, all of which a checkpoint brings back."""

    def __init__(self, photos: Tensor, teacher: PlainMetric, hyper: Hyperparameters) -> None:
        self.photos, self.teacher, self.hyper = photos, teacher, hyper
        self.generator = Generator().manual_seed(hyper.seed)
        self.student = Student(teacher, self.generator)
        self.weights = list(self.student.trained.tensors.values())
        self.optimizer = torch.optim.Adam(self.weights, lr=hyper.lr)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, hyper.lr, total_steps=hyper.steps, pct_start=0.05
        )
        self.step = 0

    def advance(self) -> float:
        """Take one step and return its loss."""
        images = make_copies(self.photos, self.hyper.batch_size, self.step, self.generator)
        with torch.no_grad():
            target = self.teacher.three_way(images)
        found = self.student.trained.three_way(images)
        loss = log_error(found, target)
        if self.step % 2 == 1:
            loss = loss + order_error(found)
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


@click.command(context_settings={"show_default": True})
@teacher_options(required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Safetensors file to write.")
@click.option("--steps", default=11500)
@click.option("--batch-size", default=32, help="Photographs a step; each gives three pairs.")
@click.option("--lr", default=1e-3)
@click.option("--seed", default=0)
@plain_errors
def main(
    photos: Path,
    teacher_tower_weights: Path,
    teacher_channel_weights: str,
    out: Path,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
) -> None:
    """Distil LPIPS-alex into the lite tower; continues from OUT's checkpoint if there is one."""
    teacher = load_teacher(teacher_tower_weights, teacher_channel_weights)
    train_photos, test_photos = split_photos(read_photos(photos))
    run = Run(train_photos, teacher, Hyperparameters(steps, batch_size, lr, seed))
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint, log = out.with_suffix(".ckpt"), out.with_suffix(".csv")
    if checkpoint.exists():
        run.restore(checkpoint)
    else:
        log.write_text("step,train_loss,spearman,pearson,spearman_held_out_kinds,pearson_held_out_kinds,seconds\n")

    began, losses = time.monotonic(), []
    while run.step < steps:
        losses.append(run.advance())
        if run.step % 500 == 0 or run.step == steps:
            found = [
                value
                for kinds in (TRAINED_KINDS, HELD_OUT_KINDS)
                for value in correlations(run.student.average, teacher, test_photos, kinds)
            ]
            row = [np.mean(losses), *found, time.monotonic() - began]
            with log.open("a") as file:
                file.write(",".join([str(run.step), *(f"{value:.5g}" for value in row)]) + "\n")
            click.echo(f"step {run.step}/{steps}  loss {row[0]:.4f}  spearman {found[0]:.4f} {found[2]:.4f}")
            losses = []
            run.save(checkpoint)

    metadata = {
        "net": "lite",
        "version": "distilled",
        "teacher": "LPIPS alex v0.1",
        "recipe": f"calibration.distill --steps {steps} --batch-size {batch_size} --lr {lr} --seed {seed}",
        "held_out_spearman": f"{found[2]:.4f}",
        "licence": "BSD-2-Clause",
    }
    save_tensors(out, run.student.average.tensors, metadata)


if __name__ == "__main__":
    main()
