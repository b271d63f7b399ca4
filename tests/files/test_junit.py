"""JUnit XML: what each pair and rule becomes in it, as junitparser and the standard library read it."""

import itertools
import shutil
from pathlib import Path
from xml.etree import ElementTree

import junitparser
import pytest
from hypothesis import given, settings, strategies as st

from lpips_lite.files.heatmap import HeatmapFiles, Heatmaps
from lpips_lite.files.junit import JUnit, check_junit
from lpips_lite.files.names import path_text, printable
from lpips_lite.files.pairing import Pair
from lpips_lite.files.rules import parse_rule
from lpips_lite.files.summary import Summary
from lpips_lite.files.verdicts import Verdicts
from tests.command import noises, run


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cases(rows, rules=(), *, pairs=None, allowed=False, heatmaps=None, **alone):
    """Write a file for rows of pairs of the metric lite; return its cases by class and name, and its one suite."""
    pairs = pairs or [Pair(Path(row["reference"]), Path(row["image"]), str(n)) for n, row in enumerate(rows)]
    summary = Summary(["lite"])
    verdicts = Verdicts([parse_rule(rule) for rule in rules], lambda line: None, summary, **alone)
    junit = JUnit(
        Path("j.xml"),
        pairs=pairs,
        signatures={"lite": "made by"},
        verdicts=verdicts,
        allowed=allowed,
        heatmaps=heatmaps,
    )
    for row, sink in itertools.product(rows, (summary, verdicts, junit)):
        sink.take({"lite": None, "error": None, "content": "0" * 16, **row}, None)
    junit.finish()
    (suite,) = ElementTree.parse("j.xml").getroot()
    found = {(case.get("classname"), case.get("name")): case for case in suite.iter("testcase")}
    assert len(found) == len(suite.findall("testcase"))  # CI takes the first of several with the same name
    return found, suite


def outcome(case):
    """Return element and message of a case that has not passed."""
    return [(element.tag, element.get("message")) for element in case if element.tag != "system-out"]


def row(number, lite=None, **others):
    return {"reference": f"gold/{number}.png", "image": f"out/{number}.png", "lite": lite, **others}


def test_every_state_of_a_pair():
    rows = [row(0, 0.1), row(1, 0.3), row(2, error="2.png: broken"), row(3, 0.5, error="3.png: no heatmap")]
    found, suite = cases(rows, ["lite>0.2", "lite>=0.3"])
    assert [outcome(case) for case in found.values()] == [
        [],
        [("failure", "lite = 0.3 > 0.2; lite = 0.3 >= 0.3")],
        [("error", "2.png: broken")],
        [("error", "3.png: no heatmap; lite = 0.5 > 0.2; lite = 0.5 >= 0.3")],
    ]
    assert list(found)[1] == ("out", "1.png")
    assert found["out", "1.png"].findtext("failure") == "lite = 0.3 > 0.2\nlite = 0.3 >= 0.3"
    assert found["out", "1.png"].findtext("system-out") == "reference: gold/1.png\nimage: out/1.png\nlite = 0.3"
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        **{"tests": "4", "failures": "1", "errors": "2", "skipped": "0"}
    }
    assert [(p.get("name"), p.get("value")) for p in suite.iter("property")] == [
        ("lite", "made by"), ("rule", "lite > 0.2"), ("rule", "lite >= 0.3"),
    ]  # fmt: skip


def test_rules_for_all_pairs_are_cases_too():
    found, _ = cases([row(0, 0.1), row(1, 0.3)], ["mean(lite)>0.1", "max(lite)>0.5", "lite>0.9"])
    assert {name: outcome(case) for (group, name), case in found.items() if group == "all pairs"} == {
        "mean(lite) > 0.1": [("failure", "it is 0.2")],
        "max(lite) > 0.5": [],
    }
    found, _ = cases([row(0, error="broken")], ["mean(lite)>0.1", "lite>0.9"])
    assert [outcome(found["all pairs", rule]) for rule in ("mean(lite) > 0.1", "lite > 0.9")] == [
        [("error", "not judged: no pair has a number")]
    ] * 2


