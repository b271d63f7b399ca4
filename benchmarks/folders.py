"""Time `compare` on two folders of images, a plain loop over `lpips`, and decoding alone.

    python benchmarks/folders.py --tower-weights ALEXNET.pth

The images are made here: PNG references of random texture, and JPEG copies of them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, from a clone

import click
import numpy as np
import torch
from PIL import Image

from benchmarks.sidebyside import environment, report
from lpips_lite.catalog import LoadedMetric, parse_metric
from lpips_lite.files.decoding import decode
from lpips_lite.files.measuring import measure_pairs
from lpips_lite.files.pairing import Pair
from lpips_lite.files.pairs import find_pairs
from lpips_lite.files.reading import Reader
from lpips_lite.files.settings import Settings
from tests.peers import upstream


def make_images(folder: Path, count: int, side: int) -> None:
    """Write `count` references, textures with the spectrum of photographs, and a JPEG copy of each."""
    for name in ("references", "images"):
        (folder / name).mkdir()
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) + 1 / side
    for number in range(count):
        noise = np.random.default_rng(number).standard_normal((3, side, side))
        texture = np.fft.ifft2(np.fft.fft2(noise) / frequency).real
        texture = (texture - texture.min()) / np.ptp(texture)
        picture = Image.fromarray((255 * texture.transpose(1, 2, 0)).astype(np.uint8))
        picture.save(folder / f"references/{number:04}.png")
        picture.save(folder / f"images/{number:04}.jpg", quality=10 + number % 80)


def plain_loop(pairs: list[Pair], tower_weights: str) -> float:
    """Return the mean distance by `lpips`, one pair after the other, as in its README."""
    peer = upstream("alex", dict(torch.load(tower_weights, weights_only=True)))

    def read(path: Path) -> torch.Tensor:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]

    with torch.no_grad():
        values = [peer(read(pair.image), read(pair.reference)).item() for pair in pairs]
    return float(np.mean(values))


def ours(pairs: list[Pair], name: str, metric: LoadedMetric, settings: Settings) -> float:
    """Return the mean distance by the stream that `compare` and the command line use."""
    rows = measure_pairs(pairs, {name: metric}, settings, reader_of(settings))
    return float(np.mean([row[name] for _, row in rows]))


def reader_of(settings: Settings) -> Reader:
    """Return a reader of files with these settings."""
    return Reader(settings.background, settings.max_pixels, settings.spell)


def timed(run: Callable[[], float]) -> tuple[float, float]:
    """Return seconds and result."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


@click.command(context_settings={"show_default": True})
@click.option("--tower-weights", required=True, help="AlexNet.")
@click.option("--count", default=500)
@click.option("--side", default=512)
@click.option("--workers", default=2)
@click.option("--format", "style", type=click.Choice(["markdown", "json"]), default="markdown")
def main(tower_weights: str, count: int, side: int, workers: int, style: str) -> None:
    """Print one table."""
    alex, lite = parse_metric(f"alex:tower={tower_weights}").load(), parse_metric("lite").load()
    settings = Settings(workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder), count, side)
        pairs = find_pairs(Path(folder) / "references", [Path(folder) / "images"]).pairs
        contenders: dict[str, Callable[[], float]] = {
            "plain loop over lpips, alex": lambda: plain_loop(pairs, tower_weights),
            "ours, alex": lambda: ours(pairs, "alex", alex, settings),
            "ours, lite": lambda: ours(pairs, "lite", lite, settings),
            "decoding alone": lambda: float(sum(1 for _ in decode(pairs, settings, reader_of(settings)))),
        }
        found = {name: timed(run) for name, run in contenders.items()}
    slowest = found["plain loop over lpips, alex"][0]
    rows = [
        {"contender": name, "pairs per second": f"{count / seconds:.1f}", "× plain loop": f"{slowest / seconds:.2f}",
         "share of decoding": f"{100 * found['decoding alone'][0] / seconds:.0f} %", "mean": f"{value:.6g}"}
        for name, (seconds, value) in found.items()
    ]  # fmt: skip
    setting = environment() | {"pairs": f"{count} of {side}×{side}, PNG and JPEG", "workers": str(workers)}
    click.echo(report(rows, setting, style))


if __name__ == "__main__":
    main()
