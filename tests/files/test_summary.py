"""What many rows come to, against NumPy; infinity and missing numbers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lpips_lite.files.summary import STATISTICS, Summary

INF = math.inf


def row(image="x.png", error=None, **numbers):
    return {"reference": "r.png", "image": image, **numbers, "identical": False, "content": "0" * 16, "error": error}


def summary_of(metric, values, **options):
    summary = Summary([metric], **options)
    for number, value in enumerate(values):
        summary.take({**row(f"{number}.png", error=None if value is not None else "broken"), metric: value}, None)
    summary.finish()
    return summary


@pytest.mark.parametrize("count", [1, 2, 20, 21, 500])
def test_statistics_against_numpy(count):
    values = np.random.default_rng(count).random(count)
    found = summary_of("lite", values.tolist()).statistics()["lite"]
    percentiles = np.percentile(values, [50, 5, 95])
    expected = [count, 0, values.mean(), *percentiles, values.min(), values.max()]
    assert list(found) == ["count", "infinite", *STATISTICS]
    assert list(found.values()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([20, 30, INF], {"infinite": 1, "mean": 25, "median": 30, "p5": 21, "p95": INF, "min": 20, "max": INF}),
        ([20, INF, INF], {"infinite": 2, "mean": 20, "median": INF, "p5": INF, "p95": INF, "min": 20, "max": INF}),
        ([INF, INF], {"infinite": 2, "mean": INF, "median": INF, "p5": INF, "p95": INF, "min": INF, "max": INF}),
        ([INF], {"infinite": 1, "mean": INF, "median": INF, "p5": INF, "p95": INF, "min": INF, "max": INF}),
        ([30] * 39 + [20, INF], {"infinite": 1, "mean": 29.75, "median": 30, "p5": 30, "p95": 30, "max": INF}),
    ],
)
def test_infinity_is_the_best_value_and_left_out_of_means(values, expected):
    found = summary_of("psnr", values).statistics()["psnr"]
    assert found["count"] == len(values)
    assert {key: found[key] for key in expected} == expected


@given(st.lists(st.sampled_from([INF, -INF, math.nan, 0.0, 1.0, 2.5, None]), min_size=1, max_size=30))
def test_nan_neither_enters_nor_comes_out(values):
    summary = summary_of("psnr", values, keep=5)
    numbers = [value for value in values if value is not None and not math.isnan(value)]
    found = summary.statistics()
    assert set(found) == ({"psnr"} if numbers else set())
    assert not any(math.isnan(value) for statistics in found.values() for value in statistics.values())
    assert all(value["count"] == len(numbers) for value in found.values())
    assert len(summary.worst(5)) == min(5, len(numbers))
    json.dumps(summary.as_json(), allow_nan=False)


def test_json_has_null_for_infinity():
    found = summary_of("psnr", [INF, INF, 20.0]).as_json()
    assert found["infinite"] == 2
    assert found["statistics"]["psnr"] == {
        **{"count": 3, "infinite": 2, "mean": 20, "median": None, "p5": None, "p95": None, "min": 20, "max": None}
    }
    assert summary_of("psnr", [INF]).as_json()["folders"] == {".": {"count": 1, "mean": None, "worst": None}}


def test_rows_count_with_what_they_have():
    summary = Summary(["ms-ssim", "lite"], keep=3)
    summary.take(row("a/1.png", **{"ms-ssim": 0.5, "lite": 0.1}), None)
    summary.take(row("a/2.png", error="ms-ssim: too small", **{"ms-ssim": None, "lite": 0.9}), None)
    summary.take(row("b/3.png", error="broken", **{"ms-ssim": None, "lite": None}), None)
    assert (summary.pairs, summary.errors, summary.infinite) == (3, 2, 0)
    assert [summary.statistics()[name]["count"] for name in ("ms-ssim", "lite")] == [1, 2]
    assert [row["image"] for row in summary.worst(3)] == ["a/1.png"]
    assert summary.by_folder() == {"a": {"count": 1, "mean": 0.5, "worst": 0.5}}


def test_a_metric_without_any_number_has_no_statistics():
    assert summary_of("lite", [None, None]).statistics() == {}
    assert summary_of("lite", []).as_json()["statistics"] == {}


@pytest.mark.parametrize(
    ("metric", "expected"), [("lite", [3.0, 2.0]), ("ssim:matlab", [1.0, 2.0]), ("psnr:lab", [1.0, 2.0])]
)
def test_the_worst_rows_go_by_the_metrics_direction(metric, expected):
    summary = summary_of(metric, [2.0, 3.0, 1.0, 2.0], keep=3)
    assert [row[metric] for row in summary.worst(2)] == expected
    assert summary.worst(2)[1]["image"] == "0.png"  # among equals the earlier one
    assert len(summary.worst(9)) == 3
    assert summary.by_folder()["."]["worst"] == expected[0]


def test_folders_have_their_own_mean_and_worst_value():
    summary = Summary(["psnr"], keep=0)
    for image, value in (("b/1.png", 20.0), ("a/1.png", 30.0), ("a/2.png", INF), ("a/3.png", 10.0)):
        summary.take(row(image, psnr=value), None)
    assert summary.by_folder() == {
        "a": {"count": 3, "mean": 20, "worst": 10},
        "b": {"count": 1, "mean": 20, "worst": 20},
    }
    assert list(summary.by_folder()) == ["a", "b"]
    assert summary.worst(3) == []
