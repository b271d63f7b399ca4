"""Loading weights: one strict, verified way from a file to tensors, for towers and for channel weights.

Between `manifest.py` (which files there are, and where) and its users, `towers.py` and `metric.py`. What is loaded was
checked for its hash where one is known, and always for names, shapes, finite values and, for channel weights, signs.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from filelock import FileLock
from torch import Tensor

from lpips_lite import manifest

Tensors = dict[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ChannelWeights:
    """The weight of each channel of each layer, and what is known of where they come from.

    Attributes:
        label: For signatures, by what the numbers are, never by a file's name: "v0.1", "lite-0.3", "uniform", "custom".
        tensors: L × (C_l,), float32, ≥ 0.
        scaled: Whether images are normalised for the tower; the published v0.0 fed [-1, 1] as it was.
        tower: Fingerprint of the tower they were fitted on, if the file says so.
        slope: P(people choose p1) = σ(slope · (d0 − d1)), if it was fitted to votes.
    """

    label: str
    tensors: tuple[Tensor, ...]
    scaled: bool = True
    tower: str | None = None
    slope: float | None = None


# -- what callers ask for --------------------------------------------------------------------------------------------


def load_tower(net: str, source: str | os.PathLike[str] | None, shapes: Shapes) -> Tensors:
    """Load a tower's convolutions.

    Args:
        net: The tower's name.
        source: `None` (embedded for "lite"; else cache, then download) · "random:SEED" (for tests) · a path to a
            torchvision checkpoint or to a conv-only file with the same `features.N…` keys, `.pth` or `.safetensors`.
        shapes: The shape of every weight the tower has.

    Returns:
        Tensors by key, float32, exactly those of `shapes`.

    Raises:
        ValueError: If the file is unreadable, has another hash than its name or manifest entry says, or lacks a key,
            has one too many, a wrong shape, or a value that is not finite.
        FileNotFoundError: If the path does not exist, or there is neither a cached file nor a way to download one.
    """
    if source is None:
        return read_tower(embedded_file(), shapes) if net == "lite" else _load_cached_tower(net, shapes)
    if isinstance(source, str) and re.fullmatch(r"random:\d+", source):
        return _random_tower(int(source.partition(":")[2]), shapes)
    path = Path(source)
    named_hash = re.search(r"-([0-9a-f]{8})\.pth$", path.name)  # torchvision's convention
    if named_hash:
        _verify(path, named_hash[1])
    return read_tower(path, shapes)


def load_channel_weights(net: str, source: str | os.PathLike[str], channels: Sequence[int]) -> ChannelWeights:
    """Load the non-negative weight of each channel of each layer.

    Args:
        net: The tower's name.
        source: "calibrated" (lite: its own; others: "v0.1") · "v0.1" · "v0.0" · "uniform" · a path.
        channels: Number of channels of each layer.

    Returns:
        The weights. A published file is recognised, so that its path and its version are one metric.

    Raises:
        ValueError: As `load_tower`; also if a weight is negative, or nothing is published for this net and version.
        FileNotFoundError: As `load_tower`.
    """
    if source == "uniform":
        return ChannelWeights("uniform", tuple(torch.ones(count) for count in channels))
    if source == "calibrated" and net == "lite":
        return _own_weights(embedded_file(), manifest.EMBEDDED.sha256, channels)
    version = "v0.1" if source == "calibrated" else str(source)
    if (net, version) in manifest.CHANNEL_FILES:
        return _published_weights(_cached_channel_file(net, version), version, channels)
    if re.fullmatch(r"v\d+\.\d+|calibrated", str(source)):
        known = ", ".join(sorted(v for n, v in manifest.CHANNEL_FILES if n == net)) or "none"
        raise ValueError(
            f"channel_weights={source!r}: not published for net={net!r} (published: {known}); 'uniform' or a path works"
        )
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"weights: {path} does not exist or is not a file")
    digest = _sha256(path)
    published = [v for (n, v), entry in manifest.CHANNEL_FILES.items() if n == net and entry.sha256 == digest]
    return _published_weights(path, published[0], channels) if published else _own_weights(path, digest, channels)


def _published_weights(path: Path, version: str, channels: Sequence[int]) -> ChannelWeights:
    return ChannelWeights(version, _read_channel_weights(path, channels), scaled=version != "v0.0")


def _own_weights(path: Path, digest: str, channels: Sequence[int]) -> ChannelWeights:
    """Read weights of this package's making, the embedded ones or a user's."""
    metadata = read_metadata(path) if path.suffix == ".safetensors" else {}
    slope = float(metadata["slope"]) if "slope" in metadata else None
    if slope is not None and not 0 < slope < float("inf"):
        raise ValueError(f"weights: {path} has a slope of {slope:g}; expected a positive number")
    label = f"lite-{metadata['version']}" if digest == manifest.EMBEDDED.sha256 else "custom"
    return ChannelWeights(label, _read_channel_weights(path, channels), True, metadata.get("tower"), slope)


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """Hash names, shapes and float32 values: eight hex digits that do not depend on the file they came in."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().float().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:8]


