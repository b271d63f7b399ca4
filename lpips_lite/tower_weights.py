"""The weights of a tower, read from one file or given as tensors, and whether they are the published ones.

Uses `tensor_files.py`, which reads any tensors; used by `weights.py`, which looks for the file. Weights are the
published ones if they have the content listed in the manifest. If the manifest lists no content, they must come from a
file with the published hash: the file itself, or an unchanged conv-only file that records this hash.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lpips_lite import manifest
from lpips_lite.tensor_files import (
    Shapes,
    Tensors,
    check_tensors,
    content_sha256,
    digests_in,
    read_metadata,
    read_tensors,
    save_tensors,
    spell_digests,
    verify,
)


@dataclass(frozen=True)
class TowerWeights:
    """The convolutions of a tower, and where they come from.

    Attributes:
        tensors: Tensors by torchvision's keys, float32.
        content: The `content_sha256` of the tensors.
        published: Whether they are the published weights of this tower.
        file: Name of the file that they were first read from, if any.
        sha256: Hash of that file.
        trained_on: Digests of the references whose judgments the tower was trained on, if its file lists them.
    """

    tensors: Tensors
    content: str
    published: bool
    file: str = ""
    sha256: str = ""
    trained_on: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """Name in signatures: eight digits of the content hash, after `custom-` unless the weights are published."""
        return self.content[:8] if self.published else f"custom-{self.content[:8]}"


def read_tower(net: str, path: Path, shapes: Shapes, others: Sequence[Shapes] = (), sha256: str = "") -> TowerWeights:
    """Read and check a tower's convolutions from a full checkpoint or a conv-only file. See `load_tower`.

    Args:
        net: The tower's name.
        path: The file.
        shapes: The shape of every weight of the tower.
        others: Shapes of its other tables, which the file may have instead.
        sha256: The first digits of the expected hash of the file; by default those in its name, if there are any.
    """
    named = re.search(r"-([0-9a-f]{8})\.pth$", path.name)  # torchvision's convention
    digest = verify(path, sha256 or (named[1] if named else ""))
    tensors = read_tensors(path)
    if tensors and all(re.match(r"lin\d|channel_weights|near_", key) for key in tensors):
        raise ValueError(
            f"weights: {path} is the {path.stat().st_size / 1000:.0f} KB file of channel weights, passed as a tower; "
            f"a tower is a separate file with convolutions: pass this one as channel_weights="
        )
    foreign = r"classifier\.|(channel|near)_weights\.\d|near_limit$"
    tensors = {key: tensor.float() for key, tensor in tensors.items() if not re.match(foreign, key)}
    check_tensors(tensors, shapes, f"weights: {path}", others)
    record = read_metadata(path)
    seen = digests_in(record, path)
    if "content" not in record:
        return replace(identify(net, tensors, path.name, digest), trained_on=seen)
    tower = identify(net, tensors, record.get("source", path.name), record.get("sha256", digest))
    if record["content"] not in (tower.content, tower.content[:8]):
        raise ValueError(f"weights: {path} was changed after it was written; delete it and load again")
    return replace(tower, trained_on=seen)


def identify(net: str, tensors: Tensors, file: str = "", sha256: str = "") -> TowerWeights:
    """Find out whether tensors are the published ones, by content or by the hash of the file they came from."""
    entry, content = manifest.tower_entry(net), content_sha256(tensors)
    published = content == entry.content if entry.content else sha256.startswith(entry.sha256)
    return TowerWeights(tensors, content, published, file, sha256)


def expect_published(net: str, tower: TowerWeights, path: Path) -> TowerWeights:
    """Return a tower read from `path`, or raise a ValueError if it is not the published one."""
    entry = manifest.tower_entry(net)
    if tower.published:
        return tower
    if entry.content:
        wrong = f"is not the published {entry.name}: its content is {tower.content[:8]}; expected {entry.content[:8]}"
    else:
        wrong = (
            f"is not known to be the published {entry.name}: "
            f"it does not record that it was made from a file with sha256 {entry.sha256}…"
        )
    raise ValueError(
        f"weights: {path} {wrong}. Delete it and load again, or pass it as tower_weights=PATH, as a custom tower"
    )


def save_tower(net: str, tower: TowerWeights, path: Path) -> None:
    """Write a conv-only safetensors file that records where the tower comes from and what it is."""
    record = {"net": net, "source": tower.file, "sha256": tower.sha256, "content": tower.content}
    if tower.trained_on:
        record["trained_on"] = spell_digests(tower.trained_on)
    save_tensors(path, tower.tensors, record)
