"""The grouped table compared with pandas: statistics, differences, wins, and the notes below it."""

import math
import time

import numpy as np
import pandas as pd
import pytest

from lpips_lite.files.group_table import TableSettings, group_table
from lpips_lite.files.resampling import RESAMPLES
from lpips_lite.files.table_cells import BEST, SECOND, decimals, interval_text, number_text, to_grids
from lpips_lite.files.table_formats import to_text

SIGNATURES = {"psnr": "lpips-lite/1.0 psnr peak=1", "lite": "lpips-lite/1.0 net=lite"}
INF = math.inf


def row(method, scene, name, psnr, lite=0.1, reference=None):
    paths = {"reference": reference or f"{scene}/{name}", "image": f"{method}/{scene}/{name}"}
    made = {"identical": False, "content": "0" * 16, "error": None}
    return {**paths, "method": method, "scene": scene, "name": name, "psnr": psnr, "lite": lite, **made}


@pytest.fixture
def rows():
    numbers = np.random.default_rng(0)
    return [
        row(method, scene, str(name), 20 + shift + 3 * numbers.random(), 0.3 * numbers.random())
        for method, shift in (("A", 0), ("B", 1), ("C", 2))
        for scene in ("garden", "room")
        for name in range(7)
    ]


def table_of(rows, by, **settings):
    return group_table(rows, TableSettings(tuple(by), **settings), SIGNATURES)


@pytest.mark.parametrize("statistic", ["mean", "median", "p5", "p95", "min", "max"])
@pytest.mark.parametrize("by", [["method"], ["scene", "method"], ["name"]])
def test_statistics_are_pandas(rows, statistic, by):
    quantiles = {"p5": 0.05, "p95": 0.95}
    grouped = pd.DataFrame(rows).groupby(by)[["psnr", "lite"]]
    expected = grouped.quantile(quantiles[statistic]) if statistic in quantiles else grouped.agg(statistic)
    table = table_of(rows, by, statistic=statistic)
    for key, numbers in table.numbers.items():
        own = expected.loc[key if len(by) > 1 else key[0]]
        assert [number.value for number in numbers] == pytest.approx([own.psnr, own.lite], rel=1e-12)
        assert {number.n for number in numbers} == {len(table.groups.members[key])}


def test_differences_are_those_of_paired_images(rows):
    wide = pd.DataFrame(rows).pivot(index=["scene", "name"], columns="method", values=["psnr", "lite"])
    table = table_of(rows, ["method"], against="A")
    assert list(table.differences) == [("B",), ("C",)]
    for (method,), (psnr, lite) in table.differences.items():
        steps = {metric: wide[metric][method] - wide[metric]["A"] for metric in ("psnr", "lite")}
        assert (psnr.value, lite.value) == pytest.approx((steps["psnr"].mean(), steps["lite"].mean()))
        assert psnr.wins == pytest.approx((steps["psnr"] > 0).mean())
        assert lite.wins == pytest.approx((steps["lite"] < 0).mean())
        assert psnr.n == lite.n == 14
        assert psnr.low < psnr.value < psnr.high
    alone = table_of(rows, ["method"], interval=True).numbers["B",][0]
    shifted = [{**own, "psnr": own["psnr"] + (10 if own["method"] == "B" else 0)} for own in rows]
    wider = table_of(shifted, ["method"], against="A").differences["B",][0]
    assert wider.high - wider.low == pytest.approx(
        table.differences["B",][0].high - table.differences["B",][0].low, rel=1e-9
    )
    assert alone.low < alone.value < alone.high


def test_pairing_makes_intervals_of_differences_narrower():
    """Images differ much and methods little, so only paired differences show it."""
    levels = np.random.default_rng(1).normal(25, 4, 30)
    rows = [row("A", "s", str(n), level) for n, level in enumerate(levels)]
    rows += [row("B", "s", str(n), level + 0.1) for n, level in enumerate(levels)]
    table = table_of(rows, ["method"], against="A", interval=True)
    difference, number = table.differences["B",][0], table.numbers["B",][0]
    assert difference.value == pytest.approx(0.1)
    assert difference.high - difference.low < 1e-9
    assert number.high - number.low > 1
    assert (difference.wins, difference.ties) == (1, 0)


