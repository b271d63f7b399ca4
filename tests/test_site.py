"""The documentation as a site: its pages are the ones there are, and it works without a network."""

import re
import subprocess
import sys

import pytest

from tests.browser import chromium
from tests.conftest import ROOT

NAV = re.findall(r"^ *- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2], re.MULTILINE)
DOCS = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}


def test_the_navigation_names_every_page_once_and_each_is_there():
    assert len(NAV) == len(set(NAV))
    assert set(NAV) >= DOCS
    assert all((ROOT / page).is_file() for page in set(NAV) - DOCS)


def test_every_public_name_has_its_signature_on_the_site():
    import lpips_lite

    directives = " ".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    shown = re.findall(r"::: (\S+)", directives)
    assert len(shown) == len(set(shown))
    assert {f"lpips_lite.{name}" for name in {*lpips_lite.__all__, "LPIPSMetric"} - {"__version__"}} <= set(shown)


@pytest.fixture(scope="module")
def hook():
    pytest.importorskip("mkdocs")
    from docs import hook

    return hook


@pytest.mark.parametrize(
    ("page", "link", "becomes"),
    [
        ("docs/performance.md", "](../benchmarks/RESULTS.md#limits)", "](benchmarks/RESULTS.md#limits)"),
        ("docs/performance.md", "](searching.md)", "](searching.md)"),
        ("docs/reference/files.md", "](../searching.md)", "](../searching.md)"),
        ("docs/reference/files.md", "](../../README.md)", "](../README.md)"),
        ("README.md", "](docs/searching.md)", "](searching.md)"),
        ("README.md", '<img src="examples/heatmap.png">', '<img src="examples/heatmap.png">'),
        ("calibration/README.md", "](../docs/agreement.md)", "](../agreement.md)"),
        ("calibration/README.md", "](NOTES.md)", "](NOTES.md)"),
        ("README.md", "](https://example.org/docs/api.md)", "](https://example.org/docs/api.md)"),
        ("README.md", "](docs/nowhere.md)", "](docs/nowhere.md)"),
    ],
)
def test_links_out_of_docs_lead_to_the_same_file_on_the_site(hook, page, link, becomes):
    assert hook.rewritten(link, page) == becomes


@pytest.mark.slow
def test_the_site_is_built_strictly_and_searched_without_a_network(hook, tmp_path):
    build = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path)]
    result = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with chromium("--host-resolver-rules=MAP * ~NOTFOUND") as driver:
        driver.get(f"file://{tmp_path}/index.html")
        driver.find_element("css selector", ".md-search__input").send_keys("preference")
        found = driver.execute_async_script("""
            const done = arguments[0], wait = () => {
              const links = document.querySelectorAll("a.md-search-result__link");
              links.length ? done([...links].map((link) => link.href)) : setTimeout(wait, 50);
            };
            wait();""")
        assert any("reference/distance.html" in link for link in found), found
        assert driver.get_log("browser") == []
