"""Time the baselines and their peers in one run, forward and backward, with the values and gradient norms of both.

    python benchmarks/speed_baselines.py

A ratio above 1 means that ours is faster. All weights are random and the same on both sides.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, from a clone

import click
import piq  # type: ignore[import-untyped]
import pytorch_msssim  # type: ignore[import-untyped]
import torch
import torchmetrics.functional.image as torchmetrics
from torch import Tensor

from benchmarks.sidebyside import environment, interleave, milliseconds, outcome, ratio, report, shown
from lpips_lite import FeatureTower, content_distance, fsim, gram_distance, ms_ssim, ssim

Distance = Callable[[Tensor, Tensor], Tensor]


def content_peer(tower: FeatureTower) -> Distance:
    """Return piq's content loss with the weights of the same tower, averaged over channels."""
    loss = piq.ContentLoss(torchvisions(tower), layers=["15"], weights=[1 / 256])
    return lambda x, y: loss(x, y)


def gram_peer(tower: FeatureTower) -> Distance:
    """Return piq's style loss with the weights of the same tower; it is not normalised."""
    loss = piq.StyleLoss(torchvisions(tower), layers=["15"])
    return lambda x, y: loss(x, y) / (256 * (x.shape[2] // 4) * (x.shape[3] // 4)) ** 2


def torchvisions(tower: FeatureTower) -> torch.nn.Module:
    """Return torchvision's VGG-16 with a tower's weights."""
    import torchvision

    model: torch.nn.Module = torchvision.models.vgg16(weights=None).features
    own = {key.removeprefix("features."): value for key, value in tower.tensors.items() if key.startswith("features")}
    model.load_state_dict(own, strict=False)
    return model


def cases() -> dict[str, tuple[Distance, Distance]]:
    """Return our function and that of the peer for each comparison."""
    tower = FeatureTower("vgg", taps=["relu3_3"], weights="random:0")
    return {
        "ssim, pytorch-msssim": (ssim, lambda x, y: pytorch_msssim.ssim(x, y, data_range=1)),
        "ssim, piq": (ssim, lambda x, y: piq.ssim(x, y, downsample=False)),
        "ssim, torchmetrics": (
            lambda x, y: ssim(x, y, variant="torchmetrics"),
            lambda x, y: torchmetrics.structural_similarity_index_measure(x, y, data_range=1.0),
        ),
        "ms_ssim, pytorch-msssim": (ms_ssim, lambda x, y: pytorch_msssim.ms_ssim(x, y, data_range=1)),
        "fsim, piq": (fsim, lambda x, y: piq.fsim(x, y, chromatic=False)),
        "fsimc, piq": (lambda x, y: fsim(x, y, chromatic=True), lambda x, y: piq.fsim(x, y, chromatic=True)),
        "content vgg relu3_3, piq": (lambda x, y: content_distance(x, y, tower), content_peer(tower)),
        "gram vgg relu3_3, piq": (lambda x, y: gram_distance(x, y, tower), gram_peer(tower)),
    }


@click.command(context_settings={"show_default": True})
@click.option("--batch", default=8)
@click.option("--side", default=256)
@click.option("--repeats", default=7)
@click.option("--format", "style", type=click.Choice(["markdown", "json"]), default="markdown")
def main(batch: int, side: int, repeats: int, style: str) -> None:
    """Print one table."""
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(batch, 3, side, side, generator=generator)
    x = (y + 0.1 * torch.randn(y.shape, generator=generator)).clamp(0, 1)
    rows = []
    for name, (ours, peer) in cases().items():
        contenders = {
            side: partial(outcome, distance, x, y, True) for side, distance in (("ours", ours), ("peer", peer))
        }
        seconds, results = interleave(contenders, repeats, title=name)
        row = {"case": name} | {f"{side} ms": milliseconds(times) for side, times in seconds.items()}
        columns = [shown(results[side]) for side in ("ours", "peer")]
        both = {key: f"{columns[0][key]} / {columns[1][key]}" for key in columns[0]}
        rows.append(row | {"ratio [min, max]": ratio(seconds["ours"], seconds["peer"])} | both)
    setting = environment() | {"pairs": f"{batch}×3×{side}×{side}", "rounds": str(repeats)}
    click.echo(report(rows, setting, style))


if __name__ == "__main__":
    main()
