"""Measure a search: the nearest of many small images, kept as one encoding on the CPU in float16.

    python benchmarks/searching.py --photos FOLDER    # squares cut from these; without it, random textures

The error of float16 is measured by comparing with the same gallery in float32. Queries are noisy gallery squares.
"""

from __future__ import annotations

import ctypes
import gc
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, from a clone

import click
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.memory import _peak, _start
from benchmarks.sidebyside import environment, report
from lpips_lite import LPIPS, Encoding, read_image

SIDE, BATCH = 64, 500
T = TypeVar("T")


def textures(count: int) -> Tensor:
    """Draw images of noise at several scales, stronger at coarser scales, in [0, 1]."""
    octaves = [(torch.randn(count, 3, side, side), 1 / side) for side in (2, 4, 8, 16, 32)]
    total = sum(w * F.interpolate(noise, size=SIDE, mode="bilinear", align_corners=False) for noise, w in octaves)
    return (0.5 + 0.4 * torch.as_tensor(total)).clamp(0, 1)


def squares(folder: Path, count: int) -> Tensor:
    """Cut enough squares from each photo of a folder to get `count`."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if not paths:
        raise click.ClickException(f"--photos {folder}: there are no images in it")
    found, draw = torch.empty(count, 3, SIDE, SIDE), random.Random(0)
    for place, path in enumerate(paths):
        photo = read_image(path)
        for row in range(place, count, len(paths)):
            top, left = (draw.randint(0, side - SIDE) for side in photo.shape[1:])
            found[row] = photo[:, top : top + SIDE, left : left + SIDE]
    return found


def measured(run: Callable[[], T]) -> tuple[T, float, float]:
    """Return the result of a function, its seconds, and the MiB that it took in addition at its peak."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # so that memory freed before is counted if it is used again
    before, start = _start("cpu"), time.perf_counter()
    result = run()
    return result, time.perf_counter() - start, (_peak("cpu") - before) / 2**20


@torch.no_grad()
def measure(metric: LPIPS, images: Tensor, queries: int) -> list[dict[str, Any]]:
    """Return one row per step of a search."""
    rows: list[dict[str, Any]] = []

    def step(name: str, run: Callable[[], T], note: str = "") -> T:
        result, seconds, extra = measured(run)
        rows.append({"step": name, "seconds": f"{seconds:.3f}", "extra MiB": f"{extra:.0f}", "note": note})
        return result

    batches = images.split(BATCH)  # type: ignore[no-untyped-call]
    half = step("encode in float16", lambda: Encoding.cat(metric.encode(b).to(torch.float16) for b in batches))
    size = sum(f.numel() * f.element_size() for f in half.features)
    rows[-1]["note"] = f"gallery {size / 1e6:.0f} MB"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.safetensors"
        step("save", lambda: half.save(path))
        rows[-1]["note"] = f"file {path.stat().st_size / 1e6:.0f} MB"
        half = step("load", lambda: Encoding.load(path))
        picks = torch.arange(0, len(images), len(images) // queries)[:queries]
        noisy = (images[picks] + 0.05 * torch.randn(queries, *images.shape[1:])).clamp(0, 1)
        step("first query, which reads the file", lambda: metric.pairwise(noisy[:1], half))
        step("one query", lambda: metric.pairwise(noisy[:1], half))
        table = step(f"{queries} queries", lambda: metric.pairwise(noisy, half))
    whole = Encoding.cat([metric.encode(b) for b in batches])
    exact = step(f"{queries} queries, gallery in float32", lambda: metric.pairwise(noisy, whole))
    rows[-1]["note"] = compare(table, exact, picks)
    return rows


def compare(found: Tensor, exact: Tensor, picks: Tensor) -> str:
    """Describe what float16 changed."""
    change = (found - exact).abs()
    tens, expected = (t.topk(10, largest=False).indices for t in (found, exact))
    same = sum(set(a) == set(b) for a, b in zip(tens.tolist(), expected.tolist(), strict=True))
    order = sum(a == b for a, b in zip(tens.tolist(), expected.tolist(), strict=True))
    own = int((tens[:, 0] == picks).sum())
    return (
        f"float16 changes distances by at most {change.max():.1e} ({(change / exact).max():.1e} of them); ten "
        f"nearest the same for {same} of {len(picks)} queries, in the same order for {order}; own image first for {own}"
    )


@click.command(context_settings={"show_default": True})
@click.option("--photos", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Cut squares from these.")
@click.option("--count", default=10_000)
@click.option("--queries", default=20)
@click.option("--max-memory", default="256MiB")
@click.option("--format", "style", type=click.Choice(["markdown", "json"]), default="markdown")
def main(photos: Path | None, count: int, queries: int, max_memory: str, style: str) -> None:
    """Print one table."""
    torch.manual_seed(0)
    images = squares(photos, count) if photos else textures(count)
    metric = LPIPS("lite", max_memory=max_memory)
    metric.pairwise(images[:2])  # so that libraries are initialised
    rows = measure(metric, images, queries)
    setting = {"images": f"{count} of {SIDE}×{SIDE}", "max_memory": max_memory, "photos": str(bool(photos))}
    click.echo(report(rows, environment() | setting, style))


if __name__ == "__main__":
    main()
