"""Verdicts: the state of each pair, what crosses a rule, and that nothing passes unseen."""

import json
import math
from pathlib import Path

import pytest

from lpips_lite.files.rules import parse_rule
from lpips_lite.files.summary import STATISTICS, Summary
from lpips_lite.files.verdicts import MENTIONED, Crossing, Verdict, Verdicts, judge


def judge_all(rules, rows, metrics=("lite", "psnr")):
    """Return the rules after all rows, and the lines that they said."""
    lines, summary = [], Summary(metrics)
    judged = Verdicts([parse_rule(rule) for rule in rules], lines.append, summary)
    for number, numbers in enumerate(rows):
        absent = dict.fromkeys(metrics)
        row = {"reference": "r.png", "image": f"{number}.png", "error": None, **absent, **numbers}
        summary.take(row, None)
        judged.take(row, None)
    judged.finish()
    return judged, lines


def test_rules_for_every_pair():
    judged, lines = judge_all(
        ["lite>0.1", "psnr<=20"], [{"lite": 0.1, "psnr": 20.0}, {"lite": 0.1234567, "psnr": 20.1}]
    )
    assert lines == ["failed: 0.png: psnr = 20 <= 20", "failed: 1.png: lite = 0.1234567 > 0.1"]
    assert (judged.crossed, judged.unjudged) == (2, 0)


def test_rules_for_all_pairs_together():
    rows = [{"lite": value} for value in (0.0, 0.1, 0.2)]
    judged, lines = judge_all(["max(lite)>0.1", "mean(lite)>0.1", "min(lite)<0.05", "lite>0.15"], rows)
    assert lines == [
        "failed: 2.png: lite = 0.2 > 0.15",
        "failed: max(lite) > 0.1: it is 0.2",
        "failed: min(lite) < 0.05: it is 0",
    ]
    assert judged.crossed == 3


def test_equal_images_keep_every_rule_of_psnr():
    judged, lines = judge_all(["psnr<99", *(f"{name}(psnr)<99" for name in STATISTICS)], [{"psnr": math.inf}] * 3)
    assert (judged.crossed, judged.unjudged, lines) == (0, 0, [])
    judged, lines = judge_all(["p95(psnr)>99"], [{"psnr": math.inf}, {"psnr": 20.0}])
    assert lines == ["failed: p95(psnr) > 99: it is inf"]


@pytest.mark.parametrize("rows", [[], [{}], [{}, {"psnr": 20.0}], [{"lite": math.nan}]])
@pytest.mark.parametrize("rule", ["lite>0.1", "p95(lite)>0.1", "min(lite)<0.1"])
def test_a_rule_without_any_number_says_so(rule, rows):
    judged, lines = judge_all([rule, "psnr>999"] if rows == [{}, {"psnr": 20.0}] else [rule], rows)
    assert (judged.crossed, judged.unjudged) == (0, 1)
    assert lines == [f"not judged: {parse_rule(rule)}: no pair has a number"]


@pytest.mark.parametrize("rule", ["ssim<0.9", "p95(ssim)<0.9", "psnr:lab<30", "lite:weights=uniform>0.1"])
def test_a_rule_for_what_is_not_measured_is_an_error(rule):
    with pytest.raises(ValueError, match="is not measured; expected one of lite, psnr"):
        judge_all([rule], [])


def test_the_first_failures_are_said_and_the_rest_counted():
    judged, lines = judge_all(["lite>0.1", "mean(lite)>0.1"], [{"lite": 0.5}] * (MENTIONED + 7))
    assert len(lines) == MENTIONED + 2
    assert lines[-2:] == ["… and 7 more failures", "failed: mean(lite) > 0.1: it is 0.5"]
    assert judged.crossed == MENTIONED + 8
    assert len(judge_all(["lite>0.1"], [{"lite": 0.5}] * MENTIONED)[1]) == MENTIONED


