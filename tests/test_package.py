"""What is published: the contents of wheel and sdist, their metadata, and the files that speak of the version."""

import email
import re
import subprocess
import tarfile
import tomllib
import zipfile

import pytest

import lpips_lite
from tests.conftest import ROOT

VERSION = lpips_lite.__version__
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    assert path.name == f"lpips_lite-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def source(built):
    """The path of the sdist, and the names in it."""
    path = built / f"lpips_lite-{VERSION}.tar.gz"
    with tarfile.open(path) as archive:
        return path, {name.partition("/")[2] for name in archive.getnames()}


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = [path for path in (ROOT / "lpips_lite").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert found == {path.relative_to(ROOT).as_posix() for path in package}
    assert {
        *("lpips_lite/py.typed", "lpips_lite/__init__.pyi"),
        *("lpips_lite/data/lite.safetensors", "lpips_lite/data/MODEL_CARD.md"),
        *("lpips_lite/files/report.html.j2", "lpips_lite/files/table.tex.j2"),
        *(f"lpips_lite/votes/collect/{name}" for name in ("page.html.j2", "page.css", "page.js", "watch.js")),
    } <= found
    others = {name.partition("/")[2] for name in wheel.namelist()} - {name.partition("/")[2] for name in found}
    assert others == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def test_the_wheel_says_what_it_is(wheel):
    meta = email.message_from_bytes(wheel.read(f"lpips_lite-{VERSION}.dist-info/METADATA"))
    assert (meta["Version"], meta["License-Expression"]) == (VERSION, "BSD-2-Clause")
    assert set(meta.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert meta.get_payload().startswith("# lpips_lite")
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(meta.get_all("Classifier")))
    assert f">={supported[0]}" == meta["Requires-Python"]
    tested = re.search(r"python: \[(.*)\]", (ROOT / ".github/workflows/check.yml").read_text())[1]
    assert supported == re.findall(r"[\d.]+", tested)


def test_the_sdist_holds_what_git_does_and_can_test_itself(source):
    path, found = source
    assert {
        "README.md",
        "LICENSE",
        "Makefile",
        "pyproject.toml",
        ".ci/run",
        "tests/conftest.py",
        "docs/api.md",
    } <= found
    assert not {name for name in found if re.search(r"__pycache__|\.(pyc|egg-info|venv)|^(build|dist)/", name)}
    assert path.stat().st_size < 12e6
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    git = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True)
    if git.returncode == 0:
        assert found == {*git.stdout.splitlines(), "PKG-INFO"}


def test_changelog_and_citation_are_of_this_version():
    assert re.search(r"^## \[?(.*?)[\] ]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == VERSION
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text()
