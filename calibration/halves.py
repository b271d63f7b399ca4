"""The two halves of `lite`, far and near, as metrics of their own: taken apart to be trained, and joined again.

The tower is one of grouped convolutions, so that neither half sees the other. The far half has the channel weights w,
the near half v, and d = F + C · (1 − exp(−N / C)).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from calibration.plain_metric import PlainMetric
from lpips_lite import LPIPS
from lpips_lite.layers import Conv
from lpips_lite.towers import TOWERS, TowerSpec

HALVES = 2


def half_spec() -> TowerSpec:
    """Return the table of layers of one half of `lite`."""
    whole = TOWERS["lite"]
    layers = [
        replace(layer, inputs=max(3, layer.inputs // layer.groups), channels=layer.channels // HALVES, groups=1)
        if isinstance(layer, Conv)
        else layer
        for layer in whole.layers
    ]
    return replace(whole, name="half of lite", layers=tuple(layers), groups=1)


@dataclass(frozen=True)
class TwoHeads:
    """A metric with two heads, each on its own half of the tower.

    Attributes:
        far: The half for images far apart; taken as constant.
        near: The half for images near each other, which can be trained.
        near_limit: C, what the near head's share of a distance comes close to and never passes.
    """

    far: PlainMetric
    near: PlainMetric
    near_limit: float

    @classmethod
    def of(cls, metric: LPIPS) -> TwoHeads:
        """Take the halves of a metric out, as copies.

        Raises:
            ValueError: If it has not two heads on halves of a tower, or one of them reads the other's half.
        """
        spec, tensors = metric.tower.spec, metric.tensors
        if spec.groups != HALVES or "near_limit" not in tensors:
            raise ValueError(f"start {metric.signature!r}: expected a lite with two heads, as calibration.distill writes")
        halves: list[dict[str, Tensor]] = [{}, {}]
        for key in spec.shapes():
            for half, part in zip(halves, metric.tower.tensors[key].chunk(HALVES), strict=True):
                half[key] = part.clone()
        for layer in range(len(spec.taps)):
            w, v = (tensors[f"{name}.{layer}"].chunk(HALVES) for name in ("channel_weights", "near_weights"))
            if w[1].any() or v[0].any():
                raise ValueError(f"start {metric.signature!r}: a head of layer {layer} reads the other's half")
            for half, weights in zip(halves, (w[0], v[1]), strict=True):
                half[f"channel_weights.{layer}"] = weights.clone()
        far, near = (PlainMetric(half_spec(), half) for half in halves)
        return cls(far, near, float(tensors["near_limit"]))

    def join(self, scale: float = 1.0) -> dict[str, Tensor]:
        """Return the tensors of the whole, as a file of weights holds them, with all distances times `scale`."""
        halves = self.far.tensors, self.near.tensors
        joined = {key: torch.cat([half[key].detach() for half in halves]) for key in self.far.tower}
        for layer, (w, v) in enumerate(zip(self.far.channels, self.near.channels, strict=True)):
            joined[f"channel_weights.{layer}"] = torch.cat([w.detach() * scale, torch.zeros_like(v)])
            joined[f"near_weights.{layer}"] = torch.cat([torch.zeros_like(w), v.detach() * scale])
        joined["near_limit"] = torch.tensor(self.near_limit * scale)
        return joined

    def from_first(self, images: Tensor) -> Tensor:
        """Return the distances of the first image from each of the others: (1 + K, 3, H, W) -> (K,).

        Gradients flow to the near half only.
        """
        with torch.no_grad():
            far = self.far.from_first(images)
        return far - self.near_limit * torch.expm1(-self.near.from_first(images) / self.near_limit)

