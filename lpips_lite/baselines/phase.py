"""Feature similarity: phase congruency and gradients. Pairs in, one number per pair out."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpips_lite.images import RangeCheck, full_precision, prepare_pair, shrinking_factor

SCALES, ORIENTATIONS = 4, 4
SHORTEST, RATIO = 6.0, 2.0  # wavelength in pixels of the finest filter; from each scale to the next
BANDWIDTH = 0.55  # of the log-Gabor filters
ANGULAR = math.pi / (ORIENTATIONS * 1.2)  # standard deviation of their orientation
CUTOFF, ORDER = 0.45, 15  # of the Butterworth low-pass filter that clears the corners of the spectrum
NOISE_DEVIATIONS, NOISE_RESCALE = 2.0, 1.7
T1, T2, T3, T4, CHROMA_POWER = 0.85, 160.0, 200.0, 200.0, 0.03  # Zhang et al. 2011, section IV-A
RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
MIN_SIDE = 8


def fsim(x: Tensor, y: Tensor, *, chromatic: bool = False, check_range: RangeCheck = "auto") -> Tensor:
    """Return the feature similarity of each pair, or FSIMc with `chromatic=True`.

        FSIM = Σ S_PC · S_G · PC_max / Σ PC_max,   S_PC = (2 PC_x PC_y + T1) / (PC_x² + PC_y² + T1)

    PC is the phase congruency of luma (log-Gabor filters, 4 scales × 4 orientations), S_G the likewise similarity of
    Scharr gradients; FSIMc multiplies by the similarity of both chroma channels of YIQ to the power 0.03. Images are
    shrunk first by the whole number nearest to (smallest side)/256. Equal to `piq.fsim`, after the authors' code, but
    where that quotient is 2.5 or 4.5 (sides of 640 and 1152): there MATLAB rounds up, and piq to the even number.

    Args:
        x: Images, (N, 3, H, W), float in [0, 1] or uint8, sides of at least 8.
        y: Likewise, same shape.
        chromatic: Whether colour counts.
        check_range: When values are read to check them, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), in [0, 1], higher = closer, 1 = identical. Pairs without any structure give 1.

    Raises:
        TypeError, ValueError: If dtype, shape, range, size or device is not as described.

    References:
        Zhang, Zhang, Mou, Zhang: FSIM: A Feature Similarity Index for Image Quality Assessment, IEEE TIP 2011,
        https://doi.org/10.1109/TIP.2011.2109730; phase congruency after Kovesi, Videre 1999.

    Example:
        >>> image = torch.rand(1, 3, 32, 32)
        >>> fsim(image, image)
        tensor([1.])
    """
    x, y = prepare_pair(x, y, check_range, MIN_SIDE)
    with full_precision(x):
        return _compare(x, y, chromatic)


def _compare(x: Tensor, y: Tensor, chromatic: bool) -> Tensor:
    luma_x, *chroma_x = _to_yiq(x)
    luma_y, *chroma_y = _to_yiq(y)
    filters = _log_gabor(luma_x)
    congruency_x, congruency_y = _phase_congruency(luma_x, filters), _phase_congruency(luma_y, filters)
    similarity = _similar(congruency_x, congruency_y, T1) * _similar(_gradient(luma_x), _gradient(luma_y), T2)
    if chromatic:
        for channel_x, channel_y, constant in zip(chroma_x, chroma_y, (T3, T4), strict=True):
            similarity = similarity * _similar(channel_x, channel_y, constant).abs().clamp(min=1e-12) ** CHROMA_POWER
    weight = torch.maximum(congruency_x, congruency_y)
    tiny = torch.finfo(weight.dtype).eps
    return ((similarity * weight).sum(dim=(1, 2)) + tiny) / (weight.sum(dim=(1, 2)) + tiny)


class FSIMLoss(nn.Module):
    """The mean over the batch of 1 − `fsim`: 0 = identical."""

    def __init__(self, *, chromatic: bool = False, check_range: RangeCheck = "auto") -> None:
        super().__init__()
        self.chromatic, self.check_range = chromatic, check_range

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 1 - fsim(x, y, chromatic=self.chromatic, check_range=self.check_range).mean()


def _to_yiq(images: Tensor) -> tuple[Tensor, ...]:
    """Return luma and both chroma channels for a peak of 255, shrunk: 3 × (N, H/f, W/f)."""
    images = F.avg_pool2d(255 * images, shrinking_factor(images))
    return torch.einsum("ij,njhw->nihw", images.new_tensor(RGB_TO_YIQ), images).unbind(dim=1)


def _similar(a: Tensor, b: Tensor, constant: float) -> Tensor:
    return (2 * a * b + constant) / (a**2 + b**2 + constant)


def _length(a: Tensor, b: Tensor) -> Tensor:
    """Return √(a² + b²), with gradient 0 where both are 0."""
    return _root(a.square() + b.square())


def _root(square: Tensor) -> Tensor:
    present = ~(square <= 0)  # what is not a number stays so
    return torch.where(present, torch.where(present, square, 1).sqrt(), 0)


def _gradient(luma: Tensor) -> Tensor:
    """Return the magnitude of the Scharr gradient, borders zero-padded: (N, H, W)."""
    kernel = luma.new_tensor(((-3.0, 0.0, 3.0), (-10.0, 0.0, 10.0), (-3.0, 0.0, 3.0))) / 16
    across, down = F.conv2d(luma.unsqueeze(1), torch.stack([kernel, kernel.T]).unsqueeze(1), padding=1).unbind(dim=1)
    return _length(across, down)


def _frequencies(side: int, like: Tensor) -> Tensor:
    """Return the frequencies of one direction of a spectrum, in cycles a pixel, 0 first, as the authors space them."""
    steps: Tensor = torch.fft.ifftshift(torch.arange(side, dtype=like.dtype, device=like.device) - side // 2)
    return steps / (side - side % 2)


def _log_gabor(luma: Tensor) -> Tensor:
    """Return the filters' transfer functions, (orientations, scales, H, W)."""
    down, across = _frequencies(luma.shape[1], luma).view(-1, 1), _frequencies(luma.shape[2], luma)
    radius = (down**2 + across**2).sqrt()
    angle = torch.atan2(-across.expand_as(radius), down.expand_as(radius))
    low_pass = 1 / (1 + (radius / CUTOFF) ** (2 * ORDER))
    safe = torch.where(radius > 0, radius, 1)
    wavelengths = [SHORTEST * RATIO**scale for scale in range(SCALES)]
    bands = [torch.exp(-((safe * w).log() ** 2) / (2 * math.log(BANDWIDTH) ** 2)) for w in wavelengths]
    radial = torch.stack(bands) * low_pass * (radius > 0)
    fans = []
    for number in range(ORIENTATIONS):
        turned = angle - number * math.pi / ORIENTATIONS
        away = torch.atan2(turned.sin(), turned.cos()).abs()
        fans.append(torch.exp(-(away**2) / (2 * ANGULAR**2)))
    filters: Tensor = torch.stack(fans).unsqueeze(1) * radial
    return filters


