"""Features that are kept for later comparisons: `LPIPS.encode` returns them; `distance` and `pairwise` take them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from lpips_lite.tensor_files import save_tensors

DTYPES = torch.float64, torch.float32, torch.float16, torch.bfloat16


@dataclass(frozen=True, eq=False, repr=False)
class Encoding:
    """The features of a batch, computed once and compared as often as wanted.

    Attributes:
        features: Output of the tower, L × (N, C_l, H_l, W_l).
        size: Height and width of the images.
        signature: Signature of the metric that made it; encodings of different metrics cannot be compared.
    """

    features: tuple[Tensor, ...]
    size: tuple[int, int]
    signature: str

    def __len__(self) -> int:
        return len(self.features[0])

    def __getitem__(self, rows: int | slice | Tensor) -> Encoding:
        """Return some of the images: one (as a batch of one), a slice (without copying), or those chosen by a tensor.

        Raises:
            IndexError: If there is no such image.
            TypeError: If `rows` is not an int, a slice, or a tensor (K,) of integers or booleans.
            ValueError: If a slice runs backwards.
        """
        chosen = _check_rows(rows, len(self))
        return self._with(feature[chosen] for feature in self.features)

    def __iter__(self) -> Iterator[Encoding]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        first, (height, width) = self.features[0], self.size
        what = f"{len(self)} images of {height}×{width}, {first.dtype} on {first.device}"
        return f"<Encoding of {what}, by {self.signature!r}>"

    def to(self, target: torch.device | torch.dtype | str) -> Encoding:
        """Return it on another device or in another dtype; for example, a gallery may be kept on the CPU in float16.

        Raises:
            TypeError: If the dtype is not float64, float32, float16 or bfloat16.
        """
        if isinstance(target, torch.dtype) and target not in DTYPES:
            raise TypeError(f"dtype {target}: expected one of {', '.join(map(str, DTYPES))}")
        return self._with(feature.to(target) for feature in self.features)

    def cpu(self) -> Encoding:
        """Return it on the CPU."""
        return self.to("cpu")

    def detach(self) -> Encoding:
        """Return it without gradients."""
        return self._with(feature.detach() for feature in self.features)

    def expand(self, count: int) -> Encoding:
        """Return one image as a batch of `count`, without copying."""
        return self._with(feature.expand(count, -1, -1, -1) for feature in self.features)

    @staticmethod
    def cat(encodings: Iterable[Encoding]) -> Encoding:
        """Join batches of the same metric, image size and dtype into one, as `torch.cat` joins tensors.

        Raises:
            ValueError: If there are no batches, or they differ.
        """
        parts = list(encodings)
        for part in parts:
            _expect_encoding(part)
        if not parts:
            raise ValueError("encodings: there are none; expected at least one")
        if len(parts) == 1:
            return parts[0]
        for part in parts[1:]:
            for name, first, other in zip(("signature", "size", "dtype"), parts[0]._kind(), part._kind(), strict=True):
                if first != other:
                    raise ValueError(f"encodings differ in {name}: {first} and {other}")
        layers = zip(*(part.features for part in parts), strict=True)
        return parts[0]._with(torch.cat(layer) for layer in layers)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a safetensors file, in its dtype, without gradients. The file appears only when it is complete.

        It holds `features.0`, `features.1`, …, each (N, H_l, W_l, C_l) with channels last, as they are in memory. Its
        metadata are `size`, HEIGHTxWIDTH, and `signature`.

        Raises:
            FileNotFoundError: If there is no such folder.
        """
        tensors = {f"features.{layer}": f.permute(0, 2, 3, 1) for layer, f in enumerate(self.features)}
        if not Path(path).parent.is_dir():
            raise FileNotFoundError(f"encoding: there is no folder {Path(path).parent} to write {Path(path).name} into")
        save_tensors(Path(path), tensors, {"size": "{}x{}".format(*self.size), "signature": self.signature})

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Encoding:
        """Read a file that `save` wrote, onto the CPU.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is truncated or was not written by `save`.
        """
        tensors, metadata = _read(Path(path))
        size, signature = re.fullmatch(r"(\d+)x(\d+)", metadata.get("size", "")), metadata.get("signature")
        names = [f"features.{layer}" for layer in range(len(tensors))]
        if not (size and signature and names) or set(names) != set(tensors):
            found = f"the keys {sorted(tensors)[:3]} and the metadata {sorted(metadata)}"
            raise ValueError(f"encoding: {path} has {found}; expected a file of Encoding.save, 'features.0' and so on")
        features = [tensors[name] for name in names]
        shapes, dtypes = [tuple(f.shape) for f in features], {f.dtype for f in features}
        floating = len(dtypes) == 1 and features[0].is_floating_point()
        if {len(shape) for shape in shapes} != {4} or len({shape[0] for shape in shapes}) > 1 or not floating:
            raise ValueError(
                f"encoding: {path} has {shapes} in {dtypes}; expected (N, H, W, C), one N, one float dtype"
            )
        return Encoding(tuple(f.permute(0, 3, 1, 2) for f in features), (int(size[1]), int(size[2])), signature)

    def _with(self, features: Iterable[Tensor]) -> Encoding:
        return replace(self, features=tuple(features))

    def _kind(self) -> tuple[str, tuple[int, int], torch.dtype]:
        return self.signature, self.size, self.features[0].dtype


def check_encodings(x: Encoding, y: Encoding, signature: str) -> None:
    """Check that two encodings were made by the metric with this signature, from images of the same size.

    Raises:
        ValueError: If not.
    """
    for encoding in (x, y):
        _expect_encoding(encoding)
        if encoding.signature != signature:
            raise ValueError(f"encoding made by {encoding.signature!r}; expected {signature!r}")
    if x.size != y.size:
        raise ValueError(f"images of sizes {x.size} and {y.size}; expected equal sizes")


def _expect_encoding(value: object) -> None:
    if not isinstance(value, Encoding):
        raise TypeError(f"expected an Encoding, as LPIPS.encode returns it; got a {type(value).__name__}")


def _check_rows(rows: object, count: int) -> slice | Tensor:
    """Return an index into features that keeps the batch dimension."""
    if isinstance(rows, Tensor) and rows.ndim == 0:
        rows = rows.item()
    if not isinstance(rows, bool) and isinstance(rows, Integral):
        place = int(rows)
        if not -count <= place < count:
            raise IndexError(f"there is no image {place} in an encoding of {count}")
        return slice(place % count, place % count + 1)
    if isinstance(rows, slice):
        return rows
    if isinstance(rows, Tensor) and rows.ndim == 1 and rows.dtype in (torch.bool, torch.int32, torch.int64):
        return rows
    kind = f"tensor {tuple(rows.shape)} of {rows.dtype}" if isinstance(rows, Tensor) else type(rows).__name__
    raise TypeError(f"index of an encoding is a {kind}; expected an int, a slice, or a tensor (K,) of ints or booleans")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and metadata of a safetensors file."""
    if not path.is_file():
        raise FileNotFoundError(f"encoding: {path} does not exist or is not a file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except safetensors.SafetensorError as error:
        size = path.stat().st_size
        raise ValueError(
            f"encoding: {path} ({size} bytes) is not a safetensors file, or is truncated ({error})"
        ) from error
