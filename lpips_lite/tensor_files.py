"""Reading, writing and checking files of tensors: hashes of files and of contents, names, shapes, finite values.

`weights.py` uses it for the files that it finds.
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
    """Hash names, shapes and float32 values, so that the hash does not depend on the file format."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().float().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """Return the first eight hex digits of `content_sha256`, as signatures have them."""
    return content_sha256(tensors)[:8]


def check_tensors(tensors: Mapping[str, Tensor], shapes: Shapes, what: str, others: Sequence[Shapes] = ()) -> None:
    """Raise a ValueError unless `tensors` has exactly the keys and shapes of `shapes`, and all values are finite.

    If it has the keys of one of `others`, this takes the place of `shapes`.
    """
    shapes = next((other for other in others if other.keys() == tensors.keys()), shapes)
    missing, extra = sorted(shapes.keys() - tensors.keys()), sorted(tensors.keys() - shapes.keys())
    if missing or extra:
        raise ValueError(f"{what}: missing keys {missing or 'none'}, unexpected keys {extra or 'none'}")
    for key, shape in shapes.items():
        tensor = tensors[key]
        if tuple(tensor.shape) != tuple(shape):
            raise ValueError(f"{what}: {key} has shape {tuple(tensor.shape)}; expected {tuple(shape)}")
        if tensor.is_meta or tensor.is_quantized or tensor.is_complex() or tensor.layout != torch.strided:
            raise ValueError(f"{what}: {key} is not a plain tensor of real numbers; expected float32")
        if not torch.isfinite(tensor.float()).all():
            raise ValueError(f"{what}: {key} has values that are NaN, infinite or beyond float32")


# -- files -----------------------------------------------------------------------------------------------------------


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with metadata. The file appears only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        whole = Path(scratch) / path.name
        try:
            safetensors.torch.save_file({k: t.detach().contiguous() for k, t in tensors.items()}, whole, dict(metadata))
        except safetensors.SafetensorError as error:  # what it raises for a full disk
            raise OSError(f"{path} cannot be written ({error})") from error
        whole.chmod(0o644)  # safetensors makes it private, but others may read a shared cache
        whole.replace(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a `.safetensors` file; other files have none."""
    if path.suffix != ".safetensors":
        return {}
    with _reading(path), safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def digests_in(metadata: Mapping[str, str], path: Path) -> frozenset[str]:
    """Return the list `trained_on` of a file's metadata: digests of the references that its weights were trained on.

    `lpips_lite.votes.provenance` makes the digests. Files without a list give an empty set.
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
    """Return the sha256 of a file, or raise a ValueError if it does not begin with the expected digits."""
    _expect_file(path)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise ValueError(
            f"weights: {path} has sha256 {found[: len(sha256)]}; expected {sha256}. "
            f"The file is truncated or a different one: delete it and load again"
        )
    return found


def _expect_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"weights: {path} does not exist or is not a file")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the six unrelated exceptions that readers raise for a bad file into one ValueError."""
    _expect_file(path)
    try:
        yield
    except Exception as error:
        size = path.stat().st_size
        raise ValueError(
            f"weights: {path} ({size} bytes) cannot be read as weights; it may be truncated "
            f"({type(error).__name__}: {' '.join(str(error).splitlines()[:1])})"
        ) from error
