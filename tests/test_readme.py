"""The README is true: every block is run and its output compared."""

import doctest
import re
import subprocess
import sys

import pytest

from lpips_lite import LPIPS, TOWERS
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def blocks(language):
    return [body for found, body in BLOCKS if found == language]


def test_it_is_short_and_every_block_is_of_a_kind_that_is_run():
    assert len(README.splitlines()) <= 150
    assert {language for language, _ in BLOCKS} == {"sh", "python", "console"}


def test_set_up_is_two_lines_which_ci_runs():
    (setup,) = blocks("sh")
    assert len(setup.splitlines()) == 2
    assert "README.md" in (ROOT / ".ci/run").read_text()


def test_python_blocks_print_what_they_say(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    for number, block in enumerate(blocks("python")):
        test = doctest.DocTestParser().get_doctest(block, names, f"block {number}", "README.md", 0)
        assert test.examples
        report = []
        failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=report.append, clear_globs=False)
        assert not failed, "".join(report)
        names = test.globs


@pytest.mark.parametrize("block", blocks("console"))
def test_console_blocks_print_what_they_say(block, tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    command, _, expected = block.removeprefix("$ ").partition("\n")
    assert command.startswith("compare-images ")
    arguments = command.replace("compare-images", f"'{sys.executable}' -m lpips_lite", 1)
    result = subprocess.run(arguments, shell=True, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert result.stdout.rstrip() == expected.rstrip()
    assert result.stderr == ""


def test_smallest_sides_and_signature():
    sides = dict(re.findall(r"(lite|alex|vgg|squeeze) (\d+)", README.split("smallest side |")[1].splitlines()[0]))
    assert {net: int(side) for net, side in sides.items()} == {
        net: TOWERS[net].min_side for net in ("lite", "alex", "vgg", "squeeze")
    }
    assert f"`{LPIPS('lite').signature}`" in README


def test_links_to_files_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
