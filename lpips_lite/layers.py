"""The layers that towers are built from: plain records that know their weights' shapes and how to apply them.

Keys are torchvision's `features.N…`; `towers.py` lists the layers of each network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lpips_lite.images import full_precision

Pooling = Literal["max", "average", "l2"]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Conv:
    """A convolution and the ReLU after it; the ReLU is the tap and stands at `index + 1`."""

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
            # the same maximum, of numbers ≥ 0, whose size an exporter can prove for any image
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


Layer = Conv | Pool | Fire


def _l2_pool(x: Tensor, stride: int) -> Tensor:
    """Return √(x² filtered with a 3×3 Hann window), whatever the layer's own window (Ding et al. 2020).

    Works in at least float32, since in float16 squares overflow from 256 on, and the 1e-12 vanishes.
    """
    hann = torch.tensor([0.25, 0.5, 0.25], device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
    kernel = torch.outer(hann, hann).expand(x.shape[1], 1, 3, 3)
    with full_precision(x):
        squares = F.conv2d(x.to(hann.dtype).square(), kernel, stride=stride, padding=1, groups=x.shape[1])
    return (squares + 1e-12).sqrt().to(x.dtype)
