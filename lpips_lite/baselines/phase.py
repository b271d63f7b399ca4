"""Feature similarity: phase congruency and gradients. Takes pairs, returns one number per pair."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpips_lite.images import RangeCheck, full_precision, numbers_like, shrinking_factor
from lpips_lite.memory import parse_memory
from lpips_lite.strips import check_for_strips, strips

SCALES, ORIENTATIONS = 4, 4
SHORTEST, RATIO = 6.0, 2.0  # wavelength of the finest filter in pixels; ratio from each scale to the next
BANDWIDTH = 0.55  # bandwidth of the log-Gabor filters
ANGULAR = math.pi / (ORIENTATIONS * 1.2)  # standard deviation of their orientation
CUTOFF, ORDER = 0.45, 15  # Butterworth low-pass filter that clears the corners of the spectrum
NOISE_DEVIATIONS, NOISE_RESCALE = 2.0, 1.7
T1, T2, T3, T4, CHROMA_POWER = 0.85, 160.0, 200.0, 200.0, 0.03  # Zhang et al. 2011, section IV-A
RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
MIN_SIDE = 8
NUMBERS, NUMBERS_AN_IMAGE = 40, 60  # numbers kept at a time per pixel of shrunk images


def fsim(
    x: Tensor,
    y: Tensor,
    *,
    chromatic: bool = False,
    max_memory: str | int | None = None,
    check_range: RangeCheck = "auto",
) -> Tensor:
    """Return the feature similarity of each pair, or FSIMc with `chromatic=True`.

        FSIM = Σ S_PC · S_G · PC_max / Σ PC_max,   S_PC = (2 PC_x PC_y + T1) / (PC_x² + PC_y² + T1)

    PC is the phase congruency of luma (log-Gabor filters, 4 scales × 4 orientations), and S_G is the similarity of
    Scharr gradients in the same form. FSIMc multiplies by the similarity of both chroma channels of YIQ to the power
    0.03. Images are first shrunk by the whole number nearest to (smallest side)/256. The result equals `piq.fsim`,
    except where this quotient is 2.5 or 4.5 (sides of 640 and 1152): as in the authors' MATLAB code, it is rounded up
    here, while piq rounds to the even number.

    Args:
        x: Images, (N, C, H, W), C = 3 or, unless `chromatic`, 1 (grayscale), float in [0, 1] or uint8, sides of at
            least 8.
        y: Images of the same shape.
        chromatic: Whether to compare colour, too.
        max_memory: Bytes, or a string like "2GiB". Large images are shrunk strip by strip. The shrunk images are
            transformed as a whole; if that would take more memory, an error is raised.
        check_range: When to check the range of values, as for `LPIPS`: "auto", "always" or "never".

    Returns:
        (N,), in [0, 1], higher = closer, 1 = identical. Pairs without any structure give 1.

    Raises:
        TypeError, ValueError: If dtype, shape, range, size or device is not as described.

    References:
        Zhang, Zhang, Mou, Zhang: FSIM: A Feature Similarity Index for Image Quality Assessment, IEEE TIP 2011,
        https://doi.org/10.1109/TIP.2011.2109730; phase congruency after Kovesi, Videre 1999.

    Examples:
        >>> image = torch.rand(1, 3, 32, 32)
        >>> fsim(image, image)
        tensor([1.])
    """
    x, y = check_for_strips(x, y, check_range, MIN_SIDE)
    if chromatic and x.shape[1] == 1:
        raise ValueError("chromatic=True with images of one channel; expected three (RGB), or chromatic=False")
    factor = shrinking_factor(x)
    low, high = sorted(x.shape[2:])
    numbers = (NUMBERS + NUMBERS_AN_IMAGE * len(x)) * (low // factor) * (high // factor)
    needed = numbers * torch.promote_types(x.dtype, torch.float32).itemsize
    if max_memory is not None and needed > parse_memory(max_memory):
        raise ValueError(
            f"max_memory={max_memory}, but FSIM of {len(x)} × {low}×{high} pixels needs {needed} bytes, since it "
            f"transforms images as a whole; compare parts of them"
        )
    with full_precision(x):
        shrunk = [[_to_yiq(rows, factor) for rows in s[:2]] for s in strips(x, y, window=factor, stride=factor)]
        yiq_x, yiq_y = (torch.cat(parts, dim=2) for parts in zip(*shrunk, strict=True))
        return _compare(yiq_x.unbind(dim=1), yiq_y.unbind(dim=1), chromatic)


def _compare(x: tuple[Tensor, ...], y: tuple[Tensor, ...], chromatic: bool) -> Tensor:
    """Compare luma and chroma channels, 3 × (N, H, W), or luma only, 1 × (N, H, W)."""
    congruency_x, congruency_y = _phase_congruency(torch.cat([x[0], y[0]])).chunk(2)
    similarity = _similar(congruency_x, congruency_y, T1) * _similar(_gradient(x[0]), _gradient(y[0]), T2)
    if chromatic:
        for channel_x, channel_y, constant in zip(x[1:], y[1:], (T3, T4), strict=True):
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


def _to_yiq(images: Tensor, factor: int) -> Tensor:
    """Return shrunk luma and chroma channels for a peak of 255, (N, 3, H/f, W/f); for gray images only luma."""
    images = F.avg_pool2d(255 * images, factor)
    if images.shape[1] == 1:
        return images
    return torch.einsum("ij,njhw->nihw", numbers_like(images, RGB_TO_YIQ), images)


def _similar(a: Tensor, b: Tensor, constant: float) -> Tensor:
    return (2 * a * b + constant) / (a**2 + b**2 + constant)


def _length(a: Tensor, b: Tensor) -> Tensor:
    """Return √(a² + b²), with gradient 0 where both are 0."""
    return _root(a.square() + b.square())


def _root(square: Tensor) -> Tensor:
    present = ~(square <= 0)  # NaN stays NaN
    return torch.where(present, torch.where(present, square, 1).sqrt(), 0)


def _gradient(luma: Tensor) -> Tensor:
    """Return the magnitude of the Scharr gradient, borders zero-padded: (N, H, W)."""
    kernel = numbers_like(luma, ((-3.0, 0.0, 3.0), (-10.0, 0.0, 10.0), (-3.0, 0.0, 3.0))) / 16
    across, down = F.conv2d(luma.unsqueeze(1), torch.stack([kernel, kernel.T]).unsqueeze(1), padding=1).unbind(dim=1)
    return _length(across, down)


def _frequencies(side: int, like: Tensor) -> Tensor:
    """Return the frequencies along one side of a spectrum, in cycles per pixel, 0 first, spaced as by the authors."""
    steps: Tensor = torch.fft.ifftshift(torch.arange(side, dtype=like.dtype, device=like.device) - side // 2)
    return steps / (side - side % 2)


def _log_gabor(luma: Tensor) -> tuple[Tensor, Tensor]:
    """Return the filters' transfer functions, radial, (scales, H, W), and angular, (orientations, H, W)."""
    down, across = _frequencies(luma.shape[1], luma).view(-1, 1), _frequencies(luma.shape[2], luma)
    radius = (down**2 + across**2).sqrt()
    angle = torch.atan2(-across.expand_as(radius), down.expand_as(radius))
    low_pass = 1 / (1 + (radius / CUTOFF) ** (2 * ORDER)) * (radius > 0)
    safe = torch.where(radius > 0, radius, 1)
    wavelengths = [SHORTEST * RATIO**scale for scale in range(SCALES)]
    bands = [torch.exp(-((safe * w).log() ** 2) / (2 * math.log(BANDWIDTH) ** 2)) for w in wavelengths]
    fans = []
    for number in range(ORIENTATIONS):
        turned = angle - number * math.pi / ORIENTATIONS
        away = torch.atan2(turned.sin(), turned.cos()).abs()
        fans.append(torch.exp(-(away**2) / (2 * ANGULAR**2)))
    return torch.stack(bands) * low_pass, torch.stack(fans)


