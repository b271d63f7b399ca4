"""Measure how far distances in half precision, and the directions of their gradients, are from those in float32.

    python benchmarks/half_precision.py --photos PHOTOS.tar --metric lite --metric alex:tower=ALEXNET.pth

Pairs are photographs and copies into which a share of a strong distortion is mixed, from a thousandth to all of it.
Columns are decades of the distance in float32, of the metric itself if it is an LPIPS, else of `lite`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, from a clone

import click
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmarks.sidebyside import environment, report
from calibration.photographs import HOLD_OUT_EVERY, crop, read_photos
from lpips_lite import LPIPS, read_image
from lpips_lite.catalog import parse_metrics
from lpips_lite.metric import NETS
from lpips_lite.terminal import progress
from lpips_lite.votes.distort import distort

SCENE = Path(__file__).parent.parent / "examples/images/scene.png"
KINDS = ("white_noise", "gaussian_blur", "jpeg", "shift")
SHARES = torch.logspace(-3, 0, 13).tolist()  # shares of the strongest distortion
DECADES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # where each column of distances starts
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
WAYS = ("autocast", "half input")  # the tower in half precision on float32 images; images of half precision
LOSS_SCALE = (
    4096.0  # initial scale; training in float16 uses one (`torch.amp.GradScaler`), since small gradients would become 0
)

Compute = Callable[[Tensor, Tensor], Tensor]
Pairs = Sequence[tuple[Tensor, Tensor]]


class Outcome(NamedTuple):
    """The distance of each pair, (P,), and its gradient with respect to x, (P, D)."""

    distance: Tensor
    gradient: Tensor


class Deviation(NamedTuple):
    """The deviation from float32 per pair, (P,): relative error of the distance, and cosine of the gradients."""

    error: Tensor
    cosine: Tensor


def references(photos: Path | None, count: int, side: int) -> Tensor:
    """Return random squares, (count, 3, side, side): one of the bundled scene, the others of photographs if given."""
    generator = Generator().manual_seed(0)
    scene = (255 * read_image(SCENE)).round().byte()[None]
    pool = read_photos(photos)[::HOLD_OUT_EVERY] if photos else scene
    return torch.cat([crop(source, 1, side, generator) for source in [scene, *[pool] * (count - 1)]])


def make_pairs(y: Tensor) -> Pairs:
    """Return batches x, y, with each kind of distortion mixed in with each share."""
    generator = Generator().manual_seed(1)
    strong = [distort(y, kind, torch.ones(len(y)), generator) for kind in KINDS]
    return [(torch.lerp(y, worst, share), y) for worst in strong for share in SHARES]


def measure(
    compute: Compute,
    pairs: Pairs,
    dtype: torch.dtype = torch.float32,
    way: str = "",
    scale: float = LOSS_SCALE,
    title: str = "measuring",
) -> Outcome:
    """Return the distances and gradients of all pairs in float32, or in half precision, one of `WAYS`."""
    distances, gradients = [], []
    inputs = dtype if way == "half input" else torch.float32
    for first, second in progress(pairs, title):
        x, y = first.to(inputs, copy=True).requires_grad_(), second.to(inputs)
        with torch.autocast("cpu", dtype=dtype, enabled=way == "autocast"):
            distance = compute(x, y)
        distances.append(distance.detach().double())
        gradients.append(scaled_gradient(distance.sum(), x, scale).flatten(1).double())
    return Outcome(torch.cat(distances), torch.cat(gradients))


def scaled_gradient(value: Tensor, x: Tensor, scale: float) -> Tensor:
    """Return the direction of the gradient, of any length; if it overflows, it is computed with a lower scale."""
    (gradient,) = torch.autograd.grad(scale * value, x, retain_graph=True)
    return gradient if gradient.isfinite().all() or scale < 1e-9 else scaled_gradient(value, x, scale / 16)


def deviation(half: Outcome, full: Outcome) -> Deviation:
    """Return the deviation of half precision from float32."""
    error = (half.distance - full.distance).abs() / full.distance
    return Deviation(error, F.cosine_similarity(half.gradient, full.gradient))


def columns(found: Deviation, yardstick: Tensor) -> dict[str, str]:
    """Return mean and largest error and mean cosine of the pairs in each decade of the yardstick."""
    cells = {}
    for low in DECADES:
        inside = (yardstick >= low) & (yardstick < 10 * low)
        error, cosine = found.error[inside], found.cosine[inside]
        cells[f"{low:g} to {10 * low:g}"] = (
            f"{percent(error.mean())} ({percent(error.max())}), {cosine.mean():.3f}" if inside.any() else "–"
        )
    return cells


def percent(share: Tensor) -> str:
    """Format a share with two digits, without an exponent."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


@click.command(context_settings={"show_default": True})
@click.option(
    "--metric", "texts", multiple=True, default=["lite"], help="A metric as for compare-images; repeat for more."
)
@click.option("--photos", type=click.Path(exists=True, path_type=Path), help="Tar or folder of photographs.")
@click.option("--count", default=6, help="References.")
@click.option("--side", default=64, help="Side of a reference in pixels.")
@click.option("--loss-scale", default=LOSS_SCALE, help="Factor of the distance; lower if it overflows.")
def main(texts: tuple[str, ...], photos: Path | None, count: int, side: int, loss_scale: float) -> None:
    """Print one Markdown table: mean error (largest error), mean cosine."""
    pairs = make_pairs(references(photos, count, side))
    lite = measure(LPIPS("lite", reduction="none"), pairs).distance
    rows = []
    for spec in parse_metrics(texts):
        metric = spec.load()
        click.echo(metric.signature)
        full = measure(metric.compute, pairs, title=f"{spec.name}, float32")
        yardstick = full.distance if spec.name in NETS else lite
        for name, dtype in DTYPES.items():
            for way in WAYS:
                half = measure(metric.compute, pairs, dtype, way, loss_scale, f"{spec.name}, {name}, {way}")
                row = {"metric": spec.name, "precision": f"{name}, {way}"}
                rows.append(row | columns(deviation(half, full), yardstick))
    setting = environment() | {"pairs": f"{len(pairs) * count} of 3×{side}×{side}", "loss scale": f"{loss_scale:g}"}
    click.echo("\n" + report(rows, setting, "markdown"))


if __name__ == "__main__":
    main()
