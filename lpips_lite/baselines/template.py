"""Template matching: squared differences and correlations. Pairs in, one number per pair or a response map out."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpips_lite.images import RangeCheck, full_precision, prepare_pair, prepare_template

Method = Literal["ssd", "ncc", "zncc"]
NO_FLOAT64 = ("mps", "xpu")  # Apple's GPUs, and some of Intel's


def ssd(x: Tensor, y: Tensor, *, check_range: RangeCheck = "auto") -> Tensor:
    """Return the sum of squared differences of each pair, over channels and pixels.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Likewise, same shape.
        check_range: When values are read to check them, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), ≥ 0, lower = closer.

    Raises:
        TypeError, ValueError: If dtype, shape, range or device is not as described.

    Example:
        >>> ssd(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5))
        tensor([3.])
    """
    x, y = _flatten(x, y, check_range)
    return (x - y).square().sum(dim=1)


def ncc(x: Tensor, y: Tensor, *, check_range: RangeCheck = "auto") -> Tensor:
    """Return the normalised cross-correlation of each pair, Σ xy / √(Σ x² Σ y²), over channels and pixels.

    A gain does not change it: `ncc(a·x, y) = ncc(x, y)` for a > 0. A black image gives 0. OpenCV's `TM_CCORR_NORMED`.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Likewise, same shape.
        check_range: When values are read to check them, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), in [0, 1], higher = closer.

    Raises:
        TypeError, ValueError: As `ssd`.
    """
    return _cosine(*_flatten(x, y, check_range))


def zncc(x: Tensor, y: Tensor, *, check_range: RangeCheck = "auto") -> Tensor:
    """Return the zero-mean normalised cross-correlation of each pair: `ncc` after taking off each image's mean.

    Gain and offset do not change it: `zncc(a·x + b, y) = zncc(x, y)` for a > 0. A constant image gives 0. The mean is
    over channels and pixels alike, so for gray images this is Pearson's correlation.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8.
        y: Likewise, same shape.
        check_range: When values are read to check them, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), in [-1, 1], higher = closer.

    Raises:
        TypeError, ValueError: As `ssd`.

    References:
        Lewis: Fast Normalized Cross-Correlation, Vision Interface 1995.
    """
    x, y = _flatten(x, y, check_range)
    return _cosine(x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True))


def match_template(
    image: Tensor, template: Tensor, *, method: Method = "zncc", check_range: RangeCheck = "auto"
) -> Tensor:
    """Return how well a template fits at each position of an image, computed by fast Fourier transforms.

    "zncc" equals scikit-image's `match_template` on gray images; "ssd" and "ncc" are the functions of that name.

    Args:
        image: Images, (N, 3, H, W), float in [0, 1] or uint8.
        template: Templates, (N, 3, h, w) with h ≤ H and w ≤ W.
        method: What is computed at each position.
        check_range: When values are read to check them, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N, H − h + 1, W − w + 1); its element (i, j) compares the template with `image[:, :, i:i+h, j:j+w]`.

    Raises:
        TypeError, ValueError: If dtype, shape, range, device or `method` is not as described.

    References:
        Lewis: Fast Normalized Cross-Correlation, Vision Interface 1995.
    """
    if method not in ("ssd", "ncc", "zncc"):
        raise ValueError(f"method={method!r}: expected 'ssd', 'ncc' or 'zncc'")
    image, template = prepare_template(image, template, check_range)
    with full_precision(image):
        return _match(image, template, method)


def _match(image: Tensor, template: Tensor, method: Method) -> Tensor:
    size = template.shape[2:]
    if method == "zncc":  # an offset changes nothing, and small values keep their digits
        image = image - image.mean(dim=(1, 2, 3), keepdim=True)
        template = template - template.mean(dim=(1, 2, 3), keepdim=True)
    count = template[0].numel()
    product = _correlate(image, template)
    square = _sums(image.square(), size)
    own = template.square().sum(dim=(1, 2, 3)).view(-1, 1, 1)
    if method == "ssd":
        return (square - 2 * product + own).clamp(min=0)
    if method == "zncc":
        square = square - _sums(image, size).square() / count
    return _quotient(product, (square.clamp(min=0) * own), count)


class _Loss(nn.Module):
    def __init__(self, *, check_range: RangeCheck = "auto") -> None:
        super().__init__()
        self.check_range = check_range


class SSDLoss(_Loss):
    """The mean over the batch of `ssd`: 0 = identical."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return ssd(x, y, check_range=self.check_range).mean()


class NCCLoss(_Loss):
    """The mean over the batch of 1 − `ncc`: 0 = equal but for gain."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 1 - ncc(x, y, check_range=self.check_range).mean()


class ZNCCLoss(_Loss):
    """The mean over the batch of 1 − `zncc`: 0 = equal but for gain and offset."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 1 - zncc(x, y, check_range=self.check_range).mean()


def _flatten(x: Tensor, y: Tensor, check_range: RangeCheck) -> tuple[Tensor, Tensor]:
    x, y = prepare_pair(x, y, check_range)
    return x.flatten(1), y.flatten(1)


def _cosine(x: Tensor, y: Tensor) -> Tensor:
    return _quotient((x * y).sum(dim=1), x.square().sum(dim=1) * y.square().sum(dim=1), x.shape[1])


def _quotient(product: Tensor, squares: Tensor, count: int) -> Tensor:
    """Return product / √squares, and 0 where an image has no energy beyond rounding."""
    floor = (torch.finfo(product.dtype).eps * count) ** 2
    present = ~(squares <= floor)  # what is not a number stays so
    return torch.where(present, product / torch.where(present, squares, 1).sqrt(), 0).clamp(-1, 1)


def _correlate(image: Tensor, template: Tensor) -> Tensor:
    """Return Σ image · template at each position, summed over channels: (N, H − h + 1, W − w + 1)."""
    size = image.shape[2:]
    spectrum = torch.fft.rfft2(image) * torch.fft.rfft2(template, s=size).conj()
    product: Tensor = torch.fft.irfft2(spectrum.sum(dim=1), s=size)
    return product[:, : size[0] - template.shape[2] + 1, : size[1] - template.shape[3] + 1]


def _sums(image: Tensor, size: torch.Size) -> Tensor:
    """Return the sum over a window of the given size at each position, and over channels, in float64 inside."""
    place = image if image.device.type not in NO_FLOAT64 else image.cpu()
    total = F.pad(place.double().sum(dim=1).cumsum(dim=1).cumsum(dim=2), (1, 0, 1, 0))
    rows = total[:, size[0] :] - total[:, : -size[0]]
    sums: Tensor = rows[:, :, size[1] :] - rows[:, :, : -size[1]]
    return sums.to(image)
