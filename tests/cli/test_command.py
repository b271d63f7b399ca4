"""The command line as people use it: output, schema, messages and exit status."""

import hashlib
import io
import json
import re
import shutil

import click
import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from lpips_lite import LPIPS, METRICS, psnr, read_image, ssim
from lpips_lite.cli.main import main
from lpips_lite.tensor_files import save_tensors
from tests.command import run
from tests.conftest import ROOT
from tests.peers import random_tower
from tests.test_weights import checkpoint, hub, publish

EXAMPLES = ROOT / "examples/images"

SCHEMA = {
    "type": "object",
    "required": ["signatures", "results", "errors", "summary"],
    "additionalProperties": False,
    "properties": {
        "signatures": {
            "type": "object",
            "additionalProperties": {"type": "string", "pattern": r"^lpips-lite/\d+\.\d+ "},
        },
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["reference", "image", "identical", "content"],
                "properties": {
                    "reference": {"type": "string"},
                    "image": {"type": "string"},
                    "identical": {"type": "boolean"},
                    "content": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
                    "error": {"type": "string"},
                },
                "patternProperties": {":box$": {"type": ["string", "null"]}},
                "additionalProperties": {"type": ["number", "null"]},
            },
        },
        "errors": {"type": "array", "items": {"required": ["reference", "image", "error"]}},
        "summary": {
            "type": "object",
            "required": ["pairs", "errors", "infinite", "statistics", "folders", "states", "new", "missing", "rules"],
            "additionalProperties": False,
            "properties": {
                **{key: {} for key in ("pairs", "errors", "infinite", "statistics", "folders")},
                "states": {
                    "required": ["passed", "failed", "error", "new", "missing"],
                    "additionalProperties": {"type": "integer"},
                },
                **{key: {"type": "array", "items": {"type": "string"}} for key in ("new", "missing")},
                "rules": {
                    "type": "array",
                    "items": {
                        "required": ["rule", "state", "value", "pairs"],
                        "properties": {"state": {"enum": ["passed", "failed", "not judged"]}},
                    },
                },
            },
        },
    },
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a copy of the example images."""
    monkeypatch.chdir(tmp_path)
    for path in EXAMPLES.glob("*.png"):
        shutil.copy(path, tmp_path)
    return tmp_path


# -- results -------------------------------------------------------------------------------------------------------


def test_table_shows_every_image_and_what_made_the_numbers(folder):
    status, out, err = run("scene.png", "scene_blur.png", "scene_shift.png", "--metric", "lite,psnr")
    assert (status, err) == (0, "")
    assert "reference: scene.png" in out
    assert re.search(r"image +lite ↓ +psnr ↑", out)
    x, y = read_image("scene_blur.png")[None], read_image("scene.png")[None]
    assert re.search(rf"scene_blur.png +{LPIPS()(x, y).item():.4f} +{psnr(x, y).item():.2f}\n", out)
    assert LPIPS().signature in out


def test_json_follows_its_schema(folder):
    status, out, _ = run("scene.png", "scene.png", "scene_blur.png", "--metric", "lite,psnr,ssim,region",
                         "--format", "json", "--fail", "max(psnr)>99", "--fail", "ssim<0.5")  # fmt: skip
    data = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    jsonschema.validate(data, SCHEMA)
    same, blur = data["results"]
    assert status == 1
    assert [rule["state"] for rule in data["summary"]["rules"]] == ["failed", "passed"]
    assert (same["identical"], same["lite"], same["psnr"], same["ssim"]) == (True, 0, None, 1)
    assert blur["identical"] is False
    assert blur["ssim"] == pytest.approx(ssim(*(read_image(blur[k])[None] for k in ("image", "reference"))).item())
    assert data["signatures"]["lite"] == LPIPS().signature


def test_csv_and_jsonl_carry_the_signature(folder):
    arguments = ("scene.png", "scene.png", "scene_blur.png", "-m", "lite", "-m", "psnr")
    table = pd.read_csv(io.StringIO(run(*arguments, "--format", "csv")[1]))
    assert list(table) == ["reference", "image", "lite", "psnr", "identical", "content", "error", "signature"]
    assert table.dtypes[["lite", "psnr", "identical"]].tolist() == [np.float64, np.float64, np.bool_]
    assert table.psnr.tolist()[0] == np.inf
    assert LPIPS().signature in table.signature[0]
    lines = [json.loads(line) for line in run(*arguments, "--format", "jsonl")[1].splitlines()]
    assert [line["psnr"] for line in lines] == [None, pytest.approx(table.psnr[1])]
    assert lines[0]["signature"]["lite"] == LPIPS().signature


def test_output_file_chooses_its_format(folder):
    status, out, err = run("scene.png", "scene_blur.png", "--output", "result.csv")
    assert (status, out, err) == (0, "", "wrote result.csv\n")
    assert len(pd.read_csv("result.csv")) == 1
    run("scene.png", "scene_blur.png", "--output", "result.json")
    jsonschema.validate(json.loads((folder / "result.json").read_text()), SCHEMA)
    run("scene.png", "scene_blur.png", "--output", "result.txt")
    assert "lite ↓" in (folder / "result.txt").read_text()


def test_every_metric_of_the_catalog_that_needs_no_download(folder):
    names = [name for name in METRICS if name not in ("alex", "vgg", "squeeze", "gram", "content", "crn", "dists")]
    data = json.loads(run("scene.png", "scene_noise.png", "--metric", ",".join(names), "--format", "json")[1])
    assert list(data["signatures"]) == names
    for name in names:
        closer = json.loads(run("scene.png", "scene.png", "-m", name, "-f", "json")[1])["results"][0][name]
        closer = np.inf if closer is None else closer
        sign = 1 if METRICS[name].direction == "higher" else -1
        assert sign * closer > sign * data["results"][0][name]


def test_folders_are_paired_by_relative_name(folder):
    for side in ("a", "b"):
        (folder / side / "sub").mkdir(parents=True)
        shutil.copy("scene.png", folder / side / "one.png")
    Image.open("scene.png").save("a/sub/two.png")
    Image.open("scene_blur.png").save("b/sub/two.bmp")  # another suffix, the same name
    (folder / "a" / "notes.txt").write_text("not an image")
    status, out, err = run("a", "b", "--format", "json")
    rows = json.loads(out)["results"]
    assert [(row["reference"], row["image"]) for row in rows] == [
        ("a/one.png", "b/one.png"),
        ("a/sub/two.png", "b/sub/two.bmp"),
    ]
    assert [row["identical"] for row in rows] == [True, False]
    assert (status, err) == (0, "note: files that are not images, left out: a/notes.txt\n")
    assert "reference " in run("a", "b")[1]


def test_unmatched_names_are_reported_and_the_rest_is_measured(folder):
    for side in ("a", "b"):
        (folder / side).mkdir()
        shutil.copy("scene.png", folder / side / "both.png")
    shutil.copy("scene.png", "a/left.png")
    shutil.copy("scene.png", "b/right.png")
    status, out, err = run("a", "b")
    assert status == 2
    assert "b/both.png" in out
    assert err == ("error: b/right.png: no reference for this image\nerror: a/left.png: no image for this reference\n")
    assert run("a", "b", "--allow-unmatched")[0] == 0


def test_heatmaps(folder):
    assert run("scene.png", "scene_blur.png", "--heatmap", "heat.png")[0] == 0
    plain = read_image("heat.png")
    assert plain.shape[1] > 256
    assert plain.shape[2] > 256 + 16
    assert run("scene.png", "scene_blur.png", "--heatmap", "over.png", "--overlay")[0] == 0
    over = read_image("over.png")
    assert over.shape == plain.shape
    assert not torch.equal(over, plain)
    assert run("scene.png", "scene_blur.png", "scene_jpeg.png", "--heatmap", "maps")[0] == 0
    assert sorted(path.name for path in (folder / "maps").iterdir()) == ["scene_blur.png", "scene_jpeg.png"]
    assert run("scene.png", "scene_blur.png", "--heatmap", "maps2")[0] == 0  # a folder for one pair too
    assert (folder / "maps2" / "scene_blur.png").exists()
    (folder / "other").mkdir()
    shutil.copy("scene_jpeg.png", "other/scene_blur.png")
    assert run("scene.png", "scene_blur.png", "other/scene_blur.png", "--heatmap", "same")[0] == 0
    assert len(list((folder / "same").iterdir())) == 2  # two images with the same name: neither is lost


def test_resize(folder):
    Image.open("scene.png").resize((128, 96)).save("small.png")
    status, out, err = run("scene.png", "small.png")
    assert status == 2
    assert "small.png: sizes differ, 128×96 against 256×256 of scene.png; --resize ref makes them equal" in err
    status, out, _ = run("scene.png", "small.png", "--resize", "ref", "--format", "json")
    assert status == 0
    assert json.loads(out)["signatures"]["lite"].endswith(" resize=ref")
    fixed = json.loads(run("scene.png", "small.png", "--resize", "64x48", "--format", "json")[1])
    assert fixed["signatures"]["lite"].endswith(" resize=64x48")
    assert fixed["results"][0]["lite"] < 0.2
    scene = read_image("scene.png")
    from lpips_lite.files.resizing import fit

    pillow = np.asarray(Image.open("scene.png").resize((64, 48), Image.Resampling.BICUBIC)) / 255
    assert np.abs(fit(scene, (48, 64)).permute(1, 2, 0).numpy() - pillow).max() < 0.01


def test_fail_rules_set_the_exit_status(folder):
    status, out, err = run("scene.png", "scene_blur.png", "--fail", "lite>0.01")
    assert status == 1
    assert re.fullmatch(r"failed: scene_blur.png: lite = 0\.\d+ > 0\.01\n", err)
    assert "scene_blur.png" in out
    assert run("scene.png", "scene_blur.png", "--fail", "lite>0.99", "--fail", "lite<0.001")[0] == 0
    assert run("scene.png", "scene_blur.png", "-m", "lite,psnr", "--fail", "psnr<99")[0] == 1
    assert run("scene.png", "scene_blur.png", "nowhere.png", "--fail", "lite>0.01")[0] == 2


# -- what can be wrong ---------------------------------------------------------------------------------------------

WRONG = {
    "missing": (["scene.png", "nowhere.png"], "error: no such file or folder: nowhere.png"),
    "text": (
        ["scene.png", "text.png"],
        "error: text.png: not an image file that Pillow can read (it starts with b'hello",
    ),
    "mixed": (["scene.png", "."], "error: . is a folder; expected either files only, or exactly two folders"),
    "no images": (["empty", "empty"], "error: empty: no image files in this folder"),
    "metric": (["scene.png", "scene.png", "-m", "lipps"], "unknown metric 'lipps'; expected one of lite, alex, vgg"),
    "blind rule": (
        ["scene.png", "scene.png", "-m", "ssim", "--fail", "ssim>1"],
        "can never be crossed; values of ssim",
    ),
    "rule": (["scene.png", "scene.png", "--fail", "lite=1"], "'lite=1': expected METRIC>NUMBER or METRIC<NUMBER"),
    "stray rule": (["scene.png", "scene.png", "--fail", "ssim<1"], "--fail names ssim, which is not measured"),
    "resize": (
        ["scene.png", "scene.png", "--resize", "9"],
        "'9'; expected no, ref, crop, pad or WIDTHxHEIGHT, like 256x256",
    ),
    "no map": (["scene.png", "scene.png", "-m", "ssim", "--heatmap", "h.png"], "--heatmap: ssim has no map"),
    "overlay": (["scene.png", "scene.png", "--overlay"], "--overlay: expected --heatmap with it"),
    "one map": (["scene.png"] * 3 + ["--heatmap", "h.png"], "there are 2 pairs; expected a folder, not a file"),
    "device": (["scene.png", "scene.png", "--device", "xpu:7"], "--device xpu:7: not usable on this machine"),
    "nonsense device": (["scene.png", "scene.png", "--device", "toaster"], "--device toaster: not usable"),
    "tiny": (["tiny.png", "tiny.png"], "error: tiny.png: lite: x is 8×8; expected at least 16×16"),
    "twice": (["twice", "twice"], "error: twice: scene stands for several files: scene.bmp, scene.png"),
    "output": (["scene.png", "scene.png", "-o", "none/out.csv"], "error: --output none/out.csv: no such folder: none"),
    "nothing": (["scene.png"], "Missing argument 'IMAGE'"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_bad_input_is_one_clear_line_and_status_2(folder, arguments, message):
    (folder / "text.png").write_text("hello, this is text")
    (folder / "empty").mkdir()
    (folder / "twice").mkdir()
    for name in ("scene.png", "scene.bmp"):
        Image.open("scene.png").save(folder / "twice" / name)
    Image.new("RGB", (8, 8)).save("tiny.png")
    status, _, err = run(*arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in err


def test_one_bad_image_does_not_hide_the_others(folder):
    (folder / "text.png").write_text("hello, this is text")
    status, out, err = run("scene.png", "text.png", "scene_blur.png", "--format", "json")
    assert status == 2
    assert [row["image"] for row in json.loads(out)["results"]] == ["scene_blur.png"]
    assert err.count("error:") == 1


def test_no_network_says_what_to_do(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    status, out, err = run("scene.png", "scene_blur.png", "--metric", "alex")
    assert (status, out) == (2, "")
    for part in ("alexnet-owt-7be5be79.pth", "no route to host", "compare-images weights fetch", 'net="lite" needs no'):
        assert part in err


def test_nothing_measured_prints_no_empty_table(folder):
    (folder / "text.png").write_text("hello, this is text")
    assert run("scene.png", "text.png")[1] == ""


def test_usage_errors_point_to_the_programs_own_help(folder):
    assert "Try 'compare-images --help' for help." in run("scene.png")[2]


def test_notes_about_files_go_to_stderr(folder):
    Image.open("scene.png").convert("RGBA").resize((64, 64)).save("opaque.png")
    Image.new("RGBA", (64, 64), (255, 0, 0, 128)).save("clear.png")
    status, out, err = run("opaque.png", "clear.png", "--format", "json")
    assert (status, err) == (0, "note: clear.png: transparent; composited on white\n")
    json.loads(out)


def test_debug_shows_the_traceback(folder):
    status, _, err = run("scene.png", "nowhere.png", "--debug")
    assert status == 2
    assert err.startswith("Traceback (most recent call last):")
    assert err.endswith("\nerror: no such file or folder: nowhere.png\n")


# -- help, version, completion -------------------------------------------------------------------------------------


def test_help_has_examples_and_every_metric():
    status, out, _ = run("--help")
    assert status == 0
    assert out.startswith("Usage: compare-images [OPTIONS] REF IMAGE [IMAGE]...")
    assert "compare-images original.png restored.png" in out
    assert all(name in out for name in METRICS)


def test_help_has_every_option_in_a_group():
    from lpips_lite.cli.main import GROUPS, compare

    grouped = [name for names in GROUPS.values() for name in names]
    options = {p.name for p in compare.params if isinstance(p, click.Option)} | {"help"}
    assert sorted(grouped) == sorted(options)


def test_version():
    from lpips_lite import __version__

    assert run("--version")[1] == f"compare-images, version {__version__}\n"


def test_shell_completion():
    environment = {
        "_COMPARE_IMAGES_COMPLETE": "bash_complete",
        "COMP_WORDS": "compare-images a b --he",
        "COMP_CWORD": "3",
    }
    result = CliRunner().invoke(main, prog_name="compare-images", env=environment)
    assert "plain,--heatmap" in result.stdout


# -- weights -------------------------------------------------------------------------------------------------------


def test_weights_list_names_files_sizes_and_licences():
    status, out, _ = run("weights", "list")
    assert status == 0
    assert all(line == line.rstrip() for line in out.splitlines())
    assert re.search(r"AlexNet tower +244.4 +no +trained on ImageNet", out)
    assert re.search(r"lite tower and channel weights +1.6 +in the package +BSD-2-Clause +content 60ccb2b9", out)
    assert re.search(r"VGG-16 tower +553.4 +no +trained on .* sha256 397923af", out)


def test_weights_convert_recognises_the_tower(tmp_path):
    path = checkpoint(tmp_path / "mine.pth", "alex")
    status, out, _ = run("weights", "convert", path, "-o", tmp_path / "small.safetensors")
    assert status == 0
    assert "a custom alex tower, 9.9 MB" in out
    by_full, by_small = (LPIPS("alex", tower_weights=p).signature for p in (path, tmp_path / "small.safetensors"))
    assert by_full == by_small
    (tmp_path / "text.pth").write_text("hello")
    status, _, err = run("weights", "convert", tmp_path / "text.pth")
    assert status == 2
    assert "fits none of alex, vgg, vgg19, squeeze" in err


def test_weights_verify_says_by_what_a_file_is_known(home, monkeypatch):
    for net, content in (("squeeze", None), ("alex", "")):
        publish(monkeypatch, checkpoint(hub() / f"{net}.pth", net), net=net, content=content)
        assert f"{net}-" in run("weights", "fetch", net)[1]
    status, out, _ = run("weights", "verify")
    assert status == 0
    digest = hashlib.sha256((hub() / "alex.pth").read_bytes()).hexdigest()
    for text in (
        r"lite.safetensors: published, by its sha256",
        r"squeeze-\w{8}-features.safetensors: published, by its content",
        rf"alex-\w{{8}}-features.safetensors: content matches its own record; made from alex.pth with sha256 {digest}",
        r"alex.pth: published, by its sha256",
    ):
        assert re.search(rf"^good  \S*{text}$", out, re.MULTILINE)
    save_tensors(next(home.glob("squeeze-*.safetensors")), random_tower("squeeze", seed=1), {})
    status, out, _ = run("weights", "verify")
    assert status == 2
    assert re.search(r"BAD +\S+squeeze-\S+: .*is not the published SqueezeNet 1.1 tower: its content is", out)


def test_weights_fetch_names_the_file_that_is_read(monkeypatch):
    """If no copy can be kept, the checkpoint is listed."""
    monkeypatch.setenv("LPIPS_LITE_HOME", "/proc/no/home")
    publish(monkeypatch, checkpoint(hub() / "squeeze.pth"))
    assert run("weights", "fetch", "squeeze")[1].split()[0] == str(hub() / "squeeze.pth")


def test_weights_verify_finds_the_bad_file(home):
    assert run("weights", "verify")[0] == 0
    home.mkdir()
    (home / "alexnet-owt-7be5be79.pth").write_bytes(b"half a file")
    status, out, _ = run("weights", "verify")
    assert status == 2
    assert re.search(r"BAD +\S+alexnet-owt-7be5be79.pth: .* expected 7be5be79", out)


def test_weights_fetch_without_a_network(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    status, _, err = run("weights", "fetch", "squeeze")
    assert status == 2
    assert "squeezenet1_1-b8a52dc0.pth" in err
