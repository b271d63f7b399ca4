"""Load weights by name or by path: find the file, verify it, load it, and keep a copy if possible.

Uses `manifest.py` (which files exist, and where), `tower_weights.py` and `channel_weights.py` (what is in them). Used
by `towers.py` and `metric.py`. Weights loaded by a published name are the published ones. Names of tensors, shapes,
finite values and, for channel weights, signs are always checked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lpips_lite import manifest
from lpips_lite.channel_weights import ChannelWeights, read_channel_weights
from lpips_lite.tensor_files import Shapes, Tensors, check_tensors, content_sha256, read_metadata, verify
from lpips_lite.tower_weights import TowerWeights, expect_published, identify, read_tower, save_tower

# -- towers ----------------------------------------------------------------------------------------------------------


def load_tower(
    net: str,
    source: str | os.PathLike[str] | Mapping[str, Tensor] | None,
    shapes: Shapes,
    others: Sequence[Shapes] = (),
) -> TowerWeights:
    """Load a tower's convolutions.

    Args:
        net: The tower's name.
        source: `None` (embedded for "lite"; else cache, then download) · "random:SEED" (for tests) · a path to a
            torchvision checkpoint or to a conv-only file with the same `features.N…` keys, `.pth` or `.safetensors` ·
            a mapping of such tensors.
        shapes: The shape of every weight of the tower.
        others: Shapes of its other tables, which a file or a mapping may have instead.

    Returns:
        The tower; its tensors are exactly those of one table. It is also loaded if no copy can be kept because the
        folder cannot be written.

    Raises:
        ValueError: If the file is unreadable, if its hash is not the one in its name or manifest entry, if a key is
            missing or unexpected, if a shape is wrong or a value not finite, or if the cached file is not the published
            tower.
        FileNotFoundError: If the path does not exist, or there is neither a cached file nor a way to download one.
    """
    if source is None:
        return read_tower(net, embedded_file(), shapes, others) if net == "lite" else _load_cached_tower(net, shapes)
    if isinstance(source, Mapping):
        check_tensors(source, shapes, f"weights of tower {net!r}", others)
        return identify(net, {key: tensor.float() for key, tensor in source.items()})
    if isinstance(source, str) and re.fullmatch(r"random:\d+", source):
        return identify(net, _random_tower(int(source.partition(":")[2]), shapes))
    return read_tower(net, Path(source), shapes, others)


def convert_tower(net: str, checkpoint: Path, out: Path, shapes: Shapes) -> TowerWeights:
    """Write the convolutions of a checkpoint to a conv-only file. See `read_tower` and `save_tower`."""
    tower = read_tower(net, checkpoint, shapes)
    save_tower(net, tower, out)
    return tower


def _load_cached_tower(net: str, shapes: Shapes) -> TowerWeights:
    kept = manifest.tower_cache_file(net)
    if not manifest.is_here(kept):
        with manifest.one_at_a_time(kept):
            if not manifest.is_here(kept):  # a process that waited here finds it
                return _read_first(net, kept, shapes)
    return _read_kept(net, kept, shapes)


def _read_first(net: str, kept: Path, shapes: Shapes) -> TowerWeights:
    """Read a verified checkpoint, and keep its convolutions if that is possible."""
    entry, found = manifest.tower_entry(net), manifest.find_checkpoint(net)
    checkpoint = found or manifest.download(entry, net, "tower_weights")
    tower = expect_published(net, read_tower(net, checkpoint, shapes, sha256=entry.sha256), checkpoint)
    with suppress(OSError):  # a read-only or full folder
        manifest.make_home()
        save_tower(net, tower, kept)
        if found is None:
            checkpoint.unlink()
    return tower


def _read_kept(net: str, kept: Path, shapes: Shapes) -> TowerWeights:
    return expect_published(net, read_tower(net, kept, shapes), kept)


def _random_tower(seed: int, shapes: Shapes) -> Tensors:
    """Draw He-normal weights and small positive biases; the same seed gives the same values on every machine."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, shape in shapes.items():
        fan_in = shape[1] * shape[2] * shape[3] if len(shape) == 4 else 0
        draw = torch.randn(shape, generator=generator)
        tensors[key] = draw * (2 / fan_in) ** 0.5 if fan_in else draw.abs() * 0.05
    return tensors


# -- channel weights -------------------------------------------------------------------------------------------------


