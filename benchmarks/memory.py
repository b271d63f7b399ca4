"""Compare the peak memory with that of `lpips`; each contender runs in a separate process.

    python benchmarks/memory.py
    python benchmarks/memory.py --large 4096        # a pair of that side with vgg in tiles, in 2 GiB

"Extra" is the peak memory of a step minus the memory that the process held before, which includes images and weights.
It comes from the kernel's high-water mark on Linux, and from the allocator's on a GPU.
"""

from __future__ import annotations

import gc
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, from a clone

import click
import torch

from benchmarks.sidebyside import Result, environment, outcome, report, shown
from lpips_lite import LPIPS
from lpips_lite.terminal import progress
from tests.peers import random_tower, upstream

CONTENDERS = ("lpips", "ours", "ours, bfloat16", "ours, checkpoint", "ours, lite")


def build(name: str, net: str, device: str, max_memory: str | None = None) -> Any:
    """Return the contender's distance, (x, y) -> (N,)."""
    if name == "lpips":
        return partial(upstream(net, random_tower(net)).to(device), normalize=True)
    if name == "ours, lite":
        return LPIPS("lite", reduction="none", max_memory=max_memory).to(device)
    checkpoint = name == "ours, checkpoint"
    metric = LPIPS(net, tower_weights="random:0", reduction="none", checkpoint=checkpoint, max_memory=max_memory)
    return metric.to(device)


def peak(
    name: str, net: str, shape: tuple[int, int, int], device: str, backward: bool, max_memory: str | None = None
) -> tuple[float, Result]:
    """Return the extra MiB of one step, and its results."""
    batch, height, width = shape
    distance = build(name, net, device, max_memory)
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(batch, 3, height, width, generator=generator)
    x = (y + 0.1 * torch.randn(y.shape, generator=generator)).clamp(0, 1)
    x, y = x.to(device), y.to(device)
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled="bfloat16" in name):
        outcome(distance, x[:1, :, :64, :64], y[:1, :, :64, :64], backward)  # so that libraries are initialised
        gc.collect()
        before = _start(device)
        result = outcome(distance, x, y, backward)
    return (_peak(device) - before) / 2**20, result


def _start(device: str) -> int:
    """Reset the high-water mark; return the bytes held."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak(device: str) -> int:
    return torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else _status("VmHWM")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


@click.command(context_settings={"show_default": True})
@click.option("--net", default="vgg")
@click.option("--batch", default=4)
@click.option("--side", default=256)
@click.option("--large", type=int, help="Measure one pair of this side instead, forward, in tiles.")
@click.option("--max-memory", default="2GiB", help="For --large.")
@click.option("--device", default="cpu")
@click.option("--format", "style", type=click.Choice(["markdown", "json"]), default="markdown")
def main(net: str, batch: int, side: int, large: int | None, max_memory: str, device: str, style: str) -> None:
    """Print one table."""
    if large:
        shape, cases = (1, large, large), [(name, False) for name in ("ours", "ours, lite")]
    else:
        shape, cases = (batch, side, side), [(name, backward) for backward in (False, True) for name in CONTENDERS]
    rows: list[dict[str, Any]] = []
    reference: dict[bool, float] = {}
    for name, backward in progress(cases, "memory"):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context) as pool:  # since high-water mark and allocator belong to a process
            job = pool.submit(peak, name, net, shape, device, backward, max_memory if large else None)
            extra, result = job.result()
        reference.setdefault(backward, extra)
        share = {} if large else {"of lpips": f"{100 * extra / reference[backward]:.0f} %"}
        step = "forward+backward" if backward else "forward"
        rows.append(
            {"net": net, "pass": step, "contender": name, "extra MiB": f"{extra:.0f}", **share, **shown(result)}
        )
    setting = environment(device) | {"pairs": f"{shape[0]}×3×{shape[1]}×{shape[2]}"}
    click.echo(report(rows, setting | ({"max_memory": max_memory} if large else {}), style))


if __name__ == "__main__":
    main()