def test_images_that_only_one_group_has_count_in_no_difference():
    rows = [row("A", "s", "0", 20), row("A", "s", "1", 90), row("B", "s", "0", 21)]
    table = table_of(rows, ["method"], against="A")
    assert table.differences["B",][0].value == pytest.approx(1)
    assert table.differences["B",][0].n == 1
    assert "method=B: no image for 1 of 2 references: s/1" in table.notes


def test_infinite_psnr_is_left_out_of_means_and_differences_and_said():
    rows = [row("A", "s", "0", 20.0), row("A", "s", "1", 30.0), row("B", "s", "0", INF), row("B", "s", "1", 40.0)]
    table = table_of(rows, ["method"], against="A", psnr_of_mean_mse=True)
    psnr, _, pooled = table.numbers["B",]
    assert (psnr.value, psnr.n, psnr.infinite) == (40, 2, 1)
    assert pooled.value == pytest.approx(-10 * math.log10(1e-4 / 2))
    difference = table.differences["B",][0]
    assert (difference.value, difference.n, difference.left_out, difference.wins) == (10, 1, 1, 1)
    pooled = table.differences["B",][2]  # of squared errors, 0 among them
    errors = {"A": (1e-2 + 1e-3) / 2, "B": (0 + 1e-4) / 2}
    assert pooled.value == pytest.approx(10 * math.log10(errors["A"] / errors["B"]))
    assert (pooled.n, pooled.left_out, pooled.wins) == (2, 0, 1)
    assert "method=B: 1 infinite psnr (identical images), not in the mean" in table.notes
    assert any("1 images with infinite psnr left out" in line for line in to_grids(table)[1].under)


def test_the_interval_of_a_mean_without_infinity_has_none():
    rows = [row("A", "s", "0", INF), row("A", "s", "1", 30.0), row("A", "s", "2", 32.0)]
    psnr, *_ = table_of(rows, ["method"], interval=True).numbers["A",]
    assert (psnr.low, psnr.value, psnr.high) == (30, 31, 32)


def test_a_group_of_identical_images_has_no_finite_psnr():
    table = table_of([row("A", "s", str(n), INF) for n in range(2)], ["method"], interval=True)
    psnr, *_ = table.numbers["A",]
    assert psnr.value == INF
    assert math.isnan(psnr.low)
    assert "method=A: 2 infinite psnr (identical images), no finite one" in table.notes


def test_numbers_that_failed_are_said():
    rows = [row("A", "s", "0", None), row("A", "s", "1", 30.0), row("B", "s", "0", None), row("B", "s", "1", None)]
    table = table_of(rows, ["method"])
    assert "method=A: psnr of 1 of 2 images only" in table.notes
    assert "method=B: psnr of 0 of 2 images only" in table.notes
    assert math.isnan(table.numbers["B",][0].value)
    assert to_grids(table)[0].rows[1][2].text == "–"


def test_best_and_second_among_groups_of_the_same_images():
    rows = [
        row(m, s, "0", v) for m, s, v in (("A", "x", 1), ("B", "x", 3), ("C", "x", 2), ("A", "y", 9), ("B", "y", 8))
    ]
    (grid,) = to_grids(table_of(rows, ["scene", "method"]))
    assert [cells[3].rank for cells in grid.rows] == [0, BEST, SECOND, BEST, SECOND]
    assert grid.breaks == {3}
    assert grid.legend == "bold: best, underlined: second, for the same scene"
    (grid,) = to_grids(table_of(rows, ["scene"]))
    assert {cells[2].rank for cells in grid.rows} == {0}


def test_what_looks_the_same_is_equally_good_and_lower_is_better_for_distances():
    values = {"A": 0.11111, "B": 0.111112, "C": 0.2, "D": 0.3}
    (grid,) = to_grids(table_of([row(m, "s", "0", 20.0, v) for m, v in values.items()], ["method"]))
    assert [cells[3].rank for cells in grid.rows] == [BEST, BEST, SECOND, 0]


