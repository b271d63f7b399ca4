"""The layers that towers are built from, as plain records that know the shapes of their weights, and tables of layers.

Keys are those of torchvision, `features.N…`. `towers.py` has the table of each network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint as rerun

from lpips_lite.images import full_precision

Pooling = Literal["max", "average", "l2"]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Conv:
    """A convolution and the ReLU after it; the ReLU is the tap and has the index `index + 1`."""

    name: str
    index: int
    inputs: int
    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0

    @property
    def tap_index(self) -> int:
        return self.index + 1

    def window(self, pooling: Pooling) -> tuple[int, int]:
        """Return the side of the window, and the padding."""
        return self.kernel, self.padding

    def shapes(self) -> dict[str, tuple[int, ...]]:
        key = f"features.{self.index}"
        return {
            f"{key}.weight": (self.channels, self.inputs, self.kernel, self.kernel),
            f"{key}.bias": (self.channels,),
        }

    def __call__(self, x: Tensor, weights: Weights, pooling: Pooling) -> Tensor:
        return _conv_relu(x, weights, f"features.{self.index}", self.stride, self.padding)


@dataclass(frozen=True)
class Pool:
    """A pooling window; the tower's `pooling` says whether it takes the maximum, the average or the quadratic mean."""

    kernel: int
    stride: int
    padding: int = 0
    ceil_mode: bool = False

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def window(self, pooling: Pooling) -> tuple[int, int]:
        """Return the side of the window, and the padding."""
        return (3, 1) if pooling == "l2" else (self.kernel, self.padding)

    def __call__(self, x: Tensor, weights: Weights, pooling: Pooling) -> Tensor:
        if pooling == "l2":
            return _l2_pool(x, self.stride)
        pool = F.max_pool2d if pooling == "max" else F.avg_pool2d
        if self.ceil_mode and pooling == "max" and torch.compiler.is_compiling():
            # the same maximum, since numbers are ≥ 0, but with a size that an exporter can prove for any image
            return pool(F.pad(x, (0, self.stride - 1) * 2), self.kernel, self.stride, self.padding)
        return pool(x, self.kernel, self.stride, self.padding, ceil_mode=self.ceil_mode)


@dataclass(frozen=True)
class Fire:
    """SqueezeNet's module: a 1×1 squeeze, then 1×1 and 3×3 expansions side by side, each with a ReLU."""

    name: str
    index: int
    inputs: int
    squeeze: int
    expand: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1

    @property
    def channels(self) -> int:
        return 2 * self.expand

    @property
    def tap_index(self) -> int:
        return self.index

    def window(self, pooling: Pooling) -> tuple[int, int]:
        """Return the side of the widest window, and the padding."""
        return self.kernel, self.padding

    def shapes(self) -> dict[str, tuple[int, ...]]:
        key = f"features.{self.index}"
        return {
            f"{key}.squeeze.weight": (self.squeeze, self.inputs, 1, 1),
            f"{key}.squeeze.bias": (self.squeeze,),
            f"{key}.expand1x1.weight": (self.expand, self.squeeze, 1, 1),
            f"{key}.expand1x1.bias": (self.expand,),
            f"{key}.expand3x3.weight": (self.expand, self.squeeze, 3, 3),
            f"{key}.expand3x3.bias": (self.expand,),
        }

    def __call__(self, x: Tensor, weights: Weights, pooling: Pooling) -> Tensor:
        key = f"features.{self.index}"
        squeezed = _conv_relu(x, weights, f"{key}.squeeze", stride=1, padding=0)
        return torch.cat(
            [
                _conv_relu(squeezed, weights, f"{key}.expand1x1", stride=1, padding=0),
                _conv_relu(squeezed, weights, f"{key}.expand3x3", stride=1, padding=1),
            ],
            dim=1,
        )


def _conv_relu(x: Tensor, weights: Weights, key: str, stride: int, padding: int) -> Tensor:
    """Convolve in the dtype of `x` (the weights are kept in float32 and cast at use) and rectify."""
    weight, bias = weights[f"{key}.weight"].to(x.dtype), weights[f"{key}.bias"].to(x.dtype)
    return F.conv2d(x, weight, bias, stride, padding).relu_()