def _phase_congruency(luma: Tensor) -> Tensor:
    """Return where the phases of all scales agree, in [0, 1]: (N, H, W). One orientation and image at a time."""
    tiny, whole = torch.finfo(luma.dtype).eps, torch.fft.fft2(luma).unsqueeze(1)
    spectra = [whole] if torch.compiler.is_compiling() else whole.split(1)  # for any batch size
    radial, fans = _log_gabor(luma)
    energies: list[Tensor] = []
    amplitudes: list[Tensor] = []
    for fan in fans:
        filters = fan * radial
        noise_gain = _noise_gain(filters)
        found = [_energy(spectrum, filters, noise_gain) for spectrum in spectra]
        for sums, parts in zip((energies, amplitudes), zip(*found, strict=True), strict=True):
            sums[:] = [total + part for total, part in zip(sums, parts, strict=True)] if sums else parts
    return (torch.cat(energies) + tiny) / (torch.cat(amplitudes) + tiny)


def _energy(spectrum: Tensor, filters: Tensor, noise_gain: Tensor) -> tuple[Tensor, Tensor]:
    """Return the energy above the noise, and the sum of amplitudes, in one orientation: (N, H, W) each.

    Args:
        spectrum: Spectrum of images, (N, 1, H, W).
        filters: Transfer functions of all scales, finest first, (scales, H, W).
        noise_gain: Output of `_noise_gain`, ().
    """
    responses = torch.fft.ifft2(spectrum * filters)
    amplitudes = responses.abs()
    together = responses.sum(dim=1, keepdim=True)
    direction = together / (together.abs() + torch.finfo(filters.dtype).eps)
    across = responses.imag * direction.real - responses.real * direction.imag
    along = (together.real * direction.real + together.imag * direction.imag).squeeze(1)
    noise = _root(amplitudes[:, 0].square().flatten(1).median(dim=1).values * noise_gain)
    return (along - across.abs().sum(dim=1) - noise.view(-1, 1, 1)).clamp(min=0), amplitudes.sum(dim=1)


def _noise_gain(filters: Tensor) -> Tensor:
    """Return the square of the energy assumed to be noise, divided by the median energy of the finest scale: ().

    The power of the noise comes from the median (of a chi-squared variable), its sum over scales from the correlations
    of the filters, and its mean and deviation from the Rayleigh distribution.
    """
    power = -1 / math.log(0.5) / filters[0].square().sum()
    total = filters.sum(dim=0)
    even = (total + total.flip(0, 1).roll((1, 1), (0, 1))) / 2  # its transform is the real part of the impulse response
    above = (math.sqrt(math.pi / 2) + NOISE_DEVIATIONS * math.sqrt(2 - math.pi / 2)) / NOISE_RESCALE
    return power * even.square().sum() * above**2
