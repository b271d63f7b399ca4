"""A metric as plain tensors, to train it or to learn from it.

This is needed because `LPIPS` hides its tensors from optimisers, and its fast comparison treats channel weights as
constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lpips_lite import LPIPS
from lpips_lite.distance import channel_differences, pool_mean, unit_normalize, weigh
from lpips_lite.layers import Conv, TowerSpec
from lpips_lite.towers import IMAGENET_MEAN, IMAGENET_STD, normalize


class PlainMetric:
    """A tower and channel weights as plain tensors; those that require gradients can be trained.

    Args:
        spec: The tower's table of layers.
        tensors: Tensors of the tower, by torchvision's keys, then `channel_weights.N` per tap. They are not copied.

    Attributes:
        tensors: All tensors.
        tower: The tensors of the tower.
        channels: The channel weights, L × (C_l,).
    """

    def __init__(self, spec: TowerSpec, tensors: Mapping[str, Tensor]) -> None:
        self.spec, self.tensors = spec, dict(tensors)
        self.tower = {key: tensor for key, tensor in self.tensors.items() if key in spec.shapes()}
        self.channels = [self.tensors[f"channel_weights.{index}"] for index in range(len(spec.taps))]
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    @classmethod
    def of(cls, metric: LPIPS) -> PlainMetric:
        """Return a constant metric with copies of the tensors of another.

        Raises:
            ValueError: If it has two heads, or does not scale images, which a weight file cannot record.
        """
        if "near_limit" in metric.tensors:
            raise ValueError(f"{metric.signature!r} has two heads; expected one, or TwoHeads.of")
        if not metric.scaled:
            raise ValueError(
                f"channel_weights of {metric.signature!r} are for images that were not scaled; "
                f"expected v0.1, 'uniform' or a file"
            )
        net = metric.tower.spec
        tower = {key: tensor for key, tensor in metric.tower.tensors.items() if key in net.shapes()}
        tensors = {**tower, **metric.tensors}  # in this order, on which the last digit of the norm of gradients depends
        return cls(net, {key: tensor.clone() for key, tensor in tensors.items()})

    def scaled(self, factor: float) -> PlainMetric:
        """Return a constant metric whose distances are `factor` times as large."""
        scales = {key: factor if key.startswith("channel_weights") else 1.0 for key in self.tensors}
        return PlainMetric(self.spec, {key: scales[key] * tensor.detach() for key, tensor in self.tensors.items()})

    @torch.no_grad()
    def balanced(self, images: Tensor) -> PlainMetric:
        """Return a constant metric with the same distances, whose features have the mean 1 on `images` in every layer.

        Features are compared as unit vectors, so their scale, which drifts in training, does not count. In half
        precision and in Gram matrices it does. The tower must be a chain of convolutions that are all compared.
        """
        (network,) = self.spec.networks
        convolutions = [layer for layer in network if isinstance(layer, Conv)]
        tensors, before = dict(self.tensors), 1.0
        for layer, feature in zip(convolutions, self.features(images), strict=True):
            scale = 1 / feature.mean().item()
            weight, bias = (f"features.{layer.index}.{name}" for name in ("weight", "bias"))
            tensors[weight], tensors[bias] = tensors[weight] * (scale / before), tensors[bias] * scale
            before = scale
        return PlainMetric(self.spec, {key: tensor.detach() for key, tensor in tensors.items()})

    def require_gradients(self) -> PlainMetric:
        """Make all tensors trainable and return the metric."""
        for tensor in self.tensors.values():
            tensor.requires_grad_()
        return self

    def keep_weights_positive(self) -> None:
        """Set negative channel weights to 0."""
        for weight in self.channels:
            weight.data.clamp_(min=0)

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the features of images (N, 3, H, W) in [0, 1]: L × (N, C_l, H_l, W_l)."""
        return tuple(self.spec.run(normalize(images, self.mean, self.std), self.tensors, self.spec.find_taps()))

    def units(self, images: Tensor) -> list[Tensor]:
        """Return the unit features of images, L × (N, C_l, H_l, W_l)."""
        return [unit_normalize(feature) for feature in self.features(images)]

    def from_first(self, images: Tensor) -> Tensor:
        """Return the distances of the first image from each of the others: (1 + K, 3, H, W) -> (K,)."""
        return self.from_first_units(self.units(images))

    def from_first_units(self, units: Sequence[Tensor]) -> Tensor:
        """Return the distances of the first image from each of the others, by their unit features: (K,)."""
        return self.distances([unit[1:] for unit in units], [unit[:1] for unit in units])

    def distances(self, units_x: Sequence[Tensor], units_y: Sequence[Tensor]) -> Tensor:
        """Return the distances (N,) between unit features."""
        layers = zip(units_x, units_y, self.channels, strict=True)
        return torch.stack([layer_distance(x, y, weights) for x, y, weights in layers]).sum(0)

    def three_way(self, images: Tensor) -> Tensor:
        """Compare reference, first and second distortion, stacked along the batch, with each other: (N, L).

        The order is first with reference, second with reference, first with second.
        """
        layers = []
        for unit, weights in zip(self.units(images), self.channels, strict=True):
            ref, p0, p1 = unit.chunk(3)
            layers.append(torch.cat([layer_distance(a, b, weights) for a, b in ((ref, p0), (ref, p1), (p0, p1))]))
        return torch.stack(layers, dim=1)


def layer_distance(unit_x: Tensor, unit_y: Tensor, weights: Tensor) -> Tensor:
    """Compare unit features (N, C, H, W) of one layer: (N,). Gradients flow to the weights, too."""
    return pool_mean(weigh(channel_differences(unit_x, unit_y), weights))
