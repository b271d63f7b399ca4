"""Time the distance, `lpips`, torchmetrics and piq with the same weights, in one run.

    python benchmarks/speed.py --net alex --net vgg
    python benchmarks/speed.py --device cuda --batch 16 --compile

Ratios are relative to `lpips` in float32: 2.00 means twice as fast. "tower alone" is our tower, forward and backward
from given gradients at its taps; the distance can only add to its time, and "over tower" tells how much. The value and
the norm of the gradient show that all compute the same. Weights are random and the same for all, unless
`--tower-weights` names a file.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, from a clone

import click
import torch
from torch import Tensor

from benchmarks.sidebyside import Result, environment, interleave, milliseconds, outcome, ratio, report, shown
from benchmarks.speed_baselines import torchvisions
from lpips_lite import LPIPS, FeatureTower
from tests.peers import copy_tower, upstream

Distance = Callable[[Tensor, Tensor], Tensor]


def torchmetrics_peer(net: str, tower: FeatureTower) -> Distance:
    """Return torchmetrics' network with our tower's weights."""
    from torchmetrics.functional.image.lpips import _LPIPS

    peer = _LPIPS(pretrained=True, net=net, pnet_rand=True).eval()  # type: ignore[arg-type]
    copy_tower(peer.net, _convolutions(tower))
    peer = peer.to(tower.device)
    return lambda x, y: peer(x, y, normalize=True)


def piq_peer(tower: FeatureTower, channels: list[Tensor]) -> Distance:
    """Return piq's network, which is always VGG-16, with our weights of the tower and the channels."""
    import piq  # type: ignore[import-untyped]

    weights = [weight.view(1, -1, 1, 1) for weight in channels]
    layers = [str(tap.index) for tap in tower.taps]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = piq.ContentLoss(
            torchvisions(tower), layers, weights=weights, replace_pooling=False, distance="mse", reduction="mean",
            mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], normalize_features=True,
        ).to(tower.device)  # fmt: skip
    return lambda x, y: loss(x, y)


def _convolutions(tower: FeatureTower) -> dict[str, Tensor]:
    return {key: value for key, value in tower.tensors.items() if key.startswith("features")}


def autocast(distance: Distance, device: str) -> Distance:
    """Run under bfloat16."""

    def run(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            return distance(x, y)

    return run


def tower_alone(tower: FeatureTower, x: Tensor, y: Tensor, backward: bool, bfloat16: bool) -> Callable[[], None]:
    """Return a function that runs the tower as the distance does, and backward from fixed gradients of its features."""
    gradients = [torch.rand_like(feature) for feature in tower(x)]

    def run() -> None:
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            if not backward:
                with torch.no_grad():
                    tower(torch.cat([x, y]))
                return
            image = x.detach().requires_grad_()
            features = tower(image)
            tower(y)
        torch.autograd.grad(features, image, [g.to(f.dtype) for g, f in zip(gradients, features, strict=True)])

    return run


def time_net(
    net: str, tower_weights: str | None, x: Tensor, y: Tensor, backward: bool, repeats: int, compiled: bool
) -> list[dict[str, Any]]:
    """Time one network forward, or forward and backward, and return one row per contender."""
    device = str(x.device)
    metric = LPIPS(net, tower_weights=tower_weights, reduction="none").to(device)
    lite = LPIPS("lite", reduction="none").to(device)
    peer = upstream(net, _convolutions(metric.tower)).to(device)
    theirs: Distance = partial(peer, normalize=True)
    encoded = metric.encode(y)
    distances: dict[str, Distance] = {
        "lpips": theirs,
        "lpips, bfloat16": autocast(theirs, device),
        "torchmetrics": torchmetrics_peer(net, metric.tower),
        **({"piq": piq_peer(metric.tower, list(metric.tensors.values()))} if net == "vgg" else {}),
        "ours": metric,
        "ours, bfloat16": autocast(metric, device),
        "ours, cached reference": lambda a, _: metric.distance(metric.encode(a), encoded),
        "ours, lite": lite,
    }
    if compiled:
        distances["ours, compiled"] = torch.compile(metric)
    contenders: dict[str, Callable[[], Result | None]] = {
        name: partial(outcome, distance, x, y, backward) for name, distance in distances.items()
    }
    towers = {"ours": (metric.tower, False), "ours, bfloat16": (metric.tower, True), "ours, lite": (lite.tower, False)}
    for name, (tower, bfloat16) in towers.items():
        contenders[f"tower alone of {name}"] = tower_alone(tower, x, y, backward, bfloat16)
    seconds, results = interleave(contenders, repeats, device, net)
    rows = []
    for name in contenders:
        alone = seconds.get(f"tower alone of {name}")
        over = statistics.median(a / b for a, b in zip(seconds[name], alone, strict=True)) if alone else None
        rows.append({
            "net": net, "pass": "forward+backward" if backward else "forward", "contender": name,
            "ms": milliseconds(seconds[name]), "× lpips [min, max]": ratio(seconds[name], seconds["lpips"]),
            "over tower": "" if over is None else f"{over:.2f}", **shown(results[name]),
        })  # fmt: skip
    return rows


@click.command(context_settings={"show_default": True})
@click.option("--net", "nets", type=click.Choice(["alex", "vgg", "squeeze"]), multiple=True, default=["alex", "vgg"])
@click.option("--tower-weights", help="File of weights, for a single --net.  [default: random]")
@click.option("--batch", default=4)
@click.option("--side", default=256)
@click.option("--repeats", default=7)
@click.option("--device", default="cpu")
@click.option("--tf32", is_flag=True, help="Allow TF32 in convolutions and matrix products on a GPU.")
@click.option("--compile", "compiled", is_flag=True, help="Also torch.compile; needs a C++ compiler on a CPU.")
@click.option("--format", "style", type=click.Choice(["markdown", "json"]), default="markdown")
def main(
    nets: tuple[str, ...],
    tower_weights: str | None,
    batch: int,
    side: int,
    repeats: int,
    device: str,
    tf32: bool,
    compiled: bool,
    style: str,
) -> None:
    """Print one table."""
    if compiled and device == "cpu" and shutil.which("g++") is None:
        raise click.UsageError("--compile: needs g++ on a CPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(batch, 3, side, side, generator=generator)
    x = (y + 0.1 * torch.randn(y.shape, generator=generator)).clamp(0, 1)
    rows = [
        row
        for net in nets
        for backward in (False, True)
        for row in time_net(net, tower_weights or "random:0", x.to(device), y.to(device), backward, repeats, compiled)
    ]
    setting = environment(device) | {"pairs": f"{batch}×3×{side}×{side}", "rounds": str(repeats)}
    click.echo(report(rows, setting, style))


if __name__ == "__main__":
    main()