def load_channel_weights(net: str, source: str | os.PathLike[str], channels: Sequence[int]) -> ChannelWeights:
    """Load the non-negative weight of each channel of each layer.

    Args:
        net: The tower's name.
        source: "calibrated" (the weights made for lite; for others "v0.1") · "v0.1" · "v0.0" · "uniform" · a path.
        channels: Number of channels of each layer.

    Returns:
        The weights. A published file is recognised, so that its path and its version give the same metric.

    Raises:
        ValueError: Same as `load_tower`; also if a weight is negative, if the limit of a near head is not positive, if
            a near head is incomplete, or if nothing is published for this net and version.
        FileNotFoundError: Same as `load_tower`.
    """
    if version := published_version(net, source):
        return _published(version, read_channel_weights(_cached_channel_file(net, version), channels))
    if source == "uniform":
        return ChannelWeights("uniform", tuple(torch.ones(count) for count in channels))
    path = embedded_file() if source == "calibrated" else Path(source)
    return _own_weights(net, path, verify(path), channels)


def published_version(net: str, source: str | os.PathLike[str]) -> str | None:
    """Return the version of the published channel weights, if these are asked for, else `None`.

    Raises:
        ValueError: If nothing is published for this net and version.
    """
    version = "v0.1" if source == "calibrated" and net != "lite" else str(source)
    if (net, version) in manifest.CHANNEL_FILES:
        return version
    if not re.fullmatch(r"v\d+\.\d+", version):
        return None
    known = ", ".join(sorted(v for n, v in manifest.CHANNEL_FILES if n == net)) or "none"
    raise ValueError(
        f"channel_weights={source!r}: not published for net={net!r} (published: {known}); 'uniform' or a path works"
    )


def _published(version: str, found: ChannelWeights) -> ChannelWeights:
    return ChannelWeights(version, found.tensors, scaled=version != "v0.0")


def _own_weights(net: str, path: Path, digest: str, channels: Sequence[int]) -> ChannelWeights:
    """Read weights from any file: the embedded ones, the published ones under any file name, or custom ones."""
    found = read_channel_weights(path, channels)
    content = content_sha256(found.named())
    for (named, version), entry in manifest.CHANNEL_FILES.items():
        if named == net and entry.content == content:
            return _published(version, found)
    if digest == manifest.EMBEDDED.sha256:
        return replace(found, label=f"lite-{read_metadata(path)['version']}")
    return found


def _cached_channel_file(net: str, version: str) -> Path:
    entry = manifest.CHANNEL_FILES[net, version]
    path = manifest.find_channel_file(entry)
    if path is None:
        with manifest.one_at_a_time(manifest.home() / entry.file):
            path = manifest.find_channel_file(entry) or manifest.download(entry, net, "channel_weights")
    verify(path, entry.sha256)
    return path


# -- all of them -----------------------------------------------------------------------------------------------------


def embedded_file() -> Path:
    """Return the file of the lite tower and its channel weights inside the package, verified."""
    path = manifest.embedded_file()
    verify(path, manifest.EMBEDDED.sha256)
    return path


def present_files(shapes: Mapping[str, Shapes]) -> Iterator[tuple[Path, Callable[[], str]]]:
    """Yield every weight file on this machine, with a function that describes it or raises a ValueError."""
    yield manifest.embedded_file(), partial(_describe_file, manifest.embedded_file(), manifest.EMBEDDED.sha256)
    for net, entry in manifest.TOWER_FILES.items():
        if manifest.is_here(kept := manifest.tower_cache_file(net)):
            yield kept, partial(_describe_kept, net, kept, shapes[net])
        if checkpoint := manifest.find_checkpoint(net):
            yield checkpoint, partial(_describe_file, checkpoint, entry.sha256)
    for entry in manifest.CHANNEL_FILES.values():
        if path := manifest.find_channel_file(entry):
            yield path, partial(_describe_file, path, entry.sha256)


def _describe_file(path: Path, sha256: str) -> str:
    verify(path, sha256)
    return "published, by its sha256" if len(sha256) == 64 else f"published, by {len(sha256)} digits of its sha256"


def _describe_kept(net: str, path: Path, shapes: Shapes) -> str:
    tower = _read_kept(net, path, shapes)
    if manifest.tower_entry(net).content:
        return "published, by its content"
    return f"content matches its own record; made from {tower.file} with sha256 {tower.sha256}"
