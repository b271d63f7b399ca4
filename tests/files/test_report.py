"""The report, opened in a real browser where there is one."""

import json
import math
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lpips_lite.files.decoding import Decoded
from lpips_lite.files.names import path_text
from lpips_lite.files.pairs import Pair
from lpips_lite.files.gallery import SIDES, Gallery
from lpips_lite.files.report import Report, is_page_file
from lpips_lite.files.report_page import format_number, histogram
from lpips_lite.files.rules import parse_rule
from lpips_lite.files.summary import Summary
from lpips_lite.files.verdicts import Verdicts
from tests.browser import chromium
from tests.conftest import ROOT

OTHER_COLUMNS = ("reference", "image", "identical", "content", "error")
HOSTILE = 'alex:weights=my "w" </script><b>&amp;=1/2.safetensors'
INFINITY = math.inf


def read(path):
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


SCENE = read(ROOT / "examples/images/scene.png")


def decode(pairs):
    """Give each pair the scene, the image dimmed by the last number in its name, and its names as content."""
    for pair in pairs:
        factor = float(re.findall(r"\d+", pair.name)[-1]) / 100
        yield Decoded(pair, (SCENE * factor).byte(), SCENE, content=content_of(pair))


def content_of(pair):
    return f"{pair.reference} and {pair.image}"


def draw(decoded):
    return "lite", (decoded.image.float() - decoded.reference.float()).abs().mean(dim=0) / 255


def pair_of(name):
    return Pair(Path(f"a/{name}.png"), Path(f"b/{name}.jpg"), name)


def row_of(pair, numbers, error=None, content=None):
    paths = {"reference": path_text(pair.reference), "image": path_text(pair.image)}
    return {**paths, **numbers, "identical": False, "content": content or content_of(pair), "error": error}


class Written:
    """A page written of rows, and what was told on the way."""

    def __init__(self, path, pairs, rows, *, count=100, draw=draw, decode=decode, notes=(), rules=(), **alone):
        metrics = [key for key in rows[0] if key not in (*OTHER_COLUMNS, *pairs[0].columns)]
        signatures = {metric: f"what made {metric}" for metric in metrics}
        summary, self.told, self.path = Summary(metrics, count), [], path
        verdicts = Verdicts(map(parse_rule, rules), lambda text: None, summary, keep=count, **alone)
        report = Report(
            path, count=count, draw=draw, decode=decode, pairs=pairs, signatures=signatures, summary=summary,
            verdicts=verdicts, progress=lambda items, _: items, notes=notes, tell=self.told.append,
        )  # fmt: skip
        for row in rows:
            for sink in (summary, verdicts, report):
                sink.take(row, None)
        report.finish()

    @property
    def text(self):
        return self.path.read_text(encoding="utf-8")

    @property
    def data(self):
        return json.loads(re.search(r'id="data">(.*?)</script>', self.text, re.DOTALL)[1])

    def column(self, place):
        return [entry["numbers"][place] for entry in self.data["entries"]]


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
    assert all(entry["mapped"] == "lite" and float(entry["peak"]) > 0 for entry in data["entries"])
    assert sum(data["metrics"][0]["histogram"]["counts"]) == 11
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert all(picture.startswith("data:image/webp;base64,") for picture in data["pictures"])
    for expected in ("12 pairs compared", "1 with errors", "device cpu", "what made lite", "what made psnr", "b/part1"):
        assert expected in text
    assert report.told == []


# -- size ------------------------------------------------------------------------------------------------------------


def test_pictures_stay_within_the_budget_however_many_and_noisy():
    gallery, roomy = Gallery(2000, ["lite"]), Gallery(3, ["lite"])
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 512, 512), dtype=np.uint8))
    pair = pair_of("1")
    for one in (gallery, roomy):
        one.add(row_of(pair, {"lite": 0.1}), Decoded(pair, noise, noise), lambda _: ("lite", noise[0].float()))
    assert 2000 * len(json.dumps([gallery.entries, gallery.pictures])) < 50e6
    assert len(roomy.pictures[0]) > 10 * len(gallery.pictures[0])


def test_a_reference_is_kept_once(tmp_path):
    pairs = [Pair(Path("a/scene.png"), Path(f"b/{number}.jpg"), str(number)) for number in (10, 20, 30)]
    page = Written(tmp_path / "p.html", pairs, [row_of(pair, {"lite": 0.1}) for pair in pairs])
    assert len({entry["reference"] for entry in page.data["entries"]}) == 1
    assert len(page.data["pictures"]) == 1 + 3 + 3


