"""The pipeline of one call: whatever happens, the rows measured so far are written."""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lpips_lite.files import gallery, heatmap, results
from tests.command import ENVIRONMENT, PROGRAM, noise, run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a reference and five images."""
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        noise(tmp_path / f"{number}.png", (24, 20), seed=number)
    return tmp_path


ARGUMENTS = ["0.png", "1.png", "2.png", "3.png", "4.png", "-m", "lite,l1"]
KINDS = {"json": lambda: len(json.loads(Path("r.json").read_text())["results"]),
         "csv": lambda: len(Path("r.csv").read_text().splitlines()) - 1,
         "txt": lambda: Path("r.txt").read_text().count("\n ")}  # fmt: skip


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_failure_of_one_sink_leaves_the_others_what_they_had(folder, monkeypatch, kind):
    original, drawn = heatmap.Heatmaps.take, []

    def full(self, row, decoded):
        if len(drawn) == 2:
            raise OSError(28, "No space left on device", "maps")
        drawn.append(original(self, row, decoded))

    monkeypatch.setattr(heatmap.Heatmaps, "take", full)
    status, _, err = run(*ARGUMENTS, "--heatmap", "maps", "-o", f"r.{kind}", "--report", "page.html")
    assert status == 2
    assert "No space left on device: 'maps'" in err
    assert KINDS[kind]() == 2
    assert Path("page.html").exists()


def test_a_sink_that_cannot_finish_does_not_keep_the_others_from_it(folder, monkeypatch):
    def fail(self):
        self._file.close()
        raise OSError("cannot finish")

    monkeypatch.setattr(results.ResultsFile, "finish", fail)
    status, _, err = run(*ARGUMENTS, "absent.png", "-o", "r.csv", "--report", "page.html", "--allow-unmatched")
    assert status == 2
    status, _, err = run(*ARGUMENTS, "-o", "r.csv", "--report", "page.html")
    assert (status, err) == (2, "wrote page.html\nerror: cannot finish\n")


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), MemoryError(), ValueError("too small")])
def test_a_map_that_fails_is_an_error_beside_the_numbers(folder, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(heatmap, "heatmap", fail)
    status, out, err = run(*ARGUMENTS, "--heatmap", "maps", "-f", "json")
    document = json.loads(out)
    assert status == 2
    assert len(document["results"]) == len(document["errors"]) == 4
    assert all("no heatmap (" in row["error"] and row["lite"] > 0 for row in document["results"])
    assert err.count("error: ") == 4


def test_files_with_and_without_a_map_keep_both_reasons(folder, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no memory")

    monkeypatch.setattr(heatmap, "draw_measured", fail)
    _, out, _ = run("0.png", "1.png", "-m", "lite,ms-ssim", "--heatmap", "maps", "-f", "json")
    (row,) = json.loads(out)["results"]
    assert "1.png: ms-ssim: " in row["error"]
    assert row["error"].endswith("; 1.png: no heatmap (no memory)")


def test_strict_stops_after_the_first_error_and_writes_what_came_before(folder):
    Path("2.png").write_bytes(b"broken")
    status, _, err = run(*ARGUMENTS, "--strict", "-o", "r.csv", "--report", "page.html")
    with Path("r.csv").open(newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["1.png", "2.png"]
    assert (status, err.count("error: ")) == (2, 1)
    assert Path("page.html").exists()


def test_infinite_numbers_are_counted_in_the_table(folder):
    _, out, _ = run("0.png", *["0.png", "1.png"] * 6, "-m", "psnr")
    assert " infinite " in out
    assert [line.split()[-1] for line in out.splitlines() if line.startswith(" infinite")] == ["6"]


def test_images_without_a_partner_are_noted_where_they_are_allowed(folder):
    for side, names in (("x", "ab"), ("y", "acd")):
        for name in names:
            noise(folder / side / f"{name}.png")
    status, _, err = run("x", "y", "-m", "l1", "--allow-unmatched")
    assert (status, err) == (
        0,
        "note: missing, references without an image, not compared: x/b.png\n"
        "note: new, images without a reference, not compared: y/c.png, y/d.png\n",
    )


def test_zero_has_no_sign(folder):
    from PIL import Image

    Image.new("RGB", (20, 20)).save("black.png")
    Image.new("RGB", (20, 20), "white").save("white.png")
    assert json.loads(run("black.png", "white.png", "-m", "psnr", "-f", "json")[1])["results"][0]["psnr"] == 0
    assert "-0.0" not in run("black.png", "white.png", "-m", "psnr", "-f", "json")[1]


def test_errors_stand_in_a_table_that_is_a_file(folder):
    Path("2.png").write_bytes(b"broken")
    run(*ARGUMENTS, "-o", "r.txt")
    assert "error: 2.png: not an image file" in Path("r.txt").read_text()


def test_a_table_in_a_file_is_plain_whatever_stdout_is(folder, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    run("0.png", "1.png", "2.png", "-o", "r.txt")
    assert "\x1b" not in Path("r.txt").read_text()


@pytest.mark.skipif(os.name != "posix", reason="pipes are others there")
def test_an_interrupt_ends_the_waiting_for_a_pipe(folder):
    os.mkfifo("pipe")
    running = subprocess.Popen(
        [*PROGRAM, "0.png", "pipe", "-m", "l1"],
        env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    time.sleep(4)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=30) == 130
    assert "Traceback" not in running.stderr.read()
    for stream in (running.stdin, running.stdout, running.stderr):
        stream.close()


def test_a_report_is_told_of_what_it_cannot_show(folder, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no memory")

    monkeypatch.setattr(gallery, "draw_measured", fail)
    status, _, err = run(*ARGUMENTS, "--report", "page.html")
    assert status == 2
    assert err.count("no pictures (no memory); page.html has no pictures of it") == 4
