"""Measure how far each stage of the distance is from `lpips==0.1.4` with the same weights, in float32.

    python -m benchmarks.parity

The table has the largest difference over 4 random pairs at 96×96, relative to the largest value of the stage.
"""

from __future__ import annotations

import click
import torch
from torch import Tensor

from lpips_lite import LPIPS
from tests.peers import random_tower, upstream


def relative(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference divided by the largest expected value."""
    return float((found - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def stages(net: str) -> dict[str, float]:
    """Return the relative difference of each stage for one net."""
    torch.manual_seed(0)
    weights = random_tower(net)
    metric, peer = LPIPS(net, tower_weights=weights, reduction="none"), upstream(net, weights)
    x, y = torch.rand(4, 3, 96, 96), torch.rand(4, 3, 96, 96)
    scaled = peer.scaling_layer(2 * x - 1)
    tower = metric.tower
    differences = {"input scaling": relative((x - tower.tensors["mean"]) / tower.tensors["std"], scaled)}
    taps = zip(tower(x), peer.net.forward(scaled), strict=True)
    differences["taps (worst)"] = max(relative(found, expected) for found, expected in taps)
    total, layers = peer(x, y, retPerLayer=True, normalize=True)
    expected = torch.stack([layer.flatten() for layer in layers], dim=1)
    found = metric.layer_distances(x, y)
    differences["layer distances (worst)"] = max(relative(found[:, i], expected[:, i]) for i in range(found.shape[1]))
    differences["distance"] = relative(metric(x, y), total.flatten())
    return differences


@click.command()
def main() -> None:
    """Print one Markdown table."""
    results = {net: stages(net) for net in ("alex", "vgg", "squeeze")}
    click.echo(f"| stage | {' | '.join(results)} |\n|---|{'---|' * len(results)}")
    for stage in results["alex"]:
        click.echo(f"| {stage} | {' | '.join(f'{result[stage]:.0e}' for result in results.values())} |")


if __name__ == "__main__":
    main()
