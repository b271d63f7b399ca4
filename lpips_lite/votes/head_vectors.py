"""The heads of a metric as vectors over all its channels, which turn cached features into distances.

    d = F + C·(1 − exp(−N/C)),   F = Σ_c w_c δ_c,   N = Σ_c v_c δ_c

δ are the features, w the far weights, v the near ones, C the near limit. Most metrics have one head, d = F.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpips_lite import LPIPS
from lpips_lite.channel_weights import number_layers, split_heads

Floats = NDArray[np.float64]
Differences = NDArray[np.floating[Any]]
Head = Literal["far", "near"]


@dataclass(frozen=True)
class HeadVectors:
    """Weights that turn features into distances.

    Attributes:
        far: Far weights, (ΣC,), ≥ 0.
        near: Near weights, (ΣC,), ≥ 0; `None` with one head.
        near_limit: The value that the near distance approaches for large N; > 0.
    """

    far: Floats
    near: Floats | None = None
    near_limit: float = math.inf

    @classmethod
    def of(cls, metric: LPIPS) -> HeadVectors:
        """Return the heads of a metric."""
        far, near = split_heads(metric.tensors)
        if not near:
            return cls(_one_vector(far))
        return cls(_one_vector(far), _one_vector(near), metric.tensors["near_limit"].item())

    def tensors(self, channels: Sequence[int]) -> dict[str, Tensor]:
        """Return the tensors of a weight file, for layers with these numbers of channels."""
        if self.near is None:
            return number_layers(_layers(self.far, channels))
        limit = torch.tensor(self.near_limit, dtype=torch.float32)
        return number_layers(_layers(self.far, channels), _layers(self.near, channels), limit)

    def distances(self, differences: Differences) -> Floats:
        """Return the distance of each row of features (P, ΣC): (P,)."""
        far = self.far_distances(differences)
        return far if self.near is None else far + self.near_distances(differences)

    def far_distances(self, differences: Differences) -> Floats:
        """Return F of each row."""
        return np.asarray(differences @ self.far)

    def near_distances(self, differences: Differences) -> Floats:
        """Return C·(1 − exp(−N/C)) of each row; 0 with one head."""
        if self.near is None:
            return np.zeros(len(differences))
        return -self.near_limit * np.expm1(differences @ self.near / -self.near_limit)

    def margin(self, f0: Differences, f1: Differences) -> Floats:
        """Return d0 − d1 of triplets with the features f0 and f1, (T, ΣC) each: (T,)."""
        far = self.far_distances(f0 - f1)
        return far if self.near is None else far + (self.near_distances(f0) - self.near_distances(f1))

    def times(self, factor: float) -> HeadVectors:
        """Return heads whose distances are multiplied by a factor."""
        return HeadVectors(
            self.far * factor, None if self.near is None else self.near * factor, self.near_limit * factor
        )

    def any(self) -> bool:
        """Return whether any weight differs from 0."""
        return bool(self.far.any() or (self.near is not None and self.near.any()))


def _one_vector(layers: Sequence[Tensor]) -> Floats:
    return torch.cat(list(layers)).cpu().double().numpy()


def _layers(weights: Floats, channels: Sequence[int]) -> list[Tensor]:
    layers = np.split(weights.astype(np.float32), np.cumsum(channels)[:-1])
    return [torch.from_numpy(layer.copy()) for layer in layers]
