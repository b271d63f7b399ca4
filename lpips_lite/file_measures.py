"""Measures of an image file itself, not of its pixels: its size. They are rows of the catalog like all metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

from lpips_lite.entries import Arguments, Load, LoadedMetric, MetricEntry

if TYPE_CHECKING:
    from torch import Tensor


def _of_file(name: str, parts: str, number: Callable[[int, int], float]) -> Load:
    """Return a loader for a measure of the bytes of the compared file and the pixels of its reference."""

    def refuse(x: Tensor, y: Tensor) -> NoReturn:
        raise ValueError(f"{name} measures files, not pixels; expected image files, as compare-images reads them")

    def load(device: str, arguments: Arguments) -> LoadedMetric:
        from lpips_lite.metric import DEFINITION

        return LoadedMetric(refuse, f"{DEFINITION} {name} {parts}", of_file=number)

    return load


_SIZE = "the compared file, as it is on the disk"

FILE_MEASURES: Mapping[str, MetricEntry] = {
    "bytes": MetricEntry(
        "Bytes of the compared file",
        _of_file("bytes", "of=image", lambda size, pixels: float(size)),
        "[0, ∞)", "lower", 1956, _SIZE, 0, takes_mask=True,
    ),
    "bpp": MetricEntry(
        "Bits of the compared file for each pixel of its reference",
        _of_file("bpp", "of=image pixels=reference", lambda size, pixels: 8 * size / pixels),
        "[0, ∞)", "lower", 1948, _SIZE, 3, takes_mask=True,
    ),
}  # fmt: skip