def check_tensors(tensors: Mapping[str, Tensor], shapes: Shapes, what: str) -> None:
    """Raise a ValueError unless `tensors` has exactly the keys and shapes of `shapes`, all values finite."""
    missing, extra = sorted(shapes.keys() - tensors.keys()), sorted(tensors.keys() - shapes.keys())
    if missing or extra:
        raise ValueError(f"{what}: missing keys {missing or 'none'}, unexpected keys {extra or 'none'}")
    for key, shape in shapes.items():
        if tuple(tensors[key].shape) != tuple(shape):
            raise ValueError(f"{what}: {key} has shape {tuple(tensors[key].shape)}; expected {tuple(shape)}")
        if not torch.isfinite(tensors[key].float()).all():
            raise ValueError(f"{what}: {key} has values that are NaN, infinite or beyond float32")


# -- places ----------------------------------------------------------------------------------------------------------


def embedded_file() -> Path:
    """Return the verified file of the lite tower inside the package."""
    path = Path(str(resources.files("lpips_lite") / "data" / manifest.EMBEDDED.file))
    _verify(path, manifest.EMBEDDED.sha256)
    return path


def _load_cached_tower(net: str, shapes: Shapes) -> Tensors:
    cached = manifest.tower_cache_file(net)
    if cached.exists():
        return read_tower(cached, shapes)
    cached.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(cached.with_suffix(".lock")):  # whoever waited here finds the file
        if not cached.exists():
            entry, checkpoint = manifest.TOWER_FILES[net], manifest.find_checkpoint(net)
            with tempfile.TemporaryDirectory(dir=manifest.home()) as scratch:
                if checkpoint is None:
                    checkpoint = manifest.download(entry, Path(scratch), net, "tower_weights")
                else:
                    _verify(checkpoint, entry.sha256)
                convert_tower(net, checkpoint, cached, shapes)
    return read_tower(cached, shapes)


def convert_tower(net: str, checkpoint: Path, out: Path, shapes: Shapes) -> None:
    """Write a checkpoint's convolutions as a conv-only safetensors file that carries its own content hash."""
    tensors = read_tower(checkpoint, shapes)
    save_tensors(out, tensors, {"net": net, "source": checkpoint.name, "content": content_hash(tensors)})


def _cached_channel_file(net: str, version: str) -> Path:
    entry = manifest.CHANNEL_FILES[net, version]
    path = manifest.find_channel_file(entry)
    if path is None:
        manifest.home().mkdir(parents=True, exist_ok=True)
        with FileLock((manifest.home() / entry.file).with_suffix(".lock")):
            path = manifest.find_channel_file(entry)
            if path is None:
                return manifest.download(entry, manifest.home(), net, "channel_weights")
    _verify(path, entry.sha256)
    return path


def present_files(shapes: Mapping[str, Shapes]) -> Iterator[tuple[Path, Callable[[], object]]]:
    """Yield every weight file on this machine with a function that raises a ValueError if it is bad."""
    yield embedded_file(), embedded_file
    for net, entry in manifest.TOWER_FILES.items():
        if (kept := manifest.tower_cache_file(net)).exists():
            yield kept, partial(read_tower, kept, shapes[net])
        if checkpoint := manifest.find_checkpoint(net):
            yield checkpoint, partial(_verify, checkpoint, entry.sha256)
    for entry in manifest.CHANNEL_FILES.values():
        if path := manifest.find_channel_file(entry):
            yield path, partial(_verify, path, entry.sha256)


