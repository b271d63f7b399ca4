"""The page in a real browser, served by the command."""

from collections import Counter

import pytest

from lpips_lite.votes.collect.export import read_store
from lpips_lite.votes.collect.quality import look
from tests.browser import AXE, PHONE, chromium
from tests.votes.collect.person import Person
from tests.votes.collect.served import served

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.filterwarnings("ignore")


CLOSER = """
const pixels = picture => {
  const size = {width: picture.naturalWidth, height: picture.naturalHeight};
  const canvas = Object.assign(document.createElement("canvas"), size);
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
};
const [ref, left, right] = ["middle", "left", "right"].map(id => pixels(document.querySelector("#" + id + " .image")));
const far = image => image.reduce((sum, value, at) => sum + Math.abs(value - ref[at]), 0);
return far(left) < far(right) ? "left" : "right";
"""


def test_a_few_turns(tmp_path):
    """A person votes by keys and by clicks, from the welcome to the thanks."""
    from selenium.webdriver.common.keys import Keys

    options = ("--trials", "2", "--repeats", "0", "--catches", "1", "--practice", "1")
    with served(tmp_path, *options, references=3) as running, chromium() as driver:
        person = Person(driver, running.vote)
        person.begin()
        for turn in range(4):
            person.answer([lambda: person.press(Keys.ARROW_LEFT), person.css("[data-answer=left]").click][turn % 2])
        assert person.done()
        assert "All 4 answers are saved" in person.css("#thanks").text
        votes = read_store(running.store).votes
        assert [vote.position for vote in votes] == [0, 1, 2, 3]
        assert all(vote.choice == ("p1" if vote.flipped else "p0") for vote in votes)  # the left one, always
        assert person.errors() == []


@pytest.mark.slow
def test_two_people_and_a_server_that_is_killed(tmp_path):
    """One person looks and uses keys, another clicks at random; the server is killed while both vote."""
    from selenium.webdriver.common.keys import Keys

    keys = {"left": Keys.ARROW_LEFT, "right": Keys.ARROW_RIGHT}
    trials, repeats, catches = 26, 2, 12
    total = trials + catches + repeats
    options = ("--trials", trials, "--repeats", repeats, "--catches", catches, "--practice", "0", "--seed", "3")
    with served(tmp_path, *map(str, options)) as running, chromium() as first, chromium() as second:
        looks, clicks = Person(first, running.vote), Person(second, running.vote)
        for person in (looks, clicks):
            person.begin()
        for turn in range(total):
            for person in (looks, clicks):
                person.count = person.ready()
            if turn == total // 2:
                running.kill()
            looks.wait("performance.now() - shownAt > 350")  # as long as somebody who looks takes, at least
            looks.press(keys[looks.driver.execute_script(CLOSER)])
            clicks.css(f"[data-answer={'left' if turn % 3 else 'right'}]").click()
            if turn == total // 2:
                for person in (looks, clicks):
                    person.wait("document.getElementById('trouble').textContent.startsWith('No connection')")
                    assert (
                        person.driver.execute_script("return document.getElementById('count').textContent")
                        == person.count
                    )
                running.start()
            for person in (looks, clicks):
                person.wait(f"document.getElementById('count').textContent !== '{person.count}' || !$('thanks').hidden")
                assert person.css("#trouble").text == ""
        names = []
        for person in (looks, clicks):
            person.wait("!$('thanks').hidden")
            assert f"All {total} answers are saved" in person.css("#thanks").text
            names.append(person.css("#rater").text)
        watching = Person(first, running.watch)
        first.get(running.watch)
        assert all(name in watching.css("main").text for name in names)
        status, words = running.stop()
        assert (status, words.strip()) == (130, "interrupted")
    votes = read_store(running.store).votes
    assert Counter(vote.rater for vote in votes) == dict.fromkeys(names, total)
    assert len({(vote.rater, vote.position) for vote in votes}) == 2 * total
    one, other = look(votes)
    assert (one.name, one.passed, one.consistent, one.left_out) == (names[0], catches, repeats, ())
    assert "catch" in other.left_out
    assert all(vote.screen["fits"] and not vote.screen["zoomed"] for vote in votes)


