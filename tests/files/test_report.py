"""The report, opened in a real browser where there is one."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from lpips_lite.files import report as page
from tests.command import run
from tests.conftest import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture
def report(tmp_path, monkeypatch):
    """A report on twelve pairs in two folders, one of which cannot be read."""
    monkeypatch.chdir(tmp_path)
    scene = Image.open(ROOT / "examples/images/scene.png")
    for number in range(12):
        for side in ("a", "b"):
            (tmp_path / f"{side}/part{number % 2}").mkdir(parents=True, exist_ok=True)
        scene.save(tmp_path / f"a/part{number % 2}/{number:02}.png")
        scene.save(tmp_path / f"b/part{number % 2}/{number:02}.jpg", quality=5 + 8 * number)
    (tmp_path / "b/part0/00.jpg").write_bytes(b"</script><b>not an image")
    status, _, err = run("a", "b", "--metric", "lite,psnr", "--report", "page.html", "--report-pairs", "9")
    assert (status, err.splitlines()[-1]) == (2, "wrote page.html")
    return tmp_path / "page.html"


def data_of(path):
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(), re.DOTALL)[1])


def test_the_page_holds_the_worst_pairs_and_needs_nothing_else(report):
    data, text = data_of(report), report.read_text()
    distances = [entry["row"]["lite"] for entry in data["entries"]]
    assert len(distances) == 9
    assert data["entries"][0]["row"]["image"].startswith("b/part")
    assert sum(data["metrics"][0]["histogram"]["counts"]) == 11
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert all(picture.startswith("data:image/webp;base64,") for picture in data["pictures"])
    assert "1 could not be compared" in text
    assert all(signature in text for signature in (metric["signature"] for metric in data["metrics"]))


def test_pictures_stay_within_the_budget_however_many_and_noisy(monkeypatch):
    collected = page.Page(2000)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8))
    place = collected._keep(noise)
    assert 3 * 2000 * len(collected.pictures[place]) < 50e6
    roomy = page.Page(3)
    assert len(roomy.pictures[roomy._keep(noise)]) > 10 * len(collected.pictures[place])


def test_equal_images_and_metrics_without_a_map(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples/images/scene.png", "one.png")
    assert run("one.png", "one.png", "--metric", "psnr,ssim", "--report", "p.html")[0] == 0
    (entry,) = data_of(tmp_path / "p.html")["entries"]
    assert entry["row"]["psnr"] is None
    assert "map" not in entry
    assert entry["reference"] != entry["image"]


@pytest.fixture
def browser():
    selenium = pytest.importorskip("selenium.webdriver")
    if CHROMIUM is None or shutil.which("chromedriver") is None:
        pytest.skip("no Chromium here")
    options = selenium.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.mark.filterwarnings("ignore")
def test_in_a_browser(report, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def rows(column):
        return [float(cell.text) for cell in browser.find_elements(By.CSS_SELECTOR, f"#body td:nth-child({column})")]

    def state(script):
        return browser.execute_script(f"return {script}")

    browser.get(report.as_uri())
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
