"""Train half a `lite` tower to see unlike images as two large networks do: the far head, and where the near one starts.

The teachers are LPIPS with uniform channel weights on ImageNet's AlexNet and on a VGG-16. Every step learns their distances
of all pairs of a batch of unlike images (`calibration.unlike_pairs`), in value and in order. Every second step also crops
photographs, distorts every crop twice, and learns how far AlexNet sees all three copies from each other: the squared
difference of the logarithms, in total and layer by layer, so that relative errors count alike. In half of those the two
copies differ only in the strength of their distortion, and the stronger must be the farther one.

    python -m calibration.distill --photos PHOTOS.tar --alex ALEXNET.pth --vgg VGG16.pth --out distilled.safetensors

No judgment of people is learnt here. Photographs are held out by index (every 14th), and some kinds of distortion by
name; the log has the rank correlation with the teachers on batches of the held-out photographs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Generator, Tensor

from calibration.distorted_twice import log_error, make_copies, order_error
from calibration.halves import TwoHeads, half_spec
from calibration.options import plain_errors
from calibration.photographs import read_photos, split_photos
from calibration.plain_metric import PlainMetric
from calibration.unlike_pairs import (
    TEACHER_SCALE,
    UnlikeBatch,
    all_pairs,
    distance_error,
    draw_unlike,
    judge,
    make_batches,
)
from lpips_lite import LPIPS
from lpips_lite.tensor_files import content_hash, save_tensors
from lpips_lite.terminal import progress

EMA_DECAY = 0.998
FAR_SHARE = 1 / 30  # of the far head in the file that is written, over the near one where neither saturates
NEAR_LIMIT = 0.05  # C there
HELD_OUT_BATCHES = 20


@dataclass(frozen=True)
class Hyperparameters:
    """What a run is reproduced from, beside its data.

    Attributes:
        steps: Number of updates.
        batches: Number of different batches of unlike images.
        photographs: Photographs that are distorted twice, in every second step.
        lr: Highest learning rate of a one-cycle schedule.
        seed: Of everything random.
    """

    steps: int
    batches: int
    photographs: int
    lr: float
    seed: int


class Student:
    """Half a tower in training, and the moving average of it, which is what is kept."""

    def __init__(self, teacher: PlainMetric, generator: Generator) -> None:
        spec, tensors = half_spec(), {}
        for key, shape in spec.shapes().items():
            scale = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5 if len(shape) == 4 else 0.0  # He et al. 2015
            tensors[key] = torch.randn(shape, generator=generator) * scale
        for index, (tap, weight) in enumerate(zip(spec.find_taps(), teacher.channels, strict=True)):
            tensors[f"channel_weights.{index}"] = torch.full((tap.channels,), float(weight.sum()) / tap.channels)
        self.average = PlainMetric(spec, {key: tensor.clone() for key, tensor in tensors.items()})
        self.trained = PlainMetric(spec, tensors).require_gradients()

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Project channel weights to ≥ 0 and follow the moving average, whose start is not remembered."""
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        self.trained.keep_weights_positive()
        for key, tensor in self.trained.tensors.items():
            self.average.tensors[key].lerp_(tensor, 1 - decay)

    def join(self) -> dict[str, Tensor]:
        """Return a metric with two heads, both of which are this one: the far one faint, the near one limited."""
        near = PlainMetric(half_spec(), self.average.tensors)
        faint = [f"channel_weights.{index}" for index in range(len(near.taps))]
        far = {key: tensor * FAR_SHARE if key in faint else tensor for key, tensor in near.tensors.items()}
        return TwoHeads(PlainMetric(half_spec(), far), near, NEAR_LIMIT).join()


