"""The page of recipes is true: its folders are made, its commands run, and its numbers computed in another way."""

import csv
import doctest
import json
import math
import os
import re
import shlex
from pathlib import Path

import bjontegaard
import numpy as np
import pytest
from PIL import Image
from pylatexenc.latexwalker import LatexWalker
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tests.command import run
from tests.conftest import ROOT

PAGE = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [body for kind, body in BLOCKS if kind == "console"]
NUMBER = re.compile(r"[−-]?\d+\.?\d*")


def run_python(block):
    report = []
    test = doctest.DocTestParser().get_doctest(block, {}, "recipes", "docs/recipes.md", 0)
    failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert test.examples
    assert not failed, "".join(report)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the first block makes."""
    made, before = tmp_path_factory.mktemp("recipes"), Path.cwd()
    (made / "examples").symlink_to(ROOT / "examples")
    os.chdir(made)
    try:
        run_python(next(body for kind, body in BLOCKS if kind == "python"))
    finally:
        os.chdir(before)
    return made


@pytest.fixture
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def command(start):
    """Return arguments of the page's one command that begins so, and what it prints."""
    (block,) = [block for block in COMMANDS if block.startswith(f"$ compare-images {start}")]
    line, _, expected = block.removeprefix("$ compare-images ").partition("\n")
    return shlex.split(line), expected.rstrip()


def number(text):
    return float(text.replace("−", "-"))