def test_the_same_rule_counts_once():
    judged, lines = judge_all(["psnr<30", "PSNR < 3e1", "min(psnr)<30", "MIN(PSNR)<30.0"], [{"psnr": 20.0}])
    assert judged.crossed == len(lines) == 2


def test_names_cannot_move_the_cursor():
    lines, metric = [], "lite:weights=\x1b[2J.pth"
    rules = Verdicts(
        [parse_rule(f"{metric}>0.1"), parse_rule(f"max({metric})>0.1")], lines.append, summary := Summary([metric])
    )
    row = {"reference": "r", "image": "a\rb.png", "error": None, metric: 0.5}
    for sink in (summary, rules):
        sink.take(row, None)
    rules.finish()
    assert lines == [
        r"failed: a\rb.png: lite:weights=\x1b[2J.pth = 0.5 > 0.1",
        r"failed: max(lite:weights=\x1b[2J.pth) > 0.1: it is 0.5",
    ]


# -- states ------------------------------------------------------------------------------------------------------------


def row_of(error=None, **numbers):
    return {"reference": "r.png", "image": "i.png", "lite": None, "psnr": None, **numbers, "error": error}


@pytest.mark.parametrize(
    ("row", "state", "crossed"),
    [
        (row_of(lite=0.1, psnr=30.0), "passed", []),
        (row_of(lite=0.3, psnr=20.0), "failed", ["lite = 0.3 > 0.2", "psnr = 20 < 25"]),
        (row_of(error="i.png: broken"), "error", []),
        (row_of(error="i.png: lite: too small", psnr=20.0), "error", ["psnr = 20 < 25"]),
    ],
)
def test_an_error_beats_a_crossed_rule_which_is_told_all_the_same(row, state, crossed):
    verdict = judge(row, [parse_rule(rule) for rule in ("lite>0.2", "psnr<25", "mean(lite)>0")])
    assert (verdict.state, list(map(str, verdict.crossed)), verdict.error) == (state, crossed, row["error"])


def test_counts_rules_and_names_for_a_program():
    rules = ["lite>0.2", "max(lite)>0.9", "psnr<25", "max(psnr)>99", "mean(ssim)<0.5"]
    summary = Summary(["lite", "psnr", "ssim"])
    verdicts = Verdicts(
        [parse_rule(rule) for rule in rules], print, summary, new=[Path("n.png")], missing=[Path("m1"), Path("m2")]
    )
    for number, row in enumerate([{"lite": 0.1, "psnr": math.inf}, {"lite": 0.3, "psnr": 30.0}, {"error": "x"}]):
        for sink in (summary, verdicts):
            sink.take({**row_of(), "ssim": None, "image": f"{number}.png", **row}, None)
    found = verdicts.as_json()
    assert found["states"] == {"passed": 1, "failed": 1, "error": 1, "new": 1, "missing": 2}
    assert (found["new"], found["missing"]) == (["n.png"], ["m1", "m2"])
    assert [tuple(rule.values()) for rule in found["rules"]] == [
        ("lite > 0.2", "failed", None, 1),
        ("max(lite) > 0.9", "passed", 0.3, None),
        ("psnr < 25", "passed", None, 0),
        ("max(psnr) > 99", "failed", None, None),  # of infinity, which JSON does not have
        ("mean(ssim) < 0.5", "not judged", None, None),
    ]
    json.dumps(found, allow_nan=False)


def test_the_first_bad_rows_are_kept_and_no_more():
    rule, summary = parse_rule("lite>0.2"), Summary(["lite", "psnr"])
    verdicts = Verdicts([rule], lambda line: None, summary, keep=2)
    rows = [row_of(lite=0.1), *(row_of(lite=0.3) for _ in range(3)), row_of(error="broken")]
    for row in rows:
        verdicts.take(row, None)
    failed = Verdict("failed", (Crossing(rule, 0.3),))
    assert verdicts.bad == {"failed": [(rows[1], failed), (rows[2], failed)], "error": [(rows[4], judge(rows[4], []))]}
