"""The two heads of `lite` as metrics of their own, on the two halves of its tower.

The tower is one of grouped convolutions, so that neither half sees the other. The far head reads the first half only,
which learns nothing from people's judgments; the near head reads both, and what is trained for it is the second half.
The distance is d = F + C · (1 − exp(−N / C)).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from calibration.plain_metric import PlainMetric
from lpips_lite import LPIPS
from lpips_lite.layers import Conv, TowerSpec
from lpips_lite.towers import LITE_HALVES

HALVES = 2


def half_spec() -> TowerSpec:
    """Return the table of layers of one half of `lite`."""
    whole = LITE_HALVES
    layers = [
        replace(layer, inputs=layer.inputs // layer.groups, channels=layer.channels // HALVES, groups=1)
        if isinstance(layer, Conv)
        else layer
        for layer in whole.layers
    ]
    return replace(whole, name="half of lite", layers=tuple(layers), groups=1)


class NearHead(PlainMetric):
    """A metric on both halves of the tower, of which the second is its own.

    Args:
        far: The first half, which is not trained with it.
        tensors: Those of the second half, and the channel weights of both.
    """

    def __init__(self, far: PlainMetric, tensors: dict[str, Tensor]) -> None:
        super().__init__(LITE_HALVES, tensors)
        self.far, self.own = far, half_spec()

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        own = self.run(self.own, images)
        return tuple(torch.cat(pair, dim=1) for pair in zip(self.far.features(images), own, strict=True))


@dataclass(frozen=True)
class TwoHeads:
    """A metric with two heads.

    Attributes:
        far: The far head, on the first half of the tower; taken as constant.
        near: The near head, on both halves; its own half and its channel weights can be trained.
        near_limit: C, what the near head's share of a distance comes close to and never passes.
    """

    far: PlainMetric
    near: NearHead
    near_limit: float

    @classmethod
    def start(cls, half: PlainMetric, far_share: float, near_limit: float) -> TwoHeads:
        """Return a metric both of whose halves are `half`: the near head reads its own, the far one is faint."""
        far = {key: tensor.detach() for key, tensor in half.tensors.items()}
        near = {key: tensor.clone() for key, tensor in far.items()}
        for layer, weights in enumerate(half.channels):
            far[f"channel_weights.{layer}"] = far_share * weights.detach()
            near[f"channel_weights.{layer}"] = torch.cat([torch.zeros_like(weights), weights.detach()])
        first = PlainMetric(half_spec(), far)
        return cls(first, NearHead(first, near), near_limit)

    @classmethod
    def of(cls, metric: LPIPS) -> TwoHeads:
        """Take the heads of a metric apart, as copies.

        Raises:
            ValueError: If it has not two heads on the halves of a tower, or the far one reads the second half.
        """
        spec, tensors = metric.tower.spec, metric.tensors
        if spec.groups != HALVES or "near_limit" not in tensors:
            raise ValueError(
                f"start {metric.signature!r}: expected a lite with two heads, as calibration.distill writes"
            )
        halves: list[dict[str, Tensor]] = [{}, {}]
        for key in spec.shapes():
            for half, part in zip(halves, metric.tower.tensors[key].chunk(HALVES), strict=True):
                half[key] = part.clone()
        for layer in range(len(spec.taps)):
            key = f"channel_weights.{layer}"
            own, other = tensors[key].chunk(HALVES)
            if other.any():
                raise ValueError(f"start {metric.signature!r}: its far head reads the near head's half in {key}")
            halves[0][key], halves[1][key] = own.clone(), tensors[f"near_weights.{layer}"].clone()
        far = PlainMetric(half_spec(), halves[0])
        return cls(far, NearHead(far, halves[1]), float(tensors["near_limit"]))

    def scaled(self, factor: float) -> TwoHeads:
        """Return the metric whose distances are `factor` times as large."""
        far, near = (
            {key: t.detach() * (factor if key.startswith("channel_weights") else 1) for key, t in head.tensors.items()}
            for head in (self.far, self.near)
        )
        first = PlainMetric(half_spec(), far)
        return TwoHeads(first, NearHead(first, near), factor * self.near_limit)

    def join(self) -> dict[str, Tensor]:
        """Return the tensors of the whole, as a file of weights holds them."""
        far, near = ({key: t.detach() for key, t in head.tensors.items()} for head in (self.far, self.near))
        joined = {key: torch.cat([far[key], near[key]]) for key in half_spec().shapes()}
        for layer in range(len(self.far.channels)):
            weights = far[f"channel_weights.{layer}"]
            joined[f"channel_weights.{layer}"] = torch.cat([weights, torch.zeros_like(weights)])
            joined[f"near_weights.{layer}"] = near[f"channel_weights.{layer}"]
        joined["near_limit"] = torch.tensor(self.near_limit)
        return joined

    def from_first(self, images: Tensor) -> Tensor:
        """Return the distances of the first image from each of the others: (1 + K, 3, H, W) -> (K,).

        Gradients flow to the near head only.
        """
        units = self.near.units(images)
        first, others = [unit[:1] for unit in units], [unit[1:] for unit in units]
        with torch.no_grad():
            far = self.far.distances(*([unit.chunk(HALVES, dim=1)[0] for unit in part] for part in (others, first)))
        return far - self.near_limit * torch.expm1(-self.near.distances(others, first) / self.near_limit)
