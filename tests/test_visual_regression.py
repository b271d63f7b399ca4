"""The page about visual regression is true: its commands are run, and its table is measured again.

`python -m tests.test_visual_regression` prints the table.
"""

import doctest
import re
import shlex
import sys
from itertools import count, pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from lpips_lite.catalog import entry_of, parse_metric
from tests.command import run
from tests.conftest import ROOT
from tests.screens import DARK, LIGHT, cases, changed_digits, draw, faults, harmless

PAGE = (ROOT / "docs/visual-regression.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
METRICS = ("lite", "lite:p99", "lite:max", "psnr", "ssim", "pixels", "pixels:shift", "region", "region:shift")
OF_SIZE = ("lite:p99", "psnr")  # thresholds on these are for pages, and mean nothing on one line of text
CHOSEN = ("region>0", "region:shift>0", "region:shift>4")
DIGITS = dict(enumerate(changed_digits()))
FOUR = ("digit", "button text", "shift of 0.4 right", "colour step of 2")  # where a mean of distances fails


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four pages as they should be and as they are, and a page with a clock at two times, of which one has grown."""
    made = tmp_path_factory.mktemp("pages")
    changed, same = faults(LIGHT), harmless(LIGHT)
    for side in ("golden", "rendered"):
        (made / side).mkdir()
        for name in FOUR:
            known = [draw(look) for look in changed[name]] if name in changed else [draw(LIGHT), same[name]]
            known[side == "rendered"].save(made / side / f"{name.replace(' ', '-')}.png")
    for name, time, height in (("before", "09:41", 480), ("after", "17:05", 500)):
        page = Image.new("RGB", (640, height), LIGHT.paper)
        page.paste(draw(LIGHT))
        ImageDraw.Draw(page).text((580, 14), time, LIGHT.ink, ImageFont.load_default(14))
        page.save(made / f"{name}.png")
    return made


@pytest.mark.parametrize("block", [body for kind, body in BLOCKS if kind == "console"], ids=count())
def test_commands_print_what_the_page_shows(block, folder, monkeypatch):
    monkeypatch.chdir(folder)
    line, _, expected = block.removeprefix("$ compare-images ").partition("\n")
    status, out, err = run(*shlex.split(line))
    assert status == 1
    assert f"{err}{out}".rstrip() == expected.rstrip()


def test_python_finds_the_same(folder, monkeypatch):
    monkeypatch.chdir(folder)
    block, report = "\n".join(body for kind, body in BLOCKS if kind == "python"), []
    test = doctest.DocTestParser().get_doctest(block, {}, "page", "docs/visual-regression.md", 0)
    failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert test.examples
    assert not failed, "".join(report)


# -- the table --------------------------------------------------------------------------------------------------------


def measured(compared, metrics=METRICS):
    """Return name of the case -> whether it is a fault, and its number by each metric."""
    computes = {text: parse_metric(text).load().compute for text in metrics}
    found = {}
    for name, case in compared.items():
        x, y = (torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] for picture in (case.image, case.reference))
        with torch.inference_mode():
            found[name] = case.fault, {text: compute(x, y).item() for text, compute in computes.items()}
    return found


def errors(found, metric, threshold):
    """Return the faults that a rule misses, and the harmless differences that it fails."""
    sign = 1 if entry_of(metric).direction == "lower" else -1
    failed = {name for name, (_, numbers) in found.items() if sign * numbers[metric] > sign * threshold}
    missed = [name for name, (fault, _) in found.items() if fault and name not in failed]
    return missed, [name for name, (fault, _) in found.items() if not fault and name in failed]


def threshold_of(found, metric):
    """Return the threshold with the fewest errors, in the middle between two values; of several the lowest."""
    values = sorted({numbers[metric] for _, numbers in found.values() if np.isfinite(numbers[metric])})
    middles = [float(f"{(a + b) / 2:.2g}") for a, b in pairwise(values)]
    return min([0.0, *middles], key=lambda threshold: sum(map(len, errors(found, metric, threshold))))


def table():
    """Return the table, rule -> cells, and what the rules of CHOSEN get wrong, rule -> names.

    Thresholds are chosen on the light pages and tried on the dark ones; with `shift`, 0 is tried, too.
    """
    light, dark, digits = measured(cases(LIGHT)), measured(cases(DARK)), measured(DIGITS)
    cells, wrong = {}, {}
    for metric in METRICS:
        sign = ">" if entry_of(metric).direction == "lower" else "<"
        for threshold in sorted({threshold_of(light, metric), *([0] if metric.endswith(":shift") else [])}):
            rule = f"{metric}{sign}{threshold:g}"
            wrong[rule] = [errors(found, metric, threshold) for found in (light, dark)]
            missed = "–" if metric in OF_SIZE else len(errors(digits, metric, threshold)[0])
            cells[rule] = [str(cell) for cell in (*(len(part) for pair in wrong[rule] for part in pair), missed)]
    return cells, {rule: wrong[rule] for rule in CHOSEN}


def said():
    """Return the table of the page."""
    rows = re.findall(r"^\| `([^`]+)` \| (\d+(?: \| [\d–]+){4}) \|$", PAGE, re.MULTILINE)
    return {rule: cells.split(" | ") for rule, cells in rows}


@pytest.mark.slow
def test_the_table_is_what_is_measured():
    cells, wrong = table()
    assert said() == cells
    lossy, drawn = ["JPEG 90", "WebP 90"], "text not smoothed"
    moved = ["shift of 0.4 right", "shift of 0.4 down", "shift of 0.25 both", "resampled"]
    assert wrong["region>0"] == [([], [*moved, *lossy, "text in colour stripes", drawn])] * 2
    assert wrong["region:shift>0"] == [([], [*lossy, drawn]), ([], [drawn])]
    assert wrong["region:shift>4"] == [([], [drawn])] * 2
    assert len(faults(LIGHT)) + len(harmless(LIGHT)) >= 24


def test_so_many_changed_digits_are_missed():
    found = measured(DIGITS, ("pixels", "region", "region:shift"))
    assert len(found) == 225
    for rule in ("pixels>0", "region>0", "region:shift>0", "region:shift>4"):
        metric, _, threshold = rule.partition(">")
        missed, _ = errors(found, metric, float(threshold))
        assert said()[rule][-1] == str(len(missed)), rule
        if rule in CHOSEN:
            share = f" ({len(missed) / len(found):.0%})".replace("%", " %") if missed else ""
            assert f"| `{rule}` | {len(missed)} of {len(found)}{share} |" in PAGE


if __name__ == "__main__":
    rows, names = table()
    for rule, cells in rows.items():
        sys.stdout.write(f"| `{rule}` | {' | '.join(cells)} |\n")
    sys.stdout.write(f"{names}\n")
