"""Colour gray pictures: squared error paints a mean of colours; a perceptual loss and classification choose one.

    python -m examples.colorize

Three in five balloons are red, the others blue or green, and nothing in the gray picture says which. The mean of the
three is a brown that no balloon has; it is nevertheless what minimises the squared error. A perceptual loss asks for a
colour that occurs. Classification over cells of the ab plane does not take means in the first place; its weights
for rare colours make up for the large share of the sky.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Generator, Tensor

from examples.balloons import make_balloons
from examples.color_classes import ColorClasses, to_lab
from examples.pictures import GALLERY, print_table, save_grid, score
from examples.unet import UNet
from lpips_lite import LPIPS, Jittered, L2Loss
from lpips_lite.robust import Loss
from lpips_lite.terminal import progress

BATCH = 4
LUMA = torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)


def to_gray(images: Tensor) -> Tensor:
    """Return the luma of images, (N, 1, H, W)."""
    return (images * LUMA).sum(dim=1, keepdim=True)


def with_luma(images: Tensor, gray: Tensor) -> Tensor:
    """Return images (N, 3, H, W) whose luma is that of the gray ones and whose chroma is their own."""
    return images + gray - to_gray(images)


def colorize(net: UNet, gray: Tensor) -> Tensor:
    """Return gray images (N, 1, H, W) in the colours that a network with three outputs gives them, (N, 3, H, W)."""
    return with_luma(torch.sigmoid(net(gray - 0.5)), gray)


def train(outputs: int, error: Callable[[UNet, Tensor], Tensor], count: int, steps: int, title: str) -> UNet:
    """Return a network trained to make an error small; `error` gets batches of indices below `count`."""
    torch.manual_seed(0)
    generator = Generator().manual_seed(0)
    net = UNet(1, outputs)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in progress(range(steps), title):
        loss = error(net, torch.randint(count, (BATCH,), generator=generator))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return net


def chroma(images: Tensor, where: Tensor) -> float:
    """Return the mean chroma in CIELAB of some pixels, (N, H, W); gray has 0."""
    return float(torch.linalg.vector_norm(to_lab(images.clamp(0, 1))[where][:, 1:], dim=1).mean())


@click.command(context_settings={"show_default": True})
@click.option("--steps", default=500)
@click.option("--out", type=click.Path(path_type=Path), default=GALLERY / "colorize.png")
def main(steps: int, out: Path) -> None:
    """Train under two losses and as classification; print scores on scenes not trained on; save a picture."""
    images, _ = make_balloons(min(400, BATCH * steps), seed=0)
    truth, undecided = make_balloons(32, seed=1)
    gray, lab = to_gray(truth), to_lab(images)
    l2, perceptual = L2Loss(), Jittered(LPIPS("lite"), samples=1, shift=7, generator=Generator().manual_seed(0))
    losses: dict[str, Loss] = {"L2": l2, "L2 + LPIPS": lambda x, y: l2(x, y) + perceptual(x, y)}
    columns = {"gray": gray.expand_as(truth)}
    for name, loss in losses.items():

        def error(net: UNet, chosen: Tensor, loss: Loss = loss) -> Tensor:
            return loss(colorize(net, to_gray(images[chosen])), images[chosen])

        net = train(3, error, len(images), steps, name)
        with torch.no_grad():
            columns[name] = colorize(net, gray)
    classes = ColorClasses(lab)

    def cross_entropy(net: UNet, chosen: Tensor) -> Tensor:
        return classes.loss(net(to_gray(images[chosen]) - 0.5), lab[chosen])

    net = train(len(classes), cross_entropy, len(images), steps, "classes")
    with torch.no_grad():
        columns["classes"] = with_luma(classes.decode(net(gray - 0.5), to_lab(columns["gray"])), gray)
    columns["truth"] = truth
    print_table({name: score(batch, truth) | {"chroma": chroma(batch, undecided)} for name, batch in columns.items()})
    save_grid({name: batch[:4] for name, batch in columns.items()}, out, zoom=2)


if __name__ == "__main__":
    main()
