"""Time the baselines beside their peers in one run: forward and backward, interleaved, with value and gradient.

    python benchmarks/speed.py

A ratio above 1 means that ours is the faster one. "Held" is what autograd keeps for the backward pass. The value and
the norm of the gradient show that both compute the same thing. All weights are random, the same on both sides.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, from a clone

import click
import piq  # type: ignore[import-untyped]
import pytorch_msssim  # type: ignore[import-untyped]
import torch
import torchmetrics.functional.image as torchmetrics
from torch import Tensor

from lpips_lite import FeatureTower, content_distance, fsim, gram_distance, ms_ssim, ssim
from lpips_lite.cli_output import progress

Function = Callable[[Tensor, Tensor], Tensor]


def content_peer(tower: FeatureTower) -> Function:
    """Return piq's content loss on the same tower's weights, its channels averaged."""
    loss = piq.ContentLoss(_torchvisions(tower), layers=["15"], weights=[1 / 256])
    return lambda x, y: loss(x, y)


def gram_peer(tower: FeatureTower) -> Function:
    """Return piq's style loss on the same tower's weights; it is not normalised."""
    loss = piq.StyleLoss(_torchvisions(tower), layers=["15"])
    return lambda x, y: loss(x, y) / (256 * (x.shape[2] // 4) * (x.shape[3] // 4)) ** 2


def _torchvisions(tower: FeatureTower) -> torch.nn.Module:
    import torchvision

    model: torch.nn.Module = torchvision.models.vgg16(weights=None).features
    own = {key.removeprefix("features."): value for key, value in tower.tensors.items() if key.startswith("features")}
    model.load_state_dict(own, strict=False)
    return model


def cases() -> dict[str, tuple[Function, Function]]:
    """Return ours and the peer's function for each comparison."""
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


def measure(function: Function, x: Tensor, y: Tensor) -> tuple[float, float, float, float]:
    """Return seconds, value, norm of the gradient, and MB held for the backward pass."""
    held: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = x.clone().requires_grad_()
    start = time.perf_counter()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = function(x, y).mean()
    value.backward()  # type: ignore[no-untyped-call]
    seconds = time.perf_counter() - start
    assert x.grad is not None
    return seconds, value.item(), x.grad.norm().item(), sum(held.values()) / 1e6


@click.command(context_settings={"show_default": True})
@click.option("--batch", default=8)
@click.option("--side", default=256)
@click.option("--repeats", default=7)
def main(batch: int, side: int, repeats: int) -> None:
    """Print one Markdown table."""
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(batch, 3, side, side, generator=generator)
    x = (y + 0.1 * torch.randn(y.shape, generator=generator)).clamp(0, 1)
    click.echo(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    click.echo(f"{batch}×3×{side}×{side}, float32, forward and backward, medians of {repeats} interleaved runs\n")
    click.echo("| case | ours ms | peer ms | ratio [min, max] | held MB | value | gradient |")
    click.echo("|---|---|---|---|---|---|---|")
    for name, pair in progress(list(cases().items()), "speed"):
        runs: list[tuple[Any, Any]] = [(measure(pair[0], x, y), measure(pair[1], x, y)) for _ in range(repeats + 1)][1:]
        ours, peer = (statistics.median(1000 * run[side_][0] for run in runs) for side_ in (0, 1))
        ratios = [run[1][0] / run[0][0] for run in runs]
        (_, value, norm, held), (_, peer_value, peer_norm, peer_held) = runs[-1]
        ratio = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        cells = (f"{ours:.0f}", f"{peer:.0f}", ratio, f"{held:.0f} / {peer_held:.0f}")
        shown = (f"{value:.6g} / {peer_value:.6g}", f"{norm:.4g} / {peer_norm:.4g}")
        click.echo(f"| {name} | {' | '.join(cells + shown)} |")


if __name__ == "__main__":
    main()
