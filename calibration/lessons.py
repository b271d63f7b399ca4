"""What a tower goes on learning while it learns from people, so that it does not forget the rest.

Four lessons on photographs: the teacher's distances under random distortions; that the stronger of two distortions is
farther; that a shift by a pixel or two is no farther than a barely visible blur, although it moves every feature; and
that pretenders, images which descend on the tower's own distance from a photograph as if it were a loss and so find
what it is blind to, are at least as far as the teacher sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click
import torch
from torch import Generator, Tensor

from calibration.distill import (
    HOLD_OUT_EVERY,
    crop,
    log_error,
    make_copies,
    order_error,
    read_photos,
    three_way_distances,
)
from calibration.distort import distort
from lpips_lite import FeatureTower
from lpips_lite.cli_output import progress
from lpips_lite.distance import channel_differences, pool_mean, unit_normalize, weigh
from lpips_lite.weights import load_channel_weights

FLOOR = 1e-4  # added to distances before their logarithm
BLUR_LEVEL = 0.1464  # of `gaussian_blur`: σ = 0.5 px
PRETENDERS = 64

Features = Callable[[Tensor], Sequence[Tensor]]


def distances(features: Sequence[Tensor], target: Sequence[Tensor], channels: Sequence[Tensor]) -> Tensor:
    """Return the distances (N,) of features from normalised ones."""
    layers = zip(features, target, channels, strict=True)
    return torch.stack([pool_mean(weigh(channel_differences(unit_normalize(f), t), w)) for f, t, w in layers]).sum(0)


class Lessons:
    """Batches of distorted photographs with the teacher's distances, made once, shown again and again.

    The pretenders live on from step to step: some of them descend a little further on the distance as it is now, and
    the tower learns the teacher's distances of where they have come to. A tenth of those starts anew from noise.
    """

    def __init__(self, photos: Tensor, teacher: FeatureTower, weights: Sequence[Tensor], count: int, seed: int) -> None:
        self.photos, self.teacher, self.weights = photos, teacher, weights
        self.batches: list[tuple[Tensor, Tensor]] = []
        generator = Generator().manual_seed(seed)
        for step in progress(range(count), "lessons"):
            images = make_copies(photos, 16, step, generator)
            with torch.no_grad():
                target = three_way_distances(teacher(images), weights).sum(1, keepdim=True)
            self.batches.append(((images * 255).round().byte(), target))

    def errors(
        self, features: Features, channels: Sequence[Tensor], step: int, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the losses of departing from the teacher, of wrong order, and of seeing small shifts.

        Args:
            features: From images (N, 3, H, W) in [0, 1] to L × (N, C_l, H_l, W_l).
            channels: Channel weights, L × (C_l,).
            step: Which batch to take.
            generator: Source of all randomness.
        """
        images, target = self.batches[step % len(self.batches)]
        found = three_way_distances(features(images.float() / 255), channels)
        order = order_error(found) if step % len(self.batches) % 2 else found.new_zeros(())
        return log_error(found.sum(1, keepdim=True), target), order, self.shift_error(features, channels, generator)

    def enrol(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return photographs and the pretenders to them, which are noise as yet: (PRETENDERS, 3, 64, 64) twice."""
        ref = crop(self.photos, PRETENDERS, 64, generator)
        strength = torch.rand(len(ref), 1, 1, 1, generator=generator)
        return ref, ref.lerp(torch.rand(ref.shape, generator=generator), strength)

    def pretender_error(
        self, features: Features, channels: Sequence[Tensor], enrolled: tuple[Tensor, Tensor], generator: Generator
    ) -> Tensor:
        """Let some pretenders descend, in place; return the loss of seeing less of them than the teacher does."""
        chosen = torch.randperm(PRETENDERS, generator=generator)[:8]
        fresh = chosen[torch.rand(len(chosen), generator=generator) < 0.1]
        for kept, new in zip(enrolled, self.enrol(generator), strict=True):
            kept[fresh] = new[fresh]
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

    def shift_error(self, features: Features, channels: Sequence[Tensor], generator: Generator) -> Tensor:
        """Return by how much, in log-distance, a shift of 1 or 2 px is farther than a blur of σ = 0.5 px."""
        wide = crop(self.photos, 8, 72, generator)
        down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
        if down == right == 0:
            right = 1
        blurred = distort(wide, "gaussian_blur", torch.full((len(wide),), BLUR_LEVEL), generator)
        ref, blurred = wide[:, :, 4:-4, 4:-4], blurred[:, :, 4:-4, 4:-4]
        shifted = wide[:, :, 4 + down : 68 + down, 4 + right : 68 + right]
        d = three_way_distances(features(torch.cat([ref, shifted, blurred])), channels).sum(1)
        shift, blur, _ = (d + FLOOR).log().chunk(3)
        return (shift - blur).clamp(min=0).mean()


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
