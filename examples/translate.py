"""From a map of a street to its picture, as in pix2pix: what is missing with L1 alone, and what a critic adds.

    python -m examples.translate

A map says where the lawn is but not where its blades are. L1 leads to the median of all lawns, which is a smooth
one; a perceptual loss asks for grain, and an adversarial one for grain that cannot be told from real grain.

Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from torch import Generator, Tensor, nn

from examples.critic import Weights, teach
from examples.houses import CLASSES, make_houses
from examples.pictures import GALLERY, print_table, save_grid, score
from examples.unet import UNet, conv
from lpips_lite import LPIPS, Jittered, L1Loss
from lpips_lite.terminal import progress

BATCH = 8
NOISE = 4  # channels of noise beside the map, to make grain from


LOSSES = {
    "L1": Weights(),
    "L1 + LPIPS": Weights(perceptual=0.5),
    "L1 + LPIPS + adversarial": Weights(perceptual=0.5, adversarial=0.05),
}


def with_noise(maps: Tensor, generator: Generator) -> Tensor:
    """Return maps with channels of noise, (N, classes + NOISE, H, W)."""
    noise = torch.randn(len(maps), NOISE, *maps.shape[2:], generator=generator)
    return torch.cat([maps, noise], dim=1)


def make_critic() -> nn.Module:
    """Return a network that rates how real each patch of an image looks with its map: (N, 1, H/4, W/4)."""
    return nn.Sequential(
        conv(len(CLASSES) + 3, 32, stride=2), conv(32, 64, stride=2), conv(64, 64), nn.Conv2d(64, 1, 3, padding=1)
    )


def train(images: Tensor, maps: Tensor, weights: Weights, steps: int, title: str) -> UNet:
    """Train a network that turns maps with noise into images, and return it."""
    torch.manual_seed(0)
    generator = Generator().manual_seed(0)
    net, critic = UNet(len(CLASSES) + NOISE, 3), make_critic()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.99))
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.99))
    l1, perceptual = L1Loss(), Jittered(LPIPS("lite"), samples=1, shift=7, generator=generator)
    for _ in progress(range(steps), title):
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        place, truth = maps[chosen], images[chosen]
        guess = torch.sigmoid(net(with_noise(place, generator)))
        loss = l1(guess, truth)
        if weights.perceptual:
            loss = loss + weights.perceptual * perceptual(guess, truth)
        if weights.adversarial:
            real, fake = torch.cat([place, truth], 1), torch.cat([place, guess], 1)
            teach(critic, critic_optimizer, real, fake)
            loss = loss - weights.adversarial * critic(fake).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def grain(images: Tensor) -> float:
    """Return the mean difference between neighbouring pixels, in 1/255."""
    return images.diff(dim=-1).abs().mean().item() * 255


@click.command(context_settings={"show_default": True})
@click.option("--steps", default=1500)
@click.option("--out", type=click.Path(path_type=Path), default=GALLERY / "translate.png")
def main(steps: int, out: Path) -> None:
    """Train under three losses; print scores on maps not trained on; save a picture."""
    images, maps = make_houses(min(1500, BATCH * steps), seed=0)
    truth, test_maps = make_houses(64, seed=1)
    inputs = with_noise(test_maps, Generator().manual_seed(1))
    colors = torch.rand(len(CLASSES), 3, generator=Generator().manual_seed(3))
    columns = {"map": torch.einsum("nchw,cd->ndhw", test_maps, colors)}
    rows = {}
    for name, weights in LOSSES.items():
        net = train(images, maps, weights, steps, name)
        with torch.no_grad():
            columns[name] = torch.sigmoid(net(inputs))
        rows[name] = score(columns[name], truth) | {"grain": grain(columns[name])}
    columns["truth"] = truth
    rows["truth"] = score(truth, truth) | {"grain": grain(truth)}
    print_table(rows)
    save_grid({name: batch[:4] for name, batch in columns.items()}, out, zoom=3)


if __name__ == "__main__":
    main()
