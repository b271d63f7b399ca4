"""Train the `lite` tower to give the distances of a published LPIPS network (by default LPIPS-alex v0.1).

Each step crops photographs, distorts every crop twice, and compares all three copies with each other under teacher and
student. The loss is the squared difference of the logarithms of their distances, in total and layer by layer: relative
errors count alike from a barely visible change to a different image. In every second step the two copies differ only in
the strength of their distortion, and the stronger must be the farther one.

    python -m calibration.distill --photos PHOTOS.tar --teacher ALEXNET.pth --out lpips_lite/data/lite.safetensors

Photographs are held out by index (every 14th), and some kinds of distortion by name; the log has the rank correlation
with the teacher on the held-out photographs, for the kinds trained on and for the others.
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

from lpips_lite.distance import channel_differences, pool_mean, unit_normalize, weigh
from lpips_lite.tensor_files import save_tensors
from lpips_lite.towers import IMAGENET_MEAN, IMAGENET_STD, TOWERS, FeatureTower
from lpips_lite.votes.distort import DISTORTIONS, distort
from lpips_lite.weights import load_channel_weights

HOLD_OUT_EVERY = 14
HELD_OUT_KINDS = ("speckle", "motion_blur", "jpeg2000", "gamma", "warp", "displaced_patches")
TRAINED_KINDS = tuple(kind for kind in DISTORTIONS if kind not in HELD_OUT_KINDS)
CROP_SIDES = (64, 64, 96)  # mostly the side that LPIPS was calibrated at
CHUNK = 8  # images that share a kind of distortion, so that it runs as one batch
LAYER_LOSS = 0.2
ORDER_MARGIN = 0.05  # by which the stronger distortion's log-distance must exceed the weaker's
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


def choose(kinds: Sequence[str], generator: Generator) -> str:
    """Draw one kind of distortion."""
    return kinds[int(torch.randint(len(kinds), (), generator=generator))]


def distort_randomly(images: Tensor, kinds: Sequence[str], generator: Generator) -> Tensor:
    """Distort each chunk of a batch by one kind, three in ten of them by a second one on top."""
    distorted = []
    for chunk in images.split(CHUNK):  # type: ignore[no-untyped-call]
        passes = 2 if torch.rand((), generator=generator) < 0.3 else 1
        for _ in range(passes):
            chunk = distort(chunk, choose(kinds, generator), torch.rand(len(chunk), generator=generator), generator)
        distorted.append(chunk)
    return torch.cat(distorted)


def distort_twice(images: Tensor, kinds: Sequence[str], generator: Generator) -> tuple[Tensor, Tensor]:
    """Distort each chunk by one kind at two levels with the same random pattern: the weaker and the stronger batch."""
    weak, strong = [], []
    for chunk in images.split(CHUNK):  # type: ignore[no-untyped-call]
        kind, seed = choose(kinds, generator), int(torch.randint(2**40, (), generator=generator))
        gap = 0.12 + 0.2 * torch.rand(len(chunk), generator=generator)
        level = torch.rand(len(chunk), generator=generator) * (1 - gap)
        weak.append(distort(chunk, kind, level, Generator().manual_seed(seed)))
        strong.append(distort(chunk, kind, level + gap, Generator().manual_seed(seed)))
    return torch.cat(weak), torch.cat(strong)


def make_copies(
    photos: Tensor,
    count: int,
    step: int,
    generator: Generator,
    sides: Sequence[int] = CROP_SIDES,
    order_kinds: Sequence[str] = TRAINED_KINDS,
) -> Tensor:
    """Crop photographs and distort each twice, at odd steps by one kind at two levels: (3 · count, 3, side, side)."""
    side = sides[int(torch.randint(len(sides), (), generator=generator))]
    ref = crop(photos, count, side, generator)
    if step % 2 == 1:
        return torch.cat([ref, *distort_twice(ref, order_kinds, generator)])
    return torch.cat([ref, *(distort_randomly(ref, TRAINED_KINDS, generator) for _ in range(2))])


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


def order_error(distances: Tensor) -> Tensor:
    """Return the loss of three-way distances (N, L) in which the second copy is the more strongly distorted one."""
    weak, strong, _ = (distances.sum(1) + 1e-4).log().chunk(3)
    return (ORDER_MARGIN + weak - strong).clamp(min=0).mean()


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
        features = self.spec.run(x.contiguous(memory_format=torch.channels_last), weights, self.taps)
        return three_way_distances(tuple(features), channel_weights)

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
    student: Student, teacher: FeatureTower, teacher_weights: Sequence[Tensor], photos: Tensor, kinds: Sequence[str]
) -> tuple[float, float]:
    """Return Spearman's and Pearson's correlation with the teacher on photographs and seeds never trained on."""
    generator = Generator().manual_seed(2**31)
    found, expected = [], []
    for side in (64, 64, 64, 96):
        ref = crop(photos, 128, side, generator)
        images = torch.cat([ref, *(distort_randomly(ref, kinds, generator) for _ in range(2))])
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
        images = make_copies(self.photos, self.hyper.batch_size, self.step, self.generator)
        with torch.no_grad():
            target = three_way_distances(self.teacher(images), self.teacher_weights)
        found = self.student.layer_distances(images, self.student.weights)
        loss = log_error(found, target)
        if self.step % 2 == 1:
            loss = loss + order_error(found)
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
@click.option("--steps", default=11500)
@click.option("--batch-size", default=32, help="Photographs a step; each gives three pairs.")
@click.option("--lr", default=1e-3)
@click.option("--seed", default=0)
def main(
    photos: Path, teacher: Path, channel_weights: str, out: Path, steps: int, batch_size: int, lr: float, seed: int
) -> None:
    """Distil LPIPS-alex into the lite tower; continues from OUT's checkpoint if there is one."""
    pool = read_photos(photos)
    held_out = torch.arange(len(pool)) % HOLD_OUT_EVERY == 0
    test_photos = pool[held_out]
    tower = FeatureTower("alex", weights=teacher)
    teacher_weights = load_channel_weights("alex", channel_weights, [tap.channels for tap in tower.taps]).tensors
    run = Run(pool[~held_out], tower, teacher_weights, Hyperparameters(steps, batch_size, lr, seed))
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
                for value in correlations(run.student, tower, teacher_weights, test_photos, kinds)
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
    save_tensors(out, run.student.average, metadata)


if __name__ == "__main__":
    main()
