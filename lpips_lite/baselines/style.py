"""Style distance: Gram matrices of a tower's features. Pairs in, one number a pair out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lpips_lite.images import check_pair, to_float
from lpips_lite.towers import FeatureTower

JOHNSON_TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")  # of VGG-16


def gram_matrix(features: Tensor) -> Tensor:
    """Return the channel-by-channel products of features: G = F Fᵀ / (C·H·W), with F of shape (C, H·W).

    Args:
        features: (N, C, H, W).

    Returns:
        (N, C, C), symmetric and positive semi-definite, in at least float32.
    """
    flat = features.to(torch.promote_types(features.dtype, torch.float32)).flatten(2)  # (N, C, H·W)
    with torch.autocast(features.device.type, enabled=False):
        return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def gram_distance(x: Tensor, y: Tensor, tower: FeatureTower) -> Tensor:
    """Return the style distance of each pair: mean squared difference of Gram matrices, summed over the tower's taps.

    Normalised as Johnson et al. (2016) do, by C·H·W; `FeatureTower("vgg", taps=JOHNSON_TAPS)` has their taps.
    It compares textures and forgets where things are: shuffling the positions of features changes nothing.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Likewise, same shape.
        tower: Makes the features.

    Returns:
        (N,), ≥ 0, lower = closer in style.

    Raises:
        TypeError, ValueError: If dtype, shape, size or device is not as described.

    References:
        Gatys, Ecker, Bethge: Image Style Transfer Using Convolutional Neural Networks, CVPR 2016.
        Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016,
        https://arxiv.org/abs/1603.08155

    Example:
        >>> image = torch.rand(1, 3, 64, 64)
        >>> gram_distance(image, image, FeatureTower("lite"))
        tensor([0.])
    """
    check_pair(x, y, tower.spec.min_side)
    pairs = zip(tower(to_float(x)), tower(to_float(y)), strict=True)
    layers = [(gram_matrix(f_x) - gram_matrix(f_y)).square().mean(dim=(1, 2)) for f_x, f_y in pairs]
    return torch.stack(layers).sum(dim=0)


class GramLoss(nn.Module):
    """The mean over the batch of `gram_distance` with `tower`: 0 = same style."""

    def __init__(self, tower: FeatureTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return gram_distance(x, y, self.tower).mean()
