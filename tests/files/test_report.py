"""The report: which pairs it shows, what it tells of each, and what it weighs."""

import json
import math
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from lpips_lite.files.decoding import Decoded
from lpips_lite.files.gallery import LEAST_SHARE, Gallery, regions
from lpips_lite.files.pairing import Pair
from lpips_lite.files.report import is_page_file
from lpips_lite.files.report_page import SCRIPTS, histogram
from tests.conftest import ROOT
from tests.files.report_pages import INFINITY, SCENE, Written, content_of, decode, draw, pair_of, read, row_of

HOSTILE = 'alex:weights=my "w" </script><b>&amp;=1/2.safetensors'
SMALL = SCENE[:, :32, :32]


@pytest.fixture
def report(tmp_path):
    """A report on the worst nine of twelve pairs in two folders, one of which has no numbers."""
    pairs = [pair_of(f"part{number % 2}/{20 + 6 * number}") for number in range(12)]
    rows = [
        row_of(pair, {"lite": 0.5 - 0.04 * number, "psnr": 10.0 + number + number % 3})
        for number, pair in enumerate(pairs)
    ]
    rows[0] |= {"lite": None, "psnr": None, "error": f"{pairs[0].image}: not an image"}
    return Written(tmp_path / "page.html", pairs, rows, count=9, notes=["device cpu"])


def test_the_page_holds_the_worst_pairs_and_needs_nothing_else(report):
    data, text = report.data, report.text
    assert sorted(report.column(0), reverse=True) == [pytest.approx(0.5 - 0.04 * number) for number in range(1, 10)]
    assert all(entry["names"]["image"].startswith("b/part") for entry in data["entries"])
    assert all(entry["mapped"] == "lite" and 0 < entry["peak"] <= data["peak"] for entry in report.shown)
    assert sum(data["metrics"][0]["histogram"]["counts"]) == 11
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert all(picture[8:12] == b"WEBP" for picture in report.pictures)
    for expected in ("12 pairs compared", "1 with errors", "device cpu", "what made lite", "what made psnr", "b/part1"):
        assert expected in text
    assert report.told == []


# -- size ------------------------------------------------------------------------------------------------------------


def noise(*size):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, *size), dtype=np.uint8))


def added(gallery, image, reference=None):
    """Add a pair to a gallery and return what it tells."""
    pair = pair_of("1")
    decoded = Decoded(pair, image, image if reference is None else reference)
    return gallery.add(row_of(pair, {"lite": 0.1}), decoded, lambda _: ("lite", image[0].float()))


