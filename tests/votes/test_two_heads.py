"""Metrics with a far and a near head: one is fitted while the other is kept."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import expit

from lpips_lite.votes.agreement import agreement
from lpips_lite.votes.features import Features
from lpips_lite.votes.fit import Votes, fit, folds_by_reference
from lpips_lite.votes.head_vectors import HeadVectors
from lpips_lite.votes.two_heads import HeldHead

CHANNELS, SLOPE = 24, 8.0
OTHER = {"near": "far", "far": "near"}


def planted(triplets, seed=0, votes=8.0):
    """Return features of small and large differences, votes drawn from two known heads, and these heads."""
    generator = np.random.default_rng(seed)
    causes = generator.gamma(1.0, 1.0, (2 * triplets, 6)) @ generator.random((6, CHANNELS)) ** 3
    size = np.repeat(np.where(generator.random(triplets) < 0.5, 0.03, 1.0), 2)[:, None]  # of both images of a triplet
    differences = causes * size * generator.lognormal(0, 0.5, causes.shape)
    far, near = (generator.gamma(0.5, 1.0, CHANNELS) * (generator.random(CHANNELS) < 0.3) for _ in range(2))
    truth = HeadVectors(far / (differences @ far).std(), 8 * near / (differences @ near).std(), 0.4)
    rows = np.arange(2 * triplets).reshape(triplets, 2)
    features = Features(differences.astype(np.float32), rows, (16, 8), "lite", "none", "none")
    d0, d1 = features.distances(truth)
    chosen = generator.binomial(int(votes), expit(SLOPE * (d0 - d1))) / votes
    names = np.array([f"r{number}" for number in generator.integers(100, size=triplets)])
    return features, Votes(chosen, np.full(triplets, votes), names), truth


def uninformed(truth, head):
    """Return heads of which one is the known one and the other is uninformative."""
    if head == "near":
        return replace(truth, near=np.full(CHANNELS, truth.near.mean()), near_limit=5 * truth.near_limit)
    return replace(truth, far=np.full(CHANNELS, truth.far.mean()))


@pytest.mark.parametrize("head", OTHER)
def test_a_planted_head_comes_back_beside_the_other(head):
    features, votes, truth = planted(6000)
    train = folds_by_reference(votes.reference, 3, 1) > 0
    start = uninformed(truth, head)
    fitted = fit(replace(features, rows=features.rows[train]), votes.take(train), start, head=head)
    test, judgement = replace(features, rows=features.rows[~train]), votes.judgement[~train]
    least, most, reached = (agreement(*test.distances(h), judgement) for h in (start, truth, fitted.weights))
    assert least < most - 0.015  # there is something to learn
    assert reached > most - 0.004
    assert fitted.agreement.value == pytest.approx(reached, abs=0.015)
    assert fitted.slope == pytest.approx(SLOPE, rel=0.1)
    assert fitted.weights.near_limit == pytest.approx(truth.near_limit, rel=0.1)
    np.testing.assert_array_equal(getattr(fitted.weights, OTHER[head]), getattr(truth, OTHER[head]))


@pytest.mark.parametrize("head", OTHER)
def test_gradients_are_those_of_finite_differences(head):
    features, votes, truth = planted(60)
    sides = (features.differences[features.rows[:, side]].astype(np.float64) for side in (0, 1))
    held = HeldHead(*sides, votes, uninformed(truth, head), head)
    generator = np.random.default_rng(1)
    for penalty in (0.0, 0.1):
        free = held.prior * generator.lognormal(0, 0.3, len(held.prior)) + 0.01 * generator.random(len(held.prior))
        expected = approx_fprime(free, lambda z, p=penalty: held.loss(z, p)[0], 1e-7)
        np.testing.assert_allclose(held.loss(free, penalty)[1], expected, rtol=1e-4, atol=1e-6)


def judged(features, truth, kind):
    """Return judgments that determine no slope."""
    d0, d1 = features.distances(truth)
    return {
        "separable": np.where(d0 > d1, 1.0, 0.0),
        "undecided": np.full(len(d0), 0.5),
        "contrary": np.where(d0 > d1, 0.0, 1.0),
        "equal": np.where(d0 > d1, 1.0, 0.0),
    }[kind]


@pytest.mark.parametrize("head", OTHER)
@pytest.mark.parametrize("kind", ["separable", "undecided", "contrary", "equal"])
def test_no_slope_where_votes_determine_none(kind, head):
    features, votes, truth = planted(60)
    votes = replace(votes, judgement=judged(features, truth, kind))
    if kind == "equal":
        features = replace(features, rows=features.rows[:, [0, 0]])
    fitted = fit(features, votes, truth, head=head)
    assert fitted.slope is None
    assert np.isfinite([*fitted.weights.far, *fitted.weights.near]).all()
    assert 0 < fitted.weights.near_limit < np.inf
    if kind in ("undecided", "equal"):
        assert fitted.weights is truth


@pytest.mark.parametrize("references", [1, 2])
def test_few_references(references):
    features, votes, truth = planted(60)
    votes = replace(votes, reference=(np.arange(60) % references).astype(str))
    fitted = fit(features, votes, uninformed(truth, "near"))
    assert len(set(fitted.fold)) == references
    assert (fitted.slope is None) == (references == 1)
    np.testing.assert_array_equal(fitted.weights.far, truth.far)


@pytest.mark.parametrize(
    ("two", "arguments", "message"),
    [
        (False, {"head": "near"}, "--head near: the metric has one head"),
        (True, {"objective": "ranking"}, "--objective ranking: fits one head only, and the metric has two"),
    ],
)
def test_heads_that_cannot_be_fitted(two, arguments, message):
    features, votes, truth = planted(60)
    with pytest.raises(ValueError, match=message):
        fit(features, votes, truth if two else HeadVectors(truth.far), **arguments)
