"""From compared features to a distance: the weights of the one or two heads of a metric, and the formula for two.

Uses `fused.py`, which compares one layer; used by `metric.py`. The far head is a plain sum. The near head counts for
small differences; as they grow, what it adds approaches a limit C, so that the far head decides:

    d = F + C (1 − exp(−N / C)),   F = Σ_l mean_hw Σ_c w_lc (f̂_x − f̂_y)²,   N the same with v_lc

Everything before this formula is linear in w and v: maps and sums of both heads are side by side, along dimension 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lpips_lite.channel_weights import split_heads
from lpips_lite.fused import layer_map

SMALL = 0.25  # up to this ratio, a series is more accurate than the formula, in which digits cancel
TERMS = 12  # terms of the series, enough for the second derivative in float64


class Heads(NamedTuple):
    """Turns the features of two images into their distance.

    Attributes:
        weights: Channel weights per layer: L × (C_l,) for one head, L × (C_l, 2) for a far and a near head.
        limit: The most that the near head adds, (), > 0; `None` if there is one head.
    """

    weights: Sequence[Tensor]
    limit: Tensor | None

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> Heads:
        """Return the heads of a metric with these `tensors`, named as by `channel_weights.number_layers`."""
        far, near = split_heads(tensors)
        weights = [torch.stack(pair).T for pair in zip(far, near, strict=True)] if near else far
        return Heads(weights, tensors.get("near_limit"))

    def layer_maps(self, features: Iterable[Sequence[Tensor]]) -> list[Tensor]:
        """Compare pairs of features, layer by layer: L × (N, H_l, W_l), or with two heads L × (N, 2, H_l, W_l)."""
        return [layer_map(x, y, w) for (x, y), w in zip(features, self.weights, strict=True)]

    def distance(self, sums: Tensor) -> Tensor:
        """Return the distance, (N,), from sums of pooled layers: (N,) unchanged, or (N, 2) combined."""
        if self.limit is None:
            return sums
        far, near = sums.unbind(1)
        # 1 − exp(−z) = 2 t / (1 + t) with t = tanh(z / 2), where no digits cancel; ONNX would write expm1 as exp − 1
        half = torch.tanh(near / (2 * self.limit))
        return far + self.limit * (2 * half / (1 + half))

    def shares(self, layers: Sequence[Tensor], pooled: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return each layer's share of the distance, from pooled layers or from their maps.

        With two heads it is F_l + g N_l, with g = (C − C exp(−N / C)) / N of the image, so shares sum to the distance.

        Args:
            layers: L × (N, …), returned unchanged; or with two heads L × (N, 2, …).
            pooled: L × (N, 2), where N is taken from, as under a mask; `None`: the mean of the layers.

        Returns:
            L × (N, …).
        """
        if self.limit is None:
            return list(layers)
        near = [layer[:, 1].reshape(layer.shape[0], -1).mean(dim=1) for layer in pooled or layers]
        share = share_of_near(torch.stack(near).sum(dim=0) / self.limit)
        return [layer[:, 0] + share.view(-1, *[1] * (layer.ndim - 2)) * layer[:, 1] for layer in layers]


def share_of_near(ratio: Tensor) -> Tensor:
    """Return (1 − exp(−r)) / r for r ≥ 0, and 1 for r = 0; first and second derivatives are right everywhere."""
    large = ratio > SMALL
    r, series = ratio.masked_fill(large, 0), torch.ones_like(ratio)
    for term in range(TERMS, 1, -1):
        series = 1 - series * r / term
    r = ratio.masked_fill(~large, 1)  # so that the branch not chosen is finite, with its derivatives
    return torch.where(large, -torch.expm1(-r) / r, series)
