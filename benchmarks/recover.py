"""Recover photographs from noise by descending on a distance only, and judge them by metrics that were not optimised.

    python benchmarks/recover.py --photos PHOTOS.tar --alex ALEXNET.pth --judge SQUEEZENET.pth --out recovered.png

A distance is a good loss if its minimum is at the photograph, and descent finds the way there.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, from a clone

import click
import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from calibration.photographs import HOLD_OUT_EVERY, read_photos
from lpips_lite import LPIPS, psnr, ssim
from lpips_lite.terminal import progress


def descend(metric: LPIPS, target: Tensor, steps: int, lr: float, seed: int) -> Tensor:
    """Return images (N, 3, H, W) found by Adam from one start of uniform noise, kept in [0, 1]."""
    x = torch.rand(target.shape, generator=Generator().manual_seed(seed)).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    reference = metric.encode(target)
    for _ in progress(range(steps), metric.tower.spec.name):
        optimizer.zero_grad()
        metric.distance(metric.encode(x), reference).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        x.data.clamp_(0, 1)
    return x.detach()


@click.command(context_settings={"show_default": True})
@click.option("--photos", type=click.Path(exists=True, path_type=Path), required=True, help="Tar or folder of photos.")
@click.option("--alex", type=click.Path(exists=True, path_type=Path), required=True, help="AlexNet weights.")
@click.option("--judge", type=click.Path(exists=True, path_type=Path), required=True, help="SqueezeNet weights.")
@click.option("--lite", "file", type=click.Path(exists=True, path_type=Path), help="In place of the embedded weights.")
@click.option("--count", default=16, help="Photographs.")
@click.option("--steps", default=400)
@click.option("--lr", default=0.05)
@click.option("--out", type=click.Path(path_type=Path), help="PNG to write: photographs above, recovered images below.")
def main(
    photos: Path, alex: Path, judge: Path, file: Path | None, count: int, steps: int, lr: float, out: Path | None
) -> None:
    """Print one Markdown table, means over photographs."""
    target = read_photos(photos)[::HOLD_OUT_EVERY][:count].float() / 255
    losses = {
        "lite": LPIPS("lite", tower_weights=file, channel_weights=file or "calibrated", reduction="none"),
        "alex": LPIPS("alex", tower_weights=alex, reduction="none"),
    }
    squeeze = LPIPS("squeeze", tower_weights=judge, reduction="none")
    rows = [target]
    click.echo(
        f"{count} photographs, {steps} steps\n\n| descended on | PSNR ↑ | SSIM ↑ | LPIPS-squeeze ↓ |\n|---|---|---|---|"
    )
    for name, metric in losses.items():
        found = descend(metric, target, steps, lr, seed=0)
        with torch.no_grad():
            values = [psnr(found, target).mean(), ssim(found, target).mean(), squeeze(found, target).mean()]
        click.echo(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
        rows.append(found)
    if out is not None:
        from PIL import Image

        grid = torch.cat([torch.cat(list(pad(row[:6], (2, 2, 2, 2), value=1)), dim=2) for row in rows], dim=1)
        Image.fromarray((grid * 255).round().byte().permute(1, 2, 0).numpy()).save(out)


if __name__ == "__main__":
    main()
