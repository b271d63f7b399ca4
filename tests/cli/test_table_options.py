"""Tables and curves on the command line: what is printed and written, and what is refused before computing."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from lpips_lite.cli.main import compare as command
from lpips_lite.files.layouts import LAYOUTS
from lpips_lite.files.measuring import Measurer
from lpips_lite.files.resampling import STATISTICS
from tests.command import noises, run

BY = ["--ref-pattern", "gt/{name}.png", "--image-pattern", "out/{method}/{name}.png", "-m", "l1", "--by", "method"]
CODECS = ["--layout", "codec", "gt", "coded", "--by", "codec"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Two methods, and two codecs at four qualities."""
    monkeypatch.chdir(tmp_path)
    noises(tmp_path, *(f"gt/{n}.png" for n in "12"), size=(24, 20))
    noises(tmp_path, *(f"out/{method}/{n}.png" for method in "AB" for n in "12"), size=(24, 20))
    for codec, suffix in (("jpeg", "jpg"), ("webp", "webp")):
        for quality in (20, 40, 60, 80):
            for name in "12":
                path = tmp_path / f"coded/{codec}/q{quality}/{name}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(f"gt/{name}.png") as image:
                    image.save(path, quality=quality)
    return tmp_path


def test_alone_it_is_all_that_is_printed():
    status, out, err = run(*BY)
    assert (status, err) == (0, "")
    assert out.splitlines()[0].split() == ["method", "n", "l1", "↓"]
    assert "out/A" not in out
    assert out.splitlines()[-1] == "l1: lpips-lite/1.0 l1 range=[0,1]"


def test_rows_of_pairs_are_as_they_are_without_it():
    _, plain, _ = run(*BY[:-2], "-f", "table")
    _, both, _ = run(*BY, "-f", "table")
    _, alone, _ = run(*BY)
    assert both == plain + alone
    run(*BY[:-2], "-o", "plain.csv")
    status, out, err = run(*BY, "-o", "with.csv", "--table", "t.md")
    assert (status, out, err) == (0, alone, "wrote with.csv\nwrote t.md\n")
    assert Path("plain.csv").read_text() == Path("with.csv").read_text()
    _, lines, _ = run(*BY, "-f", "jsonl", "--table", "t.json")
    assert len(lines.splitlines()) == 4
    assert len(json.loads(Path("t.json").read_text())["groups"]) == 2


def test_rows_on_stdout_leave_no_room_for_a_table():
    for form in ("csv", "jsonl", "json"):
        status, out, err = run(*BY, "-f", form)
        assert (status, out) == (2, "")
        assert f"--by: standard output is taken by --format {form}; expected --output FILE or --table FILE" in err


