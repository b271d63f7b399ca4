"""Pairs of files measured: decoded pairs in, rows of results out, in the same order.

Pairs of one size share a batch, whatever stands between them, and a reference that repeats is encoded once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from lpips_lite.catalog import METRICS, Measure
from lpips_lite.encoding import Encoding
from lpips_lite.files.decoding import Decoded, Resize, decode
from lpips_lite.files.pairs import Pair, shown
from lpips_lite.files.results import Row
from lpips_lite.images import to_float

CHUNK_PAIRS = 64  # looked at together to fill batches
CHUNK_BYTES = 2**28
CPU_PIXELS = 2**18  # of one side of a batch on a CPU, whose caches larger ones overrun
ACCELERATOR_PIXELS = 2**23
KEPT_PIXELS = 2**20  # of a reference whose features are kept; those of a larger one would fill the memory


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
    measurer = Measurer(measures, settings)
    for chunk in _chunks(decode(pairs, settings.resize, settings.workers)):
        yield from zip(chunk, measurer.measure(chunk), strict=True)


class Measurer:
    """Metrics at work on chunks of decoded pairs; remembers the last reference that repeats."""

    def __init__(self, measures: Mapping[str, Measure], settings: Settings) -> None:
        self.measures, self.settings = measures, settings
        self._kept: dict[str, tuple[object, Encoding]] = {}  # by metric: what the encoding is of, and the encoding

    def measure(self, chunk: Sequence[Decoded]) -> Iterator[Row]:
        """Yield the pairs' rows in order, each as soon as all before it are done; errors are rows, too."""
        rows: list[Row] = [
            {"reference": shown(d.pair.reference), "image": shown(d.pair.image), "error": d.error} for d in chunk
        ]
        uses = Counter(decoded.pair.reference for decoded in chunk)
        done = [decoded.error is not None for decoded in chunk]
        next_row = 0
        for positions in _batches(chunk, self.settings):
            batch = [chunk[position] for position in positions]
            repeats = any(uses[decoded.pair.reference] > 1 for decoded in batch)
            self._measure_batch(batch, [rows[position] for position in positions], repeats)
            for position in positions:
                done[position] = True
            while next_row < len(done) and done[next_row]:
                yield _ordered(rows[next_row], self.measures)
                next_row += 1
        yield from (_ordered(row, self.measures) for row in rows[next_row:])

    def _measure_batch(self, batch: Sequence[Decoded], rows: Sequence[Row], repeats: bool) -> None:
        """Fill in the rows of equally large pairs."""
        for row, decoded in zip(rows, batch, strict=True):
            row["identical"] = _identical(decoded)
        cast = torch.autocast(torch.device(self.settings.device).type, dtype=torch.bfloat16)
        for name, measure in self.measures.items():
            try:
                with torch.inference_mode(), cast if self.settings.precision == "bf16" else nullcontext():
                    values = self._distances(name, measure, batch, repeats)
            except ValueError as error:  # too small, say
                for row in rows:
                    row["error"] = row["error"] or f"{row['image']}: {name}: {error}"
                continue
            for row, value in zip(rows, values.tolist(), strict=True):
                row[name] = float(f"{value:.7g}")  # which is all that float32 has

    def _distances(self, name: str, measure: Measure, batch: Sequence[Decoded], repeats: bool) -> Tensor:
        """Compare a batch, with as few references encoded as there are.

        Images that are compared pass the tower in batches of one size: then equal ones are at a distance of exactly 0.
        """
        x, y = self._stack(decoded.image for decoded in batch), self._stack(decoded.reference for decoded in batch)
        if not (repeats and measure.encode and measure.distance and x[0, 0].numel() <= KEPT_PIXELS):
            return measure.compute(x, y)
        if len(batch) == 1:
            what = batch[0].pair.reference, y.shape
            if self._kept.get(name, (None,))[0] != what:
                self._kept[name] = what, measure.encode(y)
            return measure.distance(measure.encode(x), self._kept[name][1])
        places = {decoded.pair.reference: place for place, decoded in enumerate(batch)}
        both = measure.encode(torch.cat([to_float(x), to_float(y[list(places.values())])]))
        index = [len(x) + list(places).index(decoded.pair.reference) for decoded in batch]
        references = Encoding(tuple(f[index] for f in both.features), both.size, both.signature)
        return measure.distance(both[: len(x)], references)

    def _stack(self, images: Iterable[Tensor | None]) -> Tensor:
        return torch.stack([image for image in images if image is not None]).to(self.settings.device)


def _identical(decoded: Decoded) -> bool:
    image, reference = decoded.image, decoded.reference
    assert image is not None
    assert reference is not None
    if image.dtype == reference.dtype:
        return torch.equal(image, reference)
    return torch.equal(to_float(image), to_float(reference))


def _batches(chunk: Sequence[Decoded], settings: Settings) -> list[list[int]]:
    """Return the positions of pairs that can share a batch, by first position."""
    groups: dict[object, list[int]] = defaultdict(list)
    sizes: dict[object, int] = {}
    pixels = CPU_PIXELS if settings.device == "cpu" else ACCELERATOR_PIXELS
    for position, decoded in enumerate(chunk):
        if decoded.image is not None and decoded.reference is not None:
            key = decoded.image.shape, decoded.image.dtype, decoded.reference.dtype
            groups[key].append(position)
            sizes[key] = max(1, min(settings.batch_size, pixels // decoded.image[0].numel()))
    return sorted(
        positions[start : start + sizes[key]]
        for key, positions in groups.items()
        for start in range(0, len(positions), sizes[key])
    )


def _ordered(row: Row, measures: Mapping[str, Measure]) -> Row:
    """Return a row with its columns in order; a pair with an error has no numbers."""
    numbers = {name: None if row["error"] else row[name] for name in measures}
    identical = None if row["error"] else row["identical"]
    paths = {"reference": row["reference"], "image": row["image"]}
    return {**paths, **numbers, "identical": identical, "error": row["error"]}


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
