"""A browser for tests of pages, if one is installed, and a person who uses it."""

import os
import shutil
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

SHOTS = os.environ.get("LPIPS_LITE_SCREENSHOTS")  # a folder for pictures of the page, to be looked at
AXE = Path(os.environ.get("LPIPS_LITE_AXE", ROOT / "node_modules/axe-core")) / "axe.min.js"
WIDE = {"width": 1200, "height": 900, "deviceScaleFactor": 1, "mobile": False}
PHONE = {"width": 375, "height": 667, "deviceScaleFactor": 2, "mobile": True}
LOOKS = {
    "light": (WIDE, "light"),
    "dark": (WIDE, "dark"),
    "phone": (PHONE, "light"),
    "phone-dark": (PHONE, "dark"),
}


@contextmanager
def chromium(*arguments, window="1200,900"):
    """Start a separate browser with its own cookies; skip the test if there is none."""
    selenium = pytest.importorskip("selenium.webdriver")
    if CHROMIUM is None or shutil.which("chromedriver") is None:
        pytest.skip("no Chromium here")
    options = selenium.ChromeOptions()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        f"--window-size={window}",
        *arguments,
    ):
        options.add_argument(argument)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        driver = selenium.Chrome(options=options, service=selenium.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


class User:
    """A person who uses a page in a browser."""

    def __init__(self, driver):
        self.driver = driver

    def css(self, selector):
        return self.driver.find_element("css selector", selector)

    def wait(self, script, seconds=120):
        end = time.monotonic() + seconds
        while not (value := self.driver.execute_script(f"return {script}")):
            assert time.monotonic() < end, (script, self.css("body").text)
            time.sleep(0.02)
        return value

    def press(self, key):
        self.css("body").send_keys(key)

    def shot(self, name):
        if SHOTS:
            self.driver.save_screenshot(str(Path(SHOTS) / f"{name}.png"))

    def violations(self):
        """Return the problems that axe-core finds."""
        if not self.driver.execute_script("return window.axe !== undefined"):
            self.driver.execute_script(AXE.read_text())
        found = self.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        return [(violation["id"], [node["html"] for node in violation["nodes"]]) for violation in found["violations"]]

    def looks(self, name):
        """Check the page in each window and colour scheme: no problems, and nothing outside the window."""
        for kind, (window, scheme) in LOOKS.items():
            self.see(window, scheme)
            self.shot(f"{name}-{kind}")
            assert self.violations() == [], (name, kind)
            assert self.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth"), (name, kind)
        self.see(WIDE, "light")

    def see(self, window, scheme, **features):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
        media = {"prefers-color-scheme": scheme, **features}
        found = [{"name": name, "value": value} for name, value in media.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": found})
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def errors(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if "favicon" not in entry["message"]]
