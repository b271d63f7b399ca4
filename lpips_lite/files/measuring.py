"""Pairs of files measured: decoded pairs in, rows of results out, in the same order.

Pairs of one size share a batch, whatever other pairs are between them, and a reference that repeats is encoded once.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from lpips_lite.catalog import LoadedMetric, MetricSpec, box_column, may_be_infinite
from lpips_lite.encoding import Encoding
from lpips_lite.files.decoding import Decoded, decode
from lpips_lite.files.names import first_line, path_text, printable
from lpips_lite.files.pairing import Pair
from lpips_lite.files.reading import Reader
from lpips_lite.files.results import Row, add_error, arrange
from lpips_lite.files.settings import Settings
from lpips_lite.images import to_float

BLOCK_PAIRS = 64  # of a list, looked at together to fill batches
CHUNK_BYTES = 2**27
CPU_PIXELS = 2**18  # of one side of a batch on a CPU, whose caches larger ones overrun
ACCELERATOR_PIXELS = 2**23
KEPT_PIXELS = 2**20  # of a reference whose features are kept; those of a larger one would fill the memory

Metrics = Mapping[str, LoadedMetric]  # by canonical text


def load_metrics(specs: Iterable[MetricSpec], settings: Settings) -> dict[str, LoadedMetric]:
    """Load each metric onto the device; its signature names the settings, too.

    Raises:
        ValueError: If the device is not usable, or a weight file is wrong.
        FileNotFoundError: If weights are neither on disk nor downloadable.
    """
    check_device(settings)
    loaded = {}
    for spec in specs:
        try:
            metric = spec.load(settings.device)
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(f"{spec.text}: {error}") from error
        loaded[spec.text] = metric._replace(signature=metric.signature + settings.suffix())
    return loaded


def check_device(settings: Settings) -> None:
    """Check that the device can compute.

    Raises:
        ValueError: If not.
    """
    try:
        (torch.zeros(1, device=settings.device) + 1).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        device, always = settings.spell("device", settings.device), settings.spell("device", "cpu")
        raise ValueError(f"{device}: not usable on this machine ({first_line(error)}); {always} always is") from error


def measure_pairs(
    pairs: Sequence[Pair],
    metrics: Metrics,
    settings: Settings,
    reader: Reader,
    positions: Sequence[int] | None = None,
) -> Iterator[tuple[Decoded, Row]]:
    """Decode and measure pairs, and yield each with its row, in order.

    Args:
        pairs: Pairs to measure.
        metrics: Metrics to measure them by.
        settings: How files are read and measured.
        reader: Reads the files.
        positions: Positions of the pairs in their list; `None`: they are the whole list. Batches are formed within
            blocks of the list, since the last digit of a number may depend on what else is in its batch.
    """
    measurer = Measurer(metrics, settings)
    for chunk in _chunks(decode(pairs, settings, reader), range(len(pairs)) if positions is None else positions):
        yield from zip(chunk, measurer.measure(chunk), strict=True)
        chunk.clear()  # else it would be held while the next one is read


def map_of(decoded: Decoded, metrics: Metrics, settings: Settings) -> tuple[str, Tensor]:
    """Return the name of the first metric that has a map, and its map of a pair, (H, W) on the CPU.

    Where the pair is not compared it is NaN.

    Raises:
        ValueError: If the metric refuses the pair.
    """
    image, reference = decoded.compared, decoded.reference
    assert image is not None
    assert reference is not None
    x, y = (to_float(side)[None].to(settings.device) for side in (image, reference))
    name, distance_map = next((text, m.distance_map) for text, m in metrics.items() if m.distance_map)
    with torch.inference_mode(), _cast(settings):
        mask = None if decoded.area is None else decoded.area[None, None].to(settings.device)
        values = distance_map(x, y, mask)[0, 0].float().cpu()
        return name, values if decoded.area is None else values.masked_fill(~decoded.area, math.nan)


class Measurer:
    """Metrics at work on chunks of decoded pairs; remembers the last reference that repeats."""

    def __init__(self, metrics: Metrics, settings: Settings) -> None:
        self.metrics, self.settings = metrics, settings
        self._kept: dict[str, tuple[object, Encoding]] = {}  # by metric: what the encoding is of, and the encoding

    def measure(self, chunk: Sequence[Decoded]) -> Iterator[Row]:
        """Yield the pairs' rows in order, each as soon as all before it are done; errors are rows, too."""
        rows = [_start_row(decoded) for decoded in chunk]
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
                yield arrange(rows[next_row], self.metrics)
                next_row += 1
        yield from (arrange(row, self.metrics) for row in rows[next_row:])

    def _measure_batch(self, batch: Sequence[Decoded], rows: Sequence[Row], repeats: bool) -> None:
        """Fill in the rows of equally large pairs; a metric that refuses a pair leaves its reason."""
        for name, metric in self.metrics.items():
            for row, decoded, found in zip(rows, batch, self._values(name, metric, batch, repeats), strict=True):
                if isinstance(found, str):
                    add_error(row, f"{printable(decoded.pair.image)}: {name}: {found}")
                else:
                    row |= found

    def _values(self, name: str, metric: LoadedMetric, batch: Sequence[Decoded], repeats: bool) -> list[Row | str]:
        """Return what a metric fills in for each pair, or the reason why it does not."""
        if metric.of_file is not None:
            return [{name: metric.of_file(decoded.bytes, decoded.pixels)} for decoded in batch]
        if len(batch) > 1 and metric.encode is None and _is_cpu(self.settings):  # there only towers gain by a batch
            return self._one_by_one(name, metric, batch)
        try:
            with torch.inference_mode(), _cast(self.settings):
                values = self._distances(name, metric, batch, repeats).tolist()
        except ValueError as error:  # too small, say
            reason = str(error)
        except (MemoryError, RuntimeError) as error:  # the latter from torch, out of memory for the most part
            reason = f"cannot be computed here ({first_line(error)})"
        else:
            return [_columns(name, value) for value in values]
        return self._one_by_one(name, metric, batch) if len(batch) > 1 else [reason]

    def _one_by_one(self, name: str, metric: LoadedMetric, batch: Iterable[Decoded]) -> list[Row | str]:
        """Measure pairs alone, so that a fault in one spares the others, and one alone may fit into memory."""
        return [value for decoded in batch for value in self._values(name, metric, [decoded], False)]

    def _distances(self, name: str, metric: LoadedMetric, batch: Sequence[Decoded], repeats: bool) -> Tensor:
        """Compare a batch, with as few references encoded as there are.

        Images that are compared pass the tower in batches of one size: then equal ones are at a distance of exactly 0.
        """
        x, y = self._stack(decoded.compared for decoded in batch), self._stack(decoded.reference for decoded in batch)
        compare = metric.located or metric.compute
        if batch[0].area is not None:
            return compare(x, y, mask=self._stack(decoded.area for decoded in batch)[:, None])
        if not (repeats and metric.encode and metric.distance and x[0, 0].numel() <= KEPT_PIXELS):
            return compare(x, y)
        if len(batch) == 1:
            what = batch[0].pair.reference, y.shape
            if self._kept.get(name, (None,))[0] != what:
                self._kept[name] = what, metric.encode(y)
            return metric.distance(metric.encode(x), self._kept[name][1])
        places = {decoded.pair.reference: place for place, decoded in enumerate(batch)}
        both = metric.encode(torch.cat([to_float(x), to_float(y[list(places.values())])]))
        index = [len(x) + list(places).index(decoded.pair.reference) for decoded in batch]
        return metric.distance(both[: len(x)], both[torch.tensor(index)])

    def _stack(self, images: Iterable[Tensor | None]) -> Tensor:
        found = [image for image in images if image is not None]
        stacked = found[0][None] if len(found) == 1 else torch.stack(found)  # one alone is not copied
        return stacked.to(self.settings.device)


