"""The page in a real browser, with the command behind it."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from lpips_lite.votes.collect.export import read_store
from lpips_lite.votes.collect.quality import look
from tests.browser import chromium
from tests.command import ENVIRONMENT
from tests.conftest import ROOT, free_port
from tests.votes.collect.people import write_folders

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.filterwarnings("ignore")
SHOTS = os.environ.get("LPIPS_LITE_SCREENSHOTS")  # a folder for pictures of the page, to be looked at
AXE = next(
    (path for path in Path(os.environ.get("LPIPS_LITE_AXE", ROOT / "node_modules/axe-core")).glob("axe.min.js")), None
)


class Served:
    """The command, running; it may be killed and started again."""

    def __init__(self, folder, *options):
        self.port = free_port()
        code = "import sys; from lpips_lite.cli.votes import main; main(sys.argv[1:])"
        references, results = write_folders(folder, 12, size=(96, 96))
        self.store = folder / "votes.db"
        self.command = [
            *(sys.executable, "-c", code, "collect", str(references), *map(str, results)),
            *("--store", str(self.store), "--port", str(self.port), *options),
        ]
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=ROOT
        )
        lines = [self.process.stdout.readline() for _ in range(3)]
        assert lines[2].startswith("you watch at"), self.process.stderr.read()
        self.vote, self.watch = (line.split()[-1] for line in lines[1:])

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(20), self.process.stderr.read()
        finally:
            self.process.kill()
            self.process.communicate()


@contextmanager
def served(folder, *options):
    running = Served(folder, *options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


class Person:
    """Somebody before a browser."""

    def __init__(self, driver, address):
        self.driver, self.address = driver, address

    def css(self, selector):
        return self.driver.find_element("css selector", selector)

    def wait(self, script, seconds=60):
        end = time.monotonic() + seconds
        while not (value := self.driver.execute_script(f"return {script}")):
            assert time.monotonic() < end, (script, self.css("body").text)
            time.sleep(0.02)
        return value

    def begin(self):
        self.driver.get(self.address)
        self.wait("!document.getElementById('welcome').hidden")
        self.css("#begin").click()
        self.ready()

    def ready(self):
        """Wait until the images are there or all is done; return how many answers there were."""
        self.wait("ready || !document.getElementById('thanks').hidden")
        return self.driver.execute_script("return document.getElementById('count').textContent")

    def done(self):
        return self.css("#thanks").is_displayed()

    def press(self, key):
        self.css("body").send_keys(key)

    def shot(self, name):
        if SHOTS:
            self.driver.save_screenshot(str(Path(SHOTS) / f"{name}.png"))

    def violations(self):
        """Return what axe-core finds wrong, if it is there."""
        if AXE is None:
            return []
        self.driver.execute_script(AXE.read_text())
        found = self.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        return [(violation["id"], [node["html"] for node in violation["nodes"]]) for violation in found["violations"]]

    def errors(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if "favicon" not in entry["message"]]


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


@pytest.mark.parametrize(("trials", "catches"), [(6, 8), pytest.param(26, 12, marks=pytest.mark.slow)])
def test_two_people_and_a_server_that_is_killed(tmp_path, trials, catches):
    """One looks and uses keys, the other clicks whatever is there; the server is killed in the middle of both."""
    from selenium.webdriver.common.keys import Keys

    keys = {"left": Keys.ARROW_LEFT, "right": Keys.ARROW_RIGHT}
    repeats = 2 if trials > 10 else 0
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
        assert watching.violations() == []
        watching.shot("watch")
        status, words = running.stop()
        assert (status, words.strip()) == (130, "interrupted")
    votes = read_store(running.store).votes
    assert Counter(vote.rater for vote in votes) == dict.fromkeys(names, total)
    assert len({(vote.rater, vote.position) for vote in votes}) == 2 * total
    one, other = look(votes)
    assert (one.name, one.passed, one.consistent, one.left_out) == (names[0], catches, repeats, ())
    assert "catch" in other.left_out
    assert all(vote.screen["fits"] and not vote.screen["zoomed"] for vote in votes)


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
        assert person.violations() == []
        person.shot("welcome")
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
        assert person.violations() == []
        person.shot("trial")
        side = state(CLOSER)
        person.press(Keys.ARROW_LEFT if side == "left" else Keys.ARROW_RIGHT)
        person.wait("$('count').textContent.startsWith('2 ') && ready")
        assert "That is right" in person.css("#status").text
        person.press(Keys.ARROW_LEFT if state(CLOSER) == "right" else Keys.ARROW_RIGHT)
        person.wait("$('count').textContent.startsWith('3 ') && ready")
        assert "Not quite" in person.css("#status").text
        assert "now it counts" in person.css("#status").text
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
        assert "begun here already, with 4 answers" in person.css("#welcome").text
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
            count = person.ready()
            if not person.done():
                person.press(Keys.ARROW_LEFT)
                person.wait(f"$('count').textContent !== '{count}' || !$('thanks').hidden")
        assert person.violations() == []
        person.shot("thanks")
        person.css("summary").click()
        person.css("#forget").click()
        person.wait("!$('welcome').hidden")
        assert person.errors() == []
        assert read_store(running.store).votes == []


def test_a_phone_and_the_dark(tmp_path):
    with (
        served(tmp_path, "--trials", "6", "--practice", "0", "--catches", "0") as running,
        chromium("--force-dark-mode", "--blink-settings=preferredColorScheme=0") as driver,
    ):
        person = Person(driver, running.vote)
        metrics = {"width": 375, "height": 667, "deviceScaleFactor": 2, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        )
        driver.get(running.vote)
        person.wait("!$('welcome').hidden")
        person.shot("phone-dark-welcome")
        assert person.violations() == []
        person.begin()
        state = driver.execute_script
        assert state("return document.querySelector('#left .image').getBoundingClientRect().width") == 48
        assert state("return document.documentElement.scrollWidth <= 375")
        assert all(
            state("return document.querySelector(arguments[0]).getBoundingClientRect().height", selector) >= 44
            for selector in ("[data-answer=left]", "[data-answer=right]", "#flip")
        )
        person.shot("phone-dark-trial")
        assert person.violations() == []
        place = state(
            "const {x, y} = document.querySelector('[data-answer=left]').getBoundingClientRect(); return [x, y]"
        )
        point = {"x": place[0] + 20, "y": place[1] + 20}
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        person.wait("$('count').textContent.startsWith('2 ') && ready")
        assert read_store(running.store).votes[0].screen["touch"] is True


def test_same_or_different(tmp_path):
    from selenium.webdriver.common.keys import Keys

    with served(tmp_path, "--mode", "same", "--trials", "6", "--practice", "1") as running, chromium() as driver:
        person = Person(driver, running.vote)
        person.begin()
        person.shot("same")
        person.press(" ")
        assert (
            driver.execute_script("return getComputedStyle(document.querySelector('#left .other')).visibility")
            == "visible"
        )
        assert person.violations() == []
        while not person.done():
            count = person.ready()
            if not person.done():
                person.press(Keys.ARROW_RIGHT)
                person.wait(f"$('count').textContent !== '{count}' || !$('thanks').hidden")
        assert {vote.choice for vote in read_store(running.store).votes} == {"different"}
