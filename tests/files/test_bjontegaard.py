"""Bjøntegaard deltas compared with the package `bjontegaard` and closed forms, and curves that cannot be compared."""

import math

import bjontegaard
import numpy as np
import pytest

from lpips_lite.files.bjontegaard import bd_distance, bd_rate

METHODS = ("akima", "pchip")


def curve(seed, points=6):
    """Rates, and a quality that rises with them."""
    numbers = np.random.default_rng(seed)
    return np.cumsum(numbers.uniform(0.1, 0.6, points)), 25 + np.cumsum(numbers.uniform(0.5, 2.0, points))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(0, 12, 2))
@pytest.mark.parametrize("points", [4, 6, 9])
def test_values_are_those_of_the_package(method, seed, points):
    anchor, test = curve(seed, points), curve(seed + 1, points)
    options = {"method": method, "min_overlap": 0}
    assert bd_rate(*anchor, *test, interpolation=method).value == pytest.approx(
        bjontegaard.bd_rate(*anchor, *test, **options), rel=1e-9
    )
    assert bd_distance(*anchor, *test, interpolation=method).value == pytest.approx(
        bjontegaard.bd_psnr(*anchor, *test, **options), rel=1e-9
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_distance_is_a_quality_turned_round(method):
    """The package accepts only qualities, which rise with the rate."""
    (rate, quality), (other_rate, other_quality) = curve(0), curve(1)
    found = bd_rate(rate, -quality, other_rate, -other_quality, interpolation=method)
    assert found == pytest.approx(bd_rate(rate, quality, other_rate, other_quality, interpolation=method))
    assert found.value == pytest.approx(
        bjontegaard.bd_rate(rate, quality, other_rate, other_quality, method=method, min_overlap=0)
    )


@pytest.mark.parametrize("method", METHODS)
def test_closed_forms(method):
    rate, distance = np.geomspace(0.1, 3, 5), np.linspace(0.5, 0.1, 5)
    assert bd_rate(rate, distance, rate, distance, interpolation=method) == pytest.approx((0, 1), abs=1e-12)
    assert bd_rate(rate, distance, 0.8 * rate, distance, interpolation=method).value == pytest.approx(-20)
    assert bd_distance(rate, distance, rate, distance - 0.03, interpolation=method).value == pytest.approx(-0.03)
    halved = bd_distance(rate, distance, rate * 3 ** (1 / 2), distance, interpolation=method)
    assert halved.overlap == pytest.approx(math.log(30 / 3**0.5) / math.log(30 * 3**0.5))


def test_the_order_of_points_does_not_matter():
    (rate, quality), other = curve(2), curve(3)
    mixed = np.random.default_rng(0).permutation(len(rate))
    assert bd_rate(rate[mixed], quality[mixed], *other) == bd_rate(rate, quality, *other)


@pytest.mark.parametrize(
    ("rate", "distance", "message"),
    [
        ([1, 2, 3], [3, 2, 1], "a curve of 3 points; expected at least 4"),
        ([1, 2, 3, 4], [3, 2, 1], "shapes \\(4,\\) and \\(3,\\); expected one number each per point"),
        ([0, 2, 3, 4], [4, 3, 2, 1], "infinite, missing or not positive"),
        ([1, 2, 3, 4], [4, 3, 2, math.inf], "infinite, missing or not positive"),
        ([1, 2, 2, 4], [4, 3, 2, 1], "two points of a curve have the same rate"),
        ([1, 2, 3, 4], [4, 3, 3.5, 1], "the distance goes up and down with the rate"),
        ([1, 2, 3, 4], [40, 30, 20, 10], "the curves have no distance in common"),
    ],
)
def test_what_is_no_curve_is_an_error(rate, distance, message):
    with pytest.raises(ValueError, match=message):
        bd_rate([1, 2, 3, 4], [4, 3, 2, 1], rate, distance)


def test_rates_apart_have_no_distance_between_them():
    with pytest.raises(ValueError, match="the curves have no rate in common"):
        bd_distance([1, 2, 3, 4], [4, 3, 2, 1], [10, 20, 30, 40], [4, 3, 2, 1])
    with pytest.raises(ValueError, match="interpolation='cubic': expected 'akima' or 'pchip'"):
        bd_distance([1, 2, 3, 4], [4, 3, 2, 1], [1, 2, 3, 4], [4, 3, 2, 1], interpolation="cubic")
