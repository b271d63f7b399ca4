"""Agreement with people: published values for all BAPPS votes, hand-made tables, and simulation."""

import numpy as np
import pandas as pd
import pytest

from lpips_lite.votes.agreement import (
    agreement,
    bootstrap,
    human_agreement,
    jnd_average_precision,
    leave_one_out_agreement,
    log_likelihood,
    oracle_agreement,
    triplet_agreement,
)

FAMILIES = ["traditional", "cnn", "superres", "deblur", "color", "frameinterp"]


def test_all_bapps_votes_give_the_published_numbers(shared):
    tables = [pd.read_csv(shared / f"human/bapps_votes/{family}.csv") for family in FAMILIES]
    assert sum(map(len, tables)) == 36344

    def percent(function):
        return [round(100 * function(table), 2) for table in tables]

    assert percent(lambda t: agreement(t.d0, t.d1, t.judgement)) == [77.48, 82.87, 71.19, 61.04, 65.23, 62.43]
    assert percent(lambda t: human_agreement(t.judgement)) == [80.84, 84.35, 73.60, 66.09, 68.83, 68.61]
    assert percent(lambda t: oracle_agreement(t.judgement)) == [85.78, 88.47, 80.12, 74.00, 76.41, 75.97]
    fives = percent(lambda t: leave_one_out_agreement(t.judgement, np.full(len(t), 5)))
    assert fives == [76.06, 80.43, 67.00, 57.62, 61.03, 60.76]


def test_choices_and_ties():
    scores = triplet_agreement([1, 2, 3, 0], [2, 1, 3, 0], [0.2, 0.2, 0.2, 1])
    assert scores.tolist() == [0.8, 0.2, 0.5, 0.5]
    assert agreement([1, 2], [2, 1], [0.2, 0.2]) == pytest.approx(0.5)
    assert agreement([1, 2], [2, 1], [0.2, 0.2], weights=[3, 1]) == pytest.approx((3 * 0.8 + 0.2) / 4)


def test_leave_one_out_counts_pairs_of_observers():
    votes = [[1, 1, 0], [0, 0, 0], [1, 0]]
    pairs = [np.mean([a == b for i, a in enumerate(v) for k, b in enumerate(v) if i != k]) for v in votes]
    j, m = [np.mean(v) for v in votes], [len(v) for v in votes]
    assert leave_one_out_agreement(j, m) == pytest.approx(np.mean(pairs))
    assert leave_one_out_agreement([*j, 1.0], [*m, 1]) == pytest.approx(np.mean(pairs))  # one vote does not count
    with pytest.raises(ValueError, match="no triplet has two votes"):
        leave_one_out_agreement([1.0], [1])


def test_ceilings_are_what_observers_reach():
    generator = np.random.default_rng(0)
    p = generator.random(200_000)
    j = generator.binomial(5, p) / 5
    truth = np.mean(p**2 + (1 - p) ** 2)
    assert leave_one_out_agreement(j, np.full(len(j), 5)) == pytest.approx(truth, abs=0.003)
    assert human_agreement(j) > truth + 0.03  # biased, as documented
    assert oracle_agreement(j) >= human_agreement(j)


def test_bootstrap_resamples_references_not_triplets():
    generator = np.random.default_rng(0)
    references = np.repeat(np.arange(50), 20)
    scores = np.repeat(generator.random(50), 20)  # triplets of one reference say the same
    interval = bootstrap(scores, references)
    standard_error = scores[::20].std() / 50**0.5
    assert interval.value == pytest.approx(scores.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)


def test_paired_test_sees_what_single_intervals_do_not():
    generator = np.random.default_rng(1)
    references = np.arange(400)
    hard = generator.random(400)
    a, b = hard + 0.01 + 0.01 * generator.standard_normal(400), hard
    single = bootstrap(a, references), bootstrap(b, references)
    assert single[0].low < single[1].high
    paired = bootstrap(a - b, references)
    assert paired.low > 0
    assert paired.p_value < 0.01
    assert bootstrap(generator.standard_normal(400), references).p_value > 0.05


def test_log_likelihood():
    assert log_likelihood([0.5, 0.5], [1.0, 0.3], [2, 10]) == pytest.approx(-np.log(2))
    expected = (2 * np.log(0.9) + 3 * np.log(0.2) + 1 * np.log(0.8)) / 6
    assert log_likelihood([0.9, 0.2], [1.0, 0.75], [2, 4]) == pytest.approx(expected)


@pytest.mark.parametrize("digits", [None, 1, 0], ids=["distinct", "ties", "many ties"])
def test_jnd_average_precision(digits):
    generator = np.random.default_rng(0)
    same = generator.integers(0, 4, 60) / 3
    d = generator.random(60) - 0.5 * same
    d = d if digits is None else d.round(digits)
    points = []  # recall and precision at each threshold, one at a time; equal distances are chosen together
    for threshold in sorted(set(d)):
        chosen = d <= threshold
        points.append((same[chosen].sum() / same.sum(), same[chosen].mean()))
    area = sum(
        (recall - before) * max(p for r, p in points if r >= recall)
        for (before, _), (recall, _) in zip([(0, 1), *points], points, strict=False)
    )
    assert jnd_average_precision(d, same) == pytest.approx(area)
    for _ in range(5):
        order = generator.permutation(60)
        assert jnd_average_precision(d[order], same[order]) == pytest.approx(area, abs=1e-12)


def test_jnd_average_precision_by_hand():
    assert jnd_average_precision([1, 1, 1, 1], [1, 1, 0, 0]) == jnd_average_precision([1, 1, 1, 1], [0, 0, 1, 1]) == 0.5
    assert jnd_average_precision([0.1, 0.2, 0.9], [1, 1, 0]) == 1
    with pytest.raises(ValueError, match="all zero"):
        jnd_average_precision([0.1], [0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1], [0, 0]), r"d1 has shape \(1,\); expected \(2,\), the length of d0"),
        (([1.0], [float("nan")], [0.5]), r"d1 has NaN at \[0\]"),
        (([1], [1], [5]), r"j has values from 5 to 5; expected fractions in \[0, 1\]"),
        (([], [], []), "d0 is empty"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        agreement(*arguments)
