"""The two heads of `lite` as separate metrics.

The far head's network learns nothing from people's judgments; only the near head is trained on them. The distance is
d = F + C · (1 − exp(−N / C)). F also compares features of the near head's network:

* with a very small share of N's weights, so that a descent on the distance still follows N where the near head has
  reached its limit;
* with a weight of their own in those channels of the first layer that the current near head ignores. Most of them see
  fine edges in grey. If hardly anything compares them, a descent on the distance finds these edges badly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from calibration.plain_metric import PlainMetric
from lpips_lite import LPIPS
from lpips_lite.channel_weights import number_layers
from lpips_lite.layers import TowerSpec
from lpips_lite.tensor_files import content_hash, save_tensors
from lpips_lite.towers import FAR, NEAR, TOWERS

SHARE_OF_NEAR = 0.002  # weights in the far head, relative to those in the near head
IGNORED_BELOW = 0.1  # of the mean weight of the near head's first layer: up to this, it ignores a channel
WEIGHT_OF_IGNORED = 4.0  # of each such channel in the far head, relative to the mean in the far network's first layer


@dataclass(frozen=True)
class TwoHeads:
    """A metric with two heads.

    Attributes:
        far: The far head, as far as it reads its own network; it is constant.
        near: The near head, which can be trained.
        near_limit: C, the limit that the near head's part of a distance approaches.
    """

    far: PlainMetric
    near: PlainMetric
    near_limit: float

    @classmethod
    def of(cls, metric: LPIPS) -> TwoHeads:
        """Return copies of the heads of a metric.

        Raises:
            ValueError: If it does not have two heads, or if its weights are not as `save` writes them.
        """
        if metric.tower.spec is not TOWERS["lite"] or "near_limit" not in metric.tensors:
            raise ValueError(
                f"start {metric.signature!r}: expected a lite with two heads, as written by calibration.distill"
            )
        far, near = _head(metric, FAR, "channel_weights"), _head(metric, NEAR, "near_weights")
        heads = cls(far, near, float(metric.tensors["near_limit"]))
        for key, weights in heads._weights().items():
            if not torch.allclose(metric.tensors[key], weights):
                raise ValueError(
                    f"start {metric.signature!r}: {key} is not as calibration writes it; "
                    f"expected a file of this version's calibration.distill or calibration.tune"
                )
        return heads

    def scaled(self, factor: float) -> TwoHeads:
        """Return a metric whose distances are `factor` times as large."""
        return TwoHeads(self.far.scaled(factor), self.near.scaled(factor), factor * self.near_limit)

    def join(self) -> dict[str, Tensor]:
        """Return the tensors of the whole metric, as in a weight file."""
        return {**self._tower(), **self._weights()}

    def _weights(self) -> dict[str, Tensor]:
        near, far = ([weights.detach() for weights in head.channels] for head in (self.near, self.far))
        nothing = [torch.zeros_like(weights) for weights in far]
        return number_layers(self._far_on_near().channels + far, near + nothing, torch.tensor(self.near_limit))

    @torch.no_grad()
    def _far_on_near(self) -> PlainMetric:
        """Return the part of the far head that reads the near head's network."""
        weights = [SHARE_OF_NEAR * near for near in self.near.channels]
        first = self.near.channels[0]
        weights[0][first <= IGNORED_BELOW * first.mean()] = WEIGHT_OF_IGNORED * self.far.channels[0].mean()
        return PlainMetric(self.near.spec, {**self.near.tensors, **number_layers(weights)})

    def _tower(self) -> dict[str, Tensor]:
        return {key: tensor.detach() for key, tensor in {**self.near.tower, **self.far.tower}.items()}

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write a weight file that `LPIPS` can load, with `metadata` and its net, tower and licence."""
        known = {"net": "lite", "tower": content_hash(self._tower()), "licence": "BSD-2-Clause"}
        save_tensors(path, self.join(), {**known, **metadata})

    @torch.no_grad()
    def from_first(self, images: Tensor) -> Tensor:
        """Return the distances of the first image from each of the others: (1 + K, 3, H, W) -> (K,)."""
        units = self.near.units(images)
        far = self.far.from_first(images) + self._far_on_near().from_first_units(units)
        return far - self.near_limit * torch.expm1(-self.near.from_first_units(units) / self.near_limit)


def _head(metric: LPIPS, spec: TowerSpec, name: str) -> PlainMetric:
    """Return one head as a metric on its own network."""
    layers = [tap.name for tap in metric.tower.taps]
    weights = {f"channel_weights.{n}": metric.tensors[f"{name}.{layers.index(tap)}"] for n, tap in enumerate(spec.taps)}
    tower = {key: tensor for key, tensor in metric.tower.tensors.items() if key in spec.shapes()}
    return PlainMetric(spec, {key: tensor.clone() for key, tensor in {**tower, **weights}.items()})
