"""Train the `lite` tower to give the distances of a published LPIPS network (by default LPIPS-alex v0.1).

Each step crops photographs, distorts every crop twice, and compares all three copies with each other under teacher and
student. The loss is the squared difference of the logarithms of their distances, in total and layer by layer: relative
errors count alike from a barely visible change to a different image.

    python -m calibration.distill --photos PHOTOS.tar --teacher alexnet.pth --channel-weights alex-v0.1.pth \\
        --out lpips_lite/data/lite.safetensors

Photographs are held out by index (every 14th); the log has the rank correlation with the teacher on them.
"""

from __future__ import annotations

import csv
import io
import tarfile
import time
from collections.abc import Sequence
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
from lpips_lite.weights import load_channel_weights, save_metric

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
    crops = torch.stack(
        [photos[p, :, t : t + side, s : s + side] for p, t, s in zip(chosen, tops, lefts, strict=True)]
    )
    mirrored = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored, crops.flip(-1), crops).float() / 255


def distort_randomly(images: Tensor, kinds: Sequence[str], generator: Generator) -> Tensor:
    """Distort each chunk of a batch by one kind, three in ten of them by a second one on top."""
    distorted = []
    for chunk in images.split(CHUNK):
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
def evaluate(student: Student, teacher: FeatureTower, teacher_weights: Sequence[Tensor], photos: Tensor) -> Weights:
    """Return the distances of teacher and student on held-out photographs under distortions never trained on."""
    generator = Generator().manual_seed(2**31)
    pairs: dict[str, list[Tensor]] = {"student": [], "teacher": []}
    for side in (64, 64, 64, 96):
        ref = crop(photos, 128, side, generator)
        images = torch.cat([ref, *(distort_randomly(ref, list(DISTORTIONS), generator) for _ in range(2))])
        pairs["student"].append(student.layer_distances(images, student.average).sum(1))
        pairs["teacher"].append(three_way_distances(teacher(images), teacher_weights).sum(1))
    return {name: torch.cat(distances) for name, distances in pairs.items()}


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
    torch.manual_seed(seed)
    generator = Generator().manual_seed(seed)
    pool = read_photos(photos)
    held_out = torch.arange(len(pool)) % HOLD_OUT_EVERY == 0
    train, test = pool[~held_out], pool[held_out]
    tower, kinds = FeatureTower("alex", weights=teacher), list(DISTORTIONS)
    teacher_weights = load_channel_weights("alex", channel_weights)
    student = Student(teacher_weights, generator)
    optimizer = torch.optim.Adam(student.weights.values(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.05)

    checkpoint, log, start = out.with_suffix(".ckpt"), out.with_suffix(".csv"), 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        start, student.average = state["step"], state["average"]
        for key, tensor in student.weights.items():
            tensor.data.copy_(state["weights"][key])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        generator.set_state(state["generator"])
    else:
        with log.open("w") as file:
            csv.writer(file).writerow(["step", "train_loss", "test_spearman", "test_pearson", "seconds"])

    began, losses = time.monotonic(), []
    for step in range(start, steps):
        side = CROP_SIDES[int(torch.randint(len(CROP_SIDES), (), generator=generator))]
        ref = crop(train, batch_size, side, generator)
        images = torch.cat([ref, *(distort_randomly(ref, kinds, generator) for _ in range(2))])
        with torch.no_grad():
            target = three_way_distances(tower(images), teacher_weights)
        loss = log_error(student.layer_distances(images, student.weights), target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(student.weights.values(), 1.0)
        optimizer.step()
        schedule.step()
        student.after_step(step)
        losses.append(loss.item())
        if (step + 1) % 250 == 0 or step + 1 == steps:
            result = evaluate(student, tower, teacher_weights, test)
            spearman = spearmanr(result["student"], result["teacher"]).statistic
            pearson = pearsonr(result["student"], result["teacher"]).statistic
            row = [step + 1, np.mean(losses), spearman, pearson, time.monotonic() - began]
            with log.open("a") as file:
                csv.writer(file).writerow([row[0], *(f"{value:.5f}" for value in row[1:4]), f"{row[4]:.0f}"])
            click.echo(f"step {row[0]}/{steps}  loss {row[1]:.4f}  spearman {spearman:.4f}  pearson {pearson:.4f}")
            losses = []
            state = {
                "step": step + 1,
                "weights": {key: tensor.detach() for key, tensor in student.weights.items()},
                "average": student.average,
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "generator": generator.get_state(),
            }
            torch.save(state, checkpoint)
    save_metric(
        out,
        student.average,
        {
            "net": "lite",
            "version": "0.1",
            "teacher": "LPIPS-alex v0.1",
            "recipe": f"calibration.distill --steps {steps} --batch-size {batch_size} --lr {lr} --seed {seed}",
            "test_spearman": f"{spearman:.4f}",
            "licence": "BSD-2-Clause",
        },
    )


if __name__ == "__main__":
    main()
