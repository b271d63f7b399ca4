"""Features kept to be compared later: what `LPIPS.encode` gives and `LPIPS.distance` takes."""

from __future__ import annotations

from dataclasses import dataclass

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

    def __getitem__(self, rows: slice) -> Encoding:
        return Encoding(tuple(feature[rows] for feature in self.features), self.size, self.signature)


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
