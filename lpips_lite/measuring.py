"""Pairs of files measured: decoded pairs in, rows of results out, in the same order.

Pairs of one size share a batch, whatever stands between them, and a reference that repeats is encoded once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lpips_lite.catalog import METRICS, Measure
from lpips_lite.decoding import Decoded, Resize, decode
from lpips_lite.encoding import Encoding
from lpips_lite.images import to_float
from lpips_lite.pairs import Pair, shown

Row = dict[str, Any]  # reference, image, one number a metric, identical, error

CHUNK_PAIRS = 64  # looked at together to fill batches
CHUNK_BYTES = 2**28
CPU_PIXELS = 2**18  # of one side of a batch on a CPU, whose caches larger ones overrun


@dataclass(frozen=True)
class Settings:
    """How pairs are measured.

    Attributes:
        resize: "no" · "ref", to the reference's size · (height, width).
        device: Where to compute.
        batch_size: Pairs in a batch at most.
        workers: Threads that decode.
        precision: "fp32" · "bf16", under autocast.
    """

    resize: Resize = "no"
    device: str = "cpu"
    batch_size: int = 8
    workers: int = 2
    precision: str = "fp32"

    def suffix(self) -> str:
        """Return what the settings add to a signature."""
        size = "x".join(map(str, reversed(self.resize))) if isinstance(self.resize, tuple) else self.resize
        return ("" if size == "no" else f" resize={size}") + ("" if self.precision == "fp32" else " precision=bf16")


def build_measures(names: Iterable[str], settings: Settings) -> dict[str, Measure]:
    """Load each metric onto the device; its signature tells the settings, too.

    Raises:
        ValueError: If the device is not usable.
    """
    device = settings.device
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {device}: not usable on this machine ({reason}); --device cpu always is") from error
    measures = {name: METRICS[name].build(device) for name in names}
    return {name: m._replace(signature=m.signature + settings.suffix()) for name, m in measures.items()}


def measure_pairs(
    pairs: Iterable[Pair], measures: Mapping[str, Measure], settings: Settings
) -> Iterator[tuple[Decoded, Row]]:
    """Decode and measure pairs, and yield each with its row, in order."""
    for chunk in _chunks(decode(pairs, settings.resize, settings.workers)):
        yield from zip(chunk, measure(chunk, measures, settings), strict=True)


def measure(chunk: Sequence[Decoded], measures: Mapping[str, Measure], settings: Settings) -> Iterator[Row]:
    """Measure decoded pairs and yield their rows in order, each as soon as all before it are done."""
    rows: list[Row] = [
        {"reference": shown(d.pair.reference), "image": shown(d.pair.image), "error": d.error} for d in chunk
    ]
    done = [decoded.error is not None for decoded in chunk]
    next_row = 0
    for batch in _batches(chunk, settings):
        _measure_batch([chunk[p] for p in batch], [rows[p] for p in batch], measures, settings)
        for position in batch:
            done[position] = True
        while next_row < len(done) and done[next_row]:
            yield _ordered(rows[next_row], measures)
            next_row += 1
    yield from (_ordered(row, measures) for row in rows[next_row:])


def _batches(chunk: Sequence[Decoded], settings: Settings) -> list[list[int]]:
    """Return the positions of pairs that can share a batch, by first position."""
    groups: dict[object, list[int]] = defaultdict(list)
    sizes: dict[object, int] = {}
    for position, decoded in enumerate(chunk):
        if decoded.image is not None and decoded.reference is not None:
            key = decoded.image.shape, decoded.image.dtype, decoded.reference.dtype
            groups[key].append(position)
            sizes[key] = settings.batch_size
            if settings.device == "cpu":
                sizes[key] = max(1, min(settings.batch_size, CPU_PIXELS // decoded.image[0].numel()))
    return sorted(
        positions[start : start + sizes[key]]
        for key, positions in groups.items()
        for start in range(0, len(positions), sizes[key])
    )


def _measure_batch(
    batch: Sequence[Decoded], rows: Sequence[Row], measures: Mapping[str, Measure], settings: Settings
) -> None:
    """Fill in the rows of equally large pairs."""
    references = {decoded.pair.reference: decoded.reference for decoded in batch}
    places = [list(references).index(decoded.pair.reference) for decoded in batch]
    x, unique = (torch.stack(side).to(settings.device) for side in (_images(batch), _tensors(references.values())))
    y = unique[places] if len(unique) < len(batch) else unique
    for row, decoded in zip(rows, batch, strict=True):
        sides = _tensors((decoded.image, decoded.reference))
        same_dtype = sides[0].dtype == sides[1].dtype
        row["identical"] = torch.equal(*(sides if same_dtype else map(to_float, sides)))
    cast = torch.autocast(torch.device(settings.device).type, dtype=torch.bfloat16)
    for name, measure in measures.items():
        try:
            with torch.inference_mode(), cast if settings.precision == "bf16" else nullcontext():
                if measure.encode and measure.distance and len(unique) < len(batch):
                    both = measure.encode(torch.cat([to_float(x), to_float(unique)]))  # equal images in one batch
                    values = measure.distance(both[: len(x)], _repeat(both[len(x) :], places))  # are at distance 0
                else:
                    values = measure.compute(x, y)
        except ValueError as error:  # too small, say
            for row in rows:
                row["error"] = row["error"] or f"{row['image']}: {name}: {error}"
            continue
        for row, value in zip(rows, values.tolist(), strict=True):
            row[name] = float(f"{value:.7g}")  # which is all that float32 has


def _ordered(row: Row, measures: Mapping[str, Measure]) -> Row:
    """Return a row with its columns in order; a pair with an error has no numbers."""
    numbers = {name: None if row["error"] else row[name] for name in measures}
    identical = None if row["error"] else row["identical"]
    paths = {"reference": row["reference"], "image": row["image"]}
    return {**paths, **numbers, "identical": identical, "error": row["error"]}


def _images(batch: Sequence[Decoded]) -> list[Tensor]:
    return _tensors(decoded.image for decoded in batch)


def _tensors(images: Iterable[Tensor | None]) -> list[Tensor]:
    return [image for image in images if image is not None]


def _repeat(encoding: Encoding, places: list[int]) -> Encoding:
    return Encoding(tuple(f[places] for f in encoding.features), encoding.size, encoding.signature)


def _chunks(stream: Iterator[Decoded]) -> Iterator[list[Decoded]]:
    """Gather pairs while they are few and small enough to be held at once."""
    chunk: list[Decoded] = []
    held = 0
    for decoded in stream:
        chunk.append(decoded)
        held += sum(side.nbytes for side in (decoded.image, decoded.reference) if side is not None)
        if len(chunk) == CHUNK_PAIRS or held >= CHUNK_BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk
