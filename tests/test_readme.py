"""README and docs are true: every block is run and its output compared."""

import doctest
import inspect
import re
import subprocess
import sys

import pytest
import torch

import lpips_lite
from lpips_lite import LPIPS, TOWERS
from tests.conftest import ROOT

PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
README = PAGES["README.md"]
# Run by tests/test_calibrating.py, from the wheel, test_recipes.py and test_visual_regression.py.
ELSEWHERE = ("calibrating.md", "recipes.md", "visual-regression.md")
ALONE = ("training.md",)  # each block by itself, where the frameworks that it imports are installed
HERE = [page for page in PAGES if page not in (*ELSEWHERE, *ALONE)]


def blocks(page, language=None):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)
    return found if language is None else [body for kind, body in found if kind == language]


def test_readme_is_short_and_every_block_is_of_a_kind_that_is_run():
    assert len(README.splitlines()) <= 130
    assert {kind for page in PAGES for kind, _ in blocks(page)} == {"sh", "python", "console"}
    assert all(not blocks(page, "sh") for page in PAGES if page != "README.md")


def test_set_up_is_two_lines_which_ci_runs():
    (setup,) = blocks("README.md", "sh")
    assert len(setup.splitlines()) == 2
    assert "README.md" in (ROOT / ".ci/run").read_text()


def run_python(page, block, names=None):
    """Run a block with the names of those before it, and return them with its own."""
    test = doctest.DocTestParser().get_doctest(block, names or {}, "block", page, 0)
    assert test.examples
    report = []
    failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=report.append, clear_globs=False)
    assert not failed, "".join(report)
    return test.globs


@pytest.mark.parametrize("page", HERE)
def test_python_blocks_print_what_they_say(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    if not torch.cuda.is_available():  # what is said of a GPU is run without one
        monkeypatch.setattr(torch.nn.Module, "cuda", lambda module: module)
        monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    names = {}
    for block in blocks(page, "python"):
        names = run_python(page, block, names)


@pytest.mark.filterwarnings("ignore")  # of frameworks
@pytest.mark.parametrize(("page", "block"), [(page, block) for page in ALONE for block in blocks(page, "python")])
def test_training_blocks_run_alone(page, block, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for framework in re.findall(r"^>>> (?:from|import) (\w+)", block, re.MULTILINE):
        pytest.importorskip(framework)
    run_python(page, block)


@pytest.mark.parametrize(("page", "block"), [(page, block) for page in HERE for block in blocks(page, "console")])
def test_console_blocks_print_what_they_say(page, block, tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    command, _, expected = block.removeprefix("$ ").partition("\n")
    assert command.startswith("compare-images ")
    arguments = command.replace("compare-images", f"'{sys.executable}' -m lpips_lite", 1)
    result = subprocess.run(arguments, shell=True, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert result.stdout.rstrip() == expected.rstrip()
    assert result.stderr == ""


def test_the_reference_names_everything_public_as_its_docstring_does():
    for name in (*lpips_lite.__all__, "LPIPSMetric"):
        value = getattr(lpips_lite, name)
        assert f"`{name}`" in PAGES["api.md"], name
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value).splitlines()[0] in PAGES["api.md"], name


def test_smallest_sides_and_signature():
    own = {net: TOWERS[net].min_side for net in ("lite", "vgg", "alex", "squeeze")}
    assert own["lite"] == own["vgg"]
    said = f"{own['lite']} pixels for lite and vgg, {own['alex']} for alex, {own['squeeze']} for squeeze"
    assert f"The smallest side is {said}" in PAGES["conventions.md"]
    assert f"lite: {LPIPS('lite').signature}\n" in README


def test_links_to_files_exist():
    for page, text in PAGES.items():
        folder = ROOT if page == "README.md" else ROOT / "docs"
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (folder / target).exists(), (page, target)
