"""What channel weights are: read from one file and checked. A metric has one head, or two, far and near.

Between `tensor_files.py`, which reads any tensors, and `weights.py`, which looks for the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from lpips_lite.tensor_files import Shapes, Tensors, check_tensors, digests_in, read_metadata, read_tensors

Value = TypeVar("Value")


@dataclass(frozen=True)
class ChannelWeights:
    """The weight of each channel of each layer, and what is known of where they come from.

    Attributes:
        label: For signatures, by what the numbers are, never by a file's name: "v0.1", "lite-0.3", "uniform", "custom".
        tensors: L × (C_l,), float32, ≥ 0; where there are two heads, those of the far one.
        near: Likewise, of the near head, or none.
        near_limit: Of the near head, (), float32, > 0: what its part of the distance approaches; or `None`.
        scaled: Whether images are normalised for the tower; the published v0.0 fed [-1, 1] as it was.
        tower: Fingerprint of the tower they were fitted on, if the file says so.
        slope: P(people choose p1) = σ(slope · (d0 − d1)), if it was fitted to votes.
        trained_on: Digests of the references that they have learnt people's judgments of, if the file lists them.
    """

    label: str
    tensors: tuple[Tensor, ...]
    near: tuple[Tensor, ...] = ()
    near_limit: Tensor | None = None
    scaled: bool = True
    tower: str | None = None
    slope: float | None = None
    trained_on: frozenset[str] = frozenset()

    def named(self) -> Tensors:
        """Return all tensors by the names that they have in files."""
        return number_layers(self.tensors, self.near, self.near_limit)


def number_layers(
    far: Iterable[Value], near: Iterable[Value] = (), near_limit: Value | None = None
) -> dict[str, Value]:
    """Return channel weights by the names that they have in files of this package, in metrics, and in digests."""
    named = {f"channel_weights.{layer}": weights for layer, weights in enumerate(far)}
    named |= {f"near_weights.{layer}": weights for layer, weights in enumerate(near)}
    return named if near_limit is None else {**named, "near_limit": near_limit}


def split_heads(named: Mapping[str, Value]) -> tuple[list[Value], list[Value]]:
    """Return the far and the near weights, layer by layer, of what `number_layers` named."""
    far, near = (
        [value for key, value in named.items() if key.startswith(head)]
        for head in ("channel_weights.", "near_weights.")
    )
    return far, near


def read_channel_weights(path: Path, channels: Sequence[int]) -> ChannelWeights:
    """Read and check this package's tensors (see `number_layers`) or the published `linN.model.1.weight` (1, C, 1, 1).

    Args:
        path: The file.
        channels: Number of channels of each layer.

    Returns:
        The weights, labelled "custom".

    Raises:
        ValueError: As `weights.load_channel_weights`.
    """
    tensors, metadata = _read(path), read_metadata(path)
    shapes = _expected_shapes(tensors, channels)
    check_tensors(tensors, shapes, f"weights: {path}")
    values = {key: tensors[key].float() for key in shapes}
    limit = values.pop("near_limit", None)
    if limit is not None and limit <= 0:
        raise ValueError(f"weights: {path}: near_limit is {limit.item():g}; expected a positive number")
    negative = [key for key, weights in values.items() if (weights < 0).any()]
    if negative:
        raise ValueError(f"weights: {path}: negative channel weights in {negative}; expected values ≥ 0")
    layers = [weights.flatten() for weights in values.values()]
    return ChannelWeights(
        "custom",
        tuple(layers[: len(channels)]),
        tuple(layers[len(channels) :]),
        limit,
        tower=metadata.get("tower"),
        slope=_slope(metadata, path),
        trained_on=digests_in(metadata, path),
    )


def _read(path: Path) -> Tensors:
    """Return what is in a file but for towers, and for what `lpips` saves twice."""
    whole = read_tensors(path)
    tensors = {key: t for key, t in whole.items() if not re.match(r"(features|net|scaling_layer|lins)\.", key)}
    for key, tensor in whole.items():  # lpips saves each layer under two names
        twin = re.sub(r"^lins\.", "lin", key)
        if twin != key and not (twin in tensors and torch.equal(tensors[twin], tensor)):
            raise ValueError(f"weights: {path}: {key} is not what {twin} is; expected one weight for each channel")
    if not tensors:
        raise ValueError(f"weights: {path} has no channel weights; is it a tower? pass that as tower_weights=")
    return tensors


def _expected_shapes(tensors: Tensors, channels: Sequence[int]) -> Shapes:
    """Say what a file must hold that holds these tensors: of the near head, all or nothing."""
    if "lin0.model.1.weight" in tensors:
        return {f"lin{layer}.model.1.weight": (1, count, 1, 1) for layer, count in enumerate(channels)}
    layers: list[tuple[int, ...]] = [(count,) for count in channels]
    two_heads = any(key.startswith("near_") for key in tensors)
    return number_layers(layers, layers, ()) if two_heads else number_layers(layers)


def _slope(metadata: Mapping[str, str], path: Path) -> float | None:
    text = metadata.get("slope")
    try:
        slope = None if text is None else float(text)
    except ValueError:
        slope = float("nan")
    if slope is not None and not 0 < slope < float("inf"):
        raise ValueError(f"weights: {path} has slope={text!r} in its metadata; expected a positive number")
    return slope
