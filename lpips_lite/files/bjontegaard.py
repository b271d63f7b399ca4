"""The Bjøntegaard delta: two rate-distance curves in, the mean difference of rate or of distance between them out.

A curve is interpolated piecewise by cubic polynomials, Akima's or monotone ones (PCHIP), over the logarithm of the
rate, and integrated exactly where both curves have values. Equal to the package `bjontegaard`.

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

LEAST_POINTS = 4  # of a curve, as the common test conditions of codecs have


class Delta(NamedTuple):
    """A mean difference between two curves.

    Attributes:
        value: In percent of the first curve's rate, or in units of the distance.
        overlap: Which share of the range that any of the two curves covers is covered by both, in (0, 1].
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
    """Return how much more rate the second curve takes for the same distance, in percent; less than 0: it saves.

    Args:
        rate: Of the first curve, at least four positive numbers, each once.
        distance: At these rates; always smaller, or always larger, for more rate.
        test_rate: Of the second curve.
        test_distance: Likewise.
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
    """Return how much larger the second curve's distance is at the same rate, as BD-PSNR is for PSNR.

    Args:
        rate: Of the first curve, at least four positive numbers, each once.
        distance: At these rates.
        test_rate: Of the second curve.
        test_distance: Likewise.
        interpolation: "akima" · "pchip".

    Raises:
        ValueError: If a curve is not as described, or they have no rate in common.
        ImportError: If scipy is not installed.
    """
    return _mean_difference(_curve(rate, distance), _curve(test_rate, test_distance), "rate", interpolation)


def _curve(rate: ArrayLike, distance: ArrayLike) -> tuple[Floats, Floats]:
    """Return the logarithm of the rate, ascending, and the distance."""
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
    """Return the mean of second − first where both have values, and which share of the whole range that is."""
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
