"""Enlarge photographs four times: squared error blurs, a perceptual and an adversarial loss ask for detail.

    python -m examples.super_resolution

Many sharp images shrink to the same small one. Their mean, which has the least squared error, is a blurred image; it
wins in PSNR and SSIM and loses with people. The perceptual distance takes the place of VGG's features as the content
term of SRGAN; a critic that looks at patches is its adversarial term. All three networks start from the same one, and
learn from the photographs outside the parts that are shown.

Ledig et al.: Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017.
Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016.
"""

from __future__ import annotations

import copy
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from examples.critic import Weights, teach
from examples.pictures import GALLERY, photo, print_table, save_grid, score, shrink
from examples.unet import conv
from lpips_lite import LPIPS, Jittered, L2Loss
from lpips_lite.terminal import progress

SCALE, SIDE, BATCH = 4, 80, 8
SHOWN = 128  # side of the parts of photographs that are shown, in pixels
PARTS = {"chelsea": (40, 108), "coffee": (180, 300), "grass": (200, 200)}  # their top and left
LOSSES = {
    "L2": Weights(),
    "L2 + LPIPS": Weights(perceptual=0.1),
    "L2 + LPIPS + adversarial": Weights(perceptual=0.1, adversarial=0.002),
}


class Upscaler(nn.Module):
    """Residual blocks at the small size, sub-pixel convolution (Shi et al. 2016), added to bicubic enlargement."""

    def __init__(self, channels: int = 48, blocks: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(channels, channels), nn.Conv2d(channels, channels, 3, padding=1)) for _ in range(blocks)
        )
        self.last = nn.Conv2d(channels, 3 * SCALE**2, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        features = self.first(x)
        for block in self.blocks:
            features = features + block(features)
        larger = F.interpolate(x, scale_factor=SCALE, mode="bicubic") + F.pixel_shuffle(self.last(features), SCALE)
        return larger.clamp(-0.2, 1.2)


def make_critic() -> nn.Module:
    """Return a network that rates how real each patch of an image looks: (N, 1, H/4, W/4)."""
    return nn.Sequential(conv(3, 32), conv(32, 48, stride=2), conv(48, 64, stride=2), conv(64, 64), nn.Conv2d(64, 1, 1))


def crops(generator: Generator) -> Tensor:
    """Return random squares that overlap none of the parts shown, turned at random, (BATCH, 3, SIDE, SIDE)."""

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    squares: list[Tensor] = []
    while len(squares) < BATCH:
        name = list(PARTS)[draw(len(PARTS))]
        image, part = photo(name)[0], PARTS[name]
        corner = draw(image.shape[1] - SIDE + 1), draw(image.shape[2] - SIDE + 1)
        if all(-SIDE < at - start < SHOWN for at, start in zip(corner, part, strict=True)):
            continue
        square = image[:, corner[0] : corner[0] + SIDE, corner[1] : corner[1] + SIDE]
        squares.append(torch.rot90(square, draw(4), (1, 2)))
    return torch.stack(squares)


def train(net: Upscaler, weights: Weights, steps: int, lr: float, title: str) -> Upscaler:
    """Train a network for some more steps, and return it."""
    generator = Generator().manual_seed(0)
    torch.manual_seed(0)
    critic = make_critic()
    l2, perceptual = L2Loss(), Jittered(LPIPS("lite"), samples=1, shift=7, generator=generator)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=lr, betas=(0.5, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for _ in progress(range(steps), title):
        truth = crops(generator)
        guess = net(shrink(truth, SCALE))
        loss = l2(guess, truth)
        if weights.perceptual:
            loss = loss + weights.perceptual * perceptual(guess, truth)
        if weights.adversarial:
            teach(critic, critic_optimizer, truth, guess)
            loss = loss - weights.adversarial * critic(guess).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net


@click.command(context_settings={"show_default": True})
@click.option("--steps", default=500)
@click.option("--out", type=click.Path(path_type=Path), default=GALLERY / "super_resolution.png")
def main(steps: int, out: Path) -> None:
    """Train under three losses; print scores on parts of photographs not trained on; save a picture."""
    torch.manual_seed(0)
    start = train(Upscaler(), Weights(), steps, 1e-3, "L2, first")
    truth = torch.cat([photo(name)[..., top : top + SHOWN, left : left + SHOWN] for name, (top, left) in PARTS.items()])
    small = shrink(truth, SCALE)
    columns = {"bicubic": F.interpolate(small, scale_factor=SCALE, mode="bicubic")}
    for name, weights in LOSSES.items():
        net = train(copy.deepcopy(start), weights, steps, 5e-4, name)
        with torch.no_grad():
            columns[name] = net(small)
    print_table({name: score(batch, truth) for name, batch in columns.items()})
    save_grid(columns | {"truth": truth}, out, zoom=2)


if __name__ == "__main__":
    main()
