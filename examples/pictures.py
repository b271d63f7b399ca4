"""What the examples share: photographs to learn from, gradient descent, scores to print, a grid of pictures to save."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import click
import matplotlib as mpl
import numpy as np
import pandas as pd
import skimage
import torch
import torch.nn.functional as F
from torch import Tensor

from lpips_lite import LPIPS, manifest, psnr, ssim
from lpips_lite.terminal import progress

GALLERY = Path(__file__).parent / "gallery"
TITLE = 26  # pixels above a grid


@cache
def photo(name: str) -> Tensor:
    """Return one of the photographs that scikit-image carries, (1, 3, H, W) in [0, 1]."""
    pixels = torch.from_numpy(np.asarray(getattr(skimage.data, name)()))
    pixels = pixels if pixels.ndim == 3 else pixels[..., None].expand(-1, -1, 3)
    return pixels.permute(2, 0, 1)[None].float() / 255


def shrink(images: Tensor, factor: int) -> Tensor:
    """Return images (N, 3, H, W) at a fraction of their size."""
    return F.interpolate(images, scale_factor=1 / factor, mode="bicubic", antialias=True).clamp(0, 1)


def is_here(net: str) -> bool:
    """Return whether a published network and its channel weights are on this machine, so that nothing is downloaded."""
    tower = manifest.tower_cache_file(net).exists() or manifest.find_checkpoint(net) is not None
    return tower and manifest.find_channel_file(manifest.CHANNEL_FILES[net, "v0.1"]) is not None


@torch.no_grad()
def score(images: Tensor, truth: Tensor) -> dict[str, float]:
    """Return the means of three metrics over a batch."""
    images = images.clamp(0, 1)
    return {
        "PSNR ↑": psnr(images, truth).mean().item(),
        "SSIM ↑": ssim(images, truth).mean().item(),
        "LPIPS-lite ↓": LPIPS("lite")(images, truth).item(),
    }


def descend(start: Tensor, loss: Callable[[Tensor], Tensor], steps: int, lr: float, title: str) -> Tensor:
    """Return the image that Adam finds from `start`, with a rate that falls to 0 and values kept in [0, 1]."""
    x = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in progress(range(steps), title):
        optimizer.zero_grad()
        loss(x).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        x.data.clamp_(0, 1)
    return x.detach()


def print_table(rows: Mapping[str, Mapping[str, float]], digits: int = 3) -> None:
    """Print one line per method, with numbers rounded to `digits` decimals."""
    click.echo(pd.DataFrame(rows).T.to_string(float_format=f"{{:.{digits}f}}".format))


def save_grid(columns: Mapping[str, Tensor], path: Path, zoom: int) -> None:
    """Save batches of images (N, 3, H, W) as columns under their titles, each pixel `zoom` pixels wide, as PNG."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    count, _, height, width = next(iter(columns.values())).shape
    inches = zoom * width * len(columns) / 100, (zoom * height * count + TITLE) / 100
    figure, axes = plt.subplots(count, len(columns), figsize=inches, dpi=100, squeeze=False)
    for axis, (title, images) in zip(axes.T, columns.items(), strict=True):
        axis[0].set_title(title, fontsize=10, pad=5)
        for place, image in zip(axis, images, strict=True):
            place.imshow(image.detach().clamp(0, 1).permute(1, 2, 0).numpy(), interpolation="nearest")
            place.axis("off")
    figure.subplots_adjust(0, 0, 1, 1 - TITLE / (100 * inches[1]), 0.02, 0.02)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
    click.echo(f"wrote {path}")
