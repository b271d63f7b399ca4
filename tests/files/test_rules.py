"""Rules: which texts are some, what crosses them, and that none passes unseen."""

import math

import pytest

from lpips_lite.files.rules import MENTIONED, Rule, Rules, parse_rule
from lpips_lite.files.summary import STATISTICS, Summary


def judge(rules, rows, metrics=("lite", "psnr")):
    """Return the rules after all rows, and the lines that they said."""
    lines, summary = [], Summary(metrics)
    judged = Rules([parse_rule(rule) for rule in rules], lines.append, summary)
    for number, numbers in enumerate(rows):
        absent = dict.fromkeys(metrics)
        row = {"reference": "r.png", "image": f"{number}.png", "error": None, **absent, **numbers}
        summary.take(row, None)
        judged.take(row, None)
    judged.finish()
    return judged, lines


# -- texts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "lite>0.2": Rule("lite", ">", 0.2),
        " lite >= 0.2 ": Rule("lite", ">=", 0.2),
        "PSNR<30": Rule("psnr", "<", 30),
        "ms_ssim<=.9": Rule("ms-ssim", "<=", 0.9),
        "p95(lite)>1e-1": Rule("lite", ">", 0.1, "p95"),
        " Median ( LITE ) > +5. ": Rule("lite", ">", 5, "median"),
        "l1:lab>-1E+2": Rule("l1:lab", ">", -100),
        "alex:weights=a>b.pth>0.2": Rule("alex:weights=a>b.pth", ">", 0.2),
        "min(alex:weights=(a)<=b,c(1).pth:tower=random:0)<=0.2": Rule(
            "alex:weights=(a)<=b,c(1).pth:tower=random:0", "<=", 0.2, "min"
        ),
    }.items(),
)
def test_rules(text, expected):
    assert parse_rule(text) == expected
    assert parse_rule(str(expected)) == expected


@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic_can_be_a_rule(name):
    assert parse_rule(f"{name}(lite)>0.1").statistic == name


NO_NUMBERS = ["nan", "NaN", "-nan", "inf", "-Infinity", "1e999", "-1e999", "1_0", "0x10", "1,5", "", "1e", "."]
NO_NUMBERS += ["0.2%", "0.2 0.3", "--1", "٣", "1٫5", "２"]


@pytest.mark.parametrize("number", NO_NUMBERS)
@pytest.mark.parametrize("subject", ["lite", "p95(lite)"])
def test_thresholds_are_finite_decimal_numbers(subject, number):
    with pytest.raises(ValueError, match="is no finite decimal number; expected one like 0.2, 30 or 1e-3"):
        parse_rule(f"{subject}>{number}")


@pytest.mark.parametrize(
    ("text", "message"),
    {
        "lite": "expected METRIC>NUMBER or METRIC<NUMBER, like lite>0.2",
        "": "expected METRIC>NUMBER",
        "lite=0.2": "expected METRIC>NUMBER",
        "lite≥0.2": "expected METRIC>NUMBER",
        ">0.2": "unknown metric ''",
        "0.2<lite": "unknown metric '0.2'",
        "lipps>0.2": "'lipps>0.2': unknown metric 'lipps'; .*did you mean lite, alex, vgg, squeeze?",
        "lite=>0.2": "unknown metric 'lite='",
        "lite>>0.2": "unknown metric 'lite>'",
        "lite>0.2,psnr<30": "unknown metric 'lite>0.2,psnr'",
        "ssim:matlb<0.9": "unknown option 'matlb'; .*did you mean matlab?",
        "p99(lite)>0.1": "unknown statistic 'p99'; expected one of mean, median, p5, p95, min, max; did you mean p95?",
        "average(lite)>0.1": "unknown statistic 'average'; expected one of mean",
        "(lite)>0.1": "unknown statistic ''",
        "p95(lipps)>0.1": "unknown metric 'lipps'",
        "p95()>0.1": "unknown metric ''",
    }.items(),
)
def test_what_is_no_rule(text, message):
    with pytest.raises(ValueError, match=message):
        parse_rule(text)


