"""`summarize`: the command's table in Python, from rows in memory and from files."""

import json
import math

import pandas as pd
import pytest

from lpips_lite import compare, summarize
from tests.command import noises, run

PATTERNS = {"ref_pattern": "{scene}/*/gt/{name}.png", "image_pattern": "{scene}/{method}/out/{name}.png"}
OPTIONS = ["--ref-pattern", PATTERNS["ref_pattern"], "--image-pattern", PATTERNS["image_pattern"]]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Two scenes by two methods, each with copies of the references; one image is identical to its reference."""
    monkeypatch.chdir(tmp_path)
    noises(tmp_path, *(f"{scene}/{m}/out/{n}.png" for scene in ("s1", "s2") for m in ("A", "B") for n in "12"))
    for method in "AB":
        noises(tmp_path, *(f"s{n // 2 + 1}/{method}/gt/{n % 2 + 1}.png" for n in range(4)))
    return tmp_path


@pytest.fixture
def rows():
    return compare(**PATTERNS, metrics=["psnr", "ssim:3dgs"])


def test_rows_have_the_fields_as_columns(rows):
    assert list(rows)[:6] == ["reference", "image", "scene", "name", "method", "psnr"]
    assert len(rows) == 8
    assert any("copies of other references" in note for note in rows.attrs["notes"])


def test_it_is_what_the_command_writes(rows):
    table = summarize(rows, by=["method", "scene"], against="B", interval=True, psnr_of_mean_mse=True)
    more = ["--by", "method,scene", "--against", "B", "--interval", "--psnr-of-mean-mse", "--table", "t.csv"]
    assert run(*OPTIONS, "-m", "psnr,ssim:3dgs", *more)[0] == 0
    pd.testing.assert_frame_equal(table, pd.read_csv("t.csv"), check_dtype=False, check_names=False)
    assert table.measure.unique().tolist() == ["psnr", "ssim:3dgs", "psnr of mean MSE"]
    assert table.attrs["notes"] == ["method=A, scene=s1: 2 infinite psnr (identical images), no finite one"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_rows_that_were_written_and_read_again(rows, suffix):
    run(*OPTIONS, "-m", "psnr,ssim:3dgs", "-o", f"rows.{suffix}")
    read = pd.read_csv("rows.csv") if suffix == "csv" else pd.read_json("rows.jsonl", lines=True)
    assert not read.attrs
    expected = summarize(rows, by="method")
    pd.testing.assert_frame_equal(summarize(read, by="method"), expected)
    assert "infinite" in expected  # JSON lines have null for it
    assert expected.infinite.tolist() == [2, 0, 0, 0]


def test_numbers_as_columns_are_groups(rows):
    rows["quality"] = [10, 5] * 4
    assert summarize(rows, by="quality").quality.unique().tolist() == ["5", "10"]
    rows["quality"] = [0.5, math.nan] * 4
    assert set(summarize(rows, by="quality").quality) == {"0.5", ""}


def test_texts_that_look_like_nothing_are_names(rows):
    rows["quality"] = ["NaT", pd.NaT] * 4
    assert set(summarize(rows, by="quality").quality) == {"NaT", ""}


def test_what_is_missing_is_in_the_notes(rows):
    kept = rows[(rows.method != "A") | (rows.scene != "s2")].copy()
    kept.attrs = rows.attrs
    assert summarize(kept, by=["method", "scene"]).attrs["notes"] == [
        "method=A, scene=s2: empty group, no image for any of 2 references: s2/A/gt/1.png, s2/A/gt/2.png",
        "method=A, scene=s1: 2 infinite psnr (identical images), no finite one",
    ]


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        (
            lambda rows: rows,
            {"by": "methods"},
            ValueError,
            "by='methods': no column 'methods'; expected some of scene,",
        ),
        (lambda rows: rows, {"by": []}, ValueError, "by='': expected names of columns"),
        (lambda rows: rows, {"by": "method", "statistic": "avg"}, ValueError, "statistic='avg': expected one of mean"),
        (lambda rows: rows, {"by": "method", "against": "C"}, ValueError, "against='C': expected a value of just one"),
        (lambda rows: rows.head(0), {"by": "method"}, ValueError, "rows: no rows; expected the result of compare"),
        (lambda rows: rows.drop(columns="image"), {"by": "method"}, ValueError, "rows: no column 'image'"),
        (
            lambda rows: rows.drop(columns="psnr"),
            {"by": "method"},
            ValueError,
            "no column 'psnr', which has a signature",
        ),
        (lambda rows: rows.to_dict("records"), {"by": "method"}, TypeError, "rows: expected a DataFrame, .* got list"),
        (lambda rows: pd.DataFrame(rows.to_dict()), {"by": "method"}, ValueError, "nothing says what made the numbers"),
    ],
)
def test_wrong_rows_are_errors(rows, change, arguments, error, message):
    with pytest.raises(error, match=message):
        summarize(change(rows), **arguments)


def test_numbers_of_unlike_metrics_do_not_mix():
    run(*OPTIONS, "-m", "psnr", "-o", "a.csv")
    run(*OPTIONS, "-m", "psnr", "-o", "b.csv", "--resize", "32x32")
    both = pd.concat([pd.read_csv("a.csv"), pd.read_csv("b.csv")])
    with pytest.raises(ValueError, match="numbers that do not compare, made by psnr: .* and psnr: .*resize=32x32"):
        summarize(both, by="method")
    broken = pd.read_csv("a.csv").assign(signature="something else")
    with pytest.raises(ValueError, match="'something else' is not a signature of the metrics among the columns"):
        summarize(broken, by="method")


def test_signatures_with_semicolons_and_paths(rows):
    """A path may contain the separator of signatures."""
    signature = "ssim:3dgs: lpips-lite/1.0 a; b; psnr: lpips-lite/1.0 psnr peak=1"
    table = summarize(rows.copy().assign(signature=signature).pipe(forget), by="method")
    assert set(table.signature) == {"lpips-lite/1.0 a; b", "lpips-lite/1.0 psnr peak=1"}


def forget(rows):
    rows.attrs = {}
    return rows


@pytest.mark.usefixtures("_without_pandas")
def test_without_pandas_it_says_what_to_install():
    with pytest.raises(ImportError, match=r'summarize\(\) needs pandas: pip install "lpips_lite\[tables\]"'):
        summarize(None, by="method")


def test_json_of_the_command_has_the_same_numbers(rows):
    run(*OPTIONS, "-m", "psnr,ssim:3dgs", "--by", "scene", "--statistic", "median", "--table", "t.json")
    with open("t.json") as file:  # noqa: PTH123
        groups = json.load(file)["groups"]
    table = summarize(rows, by="scene", statistic="median")
    assert [group["value"] for group in groups] == [None if math.isinf(value) else value for value in table.value]
