"""Tensors to and from files, and what tells them apart: hashes of files and of contents, names, shapes, finite values.

Knows files but not which there are. `weights.py` gives callers what they ask for with it.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

Tensors = dict[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]


# -- what tensors are ------------------------------------------------------------------------------------------------


def content_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash names, shapes and float32 values, which do not depend on the file they came in."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().float().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """Return the eight hex digits of `content_sha256` that signatures have."""
    return content_sha256(tensors)[:8]


def check_tensors(tensors: Mapping[str, Tensor], shapes: Shapes, what: str, others: Sequence[Shapes] = ()) -> None:
    """Raise a ValueError unless `tensors` has exactly the keys and shapes of `shapes`, all values finite.

    They may also be those of one of `others`, but errors speak of the first.
    """
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    shapes = found if found in others else shapes
    missing, extra = sorted(shapes.keys() - tensors.keys()), sorted(tensors.keys() - shapes.keys())
    if missing or extra:
        raise ValueError(f"{what}: missing keys {missing or 'none'}, unexpected keys {extra or 'none'}")
    for key, shape in shapes.items():
        if found[key] != tuple(shape):
            raise ValueError(f"{what}: {key} has shape {found[key]}; expected {tuple(shape)}")
        tensor = tensors[key]
        if tensor.is_meta or tensor.is_quantized or tensor.is_complex() or tensor.layout != torch.strided:
            raise ValueError(f"{what}: {key} is no plain tensor of real numbers; expected float32")
        if not torch.isfinite(tensor.float()).all():
            raise ValueError(f"{what}: {key} has values that are NaN, infinite or beyond float32")


# -- files -----------------------------------------------------------------------------------------------------------


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with metadata; a reader sees either nothing or the whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        whole = Path(scratch) / path.name
        try:
            safetensors.torch.save_file({k: t.detach().contiguous() for k, t in tensors.items()}, whole, dict(metadata))
        except safetensors.SafetensorError as error:  # what it makes of a full disk
            raise OSError(f"{path} cannot be written ({error})") from error
        whole.chmod(0o644)  # safetensors makes it private; a shared cache is for others to read
        whole.replace(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a `.safetensors` file; other files have none."""
    if path.suffix != ".safetensors":
        return {}
    with _reading(path), safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def digests_in(metadata: Mapping[str, str], path: Path) -> frozenset[str]:
    """Return what a file's metadata lists as `trained_on`: digests of the references that its numbers have learnt from.

    `lpips_lite.votes.provenance` makes them. A file without a list says nothing.
    """
    digests = metadata.get("trained_on", "").split()
    odd = [digest for digest in digests if not re.fullmatch("[0-9a-f]{16}", digest)]
    if odd:
        raise ValueError(f"weights: {path} has {odd[0][:40]!r} in its list trained_on; expected 16 hex digits each")
    return frozenset(digests)


def spell_digests(digests: Iterable[str]) -> str:
    """Return digests as a file's metadata lists them; `digests_in` reads them."""
    return " ".join(sorted(set(digests)))


def read_tensors(path: Path) -> Tensors:
    """Read a `.safetensors` file or a `.pth` file of tensors, without checking what they are."""
    with _reading(path):
        if path.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(tensors, Mapping) or not all(
        isinstance(k, str) and isinstance(t, Tensor) for k, t in tensors.items()
    ):
        raise ValueError(f"weights: {path} does not hold a mapping of names to tensors")
    return dict(tensors)


def verify(path: Path, sha256: str = "") -> str:
    """Return the sha256 of a file, or raise a ValueError if it does not begin with the one expected."""
    _expect_file(path)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise ValueError(
            f"weights: {path} has sha256 {found[: len(sha256)]}; expected {sha256}. "
            f"It is truncated or another file: delete it and load again"
        )
    return found


def _expect_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"weights: {path} does not exist or is not a file")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what the readers raise for a bad file, six unrelated types, into one ValueError."""
    _expect_file(path)
    try:
        yield
    except Exception as error:
        size = path.stat().st_size
        raise ValueError(
            f"weights: {path} ({size} bytes) cannot be read as weights; it may be truncated "
            f"({type(error).__name__}: {' '.join(str(error).splitlines()[:1])})"
        ) from error
