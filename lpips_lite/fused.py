"""The comparison of one layer in few passes over memory: a faster `distance.layer_map` that stores less for backward.

It is tested against the plain formula in `distance.py`, and used by `metric.py`. Autograd would keep five arrays as
large as the features. This keeps only the features, which the tower's backward pass needs anyway, and computes the rest
again: with t = w (â − b̂) and the gradient g of the map, the gradient of the features a is 2 g (t − â (â·t)) / ‖a‖.
For K maps, each with its own weights, Σ_k g_k w_k takes the place of g w.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lpips_lite import distance as maths
from lpips_lite.images import full_precision

BLOCK = 2**18  # numbers handled at a time on a CPU, so that intermediate results stay in its cache


def layer_map(features_x: Tensor, features_y: Tensor, channel_weights: Tensor) -> Tensor:
    """Compare the features of one layer: `distance.layer_map`, twice differentiable in both features.

    Args:
        features_x: (N, C, H, W); fastest in memory format channels_last.
        features_y: Same shape.
        channel_weights: (C,), ≥ 0; or (C, K); treated as constant.

    Returns:
        (N, H, W), ≥ 0, lower = closer; or (N, K, H, W); in float32 or float64.
    """
    if torch.compiler.is_compiling():  # a compiler fuses the plain formula itself
        return maths.layer_map(features_x, features_y, channel_weights)
    n, channels, height, width = features_x.shape
    x, y = (f.permute(0, 2, 3, 1).reshape(-1, channels) for f in (features_x, features_y))
    distances: Tensor = _Comparison.apply(x, y, channel_weights)
    maps = distances.view(n, height, width, *channel_weights.shape[1:])
    return maps if maps.ndim == 3 else maps.permute(0, 3, 1, 2).contiguous()


class _Comparison(torch.autograd.Function):
    """Σ_c w_c (â − b̂)²_c for each row of features: twice (P, C), and (C,) -> (P,), or (C, K) -> (P, K)."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        weights = weights.to(torch.promote_types(x.dtype, torch.float32))
        with full_precision(x):  # autocast would lower the precision of the product with the weights
            return _join([_compare(a, b, weights) for a, b in zip(_blocks(x), _blocks(y), strict=True)])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, y, weights = ctx.saved_tensors
        of_x, of_y = ctx.needs_input_grad[:2]
        step = len(_blocks(x)[0])
        blocks = list(zip(_blocks(x), _blocks(y), gradient.split(step), strict=True))  # type: ignore[no-untyped-call]
        with full_precision(x):
            return (
                _join([_gradient(a, b, g, weights) for a, b, g in blocks]) if of_x else None,
                _join([_gradient(b, a, g, weights) for a, b, g in blocks]) if of_y else None,
                None,
            )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        x, y, weights = ctx.saved_tensors
        units = [f / (_lengths(f) + maths.EPSILON) for f in (x, y)]
        along = [0 if d is None else _unit_along(f, d) for f, d in zip((x, y), tangents, strict=False)]
        difference = units[0] - units[1]
        with full_precision(x):
            return _weigh(2 * (difference * (along[0] - along[1])), weights.to(difference.dtype))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, int]:
        """Merge the mapped dimension and the rows."""
        if in_dims[2] is not None:
            raise ValueError("channel_weights: expected the same ones throughout a vmap")
        x, y = (
            t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
            for t, dim in zip((x, y), in_dims, strict=False)
        )
        distances: Tensor = _Comparison.apply(x.flatten(0, 1), y.flatten(0, 1), weights)
        return distances.view(info.batch_size, -1, *distances.shape[1:]), 0


def _compare(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    difference = x / (_lengths(x) + maths.EPSILON)
    difference -= y / (_lengths(y) + maths.EPSILON)
    return _weigh(difference.square_(), weights)


def _weigh(differences: Tensor, weights: Tensor) -> Tensor:
    """Sum over channels, each head separately, so that its numbers do not depend on the other head."""
    if weights.ndim == 1:
        return differences @ weights
    return torch.stack([differences @ head for head in weights.T.contiguous()], dim=1)


def _gradient(x: Tensor, y: Tensor, gradient: Tensor, weights: Tensor) -> Tensor:
    """Return the gradient of features `x`, using differentiable operations only, for second derivatives."""
    length = _lengths(x)
    unit = x / (length + maths.EPSILON)
    t, weights = unit - y / (_lengths(y) + maths.EPSILON), weights.to(gradient.dtype)
    upstream: Tensor | int = gradient[:, None]
    if weights.ndim == 1:
        t.mul_(weights)
    else:  # with several maps, the gradient gives each row its own weights
        t, upstream = t * (gradient @ weights.T), 1
    along = (unit * t).sum(dim=-1, keepdim=True)
    return ((t - unit * along) * (2 * upstream / length.clamp(min=maths.EPSILON))).to(x.dtype)


def _unit_along(features: Tensor, tangents: Tensor) -> Tensor:
    """Return how unit vectors change when features change by `tangents`."""
    length = _lengths(features)
    unit = features / length.clamp(min=maths.EPSILON)
    return (tangents - unit * (unit * tangents).sum(dim=-1, keepdim=True)) / (length + maths.EPSILON)


def _lengths(features: Tensor) -> Tensor:
    """Return ‖f‖ of each row, (P, 1), in at least float32."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    lengths: Tensor = torch.linalg.vector_norm(features, dim=-1, keepdim=True, dtype=dtype)
    return lengths


def _blocks(rows: Tensor) -> tuple[Tensor, ...]:
    """Cut a matrix into blocks of about `BLOCK` numbers; on an accelerator, return it as one block."""
    step = max(1, BLOCK // rows.shape[1]) if rows.device.type == "cpu" else len(rows)
    blocks: tuple[Tensor, ...] = rows.split(step)  # type: ignore[no-untyped-call]
    return blocks


def _join(blocks: list[Tensor]) -> Tensor:
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)