@pytest.mark.parametrize("count", [150, 2000])
def test_pictures_stay_within_the_budget_however_many_and_noisy(count):
    gallery = Gallery(count)
    entry = added(gallery, noise(512, 512), noise(512, 512) // 2)
    assert entry["crops"]
    assert count * (len(json.dumps([entry, gallery.pictures])) + 1000) < 50e6


def test_few_pairs_have_larger_pictures():
    crowded, roomy = Gallery(2000), Gallery(3)
    small, large = (added(gallery, noise(512, 512))["shown"] for gallery in (crowded, roomy))
    assert large[0] >= 4 * small[0]


@pytest.mark.parametrize(("pairs", "lossless"), [(3, True), (2000, False)])
def test_pictures_are_without_loss_where_that_fits(tmp_path, pairs, lossless):
    scene = read(ROOT / "examples/images/scene.png")
    entry = added(Gallery(pairs), (scene * 0.5).byte(), scene)
    assert entry["lossless"] == lossless
    assert (entry["shown"] == (256, 256)) == lossless
    flat = torch.full((3, 900, 1440), 255, dtype=torch.uint8)  # a page, which only coding with loss would spoil
    flat[:, 100:120, 200:300] = 0
    entry = added(Gallery(pairs), flat)
    assert (entry["lossless"], entry["shown"]) == (True, (1440, 900))


def test_pictures_and_crops_without_loss_are_the_pixels(tmp_path):
    scene, pair = read(ROOT / "examples/images/scene.png"), pair_of("50")
    decoded = Decoded(pair, (scene * 0.5).byte(), scene, content="x")
    rows = [row_of(pair, {"lite": 0.1}, content="x")]
    page = Written(tmp_path / "p.html", [pair], rows, decode=lambda _: [decoded])
    (entry,) = page.shown
    image, reference = (side.permute(1, 2, 0).numpy() for side in (decoded.image, scene))
    assert (page.picture(entry["reference"]) == reference).all()
    assert (page.picture(entry["image"]) == image).all()
    assert len(entry["crops"]) > 1
    for crop in entry["crops"]:
        (left, top), side = crop["at"], crop["side"]
        window = slice(top, top + side), slice(left, left + side)
        assert (page.picture(crop["picture"]) == np.concatenate([reference[window], image[window]], axis=1)).all()
        assert crop["value"] == pytest.approx(
            np.abs(reference / 255 - image / 255).mean(axis=2)[window].max(), abs=2e-3
        )


def test_crops_without_a_map_are_where_the_pair_is_compared():
    image, area = SCENE.clone(), torch.ones(128, 128, dtype=torch.bool)
    image[:, 20, 20] = image[:, 90, 90] = 0
    area[:50, :50] = False
    gallery, pair = Gallery(2000), pair_of("1")
    entry = gallery.add(row_of(pair, {"psnr": 30.0}), Decoded(pair, image, SCENE, area=area), None)
    (crop,) = entry["crops"]
    assert all(start <= 90 < start + crop["side"] for start in crop["at"])


def test_regions_are_around_the_largest_values_apart_from_each_other():
    values = torch.zeros(300, 700)
    peaks = {
        (50, 60): 0.9,
        (52, 70): 0.8,
        (200, 650): 0.5,
        (280, 5): 0.3,
        (150, 350): 0.24,
        (10, 690): 0.9 * LEAST_SHARE,
    }
    for at, value in peaks.items():
        values[at] = value
    values[100:110] = math.nan
    found = list(regions(values, 64))
    assert [value for _, value in found] == pytest.approx([0.9, 0.5, 0.3])
    for (left, top), value in found:
        window = values[top : top + 64, left : left + 64]
        assert window.shape == (64, 64)
        assert float(torch.nan_to_num(window, 0).max()) == pytest.approx(value)
    assert list(regions(torch.zeros(20, 20), 16)) == []
    assert list(regions(torch.full((20, 20), math.nan), 16)) == []


def test_a_reference_is_kept_once(tmp_path):
    pairs = [Pair(Path("a/scene.png"), Path(f"b/{number}.jpg"), str(number)) for number in (10, 20, 30)]
    page = Written(tmp_path / "p.html", pairs, [row_of(pair, {"lite": 0.1}) for pair in pairs])
    assert len({entry["reference"] for entry in page.shown}) == 1
    assert len(page.pictures) == 1 + 3 + 3 + sum(len(entry["crops"]) for entry in page.shown)


def test_large_pairs_are_held_one_at_a_time(tmp_path):
    alive = weakref.WeakSet()

    def decode_large(pairs):
        for pair in pairs:
            image = torch.zeros(3, 70, 2000, dtype=torch.uint8)
            alive.add(image)
            assert len(alive) <= 2  # this one, and the one before, which the loop has not let go yet
            yield Decoded(pair, image, image, content=content_of(pair))
            del image

    pairs = [pair_of(str(number)) for number in range(6)]
    page = Written(tmp_path / "p.html", pairs, [row_of(pair, {"lite": 0.1}) for pair in pairs], decode=decode_large)
    assert [entry["size"] for entry in page.shown] == [[2000, 70]] * 6


@pytest.mark.parametrize("size", [(1, 1), (1, 100_000), (40_000, 2), (16, 17)])
def test_any_shape(size):
    gallery = Gallery(1)
    entry = added(gallery, torch.rand(3, *size))
    assert entry["size"] == size[::-1]
    assert max(entry["shown"]) <= max(size)
    assert {"reference", "image", "map"} <= entry.keys()
    assert max(map(len, gallery.pictures)) < 400_000


# -- numbers ---------------------------------------------------------------------------------------------------------


def test_infinite_and_missing_numbers_are_told_apart(tmp_path):
    pairs = [pair_of(name) for name in ("1", "2", "3")]
    page = Written(
        tmp_path / "p.html",
        pairs,
        [
            row_of(pairs[0], {"ssim": 0.5, "psnr": 20.0, "lite": 0.3}),
            row_of(pairs[1], {"ssim": 1.0, "psnr": INFINITY, "lite": 0.0}),
            row_of(pairs[2], {"ssim": 0.7, "psnr": None, "lite": None}, error="psnr: <refused>"),
        ],
    )
    assert page.column(1) == [20.0, None, "inf"]  # in the order of SSIM
    assert [entry["reasons"] for entry in page.shown] == [[], ["psnr: <refused>"], []]
    assert ["map" in entry for entry in page.shown] == [True, False, True]  # lite has refused the second
    assert "∞" in page.text[page.text.index("<body") : page.text.index("<script")]
    assert page.told == []


def test_metrics_without_a_map(tmp_path):
    pair = pair_of("1")
    page = Written(tmp_path / "p.html", [pair], [row_of(pair, {"psnr": INFINITY, "ssim": 1.0})], draw=None)
    (entry,) = page.data["entries"]
    assert "map" not in entry
    assert entry["reference"] != entry["image"]
    assert page.data["metrics"][0]["histogram"]["counts"] == []


@pytest.mark.parametrize(
    ("values", "counts", "low", "high"),
    [
        ([], [], 0, 0),
        ([INFINITY, math.nan], [], 0, 0),
        ([0.25], [1], 0.25, 0.25),
        ([0.25, INFINITY, 0.25, -INFINITY], [2], 0.25, 0.25),
        ([1.0, math.nextafter(1, 2)], [1, *[0] * 30, 1], 1.0, math.nextafter(1, 2)),
        ([0.0, 5e-324], [1, *[0] * 30, 1], 0.0, 5e-324),
        (range(320), [10] * 32, 0.0, 319.0),
        ([-4.0, 3.9999, 4.0], [1, *[0] * 30, 2], -4.0, 4.0),
    ],
)
def test_histogram(values, counts, low, high):
    assert histogram(np.array(values, dtype=float)) == {"counts": counts, "low": low, "high": high}


# -- pairs that cannot be shown --------------------------------------------------------------------------------------


def test_pairs_that_have_changed_or_gone_are_told_and_listed_without_pictures(tmp_path):
    def decode_again(pairs):
        for decoded in decode(pairs):
            if decoded.pair.name == "2":
                yield Decoded(decoded.pair, content=decoded.content, error="b/2.jpg: no such file")
            else:
                yield decoded

    pairs = [pair_of(name) for name in ("1", "2", "3", "4")]
    rows = [row_of(pair, {"lite": 0.1}) for pair in pairs]
    rows[2]["content"], rows[3]["content"] = "what it was", None
    page = Written(tmp_path / "p.html", pairs, rows, decode=decode_again)
    assert [entry["names"]["image"] for entry in page.shown] == ["b/1.jpg"]
    ends = f"; {tmp_path}/p.html has no pictures of it"
    assert page.told == [
        f"b/2.jpg: no such file{ends}",
        f"b/3.jpg or a/3.png: has changed since it was measured{ends}",
        f"b/4.jpg or a/4.png: has changed since it was measured{ends}",
    ]
    assert "pictures of 1, the worst by lite" in page.text
    reasons = {entry["names"]["image"]: entry["reasons"] for entry in page.data["entries"]}
    assert reasons == {
        "b/1.jpg": [],
        "b/2.jpg": ["b/2.jpg: no such file"],
        "b/3.jpg": ["b/3.jpg or a/3.png: has changed since it was measured"],
        "b/4.jpg": ["b/4.jpg or a/4.png: has changed since it was measured"],
    }


def test_a_pair_that_is_listed_twice_is_shown_twice(tmp_path):
    pairs = [pair_of("1"), pair_of("2"), pair_of("1")]
    page = Written(tmp_path / "p.html", pairs, [row_of(pair, {"lite": 0.1}) for pair in pairs])
    assert sorted(entry["names"]["image"] for entry in page.data["entries"]) == ["b/1.jpg", "b/1.jpg", "b/2.jpg"]


@pytest.mark.parametrize("error", [ValueError("a mistake"), RuntimeError("out of memory"), MemoryError()])
def test_a_pair_whose_map_fails_is_told_and_the_others_are_shown(tmp_path, error):
    def fail(decoded):
        if decoded.pair.name == "1":
            raise error
        return draw(decoded)

    pairs = [pair_of(name) for name in "12"]
    rows = [row_of(pair, {"lite": 0.1}) for pair in pairs]
    page = Written(tmp_path / "p.html", pairs, rows, draw=fail)
    assert len(page.told) == 1
    assert "1.jpg: no pictures (" in page.told[0]
    assert len(page.shown) == 1
    assert len(page.data["entries"]) == 2


# -- verdicts --------------------------------------------------------------------------------------------------------


def test_pairs_that_failed_are_shown_before_the_worst(tmp_path):
    pairs = [pair_of(str(number)) for number in range(10, 70, 10)]
    rows = [row_of(pair, {"lite": 0.1 * place, "psnr": 20.0 + place}) for place, pair in enumerate(pairs)]
    rows[5] |= {"lite": None, "psnr": None, "error": "b/60.jpg: not an image"}
    alone = {"new": [Path("b/new.png")], "missing": [Path("a/gone.png")]}
    page = Written(tmp_path / "p.html", pairs, rows, count=2, rules=["psnr<22", "lite>2", "mean(lite)>0.1"], **alone)
    assert [entry["names"]["image"] for entry in page.shown] == ["b/10.jpg", "b/20.jpg"]
    found = {entry["names"]["image"] or entry["names"]["reference"]: entry for entry in page.data["entries"]}
    assert {name: (entry["state"], entry["reasons"]) for name, entry in found.items()} == {
        "b/20.jpg": ("failed", ["psnr = 21 < 22"]),
        "b/10.jpg": ("failed", ["psnr = 20 < 22"]),
        "b/60.jpg": ("error", ["b/60.jpg: not an image"]),
        "b/new.png": ("new", ["no reference for this image"]),
        "a/gone.png": ("missing", ["no image for this reference"]),
    }
    head = " ".join(re.sub("<[^>]*>", " ", page.text[page.text.index("<body") : page.text.index("<main")]).split())
    assert head.startswith("failed 6 pairs compared")
    assert "all 8 passed 3 failed 2 error 1 new 1 missing 1" in head
    assert "psnr &lt; 22 2 of 6 pairs cross it failed" in head
    assert "lite &gt; 2 0 of 6 pairs cross it passed" in head
    assert "mean(lite) &gt; 0.1 0.2 failed" in head
    for line in ("error b/60.jpg : b/60.jpg: not an image", "new b/new.png : no reference for this image"):
        assert line in head
    assert "Not in the list: 3 passed." in page.text


@pytest.mark.parametrize(
    ("rules", "error", "new", "word"),
    [
        ([], None, False, ""),
        (["lite>1"], None, False, "passed"),
        (["lite>0.05"], None, True, "failed"),
        (["p95(lite)>0.05"], None, False, "failed"),
        ([], "b/1.jpg: broken", False, "errors"),
        (["lite>1"], None, True, "incomplete"),
        ([], None, True, "incomplete"),
        (["psnr<20"], None, False, "errors"),  # no pair has a number: the rule judges nothing
    ],
)
def test_the_word_at_the_top(tmp_path, rules, error, new, word):
    pair = pair_of("1")
    row = row_of(pair, {"lite": 0.1, "psnr": None}, error=error)
    page = Written(tmp_path / "p.html", [pair], [row], rules=rules, new=[Path("b/new.png")] if new else [], draw=None)
    assert re.search(r"<title>(.*) compared", page.text)[1] == (f"{word}: " if word else "") + "1 pair"
    assert ('class="badge' in page.text[: page.text.index("</h1>")]) == bool(word)


def test_groups_are_folders_and_columns_with_several_values(tmp_path):
    pairs = [
        Pair(
            Path(f"a/{number}.png"),
            Path(f"b/part{number % 2}/{number}.jpg"),
            str(number),
            {"method": method, "id": str(number)},
        )
        for number, method in enumerate(["fast", "slow", "slow", "<b>"])
    ]
    rows = [{**row_of(pair, {"lite": 0.1 * place}), **pair.columns} for place, pair in enumerate(pairs)]
    rows[3] |= {"lite": None, "error": "broken"}
    page = Written(tmp_path / "p.html", pairs, rows, rules=["lite>0.15"])
    assert page.data["columns"] == ["method", "folder"]  # each pair has an id of its own
    assert {entry["groups"]["method"] for entry in page.shown} == {"fast", "slow"}
    lines = re.findall(r"<tr><td>(.*?)</td>" + 5 * r"<td>(.*?)</td>", page.text)
    assert lines == [
        ("&lt;b&gt;", "1", "0", "1", "–", "–"),
        ("fast", "1", "0", "0", "0.0000", "0.0000"),
        ("slow", "2", "1", "0", "0.1500", "0.2000"),
        ("b/part0", "2", "1", "0", "0.1000", "0.2000"),
        ("b/part1", "2", "0", "1", "0.1000", "0.1000"),
    ]


def test_what_is_not_listed_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("lpips_lite.files.report.MOST_LISTED", 3)
    pair = pair_of("1")
    new = [Path(f"b/{number}.png") for number in range(5)]
    page = Written(tmp_path / "p.html", [pair], [row_of(pair, {"lite": 0.1})], new=new)
    assert len(page.data["entries"]) == 4
    assert "Not in the list: 2 new." in page.text


# -- the file --------------------------------------------------------------------------------------------------------

NAMES = [
    "1 </script><b>",
    "2 \"quoted\" & 'so'",
    "3 \u202etxt.gnp",
    "4 \udcff\ud800",
    "5 a\nb\rc\u2028",
    "6 -->]]>",
    "7 画",
]


@pytest.mark.parametrize("metric", [HOSTILE, "alex:tower=é'.pth", "alex:weights=a\nb.pth"], ids=ascii)
def test_names_are_escaped(tmp_path, metric):
    pairs = [pair_of(name) for name in NAMES]
    rows = [row_of(pair, {metric: 0.1}, content="x", error=f"about {pair.name}") for pair in pairs]

    def decode_any(pairs):
        for pair in pairs:
            yield Decoded(pair, SMALL, SMALL, content="x")

    page = Written(tmp_path / "p.html", pairs, rows, decode=decode_any, notes=["a </p><b> note \u202e"], draw=None)
    shown = [entry["names"]["image"] for entry in page.data["entries"]]
    assert page.told == []
    assert shown[0] == "b/1 </script><b>.jpg"
    assert shown[2:5] == [r"b/3 \u202etxt.gnp.jpg", r"b/4 \xff\ud800.jpg", r"b/5 a\nb\rc\u2028.jpg"]
    assert not re.search(r"<b>|\u202e", page.text)
    assert page.text.count("</script>") == 2 + len(page.pictures)


def test_a_page_without_pairs_to_show(tmp_path):
    pair = pair_of("1")
    page = Written(tmp_path / "p.html", [pair], [row_of(pair, {"lite": None}, error="b/1.jpg: not an image")])
    assert [entry["state"] for entry in page.data["entries"]] == ["error"]
    assert page.pictures == []
    assert "1 with errors" in page.text
    assert "no pictures" in page.text


def test_links_and_devices_are_written_through(tmp_path):
    pair = pair_of("1")
    (tmp_path / "link.html").symlink_to(tmp_path / "real.html")
    page = Written(tmp_path / "link.html", [pair], [row_of(pair, {"lite": 0.1})])
    assert page.path.is_symlink()
    assert len(page.shown) == 1
    Written(Path("/dev/null"), [pair], [row_of(pair, {"lite": 0.1})])
    assert not Path("/dev/null").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_named():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        Written(Path("/dev/full"), [pair_of("1")], [row_of(pair_of("1"), {"lite": 0.1})])


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        **dict.fromkeys(["p.html", "p.HTML", "a.b/p.Htm", "/dev/stdout", "p", "a.png/p"], True),
        **dict.fromkeys(["p.png", "p.html.gz", "p.csv", "p.xhtml", "html.txt"], False),
    }.items(),
)
def test_names_of_pages(name, expected):
    assert is_page_file(Path(name)) == expected


def test_style_and_scripts_are_in_the_wheel():
    """They lie beside the template, and the wheel holds whatever lies in the package."""
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    packed = {file.distribution_path for file in builder.recurse_included_files()}
    assert {f"lpips_lite/files/{name}" for name in (*SCRIPTS, "report.css", "report.html.j2")} <= packed
