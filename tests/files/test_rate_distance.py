"""Curves of codecs from rows: their points and means, comparisons, pictures and messages."""

import builtins
import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpips_lite.files.bjontegaard import bd_distance, bd_rate
from lpips_lite.files.curve_output import curve_files, records, to_grid, to_json, usual_stem, write_curves
from lpips_lite.files.curve_picture import draw_curves, require_curve_packages
from lpips_lite.files.grouping import Item
from lpips_lite.files.rate_distance import CurveSettings, curves_of, metrics_of

SIGNATURES = {"bpp": "lpips-lite/1.0 bpp", "lite": "lpips-lite/1.0 net=lite"}
SETTINGS = CurveSettings("bpp", "lite")


def points(codecs=("jpeg", "webp"), images="abc", qualities=(10, 30, 50, 70, 90)):
    """Rows of a synthetic corpus, and their items; WebP needs 0.8 of JPEG's rate for image a, 0.7 for b, 0.6 for c."""
    rows, items = [], []
    for place, image in enumerate(images):
        for codec in codecs:
            saving = {"jpeg": 1, "webp": 0.8 - 0.1 * place, "avif": 0.5}[codec]
            for quality in qualities:
                rows.append(
                    {"bpp": saving * 2 ** (quality / 20) * (1 + place), "lite": 0.5 - quality / 200 - 0.01 * place}
                )
                items.append(Item(image, {"codec": codec, "quality": str(quality), "ext": codec[:3]}))
    return rows, items


def test_deltas_of_images_and_their_mean():
    found = curves_of(*points(), "codec", SETTINGS)
    assert found.first == "jpeg"
    for comparison, expected in zip(found.comparisons, (-20, -30, -40), strict=True):
        assert comparison.rate.value == pytest.approx(expected)
        both = found.by_image["jpeg"][comparison.image], found.by_image["webp"][comparison.image]
        columns = [column for own in both for column in zip(*own, strict=True)]
        assert comparison.rate == bd_rate(*columns)
        assert comparison.distance == bd_distance(*columns)
    mean = found.rates["webp"]
    assert (mean.value, mean.n) == (pytest.approx(-30), 3)
    assert (mean.low, mean.high) == (pytest.approx(-40), pytest.approx(-20))
    assert [note for note in found.notes if "in common" not in note] == []


def test_the_first_codec_may_be_chosen():
    found = curves_of(*points(("avif", "jpeg", "webp")), "codec", CurveSettings("bpp", "lite", anchor="webp"))
    assert list(found.by_image) == ["webp", "avif", "jpeg"]
    assert found.rates["jpeg"].value > 0
    _, items = points(("avif", "jpeg"))
    with pytest.raises(ValueError, match=r"anchor='png': expected a value of codec: avif, jpeg$"):
        CurveSettings("bpp", "lite", anchor="png").check(items, "codec", ["lite"])


def test_mean_curves_are_means_at_each_setting():
    rows, items = points()
    found = curves_of(rows, items, "codec", SETTINGS)
    for codec, curve in found.means.items():
        for (rate, distance), quality in zip(curve, ("10", "30", "50", "70", "90"), strict=True):
            own = [row for row, item in zip(rows, items, strict=True)
                   if (item.columns["codec"], item.columns["quality"]) == (codec, quality)]  # fmt: skip
            assert rate == pytest.approx(np.mean([row["bpp"] for row in own]))
            assert distance == pytest.approx(np.mean([row["lite"] for row in own]))


def test_settings_that_not_all_images_have_are_not_in_mean_curves():
    rows, items = points()
    found = curves_of(rows[1:], items[1:], "codec", SETTINGS)
    assert len(found.means["jpeg"]) == 4
    assert "codec=jpeg, quality=10, ext=jpe: of 2 of 3 images, not in the mean curve" in found.notes
    without = [Item(item.reference, {"codec": item.columns["codec"]}) for item in items]
    found = curves_of(rows, without, "codec", SETTINGS)
    assert found.means == {}
    assert found.rates["webp"].value == pytest.approx(-30)
    assert "no mean curves: no column tells the points of an image apart, like that of a quality" in found.notes


def test_what_cannot_be_compared_is_said_and_left_out():
    rows, items = points()
    for row, item in zip(rows, items, strict=True):
        if item.columns["codec"] == "webp" and item.reference == "b":
            row["lite"] += 10  # nothing in common
    rows[0]["lite"] = None
    found = curves_of(rows, items, "codec", SETTINGS)
    assert found.rates["webp"].n == 2
    assert found.distances["webp"].n == 3
    assert any(note.startswith("webp: the curves have no distance in common: 1 images, like b") for note in found.notes)
    assert "1 points without a finite bpp and lite, left out" in found.notes
    few = curves_of(*points(qualities=(10, 30, 50)), "codec", SETTINGS)
    assert math.isnan(few.rates["webp"].value)
    assert "webp: a curve of 3 points; expected at least 4: 3 images, like a" in few.notes
    json.dumps(to_json(few, SIGNATURES), allow_nan=False)
    assert to_grid(few, SIGNATURES).rows[-1][3].text == "–"