def test_large_pairs_are_held_one_at_a_time(tmp_path):
    alive = weakref.WeakSet()

    def decode_large(pairs):
        for pair in pairs:
            image = torch.zeros(3, 700, 2000, dtype=torch.uint8)
            alive.add(image)
            assert len(alive) <= 2  # this one, and the one before, which the loop has not let go yet
            yield Decoded(pair, image, image, content=content_of(pair))
            del image

    pairs = [pair_of(str(number)) for number in range(6)]
    page = Written(tmp_path / "p.html", pairs, [row_of(pair, {"lite": 0.1}) for pair in pairs], decode=decode_large)
    assert [entry["size"] for entry in page.data["entries"]] == ["2000×700"] * 6


@pytest.mark.parametrize("size", [(1, 1), (1, 100_000), (40_000, 2), (16, 17)])
def test_any_shape(size):
    image, pair, gallery = torch.rand(3, *size), pair_of("1"), Gallery(1, ["lite"])
    gallery.add(row_of(pair, {"lite": 0.1}), Decoded(pair, image, image), lambda _: ("lite", image[0]))
    assert (len(gallery.pictures), gallery.entries[0]["size"]) == (3, f"{size[1]}×{size[0]}")
    assert max(map(len, gallery.pictures)) < SIDES[0] ** 2


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
    assert page.column(1) == [20.0, "inf", None]
    assert [entry["error"] for entry in page.data["entries"]] == ["", "", "psnr: <refused>"]
    assert ["map" in entry for entry in page.data["entries"]] == [True, True, False]  # lite has refused the last
    assert "∞" in page.text[: page.text.index("<script")]
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


@pytest.mark.parametrize(
    ("value", "text"),
    {None: "–", math.nan: "–", INFINITY: "∞", -INFINITY: "−∞", 3: "3", 3.14159: "3.14", -0.5: "-0.50"}.items(),
)
def test_numbers_for_people(value, text):
    assert format_number(value, 2) == text


# -- pairs that cannot be shown --------------------------------------------------------------------------------------


def test_pairs_that_have_changed_or_gone_are_told_and_not_shown(tmp_path):
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
    assert [entry["names"]["image"] for entry in page.data["entries"]] == ["b/1.jpg"]
    ends = f"; it is left out of {tmp_path}/p.html"
    assert page.told == [
        f"b/2.jpg: no such file{ends}",
        f"b/3.jpg or a/3.png: has changed since it was measured{ends}",
        f"b/4.jpg or a/4.png: has changed since it was measured{ends}",
    ]
    assert "pictures of the worst 1 by lite" in page.text


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
    assert len(page.data["entries"]) == 1


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
            yield Decoded(pair, SCENE, SCENE, content="x")

    page = Written(tmp_path / "p.html", pairs, rows, decode=decode_any, notes=["a </p><b> note \u202e"], draw=None)
    shown = [entry["names"]["image"] for entry in page.data["entries"]]
    assert page.told == []
    assert shown[0] == "b/1 </script><b>.jpg"
    assert shown[2:5] == [r"b/3 \u202etxt.gnp.jpg", r"b/4 \xff\ud800.jpg", r"b/5 a\nb\rc\u2028.jpg"]
    assert not re.search(r"<b>|\u202e", page.text)
    assert page.text.count("</script>") == 2


def test_a_page_without_pairs_to_show(tmp_path):
    pair = pair_of("1")
    page = Written(tmp_path / "p.html", [pair], [row_of(pair, {"lite": None}, error="b/1.jpg: not an image")])
    assert (page.data["entries"], page.data["pictures"]) == ([], [])
    assert "1 with errors" in page.text
    assert "no pictures" in page.text


def test_links_and_devices_are_written_through(tmp_path):
    pair = pair_of("1")
    (tmp_path / "link.html").symlink_to(tmp_path / "real.html")
    page = Written(tmp_path / "link.html", [pair], [row_of(pair, {"lite": 0.1})])
    assert page.path.is_symlink()
    assert len(page.data["entries"]) == 1
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


# -- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with chromium(window="1400,1000") as driver:
        yield driver


def cells(browser, column):
    return [cell.text for cell in browser.find_elements("css selector", f"#body td:nth-child({column})")]


