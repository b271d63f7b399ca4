"""`compare()` and the command do the same: what one refuses, the other refuses, too."""

import json
from pathlib import Path

import pytest

from lpips_lite import compare
from tests.command import noises, run


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with good pairs and bad ones."""
    monkeypatch.chdir(tmp_path)
    noises(
        tmp_path, "r.png", "s.png", "a/1.png", "b/1.png", "c/2.png", "x4/1x4.png", "tree/1.png", "tree/jpeg/q5/1.jpg"
    )
    (tmp_path / "list.csv").write_text("reference,image,method\nr.png,s.png,JPEG\n")
    (tmp_path / "psnr.csv").write_text("reference,image,psnr\nr.png,s.png,1\n")
    (tmp_path / "empty.csv").write_text("reference,image\n")
    (tmp_path / "empty").mkdir()
    return tmp_path


BOTH = {  # what both refuse: Python's arguments, the command's
    "resize as text": ({"resize": "256x256"}, None),
    "resize as a list": ({"resize": [32, 32]}, None),
    "resize to a number": ({"resize": 32}, ["--resize", "32"]),
    "resize to nothing": ({"resize": (0, 32)}, ["--resize", "32x0"]),
    "resize beyond memory": ({"resize": (10**5, 10**5)}, ["--resize", "100000x100000"]),
    "resize to true": ({"resize": (True, True)}, None),
    "precision fp16": ({"precision": "fp16"}, ["--precision", "fp16"]),
    "precision float32": ({"precision": "float32"}, ["--precision", "float32"]),
    "no batch": ({"batch_size": 0}, ["--batch-size", "0"]),
    "half a batch": ({"batch_size": 1.5}, ["--batch-size", "1.5"]),
    "no workers": ({"workers": 0}, ["--workers", "0"]),
    "no pixels": ({"max_pixels": 0}, ["--max-pixels", "0"]),
    "pixels as text": ({"max_pixels": "many"}, ["--max-pixels", "many"]),
    "no colour": ({"background": "paper"}, ["--background", "paper"]),
    "a transparent colour": ({"background": "#ffffff80"}, ["--background", "#ffffff80"]),
    "a colour as numbers": ({"background": (1, 2, 3)}, None),
    "no device": ({"device": "toaster"}, ["--device", "toaster"]),
    "a device without numbers": ({"device": "meta"}, ["--device", "meta"]),
    "no metric": ({"metrics": ["lipps"]}, ["-m", "lipps"]),
    "an option of no metric": ({"metrics": ["psnr:matlab"]}, ["-m", "psnr:matlab"]),
    "metrics of none": ({"metrics": []}, ["-m", ","]),
    "no layout": ({"layout": "3dg"}, None),
    "no convention": ({"convention": "3dg"}, ["--convention", "3dg"]),
}


@pytest.mark.parametrize(("settings", "options"), BOTH.values(), ids=BOTH)
def test_what_one_door_refuses_the_other_refuses(settings, options):
    with pytest.raises(ValueError, match=".") as caught:
        compare("r.png", "s.png", **settings)
    (argument,) = settings
    assert argument in str(caught.value) or argument == "metrics"
    assert "--" not in str(caught.value)
    if options is not None:
        status, out, err = run("r.png", "s.png", *options)
        assert (status, out) == (2, "")
        assert options[0] in err or options[0] == "-m"


PATHS = {
    "nothing": ((), []),
    "a reference alone": (("r.png",), ["r.png"]),
    "no images": (("r.png", []), ["r.png"]),
    "absent": (("r.png", "absent.png"), ["r.png", "absent.png"]),
    "a pattern without files": (("r.png", "absent*.png"), ["r.png", "absent*.png"]),
    "a folder and a file": (("a", "s.png"), ["a", "s.png"]),
    "three folders": (("a", ["b", "c"]), ["a", "b", "c"]),
    "an empty folder": (("a", "empty"), ["a", "empty"]),
    "nothing in common": (("a", "c"), ["a", "c"]),
    "an empty list": (("empty.csv",), ["--pairs", "empty.csv"]),
    "no list": (("r.png",), ["--pairs", "r.png"]),
}


@pytest.mark.parametrize(("arguments", "options"), PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("allowed", [False, True])
def test_there_must_be_something_to_compare(arguments, options, allowed):
    with pytest.raises((ValueError, OSError), match="."):
        compare(*arguments, allow_unmatched=allowed)
    assert run(*options, *(["--allow-unmatched"] if allowed else []))[0] == 2


def test_a_column_that_is_also_a_result():
    with pytest.raises(ValueError, match="column 'psnr' is also the name of a result"):
        compare("psnr.csv", metrics=["psnr"])
    assert compare("psnr.csv", metrics=["l1"]).psnr.tolist() == ["1"]


def test_metrics_as_one_text_are_refused():
    with pytest.raises(TypeError, match=r"metrics='lite': expected a list, like \['lite'\]"):
        compare("r.png", "s.png", metrics="lite")


SAME = {
    "two images": (("r.png", "s.png"), ["r.png", "s.png"], {}),
    "two folders": (("a", "b"), ["a", "b"], {}),
    "a list": (("list.csv",), ["--pairs", "list.csv"], {}),
    "patterns": ((), ["--ref-pattern", "a/{n}.png", "--image-pattern", "{side}/{n}x4.png"],
                 {"ref_pattern": "a/{n}.png", "image_pattern": "{side}/{n}x4.png"}),
    "settings": (("r.png", "s.png"), ["r.png", "s.png", "--resize", "32x24", "--background", "black"],
                 {"resize": (24, 32), "background": "black"}),
    "metrics": (("r.png", "s.png"), ["r.png", "s.png", "-m", "PSNR,ssim:matlab"], {"metrics": ["PSNR", "ssim:matlab"]}),
    "sizes of files": (("r.png", "s.png"), ["r.png", "s.png", "-m", "bytes,bpp"], {"metrics": ["bytes", "bpp"]}),
    "a convention": (("r.png", "s.png"), ["r.png", "s.png", "--convention", "basicsr-y2", "-m", "l1"],
                     {"convention": "basicsr-y2", "metrics": ["l1"]}),
    "a layout": (("tree",), ["--layout", "codec", "tree", "-m", "l1"], {"layout": "codec", "metrics": ["l1"]}),
    "a layout of two folders": (("a", "tree"), ["--layout", "codec", "a", "tree", "-m", "l1"],
                                {"layout": "codec", "metrics": ["l1"]}),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "options", "settings"), SAME.values(), ids=SAME)
def test_both_doors_give_the_same_rows_and_signatures(arguments, options, settings):
    table = compare(*arguments, **settings)
    status, out, _ = run(*options, "-f", "jsonl")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert table.attrs["signatures"] == lines[0].pop("signature")
    assert list(table) == list(lines[0])
    row = table.iloc[0].to_dict()
    assert {key: None if value != value else value for key, value in row.items()} == lines[0]


def test_a_known_mistake_is_warned_of():
    metric = "squeeze:unscaled:tower=random:0:weights=uniform"
    with pytest.warns(UserWarning, match="unscaled feeds images in .* that expects") as caught:
        table = compare("r.png", "s.png", metrics=[metric])
    assert len(caught) == 1
    assert table.attrs["signatures"][metric].endswith(" unscaled=mistake")


def test_a_layout_takes_no_patterns():
    with pytest.raises(
        ValueError, match="layout='codec' stands for ref_pattern and image_pattern; expected it without"
    ):
        compare("tree", layout="codec", ref_pattern="{n}.png")


def test_notes_are_data():
    from PIL import Image

    Image.new("RGBA", (20, 18), (0, 0, 0, 9)).save("clear.png")
    assert compare("r.png", "clear.png").attrs["notes"] == ["clear.png: transparent; composited on white"]


@pytest.mark.usefixtures("_without_pandas")
def test_without_pandas_it_says_what_to_install():
    with pytest.raises(ImportError, match=r'pip install "lpips_lite\[compare\]"'):
        compare("r.png", "s.png")


def test_paths_of_any_kind():
    assert compare(Path("r.png"), [Path("s.png"), "s.png"], metrics=["l1"]).image.tolist() == ["s.png", "s.png"]
