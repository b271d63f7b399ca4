"""Enlarge photographs four times with a small network: squared error gives blur, a perceptual loss gives detail.

    python -m examples.super_resolution

Many sharp images shrink to the same small one. Their mean, which has the least squared error, is a blurred image; it
wins in PSNR and SSIM and loses with people. Both networks start from the same one and train for as many steps more.

Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from examples.pictures import GALLERY, photo, print_table, save_grid, score, shrink
from lpips_lite import LPIPS, Jittered, L2Loss
from lpips_lite.robust import Loss
from lpips_lite.terminal import progress

SCALE, SIDE, BATCH = 4, 96, 12
LEARNT = ("astronaut", "rocket", "immunohistochemistry", "hubble_deep_field", "grass", "gravel", "brick", "coins")


class Upscaler(nn.Module):
    """Residual blocks at the small size, sub-pixel convolution (Shi et al. 2016), added to bicubic enlargement."""

    def __init__(self, channels: int = 40, blocks: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
            )
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(channels, 3 * SCALE**2, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        features = self.first(x)
        for block in self.blocks:
            features = features + block(features)
        return F.interpolate(x, scale_factor=SCALE, mode="bicubic") + F.pixel_shuffle(self.last(features), SCALE)


def crops(photos: Sequence[Tensor], generator: Generator) -> Tensor:
    """Return random squares, turned and with their colours swapped at random, (BATCH, 3, SIDE, SIDE)."""

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    squares = []
    for _ in range(BATCH):
        image = photos[draw(len(photos))][0]
        top, left = draw(image.shape[1] - SIDE + 1), draw(image.shape[2] - SIDE + 1)
        square = image[torch.randperm(3, generator=generator), top : top + SIDE, left : left + SIDE]
        squares.append(torch.rot90(square, draw(4), (1, 2)))
    return torch.stack(squares)


def train(net: Upscaler, photos: Sequence[Tensor], loss: Loss, steps: int, lr: float, title: str) -> Upscaler:
    """Return the network after some more steps."""
    generator = Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for _ in progress(range(steps), title):
        truth = crops(photos, generator)
        error = loss(net(shrink(truth, SCALE)), truth)
        optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return net


@click.command(context_settings={"show_default": True})
@click.option("--steps", default=1200)
@click.option("--out", type=click.Path(path_type=Path), default=GALLERY / "super_resolution.png")
def main(steps: int, out: Path) -> None:
    """Train under two losses; print scores on two photographs not trained on; save a picture."""
    photos = [shrink(photo(name), 2) for name in LEARNT]
    torch.manual_seed(0)
    l2, perceptual = L2Loss(), Jittered(LPIPS("lite"), samples=1, shift=7, generator=Generator().manual_seed(0))
    start = train(Upscaler(), photos, l2, steps, 2e-3, "L2, first")
    nets = {
        "L2": train(copy.deepcopy(start), photos, l2, steps, 5e-4, "L2"),
        "L2 + LPIPS": train(
            copy.deepcopy(start), photos, lambda x, y: l2(x, y) + 0.02 * perceptual(x, y), steps, 5e-4, "L2 + LPIPS"
        ),
    }
    cat, cup = shrink(photo("chelsea"), 2), shrink(photo("coffee"), 2)
    truth = torch.cat([cat[..., 15:135, 40:160], cup[..., 40:160, 80:200], cup[..., 40:160, 150:270]])
    small = shrink(truth, SCALE)
    with torch.no_grad():
        columns = {"bicubic": F.interpolate(small, scale_factor=SCALE, mode="bicubic")}
        columns |= {name: net(small) for name, net in nets.items()}
    print_table({name: score(batch, truth) for name, batch in columns.items()})
    save_grid(columns | {"truth": truth}, out, zoom=2)


if __name__ == "__main__":
    main()
