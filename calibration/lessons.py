"""What a tower goes on learning while it learns from people, so that it does not forget the rest.

Five lessons on photographs: the teacher's distances under random distortions; that the stronger of two distortions is
farther; how a formula that agrees well with people, MDSI, orders copies of a photograph that were not moved; that a
shift by a pixel or two is not much farther than a barely visible blur, although it moves every feature; and that
pretenders, images which descend on the tower's own distance from a photograph as if it were a loss and so find what it
is blind to, are at least as far as the teacher sees them.

People's judgments should be learnt on squares of the same side: zeros behind the border tell a tower how large an image
is, and it would keep the lessons for images of their size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from calibration.distill import (
    HOLD_OUT_EVERY,
    TRAINED_KINDS,
    choose,
    crop,
    log_error,
    make_copies,
    order_error,
    read_photos,
    three_way_distances,
)
from lpips_lite import FeatureTower
from lpips_lite.distance import channel_differences, pool_mean, unit_normalize, weigh
from lpips_lite.terminal import progress
from lpips_lite.votes.distort import distort
from lpips_lite.weights import load_channel_weights

FLOOR = 1e-4  # added to distances before their logarithm
SIDE = 96  # of squares in pixels
HARD_TO_ORDER = ("ghost", "hue", "pixelated", "webp", "posterize")  # drawn five times as often as the other kinds
ORDER_KINDS = TRAINED_KINDS + 4 * HARD_TO_ORDER
MOVED = ("shift", "rotate", "zoom", "ghost", "color_fringe", "blend")  # MDSI compares pixel by pixel
RANKED_KINDS = tuple(kind for kind in TRAINED_KINDS if kind not in MOVED)
RANKED, COPIES = 4, 8  # photographs a step, copies of each
BLUR_LEVEL = 0.1464  # of `gaussian_blur`: σ = 0.5 px
SHIFT_IN_BLURS = {1: 1.4, 2: 2.25}  # how far a shift by so many pixels may be
PRETENDERS = 64

Features = Callable[[Tensor], Sequence[Tensor]]


def distances(features: Sequence[Tensor], target: Sequence[Tensor], channels: Sequence[Tensor]) -> Tensor:
    """Return the distances (N,) of features from normalised ones."""
    layers = zip(features, target, channels, strict=True)
    return torch.stack([pool_mean(weigh(channel_differences(unit_normalize(f), t), w)) for f, t, w in layers]).sum(0)


def mdsi(images: Tensor, ref: Tensor) -> Tensor:
    """Return the mean deviation similarity index (N,), lower = closer, of squares cut from images of ordinary size.

    Ziaei Nafchi et al., IEEE Access 2016: they halve images of such sizes; piq goes by the size of what it is given.
    """
    import piq  # type: ignore[import-untyped]

    found: Tensor = piq.mdsi(F.avg_pool2d(images, 2), F.avg_pool2d(ref, 2), reduction="none")
    return found


class Lessons:
    """Batches of distorted photographs with the teacher's distances or MDSI, made once, shown again and again.

    The pretenders live on from step to step: some of them descend a little further on the distance as it is now, and
    the tower learns the teacher's distances of where they have come to. A tenth of those starts anew from noise.
    """

    def __init__(self, photos: Tensor, teacher: FeatureTower, weights: Sequence[Tensor], count: int, seed: int) -> None:
        self.photos, self.teacher, self.weights = photos, teacher, weights
        self.taught: list[tuple[Tensor, Tensor]] = []
        self.ranked: list[tuple[Tensor, Tensor]] = []
        generator = Generator().manual_seed(seed)
        for step in progress(range(count), "lessons"):
            images = make_copies(photos, 16, step, generator, [SIDE], ORDER_KINDS)
            with torch.no_grad():
                target = three_way_distances(teacher(images), weights).sum(1, keepdim=True)
            self.taught.append(((images * 255).round().byte(), target))
            ref = crop(photos, RANKED, SIDE, generator)
            levels = torch.rand(COPIES, RANKED, generator=generator)
            images = torch.cat([distort(ref, choose(RANKED_KINDS, generator), level, generator) for level in levels])
            target = mdsi(images, ref.repeat(COPIES, 1, 1, 1)).view(COPIES, RANKED)
            self.ranked.append(((torch.cat([ref, images]) * 255).round().byte(), target))

    def errors(
        self,
        features: Features,
        channels: Sequence[Tensor],
        step: int,
        enrolled: tuple[Tensor, Tensor],
        generator: Generator,
    ) -> dict[str, Tensor]:
        """Return the loss of every lesson by its name.

        Args:
            features: From images (N, 3, H, W) in [0, 1] to L × (N, C_l, H_l, W_l).
            channels: Channel weights, L × (C_l,).
            step: Which batches to take.
            enrolled: Photographs and the pretenders to them, from `enrol`; some of these descend, in place.
            generator: Source of all randomness.
        """
        images, target = self.taught[step % len(self.taught)]
        found = three_way_distances(features(images.float() / 255), channels)
        two_levels = step % len(self.taught) % 2 == 1
        return {
            "teacher": log_error(found.sum(1, keepdim=True), target),
            "order": order_error(found) if two_levels else found.new_zeros(()),
            "rank": self.rank_error(features, channels, step),
            "shift": self.shift_error(features, channels, generator),
            "pretender": self.pretender_error(features, channels, enrolled, generator),
        }

    def rank_error(self, features: Features, channels: Sequence[Tensor], step: int) -> Tensor:
        """Return 1 − Pearson's correlation of log-distance with MDSI, over the copies of a photograph."""
        images, target = self.ranked[step % len(self.ranked)]
        found = features(images.float() / 255)
        ref = [unit_normalize(f[:RANKED]).repeat(COPIES, 1, 1, 1) for f in found]
        logs = (distances([f[RANKED:] for f in found], ref, channels) + FLOOR).log().view(COPIES, RANKED)
        return 1 - F.cosine_similarity(logs - logs.mean(0), target - target.mean(0), dim=0).mean()

    def shift_error(self, features: Features, channels: Sequence[Tensor], generator: Generator) -> Tensor:
        """Return by how much, in log-distance, a shift of 1 or 2 px is farther than it may be.

        The blur of σ = 0.5 px that it is compared with is a yardstick without a gradient, or else the tower would learn
        to see the blur instead.
        """
        wide = crop(self.photos, 8, SIDE + 8, generator)
        down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
        if down == right == 0:
            right = 1
        blurred = distort(wide, "gaussian_blur", torch.full((len(wide),), BLUR_LEVEL), generator)
        ref, blurred = wide[:, :, 4:-4, 4:-4], blurred[:, :, 4:-4, 4:-4]
        shifted = wide[:, :, 4 + down : 4 + down + SIDE, 4 + right : 4 + right + SIDE]
        d = three_way_distances(features(torch.cat([ref, shifted, blurred])), channels).sum(1)
        shift, blur, _ = (d + FLOOR).log().chunk(3)
        allowed = blur.detach() + math.log(SHIFT_IN_BLURS[max(abs(down), abs(right))])
        return (shift - allowed).clamp(min=0).mean()

    def enrol(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return photographs and the pretenders to them, which are noise as yet: (count, 3, SIDE, SIDE) twice."""
        ref = crop(self.photos, count, SIDE, generator)
        strength = torch.rand(count, 1, 1, 1, generator=generator)
        return ref, ref.lerp(torch.rand(ref.shape, generator=generator), strength)

    def pretender_error(
        self, features: Features, channels: Sequence[Tensor], enrolled: tuple[Tensor, Tensor], generator: Generator
    ) -> Tensor:
        """Let some pretenders descend, in place; return the loss of seeing less of them than the teacher does."""
        chosen = torch.randperm(len(enrolled[0]), generator=generator)[:6]
        fresh = torch.rand(len(chosen), generator=generator) < 0.1
        for kept, new in zip(enrolled, self.enrol(len(chosen), generator), strict=True):
            kept[chosen[fresh]] = new[fresh]
        ref, x = (kept[chosen] for kept in enrolled)
        with torch.no_grad():
            target = [unit_normalize(f) for f in features(ref)]
        for _ in range(3):
            x.requires_grad_()
            (slope,) = torch.autograd.grad(distances(features(x), target, channels).sum(), x)
            x = (x.detach() - 0.04 * slope.sign()).clamp(0, 1)
        enrolled[1][chosen] = x
        with torch.no_grad():
            teacher = distances(self.teacher(x), [unit_normalize(f) for f in self.teacher(ref)], self.weights)
        found = distances(features(x), [unit_normalize(f) for f in features(ref)], channels)
        return ((teacher + 1e-2).log() - (found + 1e-2).log()).clamp(min=0).square().mean()


def read_lessons(photos: Path | None, teacher: Path | None, channels: str, count: int) -> Lessons | None:
    """Make lessons of LPIPS-alex from a tar or folder of photographs, those that `distill` holds out left out."""
    if photos is None and teacher is None:
        return None
    if photos is None or teacher is None:
        raise click.UsageError("--photos and --teacher-weights: expected both or neither, got one")
    pool = read_photos(photos)
    tower = FeatureTower("alex", weights=teacher)
    weights = load_channel_weights("alex", channels, [tap.channels for tap in tower.taps]).tensors
    return Lessons(pool[torch.arange(len(pool)) % HOLD_OUT_EVERY != 0], tower, weights, count, seed=1)


def teacher_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that `read_lessons` takes."""
    file = click.Path(exists=True, path_type=Path)
    command = click.option("--teacher-channels", default="v0.1", help="Its channel weights.")(command)
    command = click.option("--teacher-weights", type=file, help="AlexNet, whose LPIPS distances are kept up.")(command)
    return click.option("--photos", type=file, help="Tar or folder of photographs to do so on.")(command)
