"""Rules: which texts are some, and what crosses them."""

import pytest

from lpips_lite.files.rules import Rule, parse_rule
from lpips_lite.files.summary import STATISTICS

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


@pytest.mark.parametrize(
    ("comparison", "crossed"),
    [(">", [False, True]), (">=", [True, True]), ("<", [False, False]), ("<=", [True, False])],
)
def test_comparisons(comparison, crossed):
    assert [parse_rule(f"lite{comparison}0.5").crossed_by(value) for value in (0.5, 0.75)] == crossed


def test_thresholds_are_said_with_all_their_digits():
    assert str(parse_rule("lite>0.12345678901")) == "lite > 0.12345678901"
    assert str(parse_rule("psnr<30.0")) == "psnr < 30"
