"""Auxiliary losses: what a tower continues to learn while it learns from people, so that it forgets nothing else.

There are five losses on photographs that nobody judged:

* teacher: the teacher's distances under distortions, each at two levels;
* order: the stronger of two levels of a distortion is farther;
* mdsi: copies of a photograph whose pixels did not move are ordered as by MDSI, a formula that agrees well with people;
* shift: a shift by a pixel or two is not much farther than a barely visible blur, although it moves every feature;
* descent: images found by descending on the tower's distance from a photograph, which show what the tower does not see,
  are at least as far as the teacher says.

People's judgments should be learnt on squares of the same size. Zeros outside the border tell a tower how large an
image is, and otherwise it would keep these losses small for images of their size only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from calibration.distorted_twice import TRAINED_KINDS, choose, distort_at_two_levels, log_error, order_error
from calibration.photographs import crop, read_photos, split_photos
from calibration.plain_metric import PlainMetric
from lpips_lite.terminal import progress
from lpips_lite.votes.distort import distort

FLOOR = 1e-4  # added to distances before their logarithm
SIDE = 96  # side of squares in pixels
HARD_TO_ORDER = ("ghost", "hue", "pixelated", "webp", "posterize")  # chosen five times as often as the other kinds
ORDER_KINDS = TRAINED_KINDS + 4 * HARD_TO_ORDER
MOVED = ("shift", "rotate", "zoom", "ghost", "color_fringe", "blend")  # MDSI compares pixel by pixel
MDSI_KINDS = tuple(kind for kind in TRAINED_KINDS if kind not in MOVED)
MDSI_PHOTOS, MDSI_COPIES = 4, 8  # photographs per step, copies of each
BLUR_LEVEL = 0.1464  # of `gaussian_blur`: σ = 0.5 px
SHIFT_IN_BLURS = {1: 1.4, 2: 2.25}  # shift in pixels -> the largest distance allowed, in blurs
DESCENDING = 64


def mdsi(images: Tensor, ref: Tensor) -> Tensor:
    """Return the mean deviation similarity index (N,), lower = closer, of squares cut from images of ordinary size.

    Ziaei Nafchi et al., IEEE Access 2016. They halve images of ordinary size; piq depends on the size of its input.
    """
    import piq  # type: ignore[import-untyped]

    found: Tensor = piq.mdsi(F.avg_pool2d(images, 2), F.avg_pool2d(ref, 2), reduction="none")
    return found


@dataclass(frozen=True)
class DescendingImages:
    """Images that descend on the distance from photographs, a little further from time to time, in place.

    Attributes:
        ref: The photographs, (N, 3, SIDE, SIDE).
        images: The current images, same shape.
    """

    ref: Tensor
    images: Tensor


class AuxiliaryLosses:
    """Batches of distorted photographs with the teacher's distances or MDSI, made once and used many times.

    Descending images are kept from step to step. In each step some of them descend a little further on the current
    distance, and the tower learns the teacher's distances of the results. A tenth of these starts again from noise.
    """

    def __init__(self, photos: Tensor, teacher: PlainMetric, count: int, seed: int) -> None:
        self.photos, self.teacher = photos, teacher
        self.teacher_batches: list[tuple[Tensor, Tensor]] = []
        self.mdsi_batches: list[tuple[Tensor, Tensor]] = []
        generator = Generator().manual_seed(seed)
        for _ in progress(range(count), "batches of photographs"):
            ref = crop(photos, 16, SIDE, generator)
            images = torch.cat([ref, *distort_at_two_levels(ref, ORDER_KINDS, generator)])
            with torch.no_grad():
                target = teacher.three_way(images).sum(1)
            self.teacher_batches.append(((images * 255).round().byte(), target))
            ref = crop(photos, MDSI_PHOTOS, SIDE, generator)
            levels = torch.rand(MDSI_COPIES, MDSI_PHOTOS, generator=generator)
            images = torch.cat([distort(ref, choose(MDSI_KINDS, generator), level, generator) for level in levels])
            target = mdsi(images, ref.repeat(MDSI_COPIES, 1, 1, 1)).view(MDSI_COPIES, MDSI_PHOTOS)
            self.mdsi_batches.append(((torch.cat([ref, images]) * 255).round().byte(), target))

    @classmethod
    def read(cls, photos: Path, teacher: PlainMetric, count: int) -> AuxiliaryLosses:
        """Make batches from a tar or folder of photographs, without those that are held out."""
        return cls(split_photos(read_photos(photos))[0], teacher, count, seed=1)

    def all(
        self, metric: PlainMetric, step: int, descending: DescendingImages, generator: Generator
    ) -> dict[str, Tensor]:
        """Return losses by the names of their weights in `Recipe`.

        That for descending images, which takes long, is computed in every second step only, and then counts twice.

        Args:
            metric: The metric to train.
            step: Number of the step, which selects the batches.
            descending: Images from `start_descents`; some of them descend.
            generator: Source of all randomness.
        """
        images, target = self.teacher_batches[step % len(self.teacher_batches)]
        d = metric.three_way(images.float() / 255)
        found = {
            "teacher_loss": log_error(d.sum(1), target),
            "order_loss": order_error(d),
            "mdsi_loss": self.mdsi_loss(metric, step),
            "shift_loss": self.shift_loss(metric, generator),
        }
        if step % 2 == 0:
            found["descent_loss"] = 2 * self.descent_loss(metric, descending, generator)
        return found

    def mdsi_loss(self, metric: PlainMetric, step: int) -> Tensor:
        """Return 1 − Pearson's correlation of log-distance with MDSI, over the copies of a photograph."""
        images, target = self.mdsi_batches[step % len(self.mdsi_batches)]
        units = metric.units(images.float() / 255)
        ref = [unit[:MDSI_PHOTOS].repeat(MDSI_COPIES, 1, 1, 1) for unit in units]
        d = metric.distances([unit[MDSI_PHOTOS:] for unit in units], ref)
        logs = (d + FLOOR).log().view(MDSI_COPIES, MDSI_PHOTOS)
        return 1 - F.cosine_similarity(logs - logs.mean(0), target - target.mean(0), dim=0).mean()

    def shift_loss(self, metric: PlainMetric, generator: Generator) -> Tensor:
        """Return by how much, in log-distance, a shift of 1 or 2 px is farther than allowed.

        The shift is compared with a blur of σ = 0.5 px, without a gradient for the blur, since otherwise the tower
        would learn to see the blur more.
        """
        wide = crop(self.photos, 8, SIDE + 8, generator)
        down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
        if down == right == 0:
            right = 1
        blurred = distort(wide, "gaussian_blur", torch.full((len(wide),), BLUR_LEVEL), generator)
        ref, blurred = wide[:, :, 4:-4, 4:-4], blurred[:, :, 4:-4, 4:-4]
        shifted = wide[:, :, 4 + down : 4 + down + SIDE, 4 + right : 4 + right + SIDE]
        shift, blur, _ = (metric.three_way(torch.cat([ref, shifted, blurred])).sum(1) + FLOOR).log().chunk(3)
        allowed = blur.detach() + math.log(SHIFT_IN_BLURS[max(abs(down), abs(right))])
        return (shift - allowed).clamp(min=0).mean()

    def start_descents(self, count: int, generator: Generator) -> DescendingImages:
        """Return photographs, and copies of them with noise of any strength, from which to descend."""
        ref = crop(self.photos, count, SIDE, generator)
        strength = torch.rand(count, 1, 1, 1, generator=generator)
        return DescendingImages(ref, ref.lerp(torch.rand(ref.shape, generator=generator), strength))

    def descent_loss(self, metric: PlainMetric, descending: DescendingImages, generator: Generator) -> Tensor:
        """Let some images descend, in place; return the loss for distances smaller than those of the teacher."""
        chosen = torch.randperm(len(descending.ref), generator=generator)[:6]
        fresh = torch.rand(len(chosen), generator=generator) < 0.1
        new = self.start_descents(len(chosen), generator)
        descending.ref[chosen[fresh]] = new.ref[fresh]
        descending.images[chosen[fresh]] = new.images[fresh]
        ref, x = descending.ref[chosen], descending.images[chosen]
        with torch.no_grad():
            target = metric.units(ref)
        for _ in range(3):
            x.requires_grad_()
            (slope,) = torch.autograd.grad(metric.distances(metric.units(x), target).sum(), x)
            x = (x.detach() - 0.04 * slope.sign()).clamp(0, 1)
        descending.images[chosen] = x
        with torch.no_grad():
            teacher = self.teacher.distances(self.teacher.units(x), self.teacher.units(ref))
        found = metric.distances(metric.units(x), metric.units(ref))
        return ((teacher + 1e-2).log() - (found + 1e-2).log()).clamp(min=0).square().mean()
