"""Measuring pairs of files: a pair in, a row of results out. What `cli.py` does between its options and its output."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lpips_lite.catalog import METRICS, Measure
from lpips_lite.cli_output import Row
from lpips_lite.pairs import Pair

if TYPE_CHECKING:
    from torch import Tensor

Resize = str | tuple[int, int]  # "no", "ref", or (height, width)


def build_measures(names: Iterable[str], device: str) -> dict[str, Measure]:
    """Load each metric onto a device."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {device}: not usable on this machine ({reason}); --device cpu always is") from error
    return {name: METRICS[name].build(device) for name in names}


def load_pair(pair: Pair, resize: Resize, device: str) -> tuple[Tensor, Tensor]:
    """Read image and reference as batches of one, equally large: (1, 3, H, W) in [0, 1]."""
    image, reference = read_quietly(pair.image), read_quietly(pair.reference)
    if resize == "ref":
        image = fit(image, (reference.shape[1], reference.shape[2]))
    elif isinstance(resize, tuple):
        image, reference = fit(image, resize), fit(reference, resize)
    if reference.shape != image.shape:
        sizes = " against ".join(f"{t.shape[2]}×{t.shape[1]}" for t in (image, reference))
        raise ValueError(f"{pair.image}: sizes differ, {sizes} of {pair.reference}; --resize ref makes them equal")
    return image[None].to(device), reference[None].to(device)


def measure_pair(pair: Pair, x: Tensor, y: Tensor, measures: Mapping[str, Measure]) -> Row:
    """Return one row of results."""
    import torch

    row: Row = {"reference": str(pair.reference), "image": str(pair.image)}
    with torch.inference_mode():
        for name, measure in measures.items():
            try:
                row[name] = measure.compute(x, y).item()
            except ValueError as error:  # too small, say
                raise ValueError(f"{pair.image}: {name}: {error}") from error
    return {**row, "identical": torch.equal(x, y)}


def read_quietly(path: Path) -> Tensor:
    """Read an image; what the library warns of becomes a note on stderr."""
    from lpips_lite.images import read_image

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read_image(path)
    for warning in caught:
        say(f"note: {warning.message}")
    return image


def fit(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (3, H, W) to (height, width), bicubic and antialiased."""
    from torch.nn.functional import interpolate

    return interpolate(image[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)


def signature_of(resize: Resize) -> str:
    """Return what resizing adds to a signature."""
    if isinstance(resize, tuple):
        return f" resize={resize[1]}x{resize[0]}"
    return "" if resize == "no" else f" resize={resize}"


def say(line: str) -> None:
    """Talk on stderr."""
    click.echo(line, err=True)
