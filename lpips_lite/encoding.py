"""Features kept to be compared later: what `LPIPS.encode` gives and `LPIPS.distance` takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Encoding:
    """The features of a batch, computed once and compared as often as wanted.

    Attributes:
        features: As the tower gives them, L × (N, C_l, H_l, W_l).
        size: Height and width of the images.
        signature: Of the metric that made it; encodings of different metrics do not mix.
    """

    features: tuple[Tensor, ...]
    size: tuple[int, int]
    signature: str

    def __len__(self) -> int:
        return len(self.features[0])

    def __getitem__(self, rows: int | slice) -> Encoding:
        """Return some of the images; one alone is a batch of one."""
        if not isinstance(rows, slice):
            place = range(len(self))[rows]
            rows = slice(place, place + 1)
        return self._with(feature[rows] for feature in self.features)

    def __iter__(self) -> Iterator[Encoding]:
        return (self[row] for row in range(len(self)))

    def to(self, target: torch.device | torch.dtype | str) -> Encoding:
        """Return it on another device, or in another dtype: a gallery may wait on the CPU in float16."""
        return self._with(feature.to(target) for feature in self.features)

    def cpu(self) -> Encoding:
        """Return it on the CPU."""
        return self.to("cpu")

    def detach(self) -> Encoding:
        """Return it without the graph of gradients."""
        return self._with(feature.detach() for feature in self.features)

    def expand(self, count: int) -> Encoding:
        """Return one image as a batch of `count`, without copying."""
        return self._with(feature.expand(count, -1, -1, -1) for feature in self.features)

    def _with(self, features: Iterable[Tensor]) -> Encoding:
        return replace(self, features=tuple(features))


def check_encodings(x: Encoding, y: Encoding, signature: str) -> None:
    """Check that two encodings were made by the metric of this signature, from images of one size.

    Raises:
        ValueError: If not.
    """
    for encoding in (x, y):
        if encoding.signature != signature:
            raise ValueError(f"encoding made by {encoding.signature!r}; expected {signature!r}")
    if x.size != y.size:
        raise ValueError(f"images of sizes {x.size} and {y.size}; expected equal sizes")