@pytest.mark.parametrize(("allowed", "element"), [(False, "error"), (True, "skipped")])
def test_what_has_no_partner_is_an_error_unless_that_is_allowed(allowed, element):
    found, _ = cases([row(0, 0.1)], allowed=allowed, new=[Path("out/n.png")], missing=[Path("gold/m.png")])
    assert outcome(found["out", "n.png"]) == [(element, "new: no reference for this image")]
    assert outcome(found["gold", "m.png"]) == [(element, "missing: no image for this reference")]
    assert found["out", "n.png"].find(element).get("type") == "new"


def test_pairs_that_were_not_reached_are_skipped():
    pairs = [Pair(Path(f"gold/{number}.png"), Path(f"out/{number}.png"), "x") for number in range(4)]
    found, _ = cases([row(0, 0.1), row(2, 0.1)], pairs=pairs)
    skipped = [("skipped", "not compared: the run ended before")]
    assert [outcome(case) for case in found.values()] == [[], skipped, [], skipped]
    with pytest.raises(ValueError, match="expected rows of the pairs, in their order"):
        cases([row(2, 0.1), row(0, 0.1)], pairs=pairs)


def test_an_image_in_several_pairs_has_a_case_for_each():
    rows = [{**row(0, 0.1), "reference": name} for name in "ab"]
    assert list(cases(rows)[0]) == [("out", "0.png (0)"), ("out", "0.png (1)")]


def test_heatmaps_are_attached_where_they_were_drawn():
    maps = Heatmaps(HeatmapFiles("maps"), lambda decoded: None, False, {"lite": "made by"})
    Path("maps").mkdir()
    Path("maps/1.png").write_bytes(b"of an earlier run")
    found, _ = cases([row(0, 0.1), row(1, error="1.png: broken")], heatmaps=maps)
    assert "\n[[ATTACHMENT|maps/0.png]]" in found["out", "0.png"].findtext("system-out")
    assert "ATTACHMENT" not in found["out", "1.png"].findtext("system-out")


HOSTILE = st.text(st.sampled_from("]>[<!&\"'\x00\x1b\n\r\t\u2028\ud800\udcff\ufffe\uffff\U0001f600é ;%a"), min_size=1)


@settings(max_examples=40)
@given(HOSTILE, HOSTILE)
def test_no_name_or_reason_breaks_the_file(name, reason):
    path = f"out/x{name}"
    rows = [{"reference": path_text(Path("gold/r.png")), "image": path_text(Path(path)), "error": reason}]
    found, _ = cases(rows, pairs=[Pair(Path("gold/r.png"), Path(path), "x")], new=[Path(f"new/{name}y")])
    assert set(found) == {("out", printable(f"x{name}")), ("new", printable(f"{name}y"))}
    assert outcome(found["out", printable(f"x{name}")]) == [("error", printable(reason))]


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr("lpips_lite.files.junit.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'--junit needs junitparser: pip install "lpips_lite\[junit\]"'):
        check_junit(Path("junit.xml"), "--junit")


COMMANDS = {  # what is compared -> exit status, and what CI is told
    ("gold/b.png", "out/b.png"): (1, ["Failure"]),
    ("gold", "out"): (2, ["Error", "Error", "Error", "Failure"]),
    ("gold", "out", "--allow-unmatched"): (2, ["Error", "Failure", "Skipped", "Skipped"]),
}


@pytest.mark.parametrize(("arguments", "expected"), COMMANDS.items(), ids=["one pair", "folders", "allowed"])
def test_the_command_writes_it_whatever_the_status(folder, arguments, expected):
    noises(folder, "gold/a.png", "gold/b.png", "gold/m.png", "out/c.png", "out/n.png")
    for image in ("a", "b"):
        shutil.copy("gold/a.png", f"out/{image}.png")
    Path("gold/c.png").write_bytes(b"broken")
    status, _, err = run(*arguments, "-m", "l1", "--fail", "l1>0.1", "--junit", "j.xml")
    (suite,) = junitparser.JUnitXml.fromfile("j.xml")
    assert (status, sorted(type(result).__name__ for case in suite for result in case.result)) == expected
    assert err.endswith("wrote j.xml\n")
