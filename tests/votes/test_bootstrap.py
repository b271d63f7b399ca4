"""Intervals from resampling references: none if there is nothing to resample, and no certainty from few references."""

import numpy as np
import pytest

from lpips_lite.votes.agreement import Interval, bootstrap


def expected_interval(scores, references, weights, repeats=1000):
    """Return the interval by resampling triplets themselves, reference by reference, in plain loops."""
    generator, names, means = np.random.default_rng(1), sorted(set(references)), []
    for _ in range(repeats):
        total = weight = 0.0
        for drawn in generator.integers(len(names), size=len(names)):
            own = references == names[drawn]
            total, weight = total + (scores * weights)[own].sum(), weight + weights[own].sum()
        means.append(total / weight)
    return np.percentile(means, [2.5, 97.5])


def test_interval_resamples_references():
    generator = np.random.default_rng(0)
    references = generator.integers(25, size=300)
    scores = generator.random(300) + 0.4 * generator.random(25)[references] - 0.6
    weights = generator.integers(1, 5, 300).astype(float)
    found = bootstrap(scores, references, weights)
    assert found.value == pytest.approx(np.average(scores, weights=weights))
    np.testing.assert_allclose([found.low, found.high], expected_interval(scores, references, weights), atol=0.006)
    assert found.note == ""


@pytest.mark.parametrize(
    ("scores", "references", "weights"),
    [([1, 0, 1], ["only"] * 3, None), ([1, 0], ["a", "b"], [0, 1]), ([0.3], ["a"], [2]), ([1, 0, 1], "aab", [1, 1, 0])],
)
def test_one_reference_has_no_interval(scores, references, weights):
    found = bootstrap(scores, list(references), weights)
    assert found.value == pytest.approx(np.average(scores, weights=weights))
    assert np.isnan([found.low, found.high, found.p_value]).all()
    assert found.percent() == f"{100 * found.value:.2f} (one reference: no interval)"


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, 0.1])
@pytest.mark.parametrize("count", [2, 5, 60])
def test_references_that_are_all_alike_have_no_interval(value, count):
    found = bootstrap([value] * (3 * count), list(range(count)) * 3, [1, 2, 3] * count)
    assert np.isnan([found.low, found.high]).all()
    assert found.note == f"all {count} references alike: no interval"
    assert found.p_value == (1.0 if value == 0 else max(2 / 1001, 2.0 ** (1 - count)))


@pytest.mark.parametrize("repeats", [100, 1000])
@pytest.mark.parametrize("count", [2, 4, 8, 40])
@pytest.mark.parametrize("sign", [-1, 1])
def test_no_certainty_from_few(count, repeats, sign):
    """If all references are on one side of zero, the p-value is the smallest possible."""
    scores = sign * (1 + np.random.default_rng(0).random(count))
    found = bootstrap(scores, np.arange(count), repeats=repeats)
    assert found.p_value == max(2 / (repeats + 1), 2.0 ** (1 - count))
    assert found.low < found.high


def test_references_without_weight_change_nothing():
    scores, references, weights = np.array([0.2, 0.9, 0.4, 0.7]), np.array(list("abca")), np.array([1, 2, 1, 1])
    alone = bootstrap(scores, references, weights)
    with_more = bootstrap([*scores, 5.0], [*references, "z"], [*weights, 0])
    assert alone == with_more
    assert isinstance(alone, Interval)
    assert alone.percent() == f"{100 * alone.value:.2f} [{100 * alone.low:.2f}, {100 * alone.high:.2f}]"


@pytest.mark.parametrize(
    ("references", "weights", "message"),
    [
        (["a", "b"], [0, 0], "weights: negative, or all zero"),
        (["a", "b"], [-1, 2], "weights: negative, or all zero"),
        (["a", "b"], [1], "weights has shape"),
        (["a", "b"], [1, np.nan], "weights has NaN"),
        (["a"], None, "references has 1 entries; expected 2"),
    ],
)
def test_bad_input(references, weights, message):
    with pytest.raises(ValueError, match=message):
        bootstrap([1, 0], references, weights)
