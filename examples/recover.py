"""Recover a photograph from noise by gradient descent on a distance to it, once held still and once moved.

    python -m examples.recover

Held still, squared error finds it best. Features of VGG find it, too; those of a small network with large strides
(lite, alex) do not alone, since they cannot tell some noise from the photograph: give them a little squared error.
Moved by up to three pixels at each step, as registration errors move targets in real data, the target shows what each
distance does with uncertainty: squared error takes the mean of all positions, which is a blur; features keep edges.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from torch import Generator, Tensor

from examples.pictures import GALLERY, descend, is_here, photo, print_table, save_grid, score, shrink
from lpips_lite import LPIPS, L2Loss, SSIMLoss
from lpips_lite.robust import Loss

SHAKE = 3  # pixels


def losses() -> dict[str, Loss]:
    """Return the distances to minimise, with the real VGG-16 if it is on this machine."""
    lite, l2 = LPIPS("lite"), L2Loss()
    vgg = LPIPS("vgg", tower_weights="random:0", channel_weights="uniform")
    found: dict[str, Loss] = {
        "L2": l2,
        "SSIM": SSIMLoss(),
        "LPIPS-lite": lite,
        "LPIPS-lite + L2": lambda x, y: lite(x, y) + 5 * l2(x, y),
        "LPIPS-vgg, random": vgg,
    }
    return found | ({"LPIPS-vgg": LPIPS("vgg")} if is_here("vgg") else {})


def recover(loss: Loss, target: Tensor, shake: int, steps: int, title: str) -> Tensor:
    """Return the image found from uniform noise, its target moved by up to `shake` pixels at each step."""
    generator = Generator().manual_seed(0)

    def error(x: Tensor) -> Tensor:
        down, right = torch.randint(-shake, shake + 1, (2,), generator=generator).tolist()
        return loss(x, target.roll((down, right), (2, 3)))

    return descend(torch.rand(target.shape, generator=generator), error, steps, 0.05, title)


@click.command(context_settings={"show_default": True})
@click.option("--steps", default=300)
@click.option("--out", type=click.Path(path_type=Path), default=GALLERY / "recover.png")
def main(steps: int, out: Path) -> None:
    """Minimise each distance; print scores; save a picture, the still target above and the moving one below."""
    target = shrink(photo("astronaut")[..., 20:276, 100:356], 2)
    columns = {"target": target.expand(2, -1, -1, -1)}
    rows: dict[str, dict[str, float]] = {}
    for name, loss in losses().items():
        found = {shake: recover(loss, target, shake, steps, name) for shake in (0, SHAKE)}
        columns[name] = torch.cat(list(found.values()))
        rows |= {f"{name}, {'moving' if shake else 'still'}": score(image, target) for shake, image in found.items()}
    print_table(rows)
    save_grid(columns, out, zoom=2)


if __name__ == "__main__":
    main()