REFUSED = {
    "no column": (["--by", "methods"], "--by methods: no column 'methods'; expected some of name, method"),
    "no value": (["--against", "C"], "--against C: expected a value of just one of the columns"),
    "no psnr": (["--psnr-of-mean-mse"], "--psnr-of-mean-mse: expected psnr among l1"),
    "a table called otherwise": (
        ["--table", "t.txt"],
        "--table t.txt: expected a name that ends with .md, .tex, .csv, .j",
    ),
    "a table in no folder": (["--table", "absent/1.json"], "no such folder"),
    "a table over the output": (["--table", "x.csv", "-o", "x.csv"], "would replace"),
    "curves over an image": (
        ["--curve", "bytes", "l1", "--curve-files", "gt/1"],
        "--curve-files gt/1.png: would replace",
    ),
    "a rate that is nothing": (
        ["--curve", "size", "l1"],
        "'size' is neither a size of files nor a column; expected one of bytes, bpp, n",
    ),
    "a distance that is nothing": (["--curve", "bpp", "size"], "--curve bpp size: unknown metric 'size'"),
    "a rate in place of the distance": (
        ["--curve", "l1", "bpp"],
        "--curve l1 bpp: bpp is a rate; expected the rate first, then the metric",
    ),
    "a metric in place of the rate": (["--curve", "psnr", "l1"], "'psnr' is neither a size of files nor a column"),
    "an anchor that is nothing": (
        ["--curve", "bpp", "l1", "--anchor", "C"],
        "--anchor C: expected a value of method: A, B",
    ),
    "a column that is no number": (["--curve", "method", "l1"], "column method holds 'A'; expected numbers"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_refused_before_anything_is_computed(monkeypatch, options, message):
    monkeypatch.setattr(Measurer, "measure", lambda *_: pytest.fail("something was computed"))
    status, out, err = run(*BY, *options)
    assert (status, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    "options",
    [["--table", "t.md"], ["--against", "A"], ["--interval"], ["--statistic", "median"], ["--psnr-of-mean-mse"],
     ["--curve", "bpp", "l1"]],
)  # fmt: skip
def test_options_that_need_by(options):
    status, _, err = run(*BY[:-2], *options)
    assert status == 2
    assert f"{options[0]}: expected --by with it" in err


@pytest.mark.parametrize("options", [["--curve-files", "x"], ["--anchor", "A"], ["--interpolation", "pchip"]])
def test_options_that_need_a_curve(options):
    status, _, err = run(*BY, *options)
    assert status == 2
    assert f"{options[0]}: expected --curve with it" in err


def test_a_missing_image_is_said_and_the_rest_is_told():
    Path("out/B/2.png").unlink()
    status, out, _ = run(*BY)
    assert status == 0
    assert "note: method=B: no image for 1 of 2 references: gt/2.png" in out


def test_a_broken_image_is_said():
    Path("out/B/2.png").write_bytes(b"no image")
    status, out, err = run(*BY)
    assert status == 2
    assert "out/B/2.png: not an image file" in err
    assert "note: method=B: l1 of 1 of 2 images only" in out


def test_statistics_are_those_there_are():
    (option,) = [option for option in command.params if option.name == "statistic"]
    assert list(option.type.choices) == list(STATISTICS)


# -- names for patterns and metrics ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_explained_as_the_patterns_they_are(name):
    status, out, _ = run("--layout", name, "--explain")
    layout = LAYOUTS[name]
    assert status == 0
    assert out == (
        f'# {layout.program}\n--ref-pattern "{layout.ref_pattern}" --image-pattern "{layout.image_pattern}"\n'
    )


TREES = {  # layout -> the files of a tree, and what distinguishes two images
    "3dgs": ("s/test/A/gt/0.png s/test/B/gt/0.png s/test/A/renders/0.png s/test/B/renders/0.png", "method"),
    "nerfstudio": ("s/A/test/gt-rgb/f.jpg s/B/test/gt-rgb/f.jpg s/A/test/rgb/f.jpg s/B/test/rgb/f.jpg", "method"),
    "basicsr": (
        "datasets/Set5/GTmod12/baby.png results/A_x4/visualization/Set5/baby_A_x4.png "
        "results/B/visualization/Set5/baby_B.png",
        "method",
    ),
    "codec": ("a.png jpeg/q30/a.jpg webp/q30/a.webp", "codec"),
}


@pytest.mark.parametrize("name", TREES)
def test_layouts_fit_what_programs_write(tmp_path, name):
    names, column = TREES[name]
    files = names.split()
    noises(tmp_path / "tree", *files)
    if name in ("3dgs", "nerfstudio"):  # the second reference is a copy
        Path("tree", files[1]).write_bytes(Path("tree", files[0]).read_bytes())
    status, out, err = run("--layout", name, "tree", "-m", "l1", "-f", "json")
    assert status == 0, err
    results = json.loads(out)["results"]
    assert len(results) == 2
    assert len({result[column] for result in results}) == 2
    assert len({result["reference"] for result in results}) == 1
    patterns = ["--ref-pattern", f"tree/{LAYOUTS[name].ref_pattern}", "--image-pattern"]
    assert run(*patterns, f"tree/{LAYOUTS[name].image_pattern}", "-m", "l1", "-f", "json")[1] == out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--layout", "3dg"],
            "--layout 3dg: unknown layout; expected one of 3dgs, nerfstudio, basicsr, codec; did you mean",
        ),
        (
            ["--convention", "3dg", "gt", "out/A"],
            "--convention 3dg: unknown convention; expected one of 3dgs, nerfstudio",
        ),
        (["--layout", "3dgs", "--pairs", "x.csv"], "expected one or two folders with --layout, or nothing else"),
        (["--layout", "3dgs", "a", "b", "c"], "expected one or two folders with --layout, or nothing else"),
        (["--explain"], "--explain: expected --layout or --convention with it"),
    ],
)
def test_wrong_names_are_errors(arguments, message):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_a_convention_says_what_it_is_and_comes_before_other_metrics():
    status, out, err = run("gt", "out/A", "--convention", "basicsr-y4", "-m", "l1,psnr:y:crop=4", "-f", "json")
    assert status == 0
    assert list(json.loads(out)["signatures"]) == ["psnr:y:crop=4", "ssim:y:crop=4", "l1"]
    assert err.startswith("note: --convention basicsr-y4 is psnr:y:crop=4,ssim:y:crop=4: BasicSR and papers on")


