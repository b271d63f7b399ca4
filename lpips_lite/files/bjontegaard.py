"""The Bjøntegaard delta: the mean difference of rate, or of distance, between two rate-distance curves.

A curve is interpolated over the logarithm of the rate by piecewise cubic polynomials, Akima's or monotone ones (PCHIP),
and integrated exactly over the range of both curves. The result equals that of the package `bjontegaard`.

References:
    Bjøntegaard: Calculation of average PSNR differences between RD-curves, ITU-T VCEG-M33, 2001
    Herglotz et al.: The Bjøntegaard Bible, IEEE TIP 2024, https://doi.org/10.1109/TIP.2023.3346695 (Akima)
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Interpolation = Literal["akima", "pchip"]

LEAST_POINTS = 4  # points of a curve, as in the common test conditions for codecs


class Delta(NamedTuple):
    """A mean difference between two curves.

    Attributes:
        value: In percent of the rate of the first curve, or in units of the distance.
        overlap: The range covered by both curves, as a share of the range covered by either, in (0, 1].
    """

    value: float
    overlap: float


def bd_rate(
    rate: ArrayLike,
    distance: ArrayLike,
    test_rate: ArrayLike,
    test_distance: ArrayLike,
    *,
    interpolation: Interpolation = "akima",
) -> Delta:
    """Return how much more rate the second curve needs for the same distance, in percent; below 0, it saves rate.

    Args:
        rate: Rates of the first curve, at least four different positive numbers.
        distance: Distances at these rates, which must always fall, or always rise, with the rate.
        test_rate: Rates of the second curve.
        test_distance: Distances of the second curve.
        interpolation: "akima" · "pchip".

    Raises:
        ValueError: If a curve is not as described, or they have no distance in common.
        ImportError: If scipy is not installed.
    """
    first, second = _curve(rate, distance), _curve(test_rate, test_distance)
    for _, values in (first, second):
        steps = np.diff(values)
        if not (np.all(steps > 0) or np.all(steps < 0)):
            raise ValueError("the distance goes up and down with the rate; expected a curve that goes one way")
    found = _mean_difference(first[::-1], second[::-1], "distance", interpolation)
    return Delta(float(100 * (10**found.value - 1)), found.overlap)


def bd_distance(
    rate: ArrayLike,
    distance: ArrayLike,
    test_rate: ArrayLike,
    test_distance: ArrayLike,
    *,
    interpolation: Interpolation = "akima",
) -> Delta:
    """Return how much larger the distance of the second curve is at the same rate, like BD-PSNR for PSNR.

    Args:
        rate: Rates of the first curve, at least four different positive numbers.
        distance: Distances at these rates.
        test_rate: Rates of the second curve.
        test_distance: Distances of the second curve.
        interpolation: "akima" · "pchip".

    Raises:
        ValueError: If a curve is not as described, or they have no rate in common.
        ImportError: If scipy is not installed.
    """
    return _mean_difference(_curve(rate, distance), _curve(test_rate, test_distance), "rate", interpolation)


def _curve(rate: ArrayLike, distance: ArrayLike) -> tuple[Floats, Floats]:
    """Return the logarithms of the rates, ascending, and the distances."""
    x, y = np.asarray(rate, dtype=np.float64), np.asarray(distance, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"rate and distance have shapes {x.shape} and {y.shape}; expected one number each per point")
    if len(x) < LEAST_POINTS:
        raise ValueError(f"a curve of {len(x)} points; expected at least {LEAST_POINTS}")
    if not (np.isfinite(x).all() and np.isfinite(y).all() and (x > 0).all()):
        raise ValueError("a rate or distance that is infinite, missing or not positive; expected finite numbers")
    order = np.argsort(x)
    x, y = np.log10(x[order]), y[order]
    if (np.diff(x) == 0).any():
        raise ValueError("two points of a curve have the same rate; expected each rate once")
    return x, y


def _mean_difference(
    first: tuple[Floats, Floats], second: tuple[Floats, Floats], over: str, interpolation: Interpolation
) -> Delta:
    """Return the mean of second − first over the range of both, and the share of the whole range that this is."""
    try:
        from scipy.interpolate import Akima1DInterpolator, PchipInterpolator
    except ImportError as error:
        raise ImportError('the Bjøntegaard delta needs scipy: pip install "lpips_lite[tables]"') from error

    if interpolation not in get_args(Interpolation):
        raise ValueError(f"interpolation={interpolation!r}: expected 'akima' or 'pchip'")
    low, high = max(x.min() for x, _ in (first, second)), min(x.max() for x, _ in (first, second))
    if low >= high:
        raise ValueError(f"the curves have no {over} in common")
    whole = max(x.max() for x, _ in (first, second)) - min(x.min() for x, _ in (first, second))
    interpolate = Akima1DInterpolator if interpolation == "akima" else PchipInterpolator
    integrals = []
    for x, y in (first, second):
        order = np.argsort(x)
        integrals.append(float(interpolate(x[order], y[order]).integrate(low, high)))
    return Delta((integrals[1] - integrals[0]) / (high - low), float((high - low) / whole))
