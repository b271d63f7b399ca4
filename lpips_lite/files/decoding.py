"""Image files read ahead of the tower: pairs of paths in; pairs of tensors, or the reason why not, out, in order.

Threads do the work, since Pillow lets go of the interpreter while it decodes: no start-up, nothing to copy between
processes, and an interrupt finds nobody else to stop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path

from torch import Tensor
from torch.nn.functional import interpolate

from lpips_lite.files.pairs import Pair, shown
from lpips_lite.files.reading import read_pixels
from lpips_lite.images import to_float

Resize = str | tuple[int, int]  # "no", "ref", or (height, width)

AHEAD = 4  # pairs decoded in advance for each worker


@dataclass(frozen=True)
class Decoded:
    """A pair as tensors (3, H, W), uint8 or float in [0, 1]; or an error instead of them, and notes on either."""

    pair: Pair
    image: Tensor | None = None
    reference: Tensor | None = None
    error: str | None = None
    notes: list[str] = field(default_factory=list)


def decode(pairs: Iterable[Pair], resize: Resize = "no", workers: int = 2) -> Iterator[Decoded]:
    """Read pairs in order, a few of them ahead of time. A reference that follows itself is read once."""
    read = lru_cache(maxsize=2 * workers)(read_pixels)
    todo = iter(pairs)
    with ThreadPoolExecutor(workers) as pool:

        def submit(pair: Pair) -> Future[Decoded]:
            return pool.submit(_decode_one, read, resize, pair)

        pending = deque(map(submit, islice(todo, AHEAD * workers)))
        try:
            while pending:
                decoded = pending.popleft().result()
                pending.extend(map(submit, islice(todo, 1)))
                yield decoded
        finally:
            for future in pending:
                future.cancel()


def _decode_one(read_reference: Callable[[Path], tuple[Tensor, list[str]]], resize: Resize, pair: Pair) -> Decoded:
    try:
        image, notes = read_pixels(pair.image)
        reference, more = read_reference(pair.reference)
        if resize == "ref":
            image = fit(image, (reference.shape[1], reference.shape[2]))
        elif isinstance(resize, tuple):
            image, reference = fit(image, resize), fit(reference, resize)
        if reference.shape != image.shape:
            sizes = " against ".join(f"{t.shape[2]}×{t.shape[1]}" for t in (image, reference))
            raise ValueError(f"{pair.image}: sizes differ, {sizes} of {pair.reference}; --resize ref makes them equal")
    except (OSError, ValueError, MemoryError) as error:
        return Decoded(pair, error=shown(Path(str(error) or f"{pair.image}: {type(error).__name__}")))
    return Decoded(pair, image, reference, notes=notes + more)


def fit(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (3, H, W) to (height, width), bicubic and antialiased, in [0, 1]; left alone if it has that size."""
    if tuple(image.shape[1:]) == size:
        return image
    return interpolate(to_float(image)[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)