def lines_of(text, column):
    """Return the lines of a printed table that have so many columns, as lists of cells."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    return [row for row in rows if len(row) == column]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_every_block_is_run_here():
    assert [kind for kind, _ in BLOCKS] == ["python", "console", "console", "console", "console", "python"]
    assert len(COMMANDS) == 4


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.split()[2] + block.split()[3])
def test_commands_print_what_they_say(inside, block):
    """Words to the letter; numbers to 3 %, since encoders of JPEG and WebP differ from version to version."""
    line, _, expected = block.removeprefix("$ compare-images ").partition("\n")
    status, out, err = run(*shlex.split(line))
    assert status == 0, err
    assert re.sub(r"\s+|─", "", NUMBER.sub("", out)) == re.sub(r"\s+|─", "", NUMBER.sub("", expected))
    found, said = ([number(text) for text in NUMBER.findall(page)] for page in (out, expected))
    assert found == pytest.approx(said, rel=0.03, abs=0.02)


def test_python_block(inside):
    run_python([body for kind, body in BLOCKS if kind == "python"][1])


# -- the same numbers in another way -----------------------------------------------------------------------------------


def zero_padded_ssim(x, y):
    """SSIM of 3D Gaussian Splatting: zeros beyond the borders, by scipy's filters."""
    from scipy.ndimage import correlate1d

    line = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    line /= line.sum()

    def blur(image):
        return correlate1d(correlate1d(image, line, axis=0, mode="constant"), line, axis=1, mode="constant")

    x, y = x / 255, y / 255
    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    luminance = (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
    return (luminance * (2 * cov + 0.03**2) / (vx + vy + 0.03**2)).mean()


def test_novel_views(inside):
    arguments, _ = command("--layout 3dgs output")
    status, out, err = run(*arguments)
    assert status == 0
    assert "copies of other references, byte for byte, left out" in err
    values, differences = lines_of(out, 5)[:7], lines_of(out, 5)[7:]
    assert values[0] == ["method", "scene", "n", "psnr ↑", "ssim:3dgs ↑"]
    own = {}
    for method, scene, count, *shown in values[1:]:
        views = sorted(Path("output", scene, "test", method, "renders").glob("*.png"))
        pairs = [(pixels(view), pixels(view.parent.with_name("gt") / view.name)) for view in views]
        own[method, scene] = [peak_signal_noise_ratio(y, x) for x, y in pairs]
        similarities = [zero_padded_ssim(x.astype(float), y.astype(float)) for x, y in pairs]
        assert int(count) == len(views) == 3
        assert number(shown[0]) == pytest.approx(np.mean(own[method, scene]), abs=0.0051)
        assert number(shown[1]) == pytest.approx(np.mean(similarities), abs=0.00051)
    assert len(own) == 6
    for method, scene, _, difference, _ in differences[1:]:
        expected = np.mean(own[method, scene]) - np.mean(own["baseline", scene])
        assert number(difference.split()[0]) == pytest.approx(expected, abs=0.0051)
        assert difference.endswith("100 %")
    tex = Path("views.tex").read_text()
    assert tex.count(r"\textbf") == tex.count(r"\underline") == 6  # two measures of three scenes
    LatexWalker(tex, tolerant_parsing=False).get_latex_nodes()


def luma(image, crop):
    inner = image[crop:-crop, crop:-crop].astype(np.float64)
    return (inner @ [65.481, 128.553, 24.966]) / 255 + 16


def test_super_resolution(inside):
    arguments, _ = command("--ref-pattern")
    status, out, err = run(*arguments, "--psnr-of-mean-mse")
    assert status == 0
    assert "--convention basicsr-y4 is psnr:y:crop=4,ssim:y:crop=4" in err
    header, *rows = lines_of(out, 5)[:3]
    assert header == ["method", "n", "psnr:y:crop=4 ↑", "ssim:y:crop=4 ↑", "psnr:y:crop=4 of mean MSE ↑"]
    for method, _, psnr, ssim, pooled in rows:
        pairs = [
            (luma(pixels(f"results/{method}/{name}x4_{method}.png"), 4), luma(pixels(f"gt/{name}.png"), 4))
            for name in ("0801", "0802", "0803")
        ]
        errors = np.array([((x - y) ** 2).mean() for x, y in pairs])
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
        similarities = [structural_similarity(x, y, **options) for x, y in pairs]
        assert number(psnr.split()[0]) == pytest.approx(np.mean(10 * np.log10(255**2 / errors)), abs=0.051)
        assert number(pooled.split()[0]) == pytest.approx(10 * np.log10(255**2 / errors.mean()), abs=0.051)
        assert number(ssim.split()[0]) == pytest.approx(np.mean(similarities), abs=0.0051)
        low, high = NUMBER.findall(psnr)[1:]
        assert number(low) < number(psnr.split()[0]) < number(high)
    assert "**" in Path("sr.md").read_text()


def test_codecs(inside):
    arguments, _ = command("--layout codec")
    status, out, err = run(*arguments)
    assert status == 0
    assert "wrote codecs.tex, bpp-ssim.svg, bpp-ssim.png, bpp-ssim.csv" in err
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    deltas = []
    for name in ("0801", "0802", "0803"):
        original, curves = pixels(f"gt/{name}.png"), []
        for codec in ("jpeg", "webp"):
            files = [next(Path("coded", codec, f"q{quality}").glob(f"{name}.*")) for quality in (10, 30, 50, 70, 90)]
            rates = [8 * file.stat().st_size / (160 * 160) for file in files]
            curves += [rates, [structural_similarity(pixels(file), original, **options) for file in files]]
        rate = bjontegaard.bd_rate(*curves, method="akima", min_overlap=0)
        deltas.append((rate, bjontegaard.bd_psnr(*curves, method="akima", min_overlap=0)))
    with Path("bpp-ssim.csv").open() as file:
        *rows, mean = csv.DictReader(file)
    found = [(float(row["bd_rate_percent"]), float(row["bd_distance"])) for row in rows]
    np.testing.assert_allclose(found, deltas, rtol=2e-3)
    assert float(mean["bd_rate_percent"]) == pytest.approx(np.mean(found, axis=0)[0])
    assert float(mean["bd_rate_low"]) < float(mean["bd_rate_percent"]) < float(mean["bd_rate_high"])
    shown = next(line for line in out.splitlines() if " mean " in line)
    assert number(NUMBER.findall(shown)[1]) == pytest.approx(float(mean["bd_rate_percent"]), abs=0.051)
    with Image.open("bpp-ssim.png") as picture:
        assert picture.size == (1040, 720)
    assert "data:image/svg+xml;base64," in Path("codecs.html").read_text()
    LatexWalker(Path("codecs.tex").read_text(), tolerant_parsing=False).get_latex_nodes()


def test_a_csv_list_groups_likewise(inside):
    """The same pairs, their columns called otherwise."""
    rows = [
        f"output/{scene}/test/{method}/gt/{view:05d}.png,output/{scene}/test/{method}/renders/{view:05d}.png,{method},{scene}"
        for scene in ("garden", "room", "truck")
        for method in ("ours", "baseline")
        for view in range(3)
    ]
    Path("list.csv").write_text("\n".join(["reference,image,Verfahren,Szene", *rows]))
    status, _, err = run("--pairs", "list.csv", "-m", "psnr", "--by", "Verfahren,Szene", "--table", "list.json")
    assert status == 0, err
    run("--layout", "3dgs", "output", "-m", "psnr", "--by", "method,scene", "--table", "layout.json")
    lists, layouts = (json.loads(Path(name).read_text())["groups"] for name in ("list.json", "layout.json"))
    by_list = {(row["Verfahren"], row["Szene"]): row["value"] for row in lists}
    assert by_list == {(row["method"], row["scene"]): row["value"] for row in layouts}
    assert len(by_list) == 6
    assert not any(math.isnan(value) for value in by_list.values())
