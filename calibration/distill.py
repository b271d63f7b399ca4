"""Train the `lite` tower to give the distances of a published LPIPS network (by default LPIPS-alex v0.1).

Each step crops photographs, distorts every crop twice, and compares all three copies with each other under teacher and
student. The loss is the squared difference of the logarithms of their distances, in total and layer by layer: relative
errors count alike from a barely visible change to a different image.

    python -m calibration.distill --photos PHOTOS.tar --teacher ALEXNET.pth --out lpips_lite/data/lite.safetensors

Photographs are held out by index (every 14th); the log has the rank correlation with the teacher on them.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from scipy.stats import pearsonr, spearmanr
from torch import Generator, Tensor

from calibration.distort import DISTORTIONS, distort
from lpips_lite.distance import channel_differences, pool_mean, unit_normalize, weigh
from lpips_lite.towers import IMAGENET_MEAN, IMAGENET_STD, TOWERS, FeatureTower
from lpips_lite.weights import load_channel_weights, save_tensors

HOLD_OUT_EVERY = 14
CROP_SIDES = (64, 64, 96)  # mostly the side that LPIPS was calibrated at
CHUNK = 8  # images that share a kind of distortion, so that it runs as one batch
LAYER_LOSS = 0.2
EMA_DECAY = 0.999

Weights = dict[str, Tensor]


def read_photos(path: Path) -> Tensor:
    """Decode a tar file or folder of equally large photographs: (P, 3, H, W) uint8, sorted by name."""
    if path.is_dir():
        files = [(p.name, p.read_bytes()) for p in path.iterdir() if p.is_file()]
    else:
        with tarfile.open(path) as tar:
            files = [(m.name, tar.extractfile(m).read()) for m in tar if m.isfile()]  # type: ignore[union-attr]
    photos = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for _, data in sorted(files)]
    return torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).contiguous()


def crop(photos: Tensor, count: int, side: int, generator: Generator) -> Tensor:
    """Cut random squares from random photographs, half of them mirrored: (count, 3, side, side) in [0, 1]."""
    height, width = photos.shape[-2:]
    chosen = torch.randint(len(photos), (count,), generator=generator).tolist()
    tops = torch.randint(height - side + 1, (count,), generator=generator).tolist()
    lefts = torch.randint(width - side + 1, (count,), generator=generator).tolist()
    crops = torch.stack([photos[p, :, t : t + side, s : s + side] for p, t, s in zip(chosen, tops, lefts, strict=True)])
    mirrored = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored, crops.flip(-1), crops).float() / 255


def distort_randomly(images: Tensor, kinds: Sequence[str], generator: Generator) -> Tensor:
    """Distort each chunk of a batch by one kind, three in ten of them by a second one on top."""
    distorted = []
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        passes = 2 if torch.rand((), generator=generator) < 0.3 else 1
        for _ in range(passes):
            kind = kinds[int(torch.randint(len(kinds), (), generator=generator))]
            chunk = distort(chunk, kind, torch.rand(len(chunk), generator=generator), generator)
        distorted.append(chunk)
    return torch.cat(distorted)


def three_way_distances(features: Sequence[Tensor], channel_weights: Sequence[Tensor]) -> Tensor:
    """Compare reference, first and second distortion, stacked along the batch, with each other: (N, L)."""
    layers = []
    for feature, weight in zip(features, channel_weights, strict=True):
        ref, p0, p1 = unit_normalize(feature).chunk(3)
        pairs = ((ref, p0), (ref, p1), (p0, p1))
        layers.append(torch.cat([pool_mean(weigh(channel_differences(a, b), weight)) for a, b in pairs]))
    return torch.stack(layers, dim=1)


def log_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the loss of layer distances (N, L) against the teacher's."""

    def error(a: Tensor, b: Tensor, floor: float) -> Tensor:
        return ((a + floor).log() - (b + floor).log()).square().mean()

    return error(student.sum(1), teacher.sum(1), 1e-3) + LAYER_LOSS * error(student, teacher, 2e-4)


