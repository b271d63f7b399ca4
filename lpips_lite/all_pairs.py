"""All pairs of two encodings in bounded memory: one image against a chunk of the others at a time.

Used by `metric.py`; uses `heads.py`, which compares batches row by row. Encodings may be on another device and in half
precision: each chunk is moved to the metric's device, converted to at least float32 and normalised only once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as rerun

from lpips_lite import distance as maths
from lpips_lite.heads import Heads
from lpips_lite.images import full_precision, gradients_wanted, to_common

Features = Sequence[Tensor]

MEMORY = 2**28  # bytes, if the metric has no `max_memory`
CACHE = 2**20  # numbers in a chunk on a CPU, so that intermediate results stay in its cache
ARRAYS = 4  # arrays of a chunk's size at a time: its copy, unit features, differences, and one temporary


def compare_rows(x: Features, y: Features, heads: Heads) -> Tensor:
    """Return the distance between each image of one encoding and the image at the same index of the other, (N,)."""
    maps = heads.layer_maps(to_common(f_x, f_y) for f_x, f_y in zip(x, y, strict=True))
    return heads.distance(torch.stack([maths.pool_mean(layer_map) for layer_map in maps]).sum(dim=0))


def compare_all(x: Features, y: Features, heads: Heads, max_memory: int) -> Tensor:
    """Return the distance of every image of one encoding to every image of the other.

    Args:
        x: Features, L × (N, C_l, H_l, W_l), on any device, in any floating dtype.
        y: Features of the other encoding, L × (M, C_l, H_l, W_l).
        heads: The weights to compare them with, and the device to do it on.
        max_memory: Largest memory in bytes, apart from the encodings and the result. One image is always compared.

    Returns:
        (N, M), in float32 or float64.
    """
    count_x, count_y = len(x[0]), len(y[0])
    if count_x > count_y:  # chunks are of the longer side; the distance is symmetric
        return compare_all(y, x, heads, max_memory).T
    dtype = reduce(torch.promote_types, (x[0].dtype, y[0].dtype), torch.float32)
    heads = heads._replace(weights=[weight.to(dtype) for weight in heads.weights])
    like = heads.weights[0]
    if count_x == 0:
        return like.new_zeros(0, count_y)
    numbers = sum(f.shape[1:].numel() for f in y)
    size = ARRAYS * numbers * dtype.itemsize
    chunk = min(max_memory // size, CACHE // numbers) if like.device.type == "cpu" else max_memory // size
    again = count_x * count_y * size > max_memory
    compare = _with_gradients if gradients_wanted(*x, *y) else _without_gradients
    with full_precision(like):
        queries, parts = _split(x, 1), _split(y, max(1, chunk))
        return torch.cat([compare(queries, part, heads, again) for part in parts], dim=1)


def _split(features: Features, count: int) -> list[Features]:
    return list(zip(*(torch.split(f, count) for f in features), strict=True))


def _without_gradients(queries: Sequence[Features], y: Features, heads: Heads, _: bool) -> Tensor:
    units, table = _unit_rows(y, heads), []
    for query in queries:
        layers = zip(_unit_rows(query, heads), units, heads.weights, strict=True)
        sums = torch.stack([((a - b).square() @ w).mean(dim=1) for a, b, w in layers]).sum(dim=0)
        table.append(heads.distance(sums))
    return torch.stack(table)


def _unit_rows(features: Features, heads: Heads) -> Features:
    """Return unit features on the device and in the layout of the weights: L × (N, H·W, C)."""
    pairs = zip(features, heads.weights, strict=True)
    rows = [f.to(w.device).permute(0, 2, 3, 1).contiguous().flatten(1, 2).to(w.dtype) for f, w in pairs]
    return [f / (torch.linalg.vector_norm(f, dim=2, keepdim=True) + maths.EPSILON) for f in rows]


def _with_gradients(queries: Sequence[Features], y: Features, heads: Heads, again: bool) -> Tensor:
    """Compare with gradients. If `again`, keep only the encodings and compute the rest again in the backward pass."""

    def compare(query: Features) -> Tensor:
        pairs = [(a.to(w).expand_as(b), b.to(w)) for a, b, w in zip(query, y, heads.weights, strict=True)]
        return compare_rows([a for a, _ in pairs], [b for _, b in pairs], heads)

    if not again:
        return torch.stack([compare(query) for query in queries])
    return torch.stack([rerun(compare, query, use_reentrant=False, preserve_rng_state=False) for query in queries])
