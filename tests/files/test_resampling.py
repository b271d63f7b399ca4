"""Statistics of many values, compared with those of single lists; intervals, compared with scipy and by coverage."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import bootstrap

from lpips_lite.files import summary
from lpips_lite.files.resampling import (
    STATISTICS,
    by_image,
    difference_interval,
    interval,
    mean,
    psnr_of_mean_mse,
    subtract,
)

VALUES = st.lists(st.sampled_from([math.inf, 0.0, 1.0, 2.5, -3.0, 1e6]), min_size=1, max_size=12)


@given(VALUES, st.integers(0, 5))
def test_each_is_that_of_the_summary_and_what_is_absent_does_not_count(values, absent):
    """`summary.STATISTICS` take one list in ascending order."""
    filled = np.array([values + [math.nan] * absent] * 2)
    for name, statistic in STATISTICS.items():
        expected = summary.STATISTICS[name](sorted(values))
        assert statistic(filled) == pytest.approx([expected, expected], rel=1e-12), name


def test_nothing_gives_nothing():
    for statistic in (*STATISTICS.values(), psnr_of_mean_mse):
        assert np.isnan(statistic(np.full((2, 3), math.nan))).all()


def test_psnr_of_mean_mse_is_that_of_the_mean():
    errors = np.random.default_rng(0).uniform(1e-4, 1e-2, 9)
    found = psnr_of_mean_mse(-10 * np.log10(errors))
    assert found == pytest.approx(10 * np.log10(1 / errors.mean()))
    assert found < (-10 * np.log10(errors)).mean()  # Jensen
    both = psnr_of_mean_mse(np.array([math.inf, 20.0]))  # an identical image has an error of 0
    assert both == pytest.approx(10 * np.log10(1 / 0.005))
    assert psnr_of_mean_mse(np.array([math.inf, math.inf])) == math.inf


def test_an_interval_is_scipys_but_for_the_draws():
    values = np.random.default_rng(1).normal(3, 1, 60)
    low, high = interval(values[:, None], mean)
    peer = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, random_state=0).confidence_interval
    assert (low, high) == pytest.approx((peer.low, peer.high), abs=0.03)
    low, high = difference_interval(values, values[::-1], STATISTICS["median"])
    assert low < 0 < high


def test_an_interval_holds_the_truth_in_95_of_100_cases():
    generator, held = np.random.default_rng(2), 0
    for _ in range(200):
        low, high = interval(generator.normal(0, 1, (50, 1)), mean)
        held += low <= 0 <= high
    assert 0.90 <= held / 200 <= 0.98


def test_all_rows_of_an_image_are_drawn_together():
    """Ten copies of each value tell no more than one; if rows were drawn, the interval would be √10 narrower."""
    values = np.random.default_rng(3).normal(0, 1, 30)
    alone = by_image(values.tolist(), [str(place) for place in range(30)])
    copied = by_image(np.repeat(values, 10).tolist(), [str(place) for place in range(30) for _ in range(10)])
    assert copied.shape == (30, 10)
    assert interval(copied, mean) == pytest.approx(interval(alone, mean), rel=1e-9)


def test_images_may_have_unlike_numbers_of_rows():
    table = by_image([1.0, 2.0, 3.0], ["a", "b", "a"])
    np.testing.assert_array_equal(table, [[1, 3], [2, math.nan]])
    assert mean(table.ravel()) == 2


def test_one_image_has_no_interval():
    assert np.isnan(interval(np.ones((1, 4)), mean)).all()
    assert np.isnan(difference_interval(np.ones(1), np.ones(1), mean)).all()


def test_the_difference_of_infinities_is_none():
    infinite = np.array([np.inf, np.inf, 3.0])
    assert subtract(infinite, np.array([np.inf, 1.0, 1.0])).tolist() == [0, np.inf, 2]
    assert difference_interval(infinite[:2], infinite[:2], psnr_of_mean_mse) == (0, 0)