class Student:
    """The tower in training: plain trainable tensors for `TowerSpec.run`, and channel weights kept ≥ 0."""

    spec = TOWERS["lite"]

    def __init__(self, teacher_weights: Sequence[Tensor], generator: Generator) -> None:
        self.taps = self.spec.find_taps()
        self.weights: Weights = {}
        for key, shape in self.spec.shapes().items():
            scale = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5 if len(shape) == 4 else 0.0  # He et al. 2015
            self.weights[key] = (torch.randn(shape, generator=generator) * scale).requires_grad_()
        for index, (tap, weight) in enumerate(zip(self.taps, teacher_weights, strict=True)):
            mean = float(weight.sum()) / tap.channels
            self.weights[f"channel_weights.{index}"] = torch.full((tap.channels,), mean).requires_grad_()
        self.average: Weights = {key: tensor.detach().clone() for key, tensor in self.weights.items()}

    def layer_distances(self, x: Tensor, weights: Weights) -> Tensor:
        x = (x - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
        channel_weights = [weights[f"channel_weights.{index}"] for index in range(len(self.taps))]
        return three_way_distances(self.spec.run(x, weights, self.taps), channel_weights)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Project channel weights to ≥ 0 and follow the moving average, whose start is not remembered."""
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        for key, tensor in self.weights.items():
            if key.startswith("channel_weights"):
                tensor.clamp_(min=0)
            self.average[key].lerp_(tensor, 1 - decay)


@torch.no_grad()
def correlations(
    student: Student, teacher: FeatureTower, teacher_weights: Sequence[Tensor], photos: Tensor
) -> tuple[float, float]:
    """Return Spearman's and Pearson's correlation with the teacher on photographs and seeds never trained on."""
    generator = Generator().manual_seed(2**31)
    found, expected = [], []
    for side in (64, 64, 64, 96):
        ref = crop(photos, 128, side, generator)
        images = torch.cat([ref, *(distort_randomly(ref, list(DISTORTIONS), generator) for _ in range(2))])
        found.append(student.layer_distances(images, student.average).sum(1))
        expected.append(three_way_distances(teacher(images), teacher_weights).sum(1))
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

    def __init__(
        self, photos: Tensor, teacher: FeatureTower, teacher_weights: Sequence[Tensor], hyper: Hyperparameters
    ) -> None:
        self.photos, self.teacher, self.teacher_weights, self.hyper = photos, teacher, teacher_weights, hyper
        self.generator = Generator().manual_seed(hyper.seed)
        self.student = Student(teacher_weights, self.generator)
        self.optimizer = torch.optim.Adam(self.student.weights.values(), lr=hyper.lr)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, hyper.lr, total_steps=hyper.steps, pct_start=0.05
        )
        self.step = 0

    def advance(self) -> float:
        """Take one step and return its loss."""
        side = CROP_SIDES[int(torch.randint(len(CROP_SIDES), (), generator=self.generator))]
        ref = crop(self.photos, self.hyper.batch_size, side, self.generator)
        kinds = list(DISTORTIONS)
        images = torch.cat([ref, *(distort_randomly(ref, kinds, self.generator) for _ in range(2))])
        with torch.no_grad():
            target = three_way_distances(self.teacher(images), self.teacher_weights)
        loss = log_error(self.student.layer_distances(images, self.student.weights), target)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.student.weights.values(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.student.after_step(self.step)
        self.step += 1
        return loss.item()

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        state = {
            "step": self.step,
            "weights": {key: tensor.detach() for key, tensor in self.student.weights.items()},
            "average": self.student.average,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
        }
        torch.save(state, path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.step, self.student.average = state["step"], state["average"]
        for key, tensor in self.student.weights.items():
            tensor.data.copy_(state["weights"][key])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])


@click.command(context_settings={"show_default": True})
@click.option("--photos", type=click.Path(exists=True, path_type=Path), required=True, help="Tar or folder of photos.")
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), required=True, help="AlexNet weights.")
@click.option("--channel-weights", default="v0.1", help="The teacher's: a version or a file.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Safetensors file to write.")
@click.option("--steps", default=16000)
@click.option("--batch-size", default=32, help="Photographs a step; each gives three pairs.")
@click.option("--lr", default=1e-3)
@click.option("--seed", default=0)
def main(
    photos: Path, teacher: Path, channel_weights: str, out: Path, steps: int, batch_size: int, lr: float, seed: int
) -> None:
    """Distil LPIPS-alex into the lite tower; continues from OUT's checkpoint if there is one."""
    pool = read_photos(photos)
    held_out = torch.arange(len(pool)) % HOLD_OUT_EVERY == 0
    tower = FeatureTower("alex", weights=teacher)
    teacher_weights = load_channel_weights("alex", channel_weights, [tap.channels for tap in tower.taps]).tensors
    run = Run(pool[~held_out], tower, teacher_weights, Hyperparameters(steps, batch_size, lr, seed))
    checkpoint, log = out.with_suffix(".ckpt"), out.with_suffix(".csv")
    if checkpoint.exists():
        run.restore(checkpoint)
    else:
        log.write_text("step,train_loss,test_spearman,test_pearson,seconds\n")

    began, losses = time.monotonic(), []
    while run.step < steps:
        losses.append(run.advance())
        if run.step % 250 == 0 or run.step == steps:
            spearman, pearson = correlations(run.student, tower, teacher_weights, pool[held_out])
            seconds = time.monotonic() - began
            with log.open("a") as file:
                file.write(f"{run.step},{np.mean(losses):.5f},{spearman:.5f},{pearson:.5f},{seconds:.0f}\n")
            click.echo(f"step {run.step}/{steps}  loss {np.mean(losses):.4f}  spearman {spearman:.4f}")
            losses = []
            run.save(checkpoint)

    spearman, pearson = correlations(run.student, tower, teacher_weights, pool[held_out])
    metadata = {
        "net": "lite",
        "version": "0.1",
        "teacher": "LPIPS alex v0.1",
        "recipe": f"calibration.distill --steps {steps} --batch-size {batch_size} --lr {lr} --seed {seed}",
        "held_out_spearman": f"{spearman:.4f}",
        "held_out_pearson": f"{pearson:.4f}",
        "licence": "BSD-2-Clause",
    }
    save_tensors(out, run.student.average, metadata)


if __name__ == "__main__":
    main()