def test_a_known_mistake_is_warned_of_once_and_is_in_the_signature():
    metrics = "squeeze:unscaled:tower=random:0:weights=uniform"
    status, out, err = run("gt", "out/A", "-m", metrics, "-f", "json")
    assert status == 0
    assert err.count("warning: ") == 1
    assert f"warning: {metrics}: unscaled feeds images in [0, 1] to a network that expects [-1, 1]" in err
    assert next(iter(json.loads(out)["signatures"].values())).endswith(" unscaled=mistake")


# -- sizes of files, and curves ----------------------------------------------------------------------------------------


def test_bytes_and_bits_are_those_of_the_file():
    _, out, _ = run(*CODECS[:-2], "-m", "bytes,bpp,l1", "-f", "json")
    for result in json.loads(out)["results"]:
        size = Path(result["image"]).stat().st_size
        assert result["bytes"] == size
        assert result["bpp"] == pytest.approx(8 * size / (24 * 20), rel=1e-6)


def test_sizes_are_measures_like_any_other():
    _, out, _ = run("gt/1.png", "coded/jpeg/q20/1.jpg", "-m", "Bytes,bpp", "--resize", "48x40")
    size = Path("coded/jpeg/q20/1.jpg").stat().st_size
    assert f"{size}" in out
    assert f"{8 * size / 480:.3f}" in out  # of the reference as it is on the disk
    assert "bpp: lpips-lite/1.0 bpp of=image pixels=reference resize=48x40" in out
    assert run("gt/1.png", "coded/jpeg/q20/1.jpg", "-m", "bytes", "--fail", f"bytes>{size - 1}")[0] == 1
    assert run("gt/1.png", "coded/jpeg/q20/1.jpg", "-m", "bytes", "--fail", f"bytes>{size}")[0] == 0


def test_curves_with_everything():
    status, out, err = run(*CODECS, "--curve", "bpp", "psnr", "--report", "page.html", "--table", "t.json")
    assert status == 0, err
    assert "wrote t.json, bpp-psnr.svg, bpp-psnr.png, bpp-psnr.csv" in err
    assert "Bjøntegaard deltas against jpeg, psnr over bpp" in out
    document = json.loads(Path("t.json").read_text())
    assert list(document["signatures"]) == ["psnr", "bpp"]
    with Path("bpp-psnr.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [delta["bd_rate_percent"] for delta in document["curves"]["deltas"]] == [
        float(row["bd_rate_percent"]) if row["bd_rate_percent"] else None for row in rows
    ]
    assert len(document["curves"]["mean_points"]["webp"]) == 4
    page = Path("page.html").read_text()
    assert "<b>" not in page.partition("<script")[0]  # points of a curve are not rivals
    assert "data:image/svg+xml;base64," in page
    assert "BD-rate, %" in page
    assert "rate-distance curves" in page


def test_the_anchor_may_be_chosen_and_files_have_the_name_given():
    options = ["--by", "codec", "--anchor", "webp", "--curve", "bytes", "l1", "--curve-files", "my.curve"]
    status, out, err = run(*CODECS[:-2], *options, "--interpolation", "pchip")
    assert status == 0, err
    assert "deltas against webp" in out
    assert "PCHIP interpolation" in out
    assert {path.name for path in Path().glob("my.curve.*")} == {"my.curve.svg", "my.curve.png", "my.curve.csv"}


def test_without_the_extra_it_says_so_before_anything_is_computed(monkeypatch):
    monkeypatch.setattr("lpips_lite.files.curve_picture.find_spec", lambda name: None)
    monkeypatch.setattr(Measurer, "measure", lambda *_: pytest.fail("something was computed"))
    status, _, err = run(*CODECS, "--curve", "bpp", "psnr")
    assert status == 2
    assert 'error: --curve needs scipy and matplotlib: pip install "lpips_lite[tables]"' in err
