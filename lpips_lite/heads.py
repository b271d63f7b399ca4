"""From compared features to a distance: the weights of a metric's one head, or of its two, and what two make together.

Between `fused.py`, which compares one layer, and `metric.py`. A far head adds up. A near head sees small differences,
and what it adds approaches a limit C as they grow, so that it does not count where the far one does:

    d = F + C (1 − exp(−N / C)),   F = Σ_l mean_hw Σ_c w_lc (f̂_x − f̂_y)²,   N likewise with v_lc

Up to that line, all is linear in w and v: maps and sums of both heads travel side by side, along dimension 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lpips_lite.channel_weights import split_heads
from lpips_lite.fused import layer_map

SMALL = 0.25  # up to here, a series is nearer to the share and its derivatives than the formula, which cancels
TERMS = 12  # of it, which are enough for the second derivative in float64


class Heads(NamedTuple):
    """How the features of two images become their distance.

    Attributes:
        weights: Of the channels of each layer: L × (C_l,), or of two heads, far and near, L × (C_l, 2).
        limit: What the near head adds at most, (), > 0; `None`: there is one head.
        groups: Equal runs of channels, each of unit length by itself.
    """

    weights: Sequence[Tensor]
    limit: Tensor | None
    groups: int

    @staticmethod
    def of(tensors: Mapping[str, Tensor], groups: int) -> Heads:
        """Return those of a metric with these `tensors`, named as by `channel_weights.number_layers`."""
        far, near = split_heads(tensors)
        weights = [torch.stack(pair).T for pair in zip(far, near, strict=True)] if near else far
        return Heads(weights, tensors.get("near_limit"), groups)

    def layer_maps(self, features: Iterable[Sequence[Tensor]]) -> list[Tensor]:
        """Compare pairs of features, layer by layer: L × (N, H_l, W_l), or of two heads L × (N, 2, H_l, W_l)."""
        return [layer_map(x, y, w, self.groups) for (x, y), w in zip(features, self.weights, strict=True)]

    def distance(self, sums: Tensor) -> Tensor:
        """Return the distance of layers pooled and summed: (N,) as it is, or (N, 2) -> (N,)."""
        if self.limit is None:
            return sums
        far, near = sums.unbind(1)
        # 1 − exp(−z) is 2 t / (1 + t) with t = tanh(z / 2), where nothing cancels; ONNX would write expm1 as exp − 1
        half = torch.tanh(near / (2 * self.limit))
        return far + self.limit * (2 * half / (1 + half))

    def shares(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """Return the distance's shares: of layers that are pooled, or of their maps.

        Of two heads, F_l + g N_l, with one g for an image, (C − C exp(−N / C)) / N: so shares sum to the distance.

        Args:
            layers: L × (N, …), which stay as they are; or of two heads L × (N, 2, …).

        Returns:
            L × (N, …).
        """
        if self.limit is None:
            return list(layers)
        pooled = [layer[:, 1].reshape(layer.shape[0], -1).mean(dim=1) for layer in layers]
        share = share_of_near(torch.stack(pooled).sum(dim=0) / self.limit)
        return [layer[:, 0] + share.view(-1, *[1] * (layer.ndim - 2)) * layer[:, 1] for layer in layers]


def share_of_near(ratio: Tensor) -> Tensor:
    """Return (1 − exp(−r)) / r for r ≥ 0, and 1 for r = 0, with derivatives that are right everywhere, twice."""
    large = ratio > SMALL
    r, series = ratio.masked_fill(large, 0), torch.ones_like(ratio)
    for term in range(TERMS, 1, -1):
        series = 1 - series * r / term
    r = ratio.masked_fill(~large, 1)  # what is not chosen is finite, so are its derivatives
    return torch.where(large, -torch.expm1(-r) / r, series)