# -- judgments ---------------------------------------------------------------------------------------------------------


def test_rules_for_every_pair():
    judged, lines = judge(["lite>0.1", "psnr<=20"], [{"lite": 0.1, "psnr": 20.0}, {"lite": 0.1234567, "psnr": 20.1}])
    assert lines == ["failed: 0.png: psnr = 20 <= 20", "failed: 1.png: lite = 0.1234567 > 0.1"]
    assert (judged.crossed, judged.unjudged) == (2, 0)


@pytest.mark.parametrize(
    ("comparison", "crossed"),
    [(">", [False, True]), (">=", [True, True]), ("<", [False, False]), ("<=", [True, False])],
)
def test_comparisons(comparison, crossed):
    assert [parse_rule(f"lite{comparison}0.5").crossed_by(value) for value in (0.5, 0.75)] == crossed


def test_rules_for_all_pairs_together():
    rows = [{"lite": value} for value in (0.0, 0.1, 0.2)]
    judged, lines = judge(["max(lite)>0.1", "mean(lite)>0.1", "min(lite)<0.05", "lite>0.15"], rows)
    assert lines == [
        "failed: 2.png: lite = 0.2 > 0.15",
        "failed: max(lite) > 0.1: it is 0.2",
        "failed: min(lite) < 0.05: it is 0",
    ]
    assert judged.crossed == 3


def test_equal_images_keep_every_rule_of_psnr():
    judged, lines = judge(["psnr<99", *(f"{name}(psnr)<99" for name in STATISTICS)], [{"psnr": math.inf}] * 3)
    assert (judged.crossed, judged.unjudged, lines) == (0, 0, [])
    judged, lines = judge(["p95(psnr)>99"], [{"psnr": math.inf}, {"psnr": 20.0}])
    assert lines == ["failed: p95(psnr) > 99: it is inf"]


@pytest.mark.parametrize("rows", [[], [{}], [{}, {"psnr": 20.0}], [{"lite": math.nan}]])
@pytest.mark.parametrize("rule", ["lite>0.1", "p95(lite)>0.1", "min(lite)<0.1"])
def test_a_rule_without_any_number_says_so(rule, rows):
    judged, lines = judge([rule, "psnr>999"] if rows == [{}, {"psnr": 20.0}] else [rule], rows)
    assert (judged.crossed, judged.unjudged) == (0, 1)
    assert lines == [f"not judged: {parse_rule(rule)}: no pair has a number"]


@pytest.mark.parametrize("rule", ["ssim<0.9", "p95(ssim)<0.9", "psnr:lab<30", "lite:weights=uniform>0.1"])
def test_a_rule_for_what_is_not_measured_is_an_error(rule):
    with pytest.raises(ValueError, match="is not measured; expected one of lite, psnr"):
        judge([rule], [])


def test_the_first_failures_are_said_and_the_rest_counted():
    judged, lines = judge(["lite>0.1", "mean(lite)>0.1"], [{"lite": 0.5}] * (MENTIONED + 7))
    assert len(lines) == MENTIONED + 2
    assert lines[-2:] == ["… and 7 more failures", "failed: mean(lite) > 0.1: it is 0.5"]
    assert judged.crossed == MENTIONED + 8
    assert len(judge(["lite>0.1"], [{"lite": 0.5}] * MENTIONED)[1]) == MENTIONED


def test_the_same_rule_counts_once():
    judged, lines = judge(["psnr<30", "PSNR < 3e1", "min(psnr)<30", "MIN(PSNR)<30.0"], [{"psnr": 20.0}])
    assert judged.crossed == len(lines) == 2


def test_thresholds_are_said_with_all_their_digits():
    assert str(parse_rule("lite>0.12345678901")) == "lite > 0.12345678901"
    assert str(parse_rule("psnr<30.0")) == "psnr < 30"


def test_names_cannot_move_the_cursor():
    lines, metric = [], "lite:weights=\x1b[2J.pth"
    rules = Rules(
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
