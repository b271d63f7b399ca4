"""The report in a real browser: what it shows, how it is worked with by mouse and keys, and how fast it is there.

Most tests share one page, which `page` brings back to how it was opened.
"""

import math
from pathlib import Path

import pytest
import torch

from lpips_lite.files.decoding import Decoded
from lpips_lite.files.drawing import palette
from lpips_lite.files.gallery import Gallery
from lpips_lite.files.pairing import Pair
from lpips_lite.files.report_page import Page, render
from lpips_lite.files.summary import Summary
from lpips_lite.files.verdicts import Verdicts
from tests.browser import AXE, PHONE, WIDE, User, chromium
from tests.files.report_pages import INFINITY, SCENE, Written, content_of, draw, pair_of, row_of

pytestmark = pytest.mark.filterwarnings("ignore")

METRIC = 'alex:weights=my "w" </script><b>&amp;=1/2.safetensors'
CTRL, ALT, META, SHIFT = "\ue009", "\ue00a", "\ue03d", "\ue008"
ENTER, ESCAPE, SPACE, TAB, DOWN, LEFT, RIGHT = "\ue007", "\ue00c", " ", "\ue004", "\ue015", "\ue012", "\ue014"
FACTORS = {"night/dim": 0.3, "night/dark": 0.5, "day/soft": 0.7, "day/equal": 1.0}


def write_page(path):
    """Write a page with every state: two pairs failed, two passed, one is an error, one file new, one missing."""

    def decode(pairs):
        for pair in pairs:
            image = (SCENE * FACTORS[pair.name]).byte()
            yield Decoded(pair, image, SCENE, content=content_of(pair))

    def draw_with_gap(decoded):
        name, values = draw(decoded)
        values[:20, :20] = math.nan
        return name, values

    pairs = [
        Pair(Path(f"a/{name}.png"), Path(f"b/{name}.png"), name, {"light": name[0], "id": name})
        for name in [*FACTORS, "day/broken"]
    ]
    rows = [
        {**row_of(pair, {"lite": 0.4 - 0.1 * place, "psnr": 20.0 + place}), **pair.columns}
        for place, pair in enumerate(pairs)
    ]
    rows[3]["psnr"] = INFINITY
    rows[4] |= {"lite": None, "psnr": None, "error": "b/day/broken.png: cannot be read"}
    return Written(
        path, pairs, rows, decode=decode, draw=draw_with_gap, rules=["lite>0.25", "psnr<20.5", "p95(lite)>9"],
        new=[Path("b/new <b>.png")], missing=[Path("a/gone.png")],
    )  # fmt: skip


class Reader(User):
    """Somebody who reads a report."""

    def run(self, script):
        return self.driver.execute_script(f"return {script}")

    def open(self, path, hash_=""):
        self.driver.get("about:blank")
        self.driver.get(path.as_uri() + hash_)
        self.wait("document.readyState === 'complete' && (entries.every(entry => !entry.image) || pictures !== null)")

    def text(self, selector):
        return self.css(selector).text

    def cells(self, column):
        return [cell.text for cell in self.driver.find_elements("css selector", f"#body td:nth-child({column})")]

    def names(self):
        return [link.text for link in self.driver.find_elements("css selector", "#body a")]

    def go_to(self, name):
        self.driver.execute_script(f"show(entries.find(entry => nameOf(entry).includes({name!r})))")
        self.wait("!$('work').hidden === (pictures !== null)")

    def press(self, *keys):
        """Press keys together, where the focus is."""
        from selenium.webdriver import ActionChains

        chain = ActionChains(self.driver)
        for key in keys[:-1]:
            chain.key_down(key)
        chain.send_keys(keys[-1])
        for key in keys[:-1]:
            chain.key_up(key)
        chain.perform()

    def focus(self, selector):
        self.driver.execute_script(f"document.querySelector({selector!r}).focus()")

    def color(self, canvas, at):
        """Return what a canvas shows in the middle of a pixel of the image, or at a point of it."""
        script = f"""const found = $({canvas!r}), [left, top] = corner(found), ratio = devicePixelRatio;
            const place = [left, top].map((side, axis) => Math.floor((side + arguments[0][axis] * scale()) * ratio));
            return [...found.getContext("2d").getImageData(...place, 1, 1).data].slice(0, 3);"""
        return self.driver.execute_script(script, [at[0], at[1]])


@pytest.fixture(scope="module")
def browser():
    with chromium(window="1200,900") as driver:
        yield driver


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    reader = Reader(browser)
    reader.written = write_page(tmp_path_factory.mktemp("page") / "p.html")
    reader.see(WIDE, "light")
    reader.open(reader.written.path)
    return reader


@pytest.fixture
def page(opened):
    """The page as it was opened, the worst pair shown, the focus nowhere; no test may leave an error in the console."""
    if opened.driver.current_url.split("#")[0] != opened.written.path.as_uri():
        opened.open(opened.written.path)
    opened.driver.execute_script("""
        document.activeElement.blur();
        [sorted, descending, $("scale").value] = [0, true, "all"];
        reset();
        show(visible[0]);
        look("side");
        zoomTo(null);""")
    opened.wait("pictures !== null")
    yield opened
    assert [text for text in opened.errors() if "willReadFrequently" not in text] == []  # of canvases read here


def pixel(image, at):
    return image[:, at[1], at[0]].tolist()


# -- verdict and list ------------------------------------------------------------------------------------------------


def test_the_verdict_and_the_reasons_are_on_the_page(page):
    assert page.text("h1") == "failed 5 pairs compared"
    assert page.text("header table").splitlines()[1:] == [
        "lite > 0.25 2 of 5 pairs cross it failed",
        "psnr < 20.5 1 of 5 pairs cross it failed",
        "p95(lite) > 9 0.385 passed",
    ]
    assert page.text(".problems").splitlines()[1:] == [
        "error b/day/broken.png: b/day/broken.png: cannot be read",
        "new b/new <b>.png: no reference for this image",
        "missing a/gone.png: no image for this reference",
    ]
    assert page.text("#trouble") == "lite = 0.4 > 0.25; psnr = 20 < 20.5"
    assert page.cells(1)[1] == "b/night/dark.png\nlite = 0.3 > 0.25"
    assert page.cells(2) == ["failed", "failed", "passed", "passed", "error", "new", "missing"]
    page.driver.find_elements("css selector", ".problems a")[0].click()
    page.wait("here.state === 'error'")
    assert page.text("#trouble") == "b/day/broken.png: cannot be read"
    assert not page.css("#panes").is_displayed()
    for key in ("+", "0", "4", ESCAPE):  # do nothing without pictures, and no harm
        page.press(key)
    page.press("k")
    page.wait("pictures !== null")


def test_filters_by_state_and_group(page):
    page.css("[data-state=failed]").click()
    assert page.names() == ["b/night/dim.png", "b/night/dark.png"]
    page.css("[data-state='']").click()
    page.css("[aria-label=light] option[value='=d']").click()
    assert page.names() == ["b/day/soft.png", "b/day/equal.png", "b/day/broken.png"]
    page.css("[aria-label=folder] option[value='=b/night']").click()
    assert page.names() == []
    assert page.text("#count") == "0 of 7 listed"
    page.css("#reset").click()
    assert len(page.names()) == 7
    page.css("#search").send_keys("NIGHT")
    page.css("#most").send_keys("0.35")
    assert page.names() == ["b/night/dark.png"]
    assert not page.driver.find_elements("css selector", "[aria-label=id]")  # as many values as pairs


def test_sorting_by_keys_keeps_the_focus(page):
    page.focus("#head th:nth-child(4) button")
    for order, expected in (
        ("ascending", ["20.00", "21.00", "22.00", "∞"]),
        ("descending", ["∞", "22.00", "21.00", "20.00"]),
    ):
        page.press(ENTER)
        assert page.cells(4) == [*expected, "–", "–", "–"]  # no number comes last either way
        assert page.run("document.activeElement.textContent").startswith("psnr")
        assert page.run("document.activeElement.parentNode.ariaSort") == order


def test_a_long_list_comes_whole(page):
    script = """window.before = entries.length;
        for (let i = 0; i < 350; i++) entries.push({...entries[6], line: undefined});
        list();
        return $("body").children.length;"""
    assert page.driver.execute_script(script) == 100
    page.wait("$('body').children.length === before + 350")
    page.driver.execute_script("entries.length = before; list()")


# -- keys ------------------------------------------------------------------------------------------------------------


def test_keys_with_ctrl_alt_or_meta_are_the_browser_s(page):
    script = """let left = [];
    for (const modifier of ["ctrlKey", "altKey", "metaKey"])
      for (const key of ["k", "j", "ArrowLeft", "ArrowUp", " ", "1", "4", "+", "-", "0", "Escape"]) {
        const event = new KeyboardEvent("keydown", {key, [modifier]: true, bubbles: true, cancelable: true});
        if (!document.body.dispatchEvent(event)) left.push(modifier + key);
      }
    return [left, nameOf(here), mode, zoom];"""
    assert page.driver.execute_script(script) == [[], "b/night/dim.png", "side", None]
    page.press(CTRL, "k")
    page.press(ALT, "j")
    assert page.run("nameOf(here)") == "b/night/dim.png"
    page.press("j")
    assert page.run("nameOf(here)") == "b/night/dark.png"


def test_space_acts_on_what_has_the_focus_and_else_shows_the_reference(page):
    page.focus("[data-mode=difference]")
    page.press(SPACE)
    assert page.run("mode") == "difference"
    page.focus("summary")
    page.press(SPACE)
    assert page.run("document.querySelector('details').open")
    page.press(SPACE)
    page.focus(".problems a")
    event = (
        "document.activeElement.dispatchEvent(new KeyboardEvent({!r}, {{key: ' ', bubbles: true, cancelable: true}}))"
    )
    assert page.run(event.format("keydown"))  # left to the browser
    page.driver.execute_script("document.activeElement.blur(); look('side')")
    at = (40, 50)
    before = page.color("second", at)
    assert not page.run(event.format("keydown"))
    assert page.text("#second-label") == "reference"
    assert page.color("second", at) == page.color("first", at) != before
    page.run(event.format("keyup"))
    assert page.color("second", at) == before


def test_a_walk_by_keys(page):
    """Tab reaches every control and the shown pair's line, each with a visible focus; arrows go on from there."""
    script = """(node => node === document.body ? null : [
        node.id || node.dataset.mode || node.dataset.state || node.ariaLabel || node.textContent,
        getComputedStyle(node).outlineStyle, getComputedStyle(node).outlineWidth,
    ])(document.activeElement)"""
    page.focus("[data-state=passed]")
    page.press(SHIFT, TAB)  # the first control of the page, as all others by a key, after which a focus is visible
    reached, seen = [], set()
    while (found := page.run(script)) is not None and len(reached) < 80:
        reached.append(found[0])
        seen.add(tuple(found[1:]))
        page.press(TAB)
    assert seen == {("solid", "2px")}
    everything = page.run("""[...document.querySelectorAll("button, input, select, a, summary, [tabindex]")]
        .filter(node => node.tabIndex >= 0 && node.checkVisibility()).length""")
    assert len(reached) == everything
    for control in (
        "failed",
        "side",
        "slide",
        "blink",
        "difference",
        "in",
        "out",
        "fit",
        "full",
        "scale",
        "panes",
        "search",
        "copy",
    ):
        assert control in reached, control
    assert reached[-1] == "b/night/dim.png"
    page.focus("#body a")
    page.press(DOWN)
    assert page.run("document.activeElement.textContent") == page.run("nameOf(here)") == "b/night/dark.png"
    page.press(TAB)
    page.press(SHIFT, TAB)
    assert page.run("document.activeElement.textContent") == "b/night/dark.png"


def test_escape_leaves_a_field_and_goes_back_to_the_whole_pair(page):
    page.focus("#least")
    page.press("3")
    assert page.run("mode") == "side"
    page.press(ESCAPE)
    assert page.run("document.activeElement === document.body")
    page.press("3")
    page.press("+")
    assert page.run("[mode, zoom === null]") == ["blink", False]
    page.press(ESCAPE)
    assert page.run("[mode, zoom]") == ["side", None]


# -- views -----------------------------------------------------------------------------------------------------------


def test_views_by_keys(page):
    dim, at = (SCENE * 0.3).byte(), (90, 100)
    for key, mode in zip("1234", ["side", "slide", "blink", "difference"], strict=True):
        page.press(key)
        assert page.run("mode") == mode
        pressed = page.driver.find_elements("css selector", "[data-mode][aria-pressed=true]")
        assert [button.get_attribute("data-mode") for button in pressed] == [mode]
        page.driver.execute_script("zoomTo(1)")
        if mode == "side":
            assert page.color("first", at) == pixel(SCENE, at)
            assert page.color("second", at) == pixel(dim, at)
        if mode == "slide":
            assert page.color("first", (10, 100)) == pixel(SCENE, (10, 100))
            assert page.color("first", at) == pixel(dim, at)
            page.press(LEFT)
            assert page.run("$('slider').value") == "45"
        if mode == "difference":
            for factor in (16, 1, 4):
                page.css(f"#amplify option:nth-child({[1, 4, 16].index(factor) + 1})").click()
                expected = (factor * (SCENE.int() - dim.int()).abs()).clamp(max=255)
                assert page.color("first", at) == pixel(expected, at)


def test_blinking_alternates_and_stops_by_hand_or_where_motion_is_reduced(page):
    shown = set()
    page.press("3")
    for _ in range(100):
        shown.add(page.run("$('first-label').textContent"))
        if len(shown) == 2:
            break
        page.driver.execute_async_script("setTimeout(arguments[0], 50)")
    assert shown == {"reference", "image"}
    page.css("#flip").click()
    assert page.run("timer") is None
    page.see(WIDE, "light", **{"prefers-reduced-motion": "reduce"})
    page.press("1")
    page.press("3")
    assert page.run("[timer, $('first-label').textContent]") == [None, "image"]
    page.css("#flip").click()
    assert page.text("#first-label") == "reference"
    page.see(WIDE, "light")


def test_zoom_shows_pixels_as_squares_and_lines_between_them(page):
    at = (70, 61)
    page.css("#full").click()
    assert page.text("#zoom") == "100 %"
    assert page.color("first", at) == pixel(SCENE, at)
    page.driver.execute_script(f"zoomTo(2, {list(at)})")
    smooth = {tuple(page.color("first", (at[0] + x, at[1] + y))) for x in (0.1, 0.9) for y in (0.1, 0.9)}
    assert len(smooth) > 1
    page.press("+")
    assert page.text("#zoom") == "400 %"
    squares = {tuple(page.color("first", (at[0] + x, at[1] + y))) for x in (0.1, 0.4, 0.9) for y in (0.1, 0.6, 0.9)}
    assert squares == {tuple(pixel(SCENE, at))}
    page.press("+")
    page.press("+")
    assert page.text("#zoom") == "1600 %"
    assert page.color("first", (at[0] + 0.5, at[1] + 0.5)) == pixel(SCENE, at)
    assert page.color("first", at) != pixel(SCENE, at)  # a line
    page.press("0")
    assert page.run("zoom") is None


def test_panning_by_keys_and_dragging_moves_all_panes_alike(page):
    from selenium.webdriver import ActionChains

    page.driver.execute_script("zoomTo(4, [64, 64])")
    page.press(SHIFT, RIGHT)
    page.press(SHIFT, DOWN)
    assert page.run("centre") == [74, 74]
    page.focus("#panes")
    page.press(LEFT)
    assert page.run("centre") == [64, 74]
    ActionChains(page.driver).click_and_hold(page.css("#map")).move_by_offset(-20, 40).release().perform()
    assert page.run("centre") == [69, 64]
    assert page.run("nameOf(here)") == "b/night/dim.png"
    assert len({tuple(page.run(f"corner($('{name}'))")) for name in ("first", "second", "map")}) == 1
    for name, image in {"first": SCENE, "second": (SCENE * 0.3).byte()}.items():
        assert page.color(name, (69, 64)) == pixel(image, (69, 64))


def test_one_scale_for_all_heatmaps_and_each_its_own(page):
    dim, soft = (draw(Decoded(None, (SCENE * factor).byte(), SCENE))[1] for factor in (0.3, 0.7))
    for values in (dim, soft):
        values[:20, :20] = 0
    page.go_to("day/soft")
    found = {}
    for scale, peak in (("all", float(dim.max())), ("own", float(soft.max()))):
        page.css(f"#scale option[value={scale}]").click()
        assert page.text("#map-label") == f"lite, 0 to {peak:.3g}"
        found[scale] = sum(page.color("map", (64, 30)))
        expected = palette()[int(255 * float(soft[27:34, 61:68].mean()) / peak)].sum()
        assert abs(found[scale] - expected) < 60  # smoothed, and coded
        assert page.color("map", (8, 8)) == [128, 128, 128]  # no value
    assert found["own"] > 1.3 * found["all"]


def test_crops_show_the_largest_values_and_lead_there(page):
    crop = page.run("here.crops[0]")
    page.wait("document.querySelector('#crops img').naturalWidth > 0")
    assert page.run("document.querySelector('#crops img').naturalWidth") == 2 * crop["side"]
    assert page.run("getComputedStyle(document.querySelector('#crops img')).imageRendering") == "pixelated"
    page.css("#crops button").click()
    assert page.run("[zoom, centre]") == [4, [place + crop["side"] / 2 for place in crop["at"]]]
    assert "without loss" in page.text("#facts")


# -- links, paper, windows --------------------------------------------------------------------------------------------


def test_a_link_leads_to_its_pair(page):
    page.go_to("day/soft")
    address = page.run("location.href")
    assert address.endswith("#pair=b%2Fday%2Fsoft.png")
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    page.css("#copy").click()
    page.wait("$('copy').textContent !== 'Copy link'")
    if page.text("#copy") == "Copied":
        assert page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])") == address
    page.open(page.written.path, "#pair=b%2Fday%2Fsoft.png")
    assert page.text("#name") == "b/day/soft.png"
    page.driver.execute_script("location.hash = '#pair=b/night/dark.png'")
    page.wait("nameOf(here) === 'b/night/dark.png' && pictures !== null")
    page.driver.execute_script("location.hash = '#pair=b/none.png'")
    page.wait("$('trouble').textContent === 'No such pair on this page: b/none.png'")


def test_links_tell_pairs_of_the_same_files_apart(tmp_path, browser):
    pairs = [Pair(Path("a/1.png"), Path(f"b/{image}.png"), f"1{n}", {"mask": f"{n}"}) for n, image in enumerate("223")]
    rows = [{**row_of(pair, {"lite": 0.9 - 0.1 * place}), **pair.columns} for place, pair in enumerate(pairs)]
    rows[2]["error"] = "b/3.png: cannot be read"
    reader = Reader(browser)
    reader.open(Written(tmp_path / "p.html", pairs, rows).path)
    links = [reader.run(f"link(entries.find(entry => value(entry, 0) === {row['lite']}))") for row in rows]
    assert len(set(links)) == 3
    for row, link in zip(rows, links, strict=True):
        reader.driver.execute_script(f"location.hash = {link!r}")
        reader.wait(f"here === linked() && value(here, 0) === {row['lite']}")
    assert reader.css(".problems a").get_attribute("href").endswith("#pair=b/3.png&reference=a/1.png")


def test_on_paper(page):
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = [page.css(name).is_displayed() for name in ("#filters", "[data-mode]", ".states", "#copy")]
    kept = [page.css(name).is_displayed() for name in ("h1", "header table", "#first", "#body tr:last-child")]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert (hidden, kept) == ([False] * 4, [True] * 4)


@pytest.mark.parametrize("mode", ["side", "slide", "difference"])
def test_a_phone_shows_it_within_its_width(page, mode):
    page.see(PHONE, "light")
    page.driver.execute_script(f"look({mode!r})")
    widths = page.run("[document.documentElement.scrollWidth, innerWidth]")
    page.see(WIDE, "light")
    assert widths == [375, 375]