@pytest.mark.slow
def test_keys_touch_flipping_and_pixels(tmp_path):
    from selenium.webdriver.common.keys import Keys

    (tmp_path / "words.md").write_text("# Before you begin\n\nThere are **no** risks.\n")
    options = ("--trials", "8", "--repeats", "0", "--catches", "2", "--practice", "2", "--ties")
    with served(tmp_path, *options, "--instructions", str(tmp_path / "words.md")) as running, chromium() as driver:
        person = Person(driver, running.vote)
        driver.get(running.vote)
        person.wait("!$('welcome').hidden")
        assert "Before you begin" in person.css("#welcome").text
        assert person.css("#begin").text == "I agree, begin"
        person.begin()
        assert "Practice first" in person.css("#status").text
        state = driver.execute_script
        box = (
            "const box = document.querySelector('#left .image').getBoundingClientRect(); return [box.width, box.height]"
        )
        assert state(box) == [96, 96]
        assert state("return document.querySelector('#left .image').naturalWidth") == 96
        for on in (True, False):
            person.press(" ")
            visible = state("return getComputedStyle(document.querySelector('#left .other')).visibility")
            hidden = state("return getComputedStyle(document.querySelector('#left .image')).visibility")
            assert (visible, hidden) == (("visible", "hidden") if on else ("hidden", "visible"))
            assert person.css("#flip").get_attribute("aria-pressed") == str(on).lower()
        side = state(CLOSER)
        person.press(Keys.ARROW_LEFT if side == "left" else Keys.ARROW_RIGHT)
        person.wait("$('count').textContent.startsWith('2 ') && ready")
        assert "That is right" in person.css("#status").text
        person.press(Keys.ARROW_LEFT if state(CLOSER) == "right" else Keys.ARROW_RIGHT)
        person.wait("$('count').textContent.startsWith('3 ') && ready")
        assert "Not quite" in person.css("#status").text
        assert "your answers count" in person.css("#status").text
        person.press(Keys.ARROW_UP)
        person.wait("$('count').textContent.startsWith('4 ') && ready")
        # The images of the trials to come are there already.
        loaded = "performance.getEntriesByType('resource').filter(entry => entry.name.includes('/image/')).length"
        person.wait(f"{loaded} === {3 * 6}")
        person.css("#flip").click()
        person.css("#flip").click()
        person.css("[data-answer=right]").send_keys(Keys.SPACE)  # a button in focus is pressed by it
        person.wait("$('count').textContent.startsWith('5 ') && ready")
        driver.refresh()
        person.wait("!$('welcome').hidden")
        assert "already given 4 answers" in person.css("#welcome").text
        person.css("#begin").click()
        person.wait("ready")
        assert state("return $('count').textContent") == "5 of 12"
        assert not state("return $('middle').hidden")
        small = {"width": 280, "height": 300, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", small)
        person.wait("$('middle').hidden && $('note').hidden")  # the original goes into the place of the others
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**small, "width": 180})
        person.wait("!$('note').hidden")
        assert "larger than this window" in person.css("#note").text
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        while not person.done():
            person.answer(lambda: person.press(Keys.ARROW_LEFT))
        person.css("summary").click()
        person.css("#forget").click()
        person.wait("!$('welcome').hidden")
        assert person.errors() == []
        assert read_store(running.store).votes == []


@pytest.mark.slow
def test_a_phone(tmp_path):
    options = ("--trials", "6", "--practice", "0", "--catches", "0")
    with served(tmp_path, *options) as running, chromium() as driver:
        person = Person(driver, running.vote)
        person.see(PHONE, "light")
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
        person.begin()
        state = driver.execute_script
        assert state("return document.querySelector('#left .image').getBoundingClientRect().width") == 48
        assert all(
            state("return document.querySelector(arguments[0]).getBoundingClientRect().height", selector) >= 44
            for selector in ("[data-answer=left]", "[data-answer=right]", "#flip")
        )
        box = "const {x, y} = document.querySelector('[data-answer=left]').getBoundingClientRect(); return [x, y]"
        x, y = state(box)
        point = {"x": x + 20, "y": y + 20}

        def touch():
            driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
            driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

        person.answer(touch)
        assert read_store(running.store).votes[0].screen["touch"] is True


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["closer", "same"])
def test_every_screen_in_every_look(tmp_path, mode):
    """Light and dark, wide and on a phone: axe-core finds no problems; screenshots are made if requested."""
    from selenium.webdriver.common.keys import Keys

    if not AXE.is_file():
        pytest.skip("no axe-core here: its folder is node_modules/axe-core, or $LPIPS_LITE_AXE")
    (tmp_path / "words.md").write_text("# Before you begin\n\nThere are **no** risks.\n\n- You may stop at any time.\n")
    options = ("--mode", mode, "--trials", "3", "--repeats", "0", "--catches", "1", "--practice", "2")
    options += ("--ties",) if mode == "closer" else ()
    with served(tmp_path, *options, "--instructions", tmp_path / "words.md") as running, chromium() as driver:
        person = Person(driver, running.vote)
        driver.get(running.vote)
        person.wait("!$('welcome').hidden")
        person.looks(f"{mode}-consent")
        person.css("#begin").click()
        person.ready()
        person.looks(f"{mode}-practice")
        person.answer(lambda: person.press(Keys.ARROW_LEFT))
        person.press(" ")
        person.looks(f"{mode}-flipped")
        while not person.done():
            person.answer(lambda: person.press(Keys.ARROW_LEFT))
            if "your answers count" in person.css("#status").text:
                person.looks(f"{mode}-trial")
        person.css("summary").click()
        person.looks(f"{mode}-thanks")
        driver.get(running.watch)
        person.css("summary").click()
        person.looks(f"{mode}-watch")
        assert person.errors() == []


@pytest.mark.slow
def test_same_or_different(tmp_path):
    from selenium.webdriver.common.keys import Keys

    with served(tmp_path, "--mode", "same", "--trials", "6", "--practice", "1") as running, chromium() as driver:
        person = Person(driver, running.vote)
        person.begin()
        person.press(" ")
        assert (
            driver.execute_script("return getComputedStyle(document.querySelector('#left .other')).visibility")
            == "visible"
        )
        while not person.done():
            person.answer(lambda: person.press(Keys.ARROW_RIGHT))
        assert {vote.choice for vote in read_store(running.store).votes} == {"different"}