def _phase_congruency(luma: Tensor, filters: Tensor) -> Tensor:
    """Return where the phases of all scales agree, in [0, 1]: (N, H, W)."""
    responses = torch.fft.ifft2(torch.fft.fft2(luma)[:, None, None] * filters)  # (N, orientations, scales, H, W)
    even, odd = responses.real, responses.imag
    amplitude = _length(even, odd)
    sum_even, sum_odd = even.sum(dim=2, keepdim=True), odd.sum(dim=2, keepdim=True)
    tiny = torch.finfo(luma.dtype).eps
    total = _length(sum_even, sum_odd) + tiny
    mean_even, mean_odd = sum_even / total, sum_odd / total
    energy = (even * mean_even + odd * mean_odd - (even * mean_odd - odd * mean_even).abs()).sum(dim=2)

    # Noise: its power from the median energy of the finest scale (a chi-squared variable), its sum over scales from
    # the filters' own correlations, its mean and deviation from the Rayleigh distribution.
    median = amplitude[:, :, 0].flatten(2).square().median(dim=-1).values
    power = -median / math.log(0.5) / filters[:, 0].square().sum(dim=(1, 2))
    impulse = torch.fft.ifft2(filters).real.sum(dim=1) * math.sqrt(filters.shape[-1] * filters.shape[-2])
    rayleigh = _root(power * impulse.square().sum(dim=(1, 2)))
    threshold = rayleigh * (math.sqrt(math.pi / 2) + NOISE_DEVIATIONS * math.sqrt(2 - math.pi / 2)) / NOISE_RESCALE
    energy = (energy - threshold[..., None, None]).clamp(min=0)
    congruency: Tensor = (energy.sum(dim=1) + tiny) / (amplitude.sum(dim=(1, 2)) + tiny)
    return congruency