def _start_row(decoded: Decoded) -> Row:
    paths = {"reference": path_text(decoded.pair.reference), "image": path_text(decoded.pair.image)}
    made = {"identical": decoded.identical, "content": decoded.content, "error": decoded.error}
    return {**paths, **decoded.pair.columns, **made}


def _columns(name: str, value: float | list[float]) -> Row | str:
    """Return a number in its column, with the box that may come with it in another."""
    number, *box = value if isinstance(value, list) else [value]
    found, column = _number(name, number), box_column(name)
    if isinstance(found, str):
        return found
    return {name: found} | ({column: ",".join(f"{side:.0f}" for side in box) if number else None} if column else {})


def _number(name: str, value: float) -> float | str:
    """Return a value with the digits that float32 has; infinity only where the metric's range includes it."""
    if math.isnan(value) or (math.isinf(value) and not may_be_infinite(name)):
        return f"gave {value}, which is no result"
    return float(f"{value:.7g}") + 0.0  # no minus before 0


def _is_cpu(settings: Settings) -> bool:
    return torch.device(settings.device).type == "cpu"


def _cast(settings: Settings) -> AbstractContextManager[object]:
    if settings.precision == "fp32":
        return nullcontext()
    return torch.autocast(torch.device(settings.device).type, dtype=torch.bfloat16)


def pairs_in_batch(pixels: int, settings: Settings) -> int:
    """Return the largest number of pairs in a batch, for images of `pixels` pixels."""
    most = CPU_PIXELS if _is_cpu(settings) else ACCELERATOR_PIXELS
    return max(1, min(settings.batch_size, most // pixels))


def block_of(position: int) -> int:
    """Return the block of a list in which a position lies; pairs of other blocks never share a batch with it."""
    return position // BLOCK_PAIRS


def _batches(chunk: Sequence[Decoded], settings: Settings) -> list[list[int]]:
    """Return the positions of pairs that can share a batch, by first position."""
    groups: dict[object, list[int]] = defaultdict(list)
    sizes: dict[object, int] = {}
    for position, decoded in enumerate(chunk):
        if decoded.image is not None and decoded.reference is not None:
            key = decoded.image.shape, decoded.image.dtype, decoded.reference.dtype, decoded.area is None
            groups[key].append(position)
            sizes[key] = pairs_in_batch(decoded.image[0].numel(), settings)
    return sorted(
        positions[start : start + sizes[key]]
        for key, positions in groups.items()
        for start in range(0, len(positions), sizes[key])
    )


def _chunks(stream: Iterable[Decoded], positions: Iterable[int]) -> Iterator[list[Decoded]]:
    """Gather pairs of one block while they are small enough to be held at once."""
    chunk: list[Decoded] = []
    held, block = 0, -1
    for decoded, position in zip(stream, positions, strict=False):
        if chunk and block_of(position) != block:
            yield chunk
            chunk, held = [], 0
        chunk.append(decoded)
        held, block = held + decoded.held, block_of(position)
        if block_of(position + 1) != block or held >= CHUNK_BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk
