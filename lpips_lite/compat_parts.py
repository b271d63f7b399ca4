"""Parts and helpers of `lpips` that people use besides the distance. Parts are copies: changing them has no effect.

`compat.py` exports all of them. Function signatures are those of `lpips==0.1.4`.
"""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import DTypeLike, NDArray
from torch import Tensor, nn

from lpips_lite.towers import IMAGENET_MEAN, IMAGENET_STD, FeatureTower

HALF_RANGE = 255 / 2


class Scaling(nn.Module):
    """`loss.scaling_layer`: turns images in [-1, 1] into the range that the network was trained on."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        shift, scale = [2 * mean - 1 for mean in IMAGENET_MEAN], [2 * std for std in IMAGENET_STD]
        self.shift, self.scale = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (shift, scale))

    def forward(self, inp: Tensor) -> Tensor:
        """Return (inp − shift) / scale, (N, 3, H, W)."""
        return (inp - self.shift) / self.scale


class Network(nn.Module):
    """`loss.net`: scaled images (N, 3, H, W) -> the features of each layer, a named tuple of (N, C_l, H_l, W_l)."""

    def __init__(self, tower: FeatureTower) -> None:
        super().__init__()
        self.tower = tower
        self.N_slices = len(tower.taps)

    def forward(self, X: Tensor) -> Any:  # noqa: N803
        """Return the features, named relu1, relu2 and so on; for "vgg", relu1_2, relu2_2 and so on."""
        taps = enumerate(self.tower.taps, start=1)
        names = [tap.name if tap.name.startswith("relu") else f"relu{number}" for number, tap in taps]
        return namedtuple("Features", names)(*self.tower.spec.run(X, self.tower.tensors, self.tower.taps))


class Weighing(nn.Module):
    """`lin.model[-1]`: the weighted sum over channels; `weight` is (1, C, 1, 1)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight.detach().clone().view(1, -1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, 1, H, W)."""
        return F.conv2d(x, self.weight.to(x.dtype))


class LinearLayer(nn.Module):
    """One of `loss.lins`. Like the published one, `model` has two entries; the first is in the place of the dropout."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Identity(), Weighing(weight))

    def forward(self, x: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, 1, H, W)."""
        found: Tensor = self.model(x)
        return found


def linear_layers(channel_weights: Mapping[str, Tensor]) -> nn.ModuleList:
    """Return `loss.lins`, one per layer."""
    return nn.ModuleList(map(LinearLayer, channel_weights.values()))


def normalize_tensor(in_feat: Tensor, eps: float = 1e-10) -> Tensor:
    """Scale features (N, C, H, W) to length 1 along C. The gradient is finite even if all of them are zero."""
    length: Tensor = torch.linalg.vector_norm(in_feat, dim=1, keepdim=True)
    return in_feat / (length + eps)


def spatial_average(in_tens: Tensor, keepdim: bool = True) -> Tensor:
    """Average over space: (N, C, H, W) -> (N, C, 1, 1), or (N, C) without `keepdim`."""
    return in_tens.mean(dim=(2, 3), keepdim=keepdim)


def upsample(in_tens: Tensor, out_HW: tuple[int, int] = (64, 64)) -> Tensor:  # noqa: N803
    """Resize (N, C, H, W) to `out_HW`, bilinearly."""
    return F.interpolate(in_tens, size=out_HW, mode="bilinear", align_corners=False)


def im2tensor(
    image: NDArray[Any], imtype: DTypeLike = np.uint8, cent: float = 1.0, factor: float = HALF_RANGE
) -> Tensor:
    """Turn an array (H, W, 3) in 0…255 into a batch of one, (1, 3, H, W), float32 in [-1, 1]; `imtype` is not used."""
    return torch.from_numpy(np.ascontiguousarray((image / factor - cent).transpose(2, 0, 1)[None])).float()


def tensor2im(
    image_tensor: Tensor, imtype: DTypeLike = np.uint8, cent: float = 1.0, factor: float = HALF_RANGE
) -> NDArray[Any]:
    """Turn the first image of a batch (N, 3, H, W) in [-1, 1] into an array (H, W, 3) of `imtype` in 0…255.

    Fractions are cut off, as in the original. Values outside the range of `imtype` are clipped, not wrapped.
    """
    array = (image_tensor[0].detach().cpu().float().numpy().transpose(1, 2, 0) + cent) * factor
    if np.issubdtype(imtype, np.integer):
        array = array.clip(np.iinfo(imtype).min, np.iinfo(imtype).max)
    return array.astype(imtype)


def load_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read an image file as an array (H, W, 3), RGB, uint8, under the policy of `lpips_lite.read_image`.

    Raises:
        FileNotFoundError, OSError, ValueError: Same as `lpips_lite.read_image`.
    """
    from lpips_lite import read_image  # here, since it imports what reads files

    pixels = read_image(path).mul(255).round().byte()
    return pixels.permute(1, 2, 0).contiguous().numpy()