def test_white_pictures_have_an_edge(page):
    style = page.run("(style => [style.borderStyle, style.borderColor])(getComputedStyle($('first')))")
    assert style[0] == "solid"
    assert style[1] not in (page.run("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)")


def test_in_every_look(page):
    """Light and dark, wide and on a phone: axe-core finds nothing wrong; pictures, where they are asked for."""
    if not AXE.is_file():
        pytest.skip("no axe-core here: its folder is node_modules/axe-core, or $LPIPS_LITE_AXE")
    page.driver.execute_script("document.querySelector('details').open = true; look('difference')")
    page.looks("report")
    page.driver.execute_script("document.querySelector('details').open = false")


# -- other pages -----------------------------------------------------------------------------------------------------


def test_gaps_and_infinities(tmp_path, browser):
    reader, pairs = Reader(browser), [pair_of(name) for name in ("1 <b>", "2", "3", "4")]
    numbers = [(0.4, 20.0), (0.3, None), (0.2, INFINITY), (0.1, 30.0)]
    rows = [row_of(pair, {METRIC: far, "psnr": near}) for pair, (far, near) in zip(pairs, numbers, strict=True)]
    rows[1]["error"] = 'psnr "refused" <b>it</b>'
    reader.open(Written(tmp_path / "p.html", pairs, rows, draw=None).path)
    assert reader.names() == [f"b/{pair.name}.jpg" for pair in pairs]
    assert reader.cells(4) == ["20.00", "–", "∞", "30.00"]
    assert reader.cells(1)[1] == 'b/2.jpg\npsnr "refused" <b>it</b>'
    assert reader.text("#head th:nth-child(3)").startswith(METRIC)
    assert not browser.find_elements("css selector", "b")
    assert not reader.css("#map").is_displayed()
    reader.css("#bound-metric option:nth-child(2)").click()
    reader.css("#least").send_keys("25")
    assert reader.cells(4) == ["∞", "30.00"]
    assert reader.errors() == []


@pytest.mark.parametrize(
    ("numbers", "bars", "labels"),
    [
        ([None, None], 0, ["no finite values"]),
        ([INFINITY, INFINITY], 0, ["no finite values"]),
        ([0.0625], 1, ["all 0.06"]),
        ([12.5, INFINITY], 1, ["all 12.50"]),
        ([12.5, 13.5], 32, ["12.50", "13.50"]),
    ],
)
def test_histograms(tmp_path, browser, numbers, bars, labels):
    reader, pairs = Reader(browser), [pair_of(name) for name in "12"[: len(numbers)]]
    rows = [
        row_of(pair, {"psnr": number}, error="refused" if number is None else None)
        for pair, number in zip(pairs, numbers, strict=True)
    ]

    def decode_small(pairs):
        for pair in pairs:
            yield Decoded(pair, SCENE[:, :16, :16], SCENE[:, 16:32, :16], content=content_of(pair))

    reader.open(Written(tmp_path / "p.html", pairs, rows, draw=None, decode=decode_small).path)
    assert len(browser.find_elements("css selector", "#histogram rect")) == bars
    assert [text.text for text in browser.find_elements("css selector", "#histogram text")] == labels
    assert len(reader.names()) == len(numbers)
    assert reader.errors() == []


@pytest.mark.slow
def test_the_first_paint_of_500_pairs_takes_under_a_second(tmp_path, browser):
    """Of a page of 20 MB: a pair of noise, 500 times."""
    gallery, summary = Gallery(500), Summary(["lite"], 500)
    pair, noise = pair_of("1"), torch.randint(0, 256, (2, 3, 400, 400), dtype=torch.uint8)
    found = gallery.add(row_of(pair, {"lite": 0.1}), Decoded(pair, *noise), draw)
    entries, pictures = [], []
    for number in range(500):
        row = row_of(pair_of(str(number)), {"lite": 0.001 * number})
        summary.take(row, None)
        places = {kind: place + len(pictures) for kind, place in found.items() if kind in ("reference", "image", "map")}
        crops = [{**crop, "picture": crop["picture"] + len(pictures)} for crop in found["crops"]]
        names = {side: row[side] for side in ("reference", "image")}
        entry = {"names": names, "numbers": [row["lite"]], "state": "passed", "reasons": [], "groups": {}}
        entries.append({**entry, **found, **places, "crops": crops})
        pictures += gallery.pictures
    page = Page(entries, pictures, gallery.peak, {}, [])
    path = tmp_path / "p.html"
    path.write_text(render(page, {"lite": "what made it"}, summary, Verdicts([], print, summary), None))
    assert 15e6 < path.stat().st_size < 50e6
    reader = Reader(browser)
    reader.open(path)
    reader.wait("$('body').children.length === 500")
    paint = min(reader.run("performance.getEntriesByType('paint').map(entry => entry.startTime)"))
    assert paint < 1000, f"{paint:.0f} ms, {path.stat().st_size / 1e6:.1f} MB"