@pytest.mark.filterwarnings("ignore")
def test_in_a_browser(report, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def rows(column):
        return [float(text) for text in cells(browser, column)]

    def state(script):
        return browser.execute_script(f"return {script}")

    browser.get(report.path.as_uri())
    body = browser.find_element(By.TAG_NAME, "body")
    assert rows(2) == sorted(rows(2), reverse=True)  # the worst first
    assert state("document.getElementById('image').naturalWidth") > 100
    first = browser.find_element(By.ID, "name").text
    body.send_keys(Keys.ARROW_DOWN, "j", "k")
    assert browser.find_element(By.ID, "name").text != first
    browser.find_element(By.CSS_SELECTOR, "#head th:nth-child(3) button").click()
    assert rows(3) == sorted(rows(3))  # PSNR: the smallest is the worst
    browser.find_element(By.CSS_SELECTOR, "#head th:nth-child(3) button").click()
    assert rows(3) == sorted(rows(3), reverse=True)
    middle = sorted(rows(2))[4]
    browser.find_element(By.ID, "least").send_keys(str(middle + 1e-4))
    assert len(rows(2)) == 4
    browser.find_element(By.ID, "search").send_keys("part1")
    assert 0 < len(rows(2)) < 4
    body.send_keys(Keys.ESCAPE)
    browser.find_element(By.CSS_SELECTOR, "[data-mode=slide]").click()
    slider = browser.find_element(By.ID, "slider")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert state("document.getElementById('over').style.clipPath") == "inset(0px 0px 0px 55%)"
    browser.find_element(By.CSS_SELECTOR, "[data-mode=blink]").click()
    shown = {state("document.getElementById('over').style.opacity") for _ in range(60)}
    assert shown <= {"0", "1"}
    assert browser.get_log("browser") == []


@pytest.mark.filterwarnings("ignore")
def test_gaps_and_infinities_in_a_browser(tmp_path, browser):
    pairs = [pair_of(name) for name in ("1 <b>", "2", "3", "4")]
    page = Written(
        tmp_path / "p.html",
        pairs,
        [
            row_of(pairs[0], {HOSTILE: 0.4, "psnr": 20.0}),
            row_of(pairs[1], {HOSTILE: 0.3, "psnr": None}, error='psnr "refused" <b>it</b>'),
            row_of(pairs[2], {HOSTILE: 0.2, "psnr": INFINITY}),
            row_of(pairs[3], {HOSTILE: 0.1, "psnr": 30.0}),
        ],
        draw=None,
    )
    browser.get(page.path.as_uri())
    assert cells(browser, 1) == [f"b/{pair.name}.jpg" for pair in pairs]
    assert cells(browser, 3) == ["20.00", "–", "∞", "30.00"]
    gap = browser.find_elements("css selector", "#body td:nth-child(3)")[1]
    assert gap.get_attribute("title") == 'psnr "refused" <b>it</b>'
    assert browser.find_element("css selector", "#head th:nth-child(2)").text.startswith(HOSTILE)
    assert not browser.find_elements("css selector", "b")
    button = "#head th:nth-child(3) button"
    browser.find_element("css selector", button).click()
    assert cells(browser, 3) == ["20.00", "30.00", "∞", "–"]
    browser.find_element("css selector", button).click()
    assert cells(browser, 3) == ["∞", "30.00", "20.00", "–"]  # no number comes last either way
    gap_row = browser.find_elements("css selector", "#body tr")[3]
    gap_row.click()
    assert browser.find_element("id", "trouble").text == 'psnr "refused" <b>it</b>'
    browser.find_element("css selector", "#bound-metric option:nth-child(2)").click()
    browser.find_element("id", "least").send_keys("25")
    assert cells(browser, 3) == ["∞", "30.00"]
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(
    ("numbers", "bars", "labels"),
    [
        ([None, None], 0, ["no finite values"]),
        ([INFINITY, INFINITY], 0, ["no finite values"]),
        ([12.5, 12.5], 1, ["all 12.50"]),
        ([12.5, INFINITY], 1, ["all 12.50"]),
        ([12.5, 13.5], 32, ["12.50", "13.50"]),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_histograms_in_a_browser(tmp_path, browser, numbers, bars, labels):
    pairs = [pair_of(name) for name in ("1", "2")]
    rows = [
        row_of(pair, {"psnr": number}, error="refused" if number is None else None)
        for pair, number in zip(pairs, numbers, strict=True)
    ]
    browser.get(Written(tmp_path / "p.html", pairs, rows, draw=None).path.as_uri())
    assert len(browser.find_elements("css selector", "#histogram rect")) == bars
    assert [text.text for text in browser.find_elements("css selector", "#histogram text")] == labels
    assert len(cells(browser, 1)) == sum(number is not None for number in numbers)
    assert browser.get_log("browser") == []
