"""A person who votes in a browser, and what they see."""

import os
import time
from pathlib import Path

from tests.conftest import ROOT

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


class Person:
    """A person who votes in a browser."""

    def __init__(self, driver, address):
        self.driver, self.address = driver, address

    def css(self, selector):
        return self.driver.find_element("css selector", selector)

    def wait(self, script, seconds=120):
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

    def see(self, window, scheme):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def answer(self, press):
        """Answer with `press`, and wait until the answer is saved and the next trial is shown."""
        count = self.ready()
        press()
        self.wait(f"$('count').textContent !== '{count}' && ready || !$('thanks').hidden")

    def errors(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if "favicon" not in entry["message"]]
