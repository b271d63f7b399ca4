"""Template matching: squared differences and correlations. Pairs in, one number per pair or a response map out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpips_lite.images import RangeCheck, full_precision, prepare_template
from lpips_lite.strips import average, check_for_masked_strips, check_for_strips, strips, under

Method = Literal["ssd", "ncc", "zncc"]
NO_FLOAT64 = ("mps", "xpu")  # Apple's GPUs, and some of Intel's


def ssd(x: Tensor, y: Tensor, *, mask: Tensor | None = None, check_range: RangeCheck = "auto") -> Tensor:
    """Return the sum of squared differences of each pair, over channels and pixels.

    Args:
        x: Images, (N, C, H, W), C = 3 or 1 (grayscale), float in [0, 1] or uint8.
        y: Images of the same shape.
        mask: Where to compare: (N, 1, H, W), bool, or floats ≥ 0 by which the squares are multiplied.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), ≥ 0, lower = closer.

    Raises:
        TypeError, ValueError: If dtype, shape, range, device or mask is not as described.

    Examples:
        >>> ssd(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5))
        tensor([3.])
    """
    x, y, mask = check_for_masked_strips(x, y, mask, check_range)
    if mask is not None and not (mask.dtype == torch.bool or mask.is_floating_point()):
        raise TypeError(f"mask has dtype {mask.dtype}; expected bool, or floats that squares are multiplied by")
    squares = ((strip.x - strip.y).square() for strip in strips(x, y))
    counted = squares if mask is None else (part * rows for part, rows in under(squares, mask))
    return _total(part.flatten(1).sum(dim=1) for part in counted)


def ncc(x: Tensor, y: Tensor, *, check_range: RangeCheck = "auto") -> Tensor:
    """Return the normalised cross-correlation of each pair, Σ xy / √(Σ x² Σ y²), over channels and pixels.

    A gain does not change it: `ncc(a·x, y) = ncc(x, y)` for a > 0. A black image gives 0. It equals OpenCV's
    `TM_CCORR_NORMED`.

    Args:
        x: Images, (N, C, H, W), C = 3 or 1 (grayscale), float in [0, 1] or uint8.
        y: Images of the same shape.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), in [0, 1], higher = closer.

    Raises:
        TypeError, ValueError: Same as `ssd`.
    """
    return _cosine(*check_for_strips(x, y, check_range))


def zncc(x: Tensor, y: Tensor, *, check_range: RangeCheck = "auto") -> Tensor:
    """Return the zero-mean normalised cross-correlation of each pair: `ncc` after subtracting the mean of each image.

    Gain and offset do not change it: `zncc(a·x + b, y) = zncc(x, y)` for a > 0. A constant image gives 0. The mean is
    over both channels and pixels, so for gray images this is Pearson's correlation.

    Args:
        x: Images, (N, C, H, W), C = 3 or 1 (grayscale), float in [0, 1] or uint8.
        y: Images of the same shape.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), in [-1, 1], higher = closer.

    Raises:
        TypeError, ValueError: Same as `ssd`.

    References:
        Lewis: Fast Normalized Cross-Correlation, Vision Interface 1995.
    """
    x, y = check_for_strips(x, y, check_range)
    means = average(
        (torch.stack([rows.flatten(1).mean(dim=1) for rows in strip[:2]]), strip.x.shape[2]) for strip in strips(x, y)
    )
    return _cosine(x, y, means)


def match_template(
    image: Tensor, template: Tensor, *, method: Method = "zncc", check_range: RangeCheck = "auto"
) -> Tensor:
    """Return how well a template fits at each position of an image, computed by fast Fourier transforms.

    "zncc" equals scikit-image's `match_template` on gray images; "ssd" and "ncc" are the functions with these names.

    Args:
        image: Images, (N, C, H, W), C = 3 or 1 (grayscale), float in [0, 1] or uint8.
        template: Templates, (N, C, h, w) with h ≤ H and w ≤ W.
        method: The metric to compute at each position.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N, H − h + 1, W − w + 1); element (i, j) compares the template with `image[:, :, i:i+h, j:j+w]`.

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
    if method == "zncc":  # an offset does not matter, and small values keep their digits
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

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        return ssd(x, y, mask=mask, check_range=self.check_range).mean()


class NCCLoss(_Loss):
    """The mean over the batch of 1 − `ncc`: 0 = equal except for gain."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 1 - ncc(x, y, check_range=self.check_range).mean()


class ZNCCLoss(_Loss):
    """The mean over the batch of 1 − `zncc`: 0 = equal except for gain and offset."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 1 - zncc(x, y, check_range=self.check_range).mean()


def _cosine(x: Tensor, y: Tensor, means: Tensor | None = None) -> Tensor:
    """Return Σ xy / √(Σ x² Σ y²), after subtracting the means (2, N) if they are given."""
    sums = []
    for strip in strips(x, y):
        a, b = (rows.flatten(1) for rows in strip[:2])
        if means is not None:
            a, b = a - means[0][:, None], b - means[1][:, None]
        sums.append(torch.stack([(a * b).sum(dim=1), a.square().sum(dim=1), b.square().sum(dim=1)]))
    product, square_x, square_y = _total(sums)
    return _quotient(product, square_x * square_y, x[0].numel())


def _total(parts: Iterable[Tensor]) -> Tensor:
    first, *others = parts
    return sum(others, start=first)


def _quotient(product: Tensor, squares: Tensor, count: int) -> Tensor:
    """Return product / √squares, and 0 if an image has no energy above the rounding error."""
    floor = (torch.finfo(product.dtype).eps * count) ** 2
    present = ~(squares <= floor)  # NaN stays NaN
    return torch.where(present, product / torch.where(present, squares, 1).sqrt(), 0).clamp(-1, 1)


def _correlate(image: Tensor, template: Tensor) -> Tensor:
    """Return Σ image · template at each position, summed over channels: (N, H − h + 1, W − w + 1)."""
    size = image.shape[2:]
    spectrum = torch.fft.rfft2(image) * torch.fft.rfft2(template, s=size).conj()
    product: Tensor = torch.fft.irfft2(spectrum.sum(dim=1), s=size)
    return product[:, : size[0] - template.shape[2] + 1, : size[1] - template.shape[3] + 1]


def _sums(image: Tensor, size: torch.Size) -> Tensor:
    """Return the sum over channels and over a window of the given size at each position, computed in float64."""
    place = image if image.device.type not in NO_FLOAT64 else image.cpu()
    total = F.pad(place.double().sum(dim=1).cumsum(dim=1).cumsum(dim=2), (1, 0, 1, 0))
    rows = total[:, size[0] :] - total[:, : -size[0]]
    sums: Tensor = rows[:, :, size[1] :] - rows[:, :, : -size[1]]
    return sums.to(image)
