"""Images that are unlike each other, and how far apart teachers see them: photographs in, batches out.

A batch holds a few photographs, each with another crop of it, a moved, a relit and a recoloured copy, and one under a strong
distortion; now and then a drawn texture stands for the photograph. All pairs in a batch are learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from calibration.distorted_twice import TRAINED_KINDS, choose
from lpips_lite import LPIPS
from lpips_lite.distance import unit_normalize
from lpips_lite.terminal import progress
from lpips_lite.votes.distort import distort

PHOTOS = 4  # in a batch
MOVED = ("shift", "rotate", "zoom", "warp")
RELIT = ("brightness", "contrast", "shading", "saturation", "white_balance", "hue")
RECOLOURED = ("saturation", "white_balance", "hue")
COPIES = MOVED, RELIT, RECOLOURED, TRAINED_KINDS
IMAGES = PHOTOS * (2 + len(COPIES))
SIDES = (64, 96, 96)
TEXTURES = 0.12  # share of photographs that a texture stands for
LEAST_LEVEL = 0.35  # of a distortion
TEACHER_SCALE = 1 / 6  # brings distances under uniform weights to the size of those under the published ones
FLOOR = 1e-3  # added to distances before their logarithm
ORDER = 2.0  # weight of the order by image

Features = Sequence[Tensor]


def all_pairs(features: Features, weights: Features) -> Tensor:
    """Return the distance of every image of a batch from every other, (N, N).

    Squares are expanded, which cancels for images close to each other: these are not.
    """
    found = torch.zeros(())
    for feature, weight in zip(features, weights, strict=True):
        unit = unit_normalize(feature)
        products = (unit * weight.view(-1, 1, 1)).flatten(1) @ unit.flatten(1).T
        squares = products.diagonal()
        apart = squares[:, None] + squares - 2 * products
        found = found + apart.clamp(min=0) / (feature.shape[2] * feature.shape[3])
    return found


def above_diagonal(distances: Tensor) -> Tensor:
    """Return the logarithm of each pair's distance, once: (N, N) -> (N (N − 1) / 2,)."""
    rows, columns = torch.triu_indices(*distances.shape, offset=1)
    return (distances[rows, columns] + FLOOR).log()


def draw_unlike(photos: Tensor, side: int, generator: Generator) -> Tensor:
    """Draw a batch, (IMAGES, 3, side, side) in [0, 1]."""
    images = []
    for _ in range(PHOTOS):
        photo = photos[int(torch.randint(len(photos), (), generator=generator))]
        if torch.rand((), generator=generator) < TEXTURES:
            first = draw_texture(side, generator)
            other = first.roll((side // 3, side // 2), (2, 3))
        else:
            first, other = (crop_to_size(photo, side, generator) for _ in range(2))
        images += [first, other]
        for kinds in COPIES:
            copy = first
            for _ in range(1 + int(torch.randint(2, (), generator=generator))):
                level = LEAST_LEVEL + (1 - LEAST_LEVEL) * torch.rand(1, generator=generator)
                copy = distort(copy, choose(kinds, generator), level, generator)
            images.append(copy)
    return torch.cat(images)


def crop_to_size(photo: Tensor, side: int, generator: Generator) -> Tensor:
    """Cut a random square of random size from a photograph (3, H, W) of bytes, and resize it: (1, 3, side, side)."""
    height, width = photo.shape[1:]
    own = int(side * (0.5 + 0.65 * torch.rand((), generator=generator)))
    own = min(max(40, own), height, width)
    top = int(torch.randint(height - own + 1, (), generator=generator))
    left = int(torch.randint(width - own + 1, (), generator=generator))
    square = photo[None, :, top : top + own, left : left + own].float() / 255
    return F.interpolate(square, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)


def draw_texture(side: int, generator: Generator) -> Tensor:
    """Draw noise of a random spectrum, direction and colour, (1, 3, side, side) in [0, 1]."""
    fall = 0.5 + 2 * torch.rand((), generator=generator)
    stretch = 0.3 + 1.4 * torch.rand((), generator=generator)
    down, across = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side) * stretch
    spectrum = torch.fft.rfft2(torch.randn(3, side, side, generator=generator))
    frequency = (down.square() + across.square()).sqrt().clamp(min=1 / side)
    noise = torch.fft.irfft2(spectrum * frequency**-fall, s=(side, side))
    noise = noise / noise.std((1, 2), keepdim=True)
    colour = torch.eye(3) * torch.rand((), generator=generator) + torch.rand(3, 1, generator=generator) / 2
    noise = torch.einsum("ij,jhw->ihw", colour, noise)
    if torch.rand((), generator=generator) < 0.3:
        noise = torch.tanh(3 * noise)
    return (0.2 + 0.6 * torch.rand(3, 1, 1, generator=generator) + 0.22 * noise).clamp(0, 1)[None]


@dataclass(frozen=True)
class UnlikeBatch:
    """Images, and the logarithm of their distances that is to be learnt.

    Attributes:
        images: (IMAGES, 3, side, side), uint8.
        target: One for each pair, in the order of `above_diagonal`.
    """

    images: Tensor
    target: Tensor


def make_batches(photos: Tensor, teachers: Sequence[LPIPS], count: int, seed: int) -> list[UnlikeBatch]:
    """Draw batches, and let teachers judge them.

    What is learnt is the mean of the teachers' logarithms, all but the first's brought to the first's mean and spread.
    Teachers run in bfloat16, where the machine is several times faster in it.
    """
    generator, images, judged = Generator().manual_seed(seed), [], []
    for number in progress(range(count), "batches of unlike images"):
        batch = draw_unlike(photos, SIDES[number % len(SIDES)], generator)
        images.append((batch * 255).round().byte())
        judged.append(torch.stack([judge(teacher, batch) for teacher in teachers]))
    spread, mean = torch.std_mean(torch.stack(judged), dim=(0, 2))
    return [
        UnlikeBatch(x, ((logs - mean[:, None]) / spread[:, None] * spread[0] + mean[0]).mean(dim=0))
        for x, logs in zip(images, judged, strict=True)
    ]


@torch.no_grad()
def judge(teacher: LPIPS, images: Tensor) -> Tensor:
    """Return the logarithm of a teacher's distance of each pair, as it is learnt."""
    with torch.autocast("cpu", torch.bfloat16):
        features = teacher.tower(images)
    found = all_pairs([feature.float() for feature in features], list(teacher.tensors.values()))
    return above_diagonal(TEACHER_SCALE * found)


def distance_error(found: Tensor, target: Tensor) -> Tensor:
    """Return the loss of the distances of all pairs (N, N) against logarithms: in value, and in order by image.

    The second part is 1 − the correlation of each image's distances from the others with those that are to be learnt.
    """
    logs = above_diagonal(found)
    square = (_rows(logs, len(found)), _rows(target, len(found)))
    ours, theirs = (rows - rows.mean(dim=1, keepdim=True) for rows in square)
    return (logs - target).square().mean() + ORDER * (1 - F.cosine_similarity(ours, theirs, dim=1).mean())


def _rows(pairs: Tensor, count: int) -> Tensor:
    """Lay out what there is for each pair by image: (N (N − 1) / 2,) -> (N, N − 1)."""
    rows, columns = torch.triu_indices(count, count, offset=1)
    table = pairs.new_zeros(count, count).index_put((rows, columns), pairs)
    apart = ~torch.eye(count, dtype=torch.bool)
    return (table + table.T)[apart].view(count, count - 1)