@pytest.mark.parametrize(
    ("usual", "halves", "expected"),
    [
        (2, [], 2),
        (2, [math.nan, 0.0], 2),
        (2, [0.85], 2),
        (2, [12.0], 0),
        (2, [2.5], 1),
        (4, [0.012], 3),
        (4, [0.00034], 5),
        (4, [1e-9], 6),
        (4, [0.1, 0.012, 0.001], 3),
    ],
)
def test_an_interval_chooses_the_digits(usual, halves, expected):
    assert decimals(usual, halves) == expected


def test_numbers_for_people():
    assert number_text(-0.5, 2) == "−0.50"
    assert number_text(0.5, 1, sign=True) == "+0.5"
    assert (number_text(INF, 2), number_text(-INF, 2), number_text(math.nan, 2)) == ("∞", "−∞", "–")
    assert interval_text(-1, 2, 1, sign=True) == "[−1.0, +2.0]"
    assert interval_text(math.nan, math.nan, 1) == ""


def test_signatures_and_statistic_stand_under_every_table(rows):
    table = table_of(rows, ["method"], against="A", interval=True, statistic="median", psnr_of_mean_mse=True)
    for grid in to_grids(table):
        assert "psnr: lpips-lite/1.0 psnr peak=1" in grid.under
        assert "lite: lpips-lite/1.0 net=lite" in grid.under
        assert any(str(RESAMPLES) in line for line in grid.under)
    text = to_text(to_grids(table)[0])
    assert "median over n images" in text
    assert "psnr of mean MSE ↑" in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"against": "D"},
            "against='D': expected a value of just one of the columns \\(method: A, B, C; scene: garden, r",
        ),
        ({"statistic": "average"}, "statistic='average': expected one of mean, median, p5, p95, min, max"),
        ({"against": "0", "by": ("scene",)}, "against='0': expected a value of just one"),
        ({"against": "A", "by": ("method", "methods")}, "no column 'methods'"),
        ({"by": ("method", "n")}, "by='method,n': 'n' is also the name of a column of the table; expected another"),
    ],
)
def test_wrong_settings_are_errors(rows, settings, message):
    with pytest.raises(ValueError, match=message):
        table_of(rows, **{"by": ("method", "scene"), **settings})


def test_against_needs_one_image_of_a_reference_in_each_group(rows):
    rows = [{**own, "reference": own["name"]} for own in rows]
    with pytest.raises(
        ValueError, match="method=A has several images of one reference; .* tells them apart: by='method,COLUMN'"
    ):
        table_of(rows, ["method"], against="A")
    assert len(table_of(rows, ["method", "scene"], against="A").differences) == 4


def test_one_group_alone_has_no_differences_and_says_so():
    table = table_of([row("A", "s", "0", 20.0)], ["method"], against="A")
    assert len(to_grids(table)) == 1
    assert table.notes == ["no differences: no group to compare with A"]


def test_psnr_of_mean_mse_needs_a_psnr(rows):
    settings = TableSettings(("method",), psnr_of_mean_mse=True)
    with pytest.raises(ValueError, match="psnr_of_mean_mse=True: expected psnr among lite"):
        group_table(rows, settings, {"lite": SIGNATURES["lite"]})


def test_ten_thousand_rows_in_under_a_second():
    numbers = np.random.default_rng(0).random((10_000, 2))
    rows = [
        row(f"m{n % 5}", f"s{n // 5 % 8}", str(n // 40), 20 + 10 * psnr, lite) for n, (psnr, lite) in enumerate(numbers)
    ]
    start = time.process_time()
    table = table_of(rows, ["method", "scene"], interval=True)
    seconds = time.process_time() - start
    assert len(table.numbers) == 40
    assert sum(number.n for number, _ in table.numbers.values()) == 10_000
    assert seconds < 1, seconds
