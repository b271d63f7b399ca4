"""Channel weights, read from one file and checked. They belong to one head, or to two: a far and a near head.

Uses `tensor_files.py`, which reads any tensors; used by `weights.py`, which looks for the file.
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
    """The weight of each channel of each layer, and where the weights come from.

    Attributes:
        label: Name in signatures, which depends on the numbers only: "v0.1", "lite-0.3", "uniform", "custom".
        tensors: Weights of the only head, or of the far one, L × (C_l,), float32, ≥ 0.
        near: Weights of the near head in the same form; empty if there is only one head.
        near_limit: What the near head's part of the distance approaches, (), float32, > 0; or `None`.
        scaled: Whether images are normalised for the tower; the published v0.0 takes [-1, 1] directly.
        tower: Fingerprint of the tower that the weights were fitted on, if the file has it.
        slope: Slope of P(people choose p1) = σ(slope · (d0 − d1)), if it was fitted to votes.
        trained_on: Digests of the references whose judgments the weights were trained on, if the file lists them.
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
        """Return all tensors by their names in files."""
        return number_layers(self.tensors, self.near, self.near_limit)


def number_layers(
    far: Iterable[Value], near: Iterable[Value] = (), near_limit: Value | None = None
) -> dict[str, Value]:
    """Return channel weights by their names in files of this package, in metrics, and in digests."""
    named = {f"channel_weights.{layer}": weights for layer, weights in enumerate(far)}
    named |= {f"near_weights.{layer}": weights for layer, weights in enumerate(near)}
    return named if near_limit is None else {**named, "near_limit": near_limit}


def split_heads(named: Mapping[str, Value]) -> tuple[list[Value], list[Value]]:
    """Return the far and the near weights, layer by layer; the inverse of `number_layers`."""
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
        ValueError: Same as `weights.load_channel_weights`.
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
    """Return the tensors of a file, without towers and without the copies that `lpips` saves."""
    whole = read_tensors(path)
    tensors = {key: t for key, t in whole.items() if not re.match(r"(features|net|scaling_layer|lins)\.", key)}
    for key, tensor in whole.items():  # lpips saves each layer under two names
        twin = re.sub(r"^lins\.", "lin", key)
        if twin != key and not (twin in tensors and torch.equal(tensors[twin], tensor)):
            raise ValueError(f"weights: {path}: {key} differs from {twin}; expected one weight per channel")
    if not tensors:
        raise ValueError(f"weights: {path} has no channel weights; is it a tower? Pass a tower as tower_weights=")
    return tensors


def _expected_shapes(tensors: Tensors, channels: Sequence[int]) -> Shapes:
    """Return the shapes that a file with these tensors must have: of the near head, all or none."""
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
