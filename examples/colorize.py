"""Colour gray pictures: squared error paints undecided walls in a mean of colours, a perceptual loss asks for more.

    python -m examples.colorize

Two in three houses are red and one is blue, and nothing in the gray image says which. The mean of red and blue is a
gray mauve that no house has; it is nevertheless what minimises the squared error.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from skimage.color import rgb2lab
from torch import Generator, Tensor

from examples.houses import ROOF, WALL, make_houses
from examples.pictures import GALLERY, print_table, save_grid, score
from examples.unet import UNet
from lpips_lite import LPIPS, Jittered, L2Loss
from lpips_lite.robust import Loss
from lpips_lite.terminal import progress

BATCH = 8
LUMA = torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)


def to_gray(images: Tensor) -> Tensor:
    """Return the luma of images, (N, 1, H, W)."""
    return (images * LUMA).sum(dim=1, keepdim=True)


def colorize(net: UNet, gray: Tensor) -> Tensor:
    """Return images (N, 3, H, W) whose luma is that of the gray ones and whose chroma is the network's."""
    guess: Tensor = net(gray - 0.5)
    return guess + gray - to_gray(guess)


def train(images: Tensor, loss: Loss, steps: int, title: str) -> UNet:
    """Return a network that colours gray images."""
    torch.manual_seed(0)
    generator = Generator().manual_seed(0)
    net = UNet(1, 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in progress(range(steps), title):
        truth = images[torch.randint(len(images), (BATCH,), generator=generator)]
        error = loss(colorize(net, to_gray(truth)), truth)
        optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return net


def chroma(images: Tensor, maps: Tensor) -> float:
    """Return the mean chroma of walls and roofs in CIELAB; gray has 0."""
    lab = rgb2lab(images.clamp(0, 1).permute(0, 2, 3, 1).numpy())
    undecided = (maps[:, WALL] + maps[:, ROOF]).numpy() > 0
    return float(np.hypot(lab[..., 1], lab[..., 2])[undecided].mean())


@click.command(context_settings={"show_default": True})
@click.option("--steps", default=1500)
@click.option("--out", type=click.Path(path_type=Path), default=GALLERY / "colorize.png")
def main(steps: int, out: Path) -> None:
    """Train under two losses; print scores on houses not trained on; save a picture."""
    images, _ = make_houses(1500, seed=0)
    truth, maps = make_houses(64, seed=1)
    l2, perceptual = L2Loss(), Jittered(LPIPS("lite"), samples=1, shift=7)
    losses: dict[str, Loss] = {"L2": l2, "L2 + LPIPS": lambda x, y: l2(x, y) + perceptual(x, y)}
    columns = {"gray": to_gray(truth).expand_as(truth)}
    for name, loss in losses.items():
        net = train(images, loss, steps, name)
        with torch.no_grad():
            columns[name] = colorize(net, to_gray(truth))
    columns["truth"] = truth
    print_table({name: score(batch, truth) | {"chroma": chroma(batch, maps)} for name, batch in columns.items()})
    save_grid({name: batch[:5] for name, batch in columns.items()}, out, zoom=3)


if __name__ == "__main__":
    main()
