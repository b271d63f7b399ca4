"""The two heads of `lite` as separate metrics, on the two halves of its tower.

The first half of the channels of every layer forms a separate network, which the far head reads, and which learns
nothing from people's judgments. The second half reads both halves of the layer before. The near head reads both halves;
only the second half is trained for it. The distance is d = F + C · (1 − exp(−N / C)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor

from calibration.plain_metric import PlainMetric
from lpips_lite import LPIPS
from lpips_lite.layers import Conv, TowerSpec
from lpips_lite.tensor_files import content_hash, save_tensors
from lpips_lite.towers import TOWERS

LITE = TOWERS["lite"]
HALVES = 2
FAR_LAYERS = range(1, len(LITE.taps))  # that the far head reads: not the first, which sees edges and noise
NOISE = 0.05  # initial difference between the near half and the far one, since otherwise both would stay the same


def half_spec() -> TowerSpec:
    """Return the table of layers of the first half of `lite`."""
    layers = [
        replace(layer, inputs=_half_inputs(layer), channels=layer.channels // HALVES)
        if isinstance(layer, Conv)
        else layer
        for layer in LITE.layers
    ]
    return replace(LITE, name="half of lite", layers=tuple(layers), groups=1)


def _half_inputs(layer: Conv) -> int:
    return layer.inputs if reads_images(f"features.{layer.index}.") else layer.inputs // HALVES


def reads_images(key: str) -> bool:
    """Return whether a tensor belongs to the first convolution, whose inputs both halves read completely."""
    return key.startswith("features.0.")


class NearHead(PlainMetric):
    """A metric on both halves of the tower, which trains only the second half.

    Args:
        far: The first half, which is not trained.
        tensors: The tensors of the second half, which reads both halves, and the channel weights of both.
    """

    def __init__(self, far: PlainMetric, tensors: dict[str, Tensor]) -> None:
        super().__init__(LITE, tensors)
        self._far_rows = {}
        for key, own in far.tower.items():
            inner = own.ndim == 4 and not reads_images(key)
            self._far_rows[key] = torch.cat([own, torch.zeros_like(own)], dim=1) if inner else own

    def join_tower(self) -> dict[str, Tensor]:
        """Return the tensors of the whole tower, in which the far half does not read the near half."""
        return {key: torch.cat([rows, self.tensors[key]]) for key, rows in self._far_rows.items()}

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.run(images, self.join_tower())


@dataclass(frozen=True)
class TwoHeads:
    """A metric with two heads.

    Attributes:
        far: The far head, on the first half of the tower; it is constant.
        near: The near head, on both halves; the second half and its channel weights can be trained.
        near_limit: C, the limit that the near head's part of a distance approaches.
    """

    far: PlainMetric
    near: NearHead
    near_limit: float

    @classmethod
    def start(cls, half: PlainMetric, far_share: float, near_limit: float) -> TwoHeads:
        """Return a metric whose halves both almost equal `half`; the near head reads its half, the far head is weak."""
        far = {key: tensor.detach() for key, tensor in half.tensors.items()}
        near, generator = {}, Generator().manual_seed(0)
        for key, tensor in half.tower.items():
            own = tensor.detach()
            if own.ndim == 4:
                own = own if reads_images(key) else torch.cat([own, own], dim=1) / 2
                own = own * (1 + NOISE * torch.randn(own.shape, generator=generator))
            near[key] = own.clone()
        for layer, weights in enumerate(half.channels):
            far[f"channel_weights.{layer}"] = (far_share if layer in FAR_LAYERS else 0) * weights.detach()
            near[f"channel_weights.{layer}"] = torch.cat([torch.zeros_like(weights), weights.detach()])
        first = PlainMetric(half_spec(), far)
        return cls(first, NearHead(first, near), near_limit)

    @classmethod
    def of(cls, metric: LPIPS) -> TwoHeads:
        """Return copies of the heads of a metric.

        Raises:
            ValueError: If it does not have two heads, or if the far half or the far head reads the near half.
        """
        tensors = {**metric.tower.tensors, **metric.tensors}
        if metric.tower.spec is not LITE or "near_limit" not in tensors:
            raise ValueError(
                f"start {metric.signature!r}: expected a lite with two heads, as written by calibration.distill"
            )
        far, near = {}, {}
        for key in LITE.shapes():
            own, near[key] = tensors[key].clone().chunk(HALVES)
            far[key] = own if own.ndim == 1 or reads_images(key) else _first_half(own, 1, key, metric)
        for layer in range(len(LITE.taps)):
            key = f"channel_weights.{layer}"
            far[key] = _first_half(tensors[key].clone(), 0, key, metric)
            near[key] = tensors[f"near_weights.{layer}"].clone()
        first = PlainMetric(half_spec(), far)
        return cls(first, NearHead(first, near), float(tensors["near_limit"]))

    def scaled(self, factor: float) -> TwoHeads:
        """Return a metric whose distances are `factor` times as large."""
        far, near = (
            {key: t.detach() * (factor if key.startswith("channel_weights") else 1) for key, t in head.tensors.items()}
            for head in (self.far, self.near)
        )
        first = PlainMetric(half_spec(), far)
        return TwoHeads(first, NearHead(first, near), factor * self.near_limit)

    def join(self) -> dict[str, Tensor]:
        """Return the tensors of the whole metric, as in a weight file."""
        joined = {key: tensor.detach() for key, tensor in self.near.join_tower().items()}
        for layer, (far, near) in enumerate(zip(self.far.channels, self.near.channels, strict=True)):
            joined[f"channel_weights.{layer}"] = torch.cat([far.detach(), torch.zeros_like(far)])
            joined[f"near_weights.{layer}"] = near.detach()
        joined["near_limit"] = torch.tensor(self.near_limit)
        return joined

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write a weight file that `LPIPS` can load, with `metadata` and its net, tower and licence."""
        known = {"net": LITE.name, "tower": content_hash(self.near.join_tower()), "licence": "BSD-2-Clause"}
        save_tensors(path, self.join(), {**known, **metadata})

    def from_first(self, images: Tensor) -> Tensor:
        """Return the distances of the first image from each of the others: (1 + K, 3, H, W) -> (K,).

        Gradients flow to the near head only.
        """
        units = self.near.units(images)
        first, others = [unit[:1] for unit in units], [unit[1:] for unit in units]
        with torch.no_grad():
            far = self.far.distances(*([unit.chunk(HALVES, dim=1)[0] for unit in part] for part in (others, first)))
        return far - self.near_limit * torch.expm1(-self.near.distances(others, first) / self.near_limit)


def _first_half(tensor: Tensor, dim: int, key: str, metric: LPIPS) -> Tensor:
    """Return the weights that read the far half, after checking that the rest is 0."""
    first, second = tensor.chunk(HALVES, dim)
    if second.any():
        raise ValueError(f"start {metric.signature!r}: its far head reads the near head's half in {key}")
    return first
