"""Feature losses: distances of features at the taps of a tower. Takes pairs, returns one number per pair."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from lpips_lite.images import RangeCheck, check_for_tower, to_common
from lpips_lite.strips import average, strips
from lpips_lite.tiling import compare_layers
from lpips_lite.towers import FeatureTower

Resolution = Literal["256p", "512p", "gta"]

CRN_TAPS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")  # of VGG-19
CRN_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)  # this mean is subtracted from images in [0, 255]
CRN_STD = (1 / 255, 1 / 255, 1 / 255)
# Divisors of the terms, starting with that of the images, from the authors' training scripts.
CRN_SCALES: dict[Resolution, tuple[float, ...]] = {
    "256p": (1.0, 1.6, 2.3, 1.8, 2.8, 0.08),
    "512p": (1.0, 2.6, 4.8, 3.7, 5.6, 0.15),  # and 1024p
    "gta": (1.0, 1.4, 1.8, 1.3, 2.2, 0.062),
}


def content_distance(
    x: Tensor,
    y: Tensor,
    tower: FeatureTower,
    *,
    max_memory: str | int | None = None,
    check_range: RangeCheck = "auto",
) -> Tensor:
    """Return the mean squared difference of features, summed over the tower's taps.

    With `FeatureTower("vgg", taps=["relu3_3"])` it is the feature reconstruction loss of Johnson et al. (2016). At each
    tap `piq.ContentLoss` is C times as large, since it sums over channels. Unlike in LPIPS, features are not
    normalised, so the number depends on the scale of the tower.

    With a pixel term it is the loss of Dosovitskiy & Brox (2016) without their adversarial term:

        tower = FeatureTower("alex", taps=["relu5"])
        loss = 0.01 * content_distance(x, y, tower).mean() + 2e-6 * l2(x, y).mean()   # tune these weights

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Images of the same shape.
        tower: Computes the features.
        max_memory: Bytes, or a string like "2GiB"; larger pairs are computed tile by tile, without gradients.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), ≥ 0, lower = closer.

    Raises:
        TypeError, ValueError: If dtype, shape, range, size or device is not as described.

    References:
        Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016,
        https://arxiv.org/abs/1603.08155
        Dosovitskiy, Brox: Generating Images with Perceptual Similarity Metrics based on Deep Networks, NeurIPS 2016,
        https://arxiv.org/abs/1602.02644

    Examples:
        >>> image = torch.rand(1, 3, 64, 64)
        >>> content_distance(image, image, FeatureTower("lite"))
        tensor([0.])
    """
    check_for_tower(x, y, check_range, tower.spec.min_side)
    return torch.stack(compare_layers(tower, x, y, _mean_square, average, max_memory)).sum(dim=0)


def crn_tower(weights: str | None = None) -> FeatureTower:
    """Return the tower that `crn_distance` expects: VGG-19, average pooling, images in [0, 255] minus their mean.

    Args:
        weights: See `FeatureTower`.
    """
    return FeatureTower("vgg19", taps=CRN_TAPS, pooling="average", weights=weights, mean=CRN_MEAN, std=CRN_STD)


def crn_distance(
    x: Tensor,
    y: Tensor,
    tower: FeatureTower,
    *,
    resolution: Resolution = "256p",
    max_memory: str | int | None = None,
    check_range: RangeCheck = "auto",
) -> Tensor:
    """Return the loss of cascaded refinement networks: weighted L1 of images and of features at five taps.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Images of the same shape.
        tower: The tower that `crn_tower()` returns.
        resolution: Which published weights to use: for 256p models, for 512p and 1024p models, or for GTA models.
        max_memory: Bytes, or a string like "2GiB"; larger pairs are computed tile by tile, without gradients.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), ≥ 0, lower = closer.

    Raises:
        TypeError, ValueError: If dtype, shape, range, size, device, taps or `resolution` is not as described.

    References:
        Chen, Koltun: Photographic Image Synthesis with Cascaded Refinement Networks, ICCV 2017,
        https://arxiv.org/abs/1707.09405; weights from github.com/CQFIO/PhotographicImageSynthesis
    """
    if resolution not in CRN_SCALES:
        raise ValueError(f"resolution={resolution!r}: expected one of {', '.join(map(repr, CRN_SCALES))}")
    taps = tuple(tap.name for tap in tower.taps)
    if taps != CRN_TAPS:
        raise ValueError(f"tower has the taps {', '.join(taps)}; expected {', '.join(CRN_TAPS)}, as crn_tower() has")
    check_for_tower(x, y, check_range, tower.spec.min_side)
    of_images = average((_mean_absolute(255 * strip.x, 255 * strip.y), strip.x.shape[2]) for strip in strips(x, y))
    terms = [of_images, *compare_layers(tower, x, y, _mean_absolute, average, max_memory)]
    return torch.stack([term / scale for term, scale in zip(terms, CRN_SCALES[resolution], strict=True)]).sum(dim=0)


class ContentLoss(nn.Module):
    """The mean over the batch of `content_distance` with `tower`: 0 = the same features."""

    def __init__(self, tower: FeatureTower, *, check_range: RangeCheck = "auto") -> None:
        super().__init__()
        self.tower, self.check_range = tower, check_range

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return content_distance(x, y, self.tower, check_range=self.check_range).mean()


class CRNLoss(nn.Module):
    """The mean over the batch of `crn_distance` with `tower`: 0 = identical."""

    def __init__(
        self, tower: FeatureTower, *, resolution: Resolution = "256p", check_range: RangeCheck = "auto"
    ) -> None:
        super().__init__()
        self.tower, self.resolution, self.check_range = tower, resolution, check_range

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return crn_distance(x, y, self.tower, resolution=self.resolution, check_range=self.check_range).mean()


def _mean_square(f_x: Tensor, f_y: Tensor) -> Tensor:
    f_x, f_y = to_common(f_x, f_y)
    return (f_x - f_y).square().mean(dim=(1, 2, 3))


def _mean_absolute(f_x: Tensor, f_y: Tensor) -> Tensor:
    f_x, f_y = to_common(f_x, f_y)
    return (f_x - f_y).abs().mean(dim=(1, 2, 3))
