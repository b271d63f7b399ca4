"""Measure how well the embedded `lite` metric stands in for LPIPS-alex, and how fast it is.

    python -m benchmarks.lite --photos PHOTOS.tar --teacher ALEXNET.pth

Photographs are those held out by `calibration.distill`, with distortion seeds that it does not use.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from scipy.stats import pearsonr, spearmanr
from torch import Generator, Tensor

from calibration.distill import HOLD_OUT_EVERY, crop, read_photos
from calibration.distort import DISTORTIONS, distort
from lpips_lite import LPIPS
from lpips_lite.cli_output import progress
from tests.peers import upstream

SEED = 2**32  # distill evaluates with 2³¹ and trains with small seeds


@torch.no_grad()
def distances_by_kind(
    metrics: list[LPIPS], photos: Tensor, count: int, side: int, generator: Generator
) -> dict[str, list[Tensor]]:
    """Return each metric's distances of `count` crops from their distorted copies, for each kind of distortion."""
    found = {}
    for kind in progress(list(DISTORTIONS), f"{side}×{side}"):
        ref = crop(photos, count, side, generator)
        image = distort(ref, kind, torch.rand(count, generator=generator), generator)
        found[kind] = [metric(image, ref) for metric in metrics]
    return found


def interleaved(first: Callable[[], object], second: Callable[[], object], repeats: int = 15) -> float:
    """Return how many times as long the first takes: the median of ratios measured side by side."""
    ratios = []
    for _ in range(repeats + 2):
        times = []
        for function in (first, second):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios[2:])


@click.command()
@click.option("--photos", type=click.Path(exists=True, path_type=Path), required=True, help="Tar or folder of photos.")
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), required=True, help="AlexNet weights.")
@click.option("--count", default=100, show_default=True, help="Crops for each kind of distortion and size.")
def main(photos: Path, teacher: Path, count: int) -> None:
    """Print one Markdown table."""
    pool = read_photos(photos)[::HOLD_OUT_EVERY]
    lite = LPIPS("lite", reduction="none")
    alex = LPIPS("alex", tower_weights=teacher, reduction="none")
    uniform = LPIPS("alex", tower_weights=teacher, channel_weights="uniform", reduction="none")
    click.echo(f"{lite.signature} against {alex.signature}\n\n| measure | value |\n|---|---|")
    for side in (64, 112):
        found = distances_by_kind([lite, uniform, alex], pool, count, side, Generator().manual_seed(SEED + side))
        all_lite, all_uniform, all_alex = (torch.cat([row[i] for row in found.values()]) for i in range(3))
        n = len(all_alex)
        click.echo(f"| Spearman, {n} pairs at {side}×{side} | {spearmanr(all_lite, all_alex).statistic:.3f} |")
        click.echo(f"| Pearson, the same pairs | {pearsonr(all_lite, all_alex).statistic:.3f} |")
        click.echo(f"| Spearman of AlexNet with uniform weights | {spearmanr(all_uniform, all_alex).statistic:.3f} |")
        kinds = sorted((float(spearmanr(row[0], row[2]).statistic), kind) for kind, row in found.items())
        worst = ", ".join(f"{kind} {rho:.2f}" for rho, kind in kinds[:3])
        click.echo(f"| within one kind of distortion: median, worst three | {kinds[len(kinds) // 2][0]:.3f}, {worst} |")
    peer = upstream("alex", torch.load(teacher, weights_only=True))
    x, y = torch.rand(4, 3, 256, 256), torch.rand(4, 3, 256, 256)
    with torch.no_grad():
        ratio = interleaved(lambda: peer(x, y, normalize=True), lambda: lite(x, y))
    click.echo(
        f"| forward of 4 pairs at 256×256, `lpips` alex over `lite`, {torch.get_num_threads()} threads | {ratio:.1f}× |"
    )


if __name__ == "__main__":
    main()