def _l2_pool(x: Tensor, stride: int) -> Tensor:
    """Return √(x² filtered with a 3×3 Hann window), whatever window the layer has (Ding et al. 2020).

    Works in at least float32, since in float16 squares overflow from 256 on, and the 1e-12 vanishes.
    """
    hann = torch.tensor([0.25, 0.5, 0.25], device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
    kernel = torch.outer(hann, hann).expand(x.shape[1], 1, 3, 3)
    with full_precision(x):
        squares = F.conv2d(x.to(hann.dtype).square(), kernel, stride=stride, padding=1, groups=x.shape[1])
    return (squares + 1e-12).sqrt().to(x.dtype)


Layer = Conv | Pool | Fire


# -- tables of layers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tap:
    """A place where features are read: its name, layer index in torchvision's `features`, channels and stride."""

    name: str
    index: int
    channels: int
    stride: int


@dataclass(frozen=True)
class TowerSpec:
    """The table of layers that a tower is built from.

    Attributes:
        name: The `net` argument that selects it.
        networks: One network, or several side by side, which all read the images; names and indices of their layers
            differ. Each is a row of layers, of which only those up to its last tap are run.
        taps: Names of the layers whose output is compared, in order.
        min_side: Smallest image side in pixels.
        paper: The paper of the network.
    """

    name: str
    networks: tuple[tuple[Layer, ...], ...]
    taps: tuple[str, ...]
    min_side: int
    paper: str

    def find_taps(self, names: Sequence[str] | None = None) -> tuple[Tap, ...]:
        """Return the taps with these names (default: all taps of the tower) in layer order.

        Raises:
            ValueError: If a name is not one of the tower's layers.
        """
        known = {}
        for network in self.networks:
            stride = 1
            for layer in network:
                stride *= layer.stride
                if not isinstance(layer, Pool):
                    known[layer.name] = Tap(layer.name, layer.tap_index, layer.channels, stride)
        names = self.taps if names is None else tuple(names)
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise ValueError(f"taps={names!r}: tower {self.name!r} has the taps {', '.join(known)}")
        return tuple(tap for tap in known.values() if tap.name in names)

    def receptive_fields(self, taps: Sequence[Tap], pooling: Pooling = "max") -> list[tuple[int, int, int]]:
        """Return for each tap the stride of its features, and how many pixels they see before and after their position.

        Feature j of a row sees the pixels from stride · j − before to stride · j + after.
        """
        fields = []
        for stages in self.stages(taps):
            stride, before, after = 1, 0, 0
            for stage in stages:
                for layer in stage:
                    kernel, padding = layer.window(pooling)
                    before += padding * stride
                    after += (kernel - 1 - padding) * stride
                    stride *= layer.stride
                fields.append((stride, before, after))
        return fields

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every weight, by torchvision's key."""
        return {key: shape for network in self.networks for layer in network for key, shape in layer.shapes().items()}

    def stages(self, taps: Sequence[Tap]) -> list[list[tuple[Layer, ...]]]:
        """Cut each network after each of its taps; layers after its last tap and networks without one are left out."""
        cut = [_cut(network, {tap.name for tap in taps}) for network in self.networks]
        return [stages for stages in cut if stages]

    def run(
        self,
        x: Tensor,
        weights: Weights,
        taps: Sequence[Tap],
        pooling: Pooling = "max",
        checkpoint: bool = False,
    ) -> Iterator[Tensor]:
        """Yield the features of normalised images (N, 3, H, W), one tap after the other.

        With `checkpoint`, results between the taps are not kept for the backward pass but computed again.
        """

        def apply(x: Tensor, stage: tuple[Layer, ...]) -> Tensor:
            for layer in stage:
                x = layer(x, weights, pooling)
            return x

        networks = self.stages(taps)
        waiting = [x] * len(networks)
        del x  # the last network frees the images when it no longer needs them
        for stages in networks:
            features = waiting.pop()
            for stage in stages:
                features = rerun(apply, features, stage, use_reentrant=False) if checkpoint else apply(features, stage)
                yield features


def _cut(network: Sequence[Layer], ends: set[str]) -> list[tuple[Layer, ...]]:
    stages: list[tuple[Layer, ...]] = []
    stage: list[Layer] = []
    for layer in network:
        stage.append(layer)
        if not isinstance(layer, Pool) and layer.name in ends:
            stages.append(tuple(stage))
            stage = []
    return stages