# -- files -----------------------------------------------------------------------------------------------------------


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with metadata; a reader sees either nothing or the whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        whole = Path(scratch) / path.name
        safetensors.torch.save_file({k: t.detach().contiguous() for k, t in tensors.items()}, whole, dict(metadata))
        whole.chmod(0o644)  # safetensors makes it private; a shared cache is for others to read
        whole.replace(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file."""
    with safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def read_tensors(path: Path) -> Tensors:
    """Read a `.safetensors` file or a `.pth` file of tensors, without checking what they are."""
    if not path.is_file():
        raise FileNotFoundError(f"weights: {path} does not exist or is not a file")
    try:
        if path.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise six unrelated types for a bad file
        size = path.stat().st_size
        raise ValueError(
            f"weights: {path} ({size} bytes) cannot be read as weights; it may be truncated "
            f"({type(error).__name__}: {' '.join(str(error).splitlines()[:1])})"
        ) from error
    if not isinstance(tensors, Mapping) or not all(
        isinstance(k, str) and isinstance(t, Tensor) for k, t in tensors.items()
    ):
        raise ValueError(f"weights: {path} does not hold a mapping of names to tensors")
    odd = [k for k, t in tensors.items() if t.is_meta or t.is_quantized or t.is_complex() or t.layout != torch.strided]
    if odd:
        raise ValueError(f"weights: {path}: {odd[0]} is no plain tensor of real numbers; expected float32")
    return dict(tensors)


def read_tower(path: Path, shapes: Shapes) -> Tensors:
    """Read and check a tower's convolutions from a full checkpoint or a conv-only file. See `load_tower`."""
    tensors = read_tensors(path)
    if tensors and all(re.match(r"lin\d|channel_weights", key) for key in tensors):
        raise ValueError(
            f"weights: {path} is the {path.stat().st_size / 1000:.0f} KB channel-weight file given as the tower; "
            f"the tower is a separate file with the convolutions: pass this one as channel_weights="
        )
    tensors = {k: t.float() for k, t in tensors.items() if not re.match(r"classifier\.|channel_weights\.\d", k)}
    check_tensors(tensors, shapes, f"weights: {path}")
    recorded = read_metadata(path).get("content") if path.suffix == ".safetensors" else None
    if recorded and recorded != content_hash(tensors):
        raise ValueError(f"weights: {path} holds other numbers than when it was written; delete it and load again")
    return tensors


def _read_channel_weights(path: Path, channels: Sequence[int]) -> tuple[Tensor, ...]:
    """Read this package's `channel_weights.N` (C,) or the published `linN.model.1.weight` (1, C, 1, 1)."""
    tensors = {key: t for key, t in read_tensors(path).items() if not key.startswith("features.")}
    if not tensors:
        raise ValueError(f"weights: {path} has no channel weights; is it a tower? pass that as tower_weights=")
    published = "lin0.model.1.weight" in tensors
    pattern, tail = ("lin{}.model.1.weight", (1, 1)) if published else ("channel_weights.{}", ())
    shapes = {pattern.format(i): ((1, count, *tail) if published else (count,)) for i, count in enumerate(channels)}
    check_tensors(tensors, shapes, f"weights: {path}")
    negative = [key for key, tensor in tensors.items() if (tensor < 0).any()]
    if negative:
        raise ValueError(f"weights: {path}: negative channel weights in {negative}; expected values ≥ 0")
    return tuple(tensors[key].flatten().float() for key in shapes)


def _verify(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"weights: {path} does not exist or is not a file")
    found = _sha256(path)
    if not found.startswith(sha256):
        raise ValueError(
            f"weights: {path} has sha256 {found[: len(sha256)]}; expected {sha256}. "
            f"It is truncated or another file: delete it and load again"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _random_tower(seed: int, shapes: Shapes) -> Tensors:
    """Draw He-normal weights and small positive biases, the same on every machine for one seed."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, shape in shapes.items():
        fan_in = shape[1] * shape[2] * shape[3] if len(shape) == 4 else 0
        draw = torch.randn(shape, generator=generator)
        tensors[key] = draw * (2 / fan_in) ** 0.5 if fan_in else draw.abs() * 0.05
    return tensors