class Run:
    """One distillation: its data, student and optimiser, all of which a checkpoint brings back."""

    def __init__(
        self, photos: Tensor, batches: Sequence[UnlikeBatch], teacher: PlainMetric, hyper: Hyperparameters
    ) -> None:
        self.photos, self.batches, self.teacher, self.hyper = photos, batches, teacher, hyper
        self.generator = Generator().manual_seed(hyper.seed)
        self.student = Student(teacher, self.generator)
        self.weights = list(self.student.trained.tensors.values())
        self.optimizer = torch.optim.Adam(self.weights, lr=hyper.lr)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, hyper.lr, total_steps=hyper.steps, pct_start=0.05
        )
        self.step = 0

    def advance(self) -> float:
        """Take one step and return the loss of its unlike images."""
        student = self.student.trained
        batch = self.batches[int(torch.randint(len(self.batches), (), generator=self.generator))]
        images = batch.images.float() / 255
        images = images.flip(-1) if torch.rand((), generator=self.generator) < 0.5 else images
        loss = unlike = distance_error(all_pairs(student.features(images), student.channels), batch.target)
        if self.step % 2 == 0:
            loss = loss + self.distorted_twice(self.step // 2)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.student.after_step(self.step)
        self.step += 1
        return unlike.item()

    def distorted_twice(self, number: int) -> Tensor:
        """Return the loss on photographs that are distorted twice."""
        images = make_copies(self.photos, self.hyper.photographs, number, self.generator)
        with torch.no_grad():
            target = self.teacher.three_way(images)
        found = self.student.trained.three_way(images)
        loss = log_error(found, target)
        return loss + order_error(found) if number % 2 == 1 else loss

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


class HeldOut:
    """Batches of photographs that nothing was learnt from, and what teachers say of them."""

    def __init__(self, photos: Tensor, teachers: Sequence[LPIPS]) -> None:
        generator = Generator().manual_seed(2**31)
        self.images = [draw_unlike(photos, 96, generator) for _ in range(HELD_OUT_BATCHES)]
        self.judged = [[judge(teacher, images) for images in self.images] for teacher in teachers]

    @torch.no_grad()
    def correlations(self, student: PlainMetric) -> list[float]:
        """Return, for each teacher, Spearman's correlation over the images that one is compared with, on average."""
        found = [all_pairs(student.features(images), student.channels) for images in self.images]
        return [
            float(np.mean([by_image(ours, theirs) for ours, theirs in zip(found, judged, strict=True)]))
            for judged in self.judged
        ]


def by_image(distances: Tensor, judged: Tensor) -> float:
    """Return the mean over images of Spearman's correlation of (N, N) distances with what a teacher says of pairs."""
    count = len(distances)
    theirs = torch.zeros(count, count)
    theirs[tuple(torch.triu_indices(count, count, offset=1))] = judged
    theirs = theirs + theirs.T
    others = ~torch.eye(count, dtype=torch.bool)
    rows = [(distances[k][others[k]], theirs[k][others[k]]) for k in range(count)]
    return float(np.mean([spearmanr(ours, expected).statistic for ours, expected in rows]))


@click.command(context_settings={"show_default": True})
@click.option("--photos", type=click.Path(exists=True, path_type=Path), required=True,
              help="Tar or folder of equally large photographs.")  # fmt: skip
@click.option("--alex", type=click.Path(exists=True, path_type=Path), required=True, help="AlexNet's weights.")
@click.option("--vgg", type=click.Path(exists=True, path_type=Path), required=True, help="A VGG-16's weights.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Safetensors file to write.")
@click.option("--steps", default=12000)
@click.option("--batches", default=900, help="Different batches of unlike images.")
@click.option("--photographs", default=12, help="Photographs that are distorted twice, in every second step.")
@click.option("--lr", default=1.5e-3)
@click.option("--seed", default=0)
@plain_errors
def main(photos: Path, alex: Path, vgg: Path, out: Path, **settings: float) -> None:
    """Distil the far head of lite; continues from OUT's checkpoint if there is one."""
    hyper = Hyperparameters(**settings)  # type: ignore[arg-type]
    train, test = split_photos(read_photos(photos))
    teachers = [
        LPIPS(net, tower_weights=path, channel_weights="uniform", check_range="never")
        for net, path in (("alex", alex), ("vgg", vgg))
    ]
    held_out = HeldOut(test, teachers)
    batches = make_batches(train, teachers, hyper.batches, hyper.seed + 1)
    teacher = PlainMetric.of(teachers[0])
    teacher.channels = [TEACHER_SCALE * weight for weight in teacher.channels]
    run = Run(train, batches, teacher, hyper)
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint, log = out.with_suffix(".ckpt"), out.with_suffix(".csv")
    if checkpoint.exists():
        run.restore(checkpoint)
    else:
        log.write_text("step,loss_of_unlike_images,spearman_alex,spearman_vgg,seconds\n")
    began, losses = time.monotonic(), []
    while run.step < hyper.steps:
        losses.append(run.advance())
        if run.step % 500 == 0 or run.step == hyper.steps:
            row = [np.mean(losses), *held_out.correlations(run.student.average), time.monotonic() - began]
            with log.open("a") as file:
                file.write(",".join([str(run.step), *(f"{value:.5g}" for value in row)]) + "\n")
            click.echo(f"step {run.step}/{hyper.steps}  loss {row[0]:.4f}  spearman {row[1]:.4f} {row[2]:.4f}")
            losses = []
            run.save(checkpoint)
    tensors = run.student.join()
    tower = {key: tensor for key, tensor in tensors.items() if key.startswith("features.")}
    metadata = {
        "net": "lite",
        "tower": content_hash(tower),
        "version": "distilled",
        "teachers": f"LPIPS alex uniform, LPIPS vgg uniform; {', '.join(t.signature for t in teachers)}",
        "recipe": f"calibration.distill {hyper}",
        "licence": "BSD-2-Clause",
    }
    save_tensors(out, tensors, metadata)


if __name__ == "__main__":
    main()