def test_little_in_common_is_said():
    rows, items = points()
    for row, item in zip(rows, items, strict=True):
        if item.columns["codec"] == "webp":
            row["lite"] += 0.2
    notes = curves_of(rows, items, "codec", SETTINGS).notes
    assert "webp: curves have less than 75 % in common: 3 images, like a" in notes


def test_one_codec_alone_has_no_deltas_and_says_so():
    found = curves_of(*points(("jpeg",)), "codec", SETTINGS)
    assert found.comparisons == []
    assert found.notes == ["no deltas: nothing to compare with jpeg"]


def test_a_rate_may_be_a_column():
    rows, items = points()
    items = [
        Item(item.reference, {**item.columns, "kbit": str(1000 * row["bpp"])})
        for row, item in zip(rows, items, strict=True)
    ]
    carried = [{**row, "kbit": item.columns["kbit"]} for row, item in zip(rows, items, strict=True)]
    settings = CurveSettings("kbit", "lite")
    settings.check(items, "codec", ["lite"])
    found = curves_of(carried, items, "codec", settings)
    assert found.rates["webp"].value == pytest.approx(-30)
    assert len(found.means["jpeg"]) == 5
    assert metrics_of("kbit", "LITE") == ["lite"]
    assert metrics_of("BPP", "ssim:3DGS") == ["ssim:3dgs", "bpp"]
    wrong = [Item("a", {**items[0].columns, "kbit": "many"})]
    with pytest.raises(ValueError, match="column kbit holds 'many'; expected numbers"):
        settings.check(wrong, "codec", ["lite"])
    with pytest.raises(
        ValueError, match="'size' is neither a size of files nor a column; expected one of bytes, bpp, codec, quality"
    ):
        CurveSettings("size", "lite").check(items, "codec", ["lite"])


def test_files_of_curves(tmp_path):
    found = curves_of(*points(), "codec", SETTINGS)
    svg = write_curves(tmp_path / "a.b", found, SIGNATURES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.b.csv", "a.b.png", "a.b.svg"]
    assert sorted(curve_files(tmp_path / "a.b")) == sorted(tmp_path.iterdir())
    assert (tmp_path / "a.b.svg").read_bytes() == svg
    with Image.open(tmp_path / "a.b.png") as picture:
        assert "net=lite" in picture.text["Description"]
        assert len(set(picture.convert("RGB").get_flattened_data() if hasattr(picture, "get_flattened_data")
                       else picture.convert("RGB").getdata())) > 50  # fmt: skip
    with (tmp_path / "a.b.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["image"] for line in lines] == ["a", "b", "c", "mean"]
    assert float(lines[3]["bd_rate_low"]) == pytest.approx(-40)
    assert lines[0]["against"] == "jpeg"
    assert lines[3]["signature"] == "bpp: lpips-lite/1.0 bpp; lite: lpips-lite/1.0 net=lite"
    assert len(records(found, SIGNATURES)) == 4


def test_the_picture_names_codecs_axes_and_what_made_it():
    found = curves_of(*points(), "codec", SETTINGS)
    svg = draw_curves(found, SIGNATURES)["svg"].decode()
    for text in ("jpeg", "webp", "codec", "bits per pixel \\(log scale\\)", "lite, lower is closer", "net=lite"):
        assert re.search(text, svg), text
    assert draw_curves(found, SIGNATURES)["svg"].decode() == svg  # no date, no random names
    alone = curves_of(*points(images="a"), "codec", CurveSettings("bpp", "lite"))
    assert "thick: mean" not in draw_curves(alone, SIGNATURES)["svg"].decode()


def test_many_images_have_no_lines_of_their_own_for_people():
    found = curves_of(*points(("jpeg", "avif"), images="abcdefghijklmnop"), "codec", SETTINGS)
    grid = to_grid(found, SIGNATURES)
    assert [row[1].text for row in grid.rows] == ["mean"]
    assert "lite: lpips-lite/1.0 net=lite" in grid.under
    assert len(records(found, SIGNATURES)) == 17


def test_names_of_files():
    assert usual_stem("bpp", "ssim:y:crop=4") == Path("bpp-ssim-y-crop-4")
    assert usual_stem("größe", "lite") == Path("größe-lite")
    assert usual_stem("%", "lite") == Path("lite")  # a name that begins with a dash would be an option
    assert usual_stem("bytes", "alex:weights=../a/b.pth") == Path("bytes-alex-weights-a-b-pth")


def test_without_scipy_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("lpips_lite.files.curve_picture.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'--curve needs scipy and matplotlib: pip install "lpips_lite\[tables\]"'):
        require_curve_packages("--curve")
    original = builtins.__import__

    def without(name, *arguments):
        if name.startswith("scipy"):
            raise ImportError("No module named 'scipy'")
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'delta needs scipy: pip install "lpips_lite\[tables\]"'):
        bd_rate([1, 2, 3, 4], [4, 3, 2, 1], [1, 2, 3, 4], [4, 3, 2, 1])
