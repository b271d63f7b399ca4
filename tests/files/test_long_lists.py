"""Long lists: nothing is lost whatever happens, and every way to name the pairs gives the same numbers."""

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lpips_lite import LPIPS, compare, read_image
from tests.command import ENVIRONMENT, PROGRAM, noise, run
from tests.conftest import ROOT


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders of thirty images in three alternating sizes, with two subfolders each; one image is broken."""
    monkeypatch.chdir(tmp_path)
    for number in range(30):
        size = ((48, 40), (40, 48), (64, 64))[number % 3]
        for side in ("a", "b"):
            noise(tmp_path / side / f"part{number % 2}" / f"{number:02}.png", size, seed=(number, side == "b"))
    (tmp_path / "b/part0/04.png").write_bytes((tmp_path / "b/part0/04.png").read_bytes()[:400])
    return tmp_path


def test_rows_come_in_order_and_equal_one_pair_at_a_time(folders):
    table = compare("a", "b", metrics=["lite", "l2"])
    assert table.image.tolist() == sorted(table.image)
    metric = LPIPS()
    for row in table[table.error.isna()].itertuples():
        x, y = read_image(row.image)[None], read_image(row.reference)[None]
        assert row.lite == pytest.approx(metric(x, y).item(), rel=1e-5)
        assert row.l2 == pytest.approx((x - y).square().mean().item(), rel=1e-5)
    assert table[table.error.notna()].image.tolist() == ["b/part0/04.png"]
    assert table.attrs["signatures"]["lite"] == metric.signature


def test_batches_are_full_whatever_the_order_of_sizes(folders, monkeypatch):
    from lpips_lite.files import measuring

    sizes = []
    original = measuring.Measurer._measure_batch

    def spy(self, batch, *rest):
        sizes.append(len(batch))
        original(self, batch, *rest)

    monkeypatch.setattr(measuring.Measurer, "_measure_batch", spy)
    compare("a", "b", batch_size=5)
    assert sorted(sizes) == [4, 5, 5, 5, 5, 5]  # 29 pairs in three sizes


def test_a_reference_that_repeats_is_encoded_once(folders, monkeypatch):
    from lpips_lite.towers import FeatureTower

    seen = []
    original = FeatureTower.stream
    monkeypatch.setattr(FeatureTower, "stream", lambda self, x: (seen.append(len(x)), original(self, x))[1])
    images = [f"b/part0/{n:02}.png" for n in (0, 6, 12, 18)]
    table = compare("a/part0/00.png", images)
    assert seen == [5]  # four images and one reference
    del seen[:]
    same = compare("a/part0/00.png", images, batch_size=1)
    assert seen == [1] * 5
    assert same.lite.tolist() == pytest.approx(table.lite.tolist(), rel=1e-5)
    assert table.lite.tolist() == pytest.approx(
        [compare("a/part0/00.png", image).lite[0] for image in images], rel=1e-5
    )


def test_lists_patterns_folders_and_all_pairs_agree(folders):
    (folders / "lists").mkdir()
    rows = [{"reference": f"../a/part1/{n:02}.png", "image": f"../b/part1/{n:02}.png"} for n in (1, 3, 5)]
    pd.DataFrame(rows).to_csv("lists/list.csv", index=False)
    status, out, _ = run("--pairs", "lists/list.csv", "--format", "json")
    listed = json.loads(out)["results"]
    whole = compare("a", "b").set_index("image").lite
    assert status == 0
    assert [row["lite"] for row in listed] == pytest.approx([whole[f"b/part1/{n:02}.png"] for n in (1, 3, 5)], rel=1e-5)
    assert compare("lists/list.csv").lite.tolist() == pytest.approx([row["lite"] for row in listed])
    pattern = compare("a/part1/01.png", "b/part1/0[17].png")
    assert pattern.image.tolist() == ["b/part1/01.png", "b/part1/07.png"]
    (folders / "three").mkdir()
    for n in (0, 6, 12):
        (folders / f"a/part0/{n:02}.png").rename(folders / f"three/{n:02}.png")
    found = json.loads(run("--all-pairs", "three", "--format", "json")[1])["results"]
    assert [(row["reference"], row["image"]) for row in found] == [
        ("three/00.png", "three/06.png"), ("three/00.png", "three/12.png"), ("three/06.png", "three/12.png"),
    ]  # fmt: skip


# -- stopped and resumed -------------------------------------------------------------------------------------------


def test_a_pair_listed_twice_has_two_rows_also_when_resumed(folders):
    (folders / "list.csv").write_text("reference,image\n" + "a/part0/00.png,b/part0/00.png\n" * 3)
    run("--pairs", "list.csv", "--output", "r.csv")
    whole = (folders / "r.csv").read_text()
    (folders / "r.csv").write_text("".join(whole.splitlines(keepends=True)[:2]))
    run("--pairs", "list.csv", "--output", "r.csv", "--resume")
    assert (folders / "r.csv").read_text() == whole


def test_equal_images_are_at_distance_zero_in_any_batch(folders):
    for size in (1, 4):
        table = compare("a/part0/00.png", ["a/part0/00.png", "b/part0/00.png", "a/part0/00.png"], batch_size=size)
        assert table.lite[[0, 2]].tolist() == [0, 0]


def test_resume_tries_errors_again_and_refuses_another_metrics_file(folders):
    assert run("a", "b", "--output", "r.csv")[0] == 2
    assert pd.read_csv("r.csv").error.notna().sum() == 1
    noise(folders / "b/part0/04.png", (40, 48), seed=7)
    assert run("a", "b", "--output", "r.csv", "--resume")[0] == 0
    table = pd.read_csv("r.csv")
    assert len(table) == 30
    assert table.error.isna().all()
    status, _, err = run("a", "b", "--output", "r.csv", "--resume", "--metric", "l2")
    assert status == 2
    assert "error: r.csv is not an output of these metrics and settings to resume: its columns are" in err
    status, _, err = run("a", "b", "--output", "r.csv", "--resume", "--resize", "32x32")
    assert "line 2: its numbers were made by other metrics or settings; use another output" in err


def test_resumed_psnr_of_equal_images_is_infinite_again(folders):
    noise(folders / "c/one.png")
    noise(folders / "d/one.png")
    for suffix in ("jsonl", "csv"):
        for _ in range(2):
            status, _, err = run("c", "d", "-m", "psnr", "-o", f"same.{suffix}", "--resume", "--fail", "psnr<20")
            assert (status, err) == (0, f"wrote same.{suffix}\n")


def test_interrupt_keeps_the_rows_so_far(folders):
    command = [*PROGRAM, "a", "b", "--metric", "lite,fsim,ms-ssim", "--batch-size", "1", "--output", "r.jsonl"]
    for n in range(40):
        noise(folders / f"a/more/{n}.png", (512, 512), seed=n)
        noise(folders / f"b/more/{n}.png", (512, 512), seed=n + 99)
    process = subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore it
    )
    output = folders / "r.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (output.exists() and output.read_text().count("\n") >= 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert 2 <= len(rows) < 70
    assert f"interrupted: {len(rows)} of 70 pairs done" in err
    assert "Traceback" not in err


def test_strict_stops_at_the_first_error(folders):
    status, _, err = run("a", "b", "--strict", "--output", "r.csv")
    assert status == 2
    assert "04.png" in err
    table = pd.read_csv("r.csv")
    assert table.image.tolist() == sorted(compare("a", "b").image)[:3]
    assert table.error.notna().tolist() == [False, False, True]


def test_full_disk_is_an_error_not_a_traceback(folders):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with full.open("w") as target:
        command = [*PROGRAM, "a", "b", "--format", "csv"]
        result = subprocess.run(command, env=ENVIRONMENT, stdout=target, stderr=subprocess.PIPE)
    assert result.returncode == 2
    assert b"No space left on device" in result.stderr
    assert b"Traceback" not in result.stderr


def test_torchrun_gives_the_same_file_as_one_process(folders):
    run("a", "b", "--metric", "lite,psnr", "--output", "one.csv")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29713"]
    options = ["-m", "lpips_lite", "a", "b", "--metric", "lite,psnr", "--output", "two.csv"]
    result = subprocess.run([*command, *options], env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    one, two = (list(csv.DictReader(Path(name).read_text().splitlines())) for name in ("one.csv", "two.csv"))
    assert result.returncode != 0  # one image is broken
    assert [(row["reference"], row["image"], row["error"]) for row in one] == [
        (row["reference"], row["image"], row["error"]) for row in two
    ]
    for a, b in zip(one, two, strict=True):
        assert (a["lite"] == b["lite"] == "") or float(a["lite"]) == pytest.approx(float(b["lite"]), rel=1e-5)


# -- what many rows come to ----------------------------------------------------------------------------------------


def test_rules_on_statistics_set_the_exit_status(folders):
    (folders / "b/part0/04.png").unlink()
    (folders / "a/part0/04.png").unlink()
    status, out, err = run("a", "b", "--fail", "p95(lite)>0.01", "--fail", "median(lite)>9", "--worst", "3")
    assert status == 1
    assert err.startswith("failed: p95(lite) > 0.01: it is 0.")
    assert "median" in out
    assert "b/part1" in out


def test_many_rows_are_summed_up_in_the_table(folders, monkeypatch):
    from lpips_lite.cli import tables

    monkeypatch.setattr(tables, "MANY", 20)
    out = run("a", "b", "--worst", "4")[1]
    assert "the 4 worst of 29 pairs" in out
    assert out.count(".png") == 8


# -- bad input -----------------------------------------------------------------------------------------------------


def bad_files(folder):
    """Write files that folders may contain, and return the message for each, or None if it must work."""
    scene = Image.open(ROOT / "examples/images/scene.png").resize((64, 64))
    scene.save(folder / "good.png")
    good = (folder / "good.png").read_bytes()
    scene.save(folder / "good.jpg")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("hello, this is text")
    (folder / "cut.png").write_bytes(good[: len(good) // 2])
    (folder / "cut.jpg").write_bytes((folder / "good.jpg").read_bytes()[:700])
    scene.resize((1, 1)).save(folder / "dot.png")
    Image.fromarray(np.full((64, 64), 30000, np.uint16)).save(folder / "deep.png")
    scene.convert("P").save(folder / "palette.png")
    scene.convert("CMYK").save(folder / "cmyk.jpg")
    scene.convert("RGBA").save(folder / "alpha.png")
    scene.save(folder / "moving.gif", save_all=True, append_images=[scene.rotate(90)])
    exif = Image.Exif()
    exif[0x0112] = 6
    scene.resize((64, 32)).save(folder / "turned.jpg", exif=exif)
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    import zlib

    (folder / "bomb.png").write_bytes(header + zlib.crc32(header[12:]).to_bytes(4, "big") + b"\0\0\0\0IDAT")
    (folder / "folder.png").mkdir()
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "dangling.png").symlink_to("nowhere.png")
    scene.resize((32, 64)).save(folder / "narrow.png")
    return {
        "good.png": None, "good.jpg": None, "deep.png": None, "palette.png": None, "cmyk.jpg": None,
        "alpha.png": None, "moving.gif": None,
        "empty.png": "empty.png: not an image file that Pillow can read (it is empty)",
        "text.png": "text.png: not an image file that Pillow can read (it starts with b'hello",
        "cut.png": "cut.png: cannot be decoded (",
        "cut.jpg": "cut.jpg: cannot be decoded (",
        "dot.png": "dot.png: sizes differ, 1×1 against 64×64 of good.png",
        "turned.jpg": "turned.jpg: sizes differ, 32×64 against 64×64",
        "narrow.png": "narrow.png: sizes differ, 32×64 against 64×64 of good.png; --resize ref makes them equal",
        "bomb.png": "bomb.png: 60000 × 60000 = 3600000000 pixels; expected no more than --max-pixels 268435456",
        "loop.png": "no such file or folder: loop.png",
        "dangling.png": "no such file or folder: dangling.png",
        "absent.png": "no such file or folder: absent.png",
        "folder.png": "folder.png is a folder; expected either files only, or exactly two folders",
    }  # fmt: skip


def test_each_bad_file_has_its_message_and_status(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, message in bad_files(tmp_path).items():
        status, out, err = run("good.png", name, "--format", "csv")
        assert status == (0 if message is None else 2), (name, err)
        assert "Traceback" not in err
        if message is None:
            assert name in out
        else:
            assert f"error: {message}" in err, name


def test_bad_files_in_a_list_are_error_rows_and_the_rest_is_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = bad_files(tmp_path)
    pd.DataFrame({"reference": "good.png", "image": list(expected)}).to_csv("list.csv", index=False)
    status, _, err = run("--pairs", "list.csv", "--output", "r.csv")
    table = pd.read_csv("r.csv").set_index("image")
    assert status == 2
    assert len(table) == len(expected)
    for name, message in expected.items():
        row = table.loc[name]
        assert pd.isna(row.lite) == (message is not None) == (not pd.isna(row.error))
        if message is not None:
            assert name in row.error
    assert err.count("error: ") == table.error.notna().sum()


def test_links_that_lead_nowhere_are_not_skipped_in_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for side in ("a", "b"):
        noise(tmp_path / side / "one.png")
    noise(tmp_path / "a/two.png")
    (tmp_path / "b/two.png").symlink_to("two.png")
    status, out, err = run("a", "b", "--format", "json")
    assert status == 2
    assert "error: b/two.png: cannot be read (too many levels of symbolic links)" in err
    assert len(json.loads(out)["results"]) == 1


@pytest.mark.skipif(os.name != "posix", reason="names are bytes only there")
@pytest.mark.parametrize("style", ["csv", "jsonl", "json", "table"])
def test_names_that_are_not_utf8(tmp_path, monkeypatch, style):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"caf\xe9.png")
    try:
        noise(tmp_path / name)
    except (OSError, UnicodeError):
        pytest.skip("the file system refuses such names")
    status, out, err = run(name, name, "--format", style)
    assert (status, err) == (0, "")
    assert "caf" in out


@pytest.mark.skipif(os.name != "posix", reason="permissions are others there")
def test_a_file_without_permission(monkeypatch):
    with tempfile.TemporaryDirectory() as name:  # pytest's folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.chdir(folder)
        noise(folder / "open.png")
        noise(folder / "secret.png")
        (folder / "secret.png").chmod(0)
        run("open.png", "open.png")  # does late imports before root, who can read everything, becomes nobody
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            status, _, err = run("open.png", "secret.png")
        finally:
            if root:
                os.seteuid(0)
    assert (status, err) == (2, "error: secret.png: cannot be read (permission denied)\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "reference,picture\na,b\n",
            "list.csv: no column 'image'; expected the columns reference and image; found reference, picture",
        ),
        ("reference,image\n", "list.csv: no pairs; expected at least one row"),
        ("reference,image\na.png,\n", "list.csv, line 2: expected a reference and an image"),
    ],
)
def test_bad_lists(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").write_text(content)
    status, _, err = run("--pairs", "list.csv")
    assert (status, err) == (2, f"error: {message}\n")


def test_a_file_replaced_while_running_is_one_error(folders, monkeypatch):
    from lpips_lite.files import decoding

    original = decoding.Reader.open

    def replaced(self, path):
        if path.name == "11.png" and path.parts[0] == "b":
            noise(folders / path, (33, 33))
        return original(self, path)

    monkeypatch.setattr(decoding.Reader, "open", replaced)
    status, out, err = run("a", "b", "--format", "csv")
    assert status == 2
    assert "b/part1/11.png: sizes differ, 33×33" in err
    assert len(out.splitlines()) == 31


def test_precision_is_said_in_the_signature(folders):
    status, out, _ = run("a/part0/00.png", "b/part0/00.png", "--precision", "bf16", "--format", "json")
    document = json.loads(out)
    assert status == 0
    assert document["signatures"]["lite"].endswith(" precision=bf16")
    expected = compare("a/part0/00.png", "b/part0/00.png").lite[0]
    assert document["results"][0]["lite"] == pytest.approx(expected, rel=0.05)
    assert document["results"][0]["lite"] != expected


def test_compare_refuses_what_it_does_not_know(folders):
    with pytest.raises(ValueError, match="unknown metric 'lipps'; expected one of lite"):
        compare("a", "b", metrics=["lipps"])
    (folders / "a/extra.bmp").write_bytes(b"")
    with pytest.raises(ValueError, match="1 images have no partner in the other folder, like a/extra.bmp"):
        compare("a", "b")


def test_large_images_are_compared_by_tiles(tmp_path, monkeypatch):
    from lpips_lite import entries, metric

    monkeypatch.chdir(tmp_path)
    noise(tmp_path / "x.png", (400, 300), seed=0)
    noise(tmp_path / "y.png", (400, 300), seed=1)
    whole = compare("x.png", "y.png").lite[0]
    tiled = []
    original = metric.tiled_layer_maps
    monkeypatch.setattr(metric, "tiled_layer_maps", lambda *arguments: (tiled.append(1), original(*arguments))[1])
    monkeypatch.setattr(entries, "MAX_MEMORY", "4MiB")
    assert compare("x.png", "y.png").lite[0] == pytest.approx(whole, rel=1e-5)
    assert run("x.png", "y.png", "--heatmap", "heat.png")[0] == 0
    assert len(tiled) == 3
