"""A run that resumes an interrupted one ends with exactly the uninterrupted result."""

import csv
import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.command import ENVIRONMENT, PROGRAM, noise, run
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples/images"

PAIRS = 8


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders of small images in three sizes; one image is broken."""
    monkeypatch.chdir(tmp_path)
    for number in range(PAIRS):
        size = ((24, 20), (20, 24), (32, 32))[number % 3]
        for side in ("a", "b"):
            noise(tmp_path / side / f"{number}.png", size, seed=(number, side == "b"))
    (tmp_path / "b/5.png").write_bytes(b"broken")
    return tmp_path


@pytest.fixture(params=["csv", "jsonl"])
def output(request):
    return Path(f"r.{request.param}")


@pytest.fixture
def alone(monkeypatch):
    """Every image counts as large, so that it is alone in its batch."""
    from lpips_lite.files import measuring

    monkeypatch.setattr(measuring, "CPU_PIXELS", 1)


def compare(output, *arguments):
    return run("a", "b", "-m", "lite,psnr", "-o", output, *arguments)


def uninterrupted(output, *arguments):
    whole = output.with_stem("whole")
    compare(whole, *arguments)
    return whole.read_text()


def read(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return list(csv.DictReader(path.read_text().splitlines()))


def measured(monkeypatch):
    """Return a list of the images that are measured from now on."""
    from lpips_lite.files import measuring

    images = []
    original = measuring.Measurer.measure

    def spy(self, chunk):
        images.extend(decoded.pair.image.name for decoded in chunk)
        return original(self, chunk)

    monkeypatch.setattr(measuring.Measurer, "measure", spy)
    return images


@pytest.mark.parametrize("rows", [0, 1, 3, PAIRS - 1, PAIRS])
@pytest.mark.parametrize("cut", [0, 1, 20])
def test_cut_anywhere_it_ends_as_the_whole(folders, output, rows, cut):
    whole = uninterrupted(output)
    lines = whole.splitlines(keepends=True)
    kept = "".join(lines[: rows + (output.suffix == ".csv")])
    output.write_text(kept + "".join(lines)[len(kept) :][:cut])
    compare(output, "--resume")
    assert output.read_text() == whole


def test_only_what_is_missing_is_measured(folders, output, alone, monkeypatch):
    whole = uninterrupted(output)
    output.write_text("".join(whole.splitlines(keepends=True)[:4]))
    images = measured(monkeypatch)
    compare(output, "--resume")
    assert images == [f"{number}.png" for number in range(3 + (output.suffix == ".jsonl"), PAIRS)]


def test_what_shares_batches_with_something_missing_is_measured_again(folders, output, monkeypatch):
    """Numbers are those of an uninterrupted run to the last digit, which may depend on the batch."""
    from lpips_lite.files import measuring

    monkeypatch.setattr(measuring, "BLOCK_PAIRS", 3)
    whole = uninterrupted(output)
    output.write_text("".join(whole.splitlines(keepends=True)[: 4 + (output.suffix == ".csv")]))
    images = measured(monkeypatch)
    compare(output, "--resume")
    assert images == ["3.png", "4.png", "5.png", "6.png", "7.png"]
    assert output.read_text() == whole


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_numbers_are_the_same_to_the_last_digit(folders, output, rows):
    arguments = [EXAMPLES / f"scene{kind}.png" for kind in ("", "_blur", "_jpeg", "_noise", "_shift")]
    run(*arguments, "-m", "lite,gram-lite", "-o", output)
    whole = output.read_text()
    output.write_text("".join(whole.splitlines(keepends=True)[: rows + (output.suffix == ".csv")]))
    run(*arguments, "-m", "lite,gram-lite", "-o", output, "--resume")
    assert output.read_text() == whole


CHANGES = {
    "an image": lambda: noise(Path("b/1.png"), (20, 24), seed=77),
    "a reference": lambda: noise(Path("a/1.png"), (20, 24), seed=77),
    "an image into a broken one": lambda: Path("b/1.png").write_bytes(b"broken, too"),
    "an image into its reference": lambda: shutil.copy("a/1.png", "b/1.png"),
    "a broken image into a good one": lambda: noise(Path("b/5.png"), (32, 32), seed=77),
    "both files with each other": lambda: (Path("a/1.png").rename("x"), Path("b/1.png").rename("a/1.png"),
                                           Path("x").rename("b/1.png")),
    "two images with each other": lambda: (Path("b/1.png").rename("x"), Path("b/4.png").rename("b/1.png"),
                                           Path("x").rename("b/4.png")),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_has_changed_is_measured_again_in_its_place(folders, output, change):
    compare(output)
    change()
    compare(output, "--resume")
    assert output.read_text() == uninterrupted(output)


def test_the_time_of_a_file_does_not_count(folders, output, alone, monkeypatch):
    compare(output)
    before = output.read_text()
    for path in folders.glob("*/*.png"):
        os.utime(path, (1, 1))
    images = measured(monkeypatch)
    compare(output, "--resume")
    assert images == ["5.png"]  # the error, which is tried again
    assert output.read_text() == before


def test_pairs_of_another_run_leave(folders, output):
    """Pairs that are not in this run are in no row, no summary and no rule."""
    run("a/0.png", "b/0.png", "a/3.png", "-m", "psnr", "-o", output)
    status, _, err = run("a/0.png", "a/0.png", "b/0.png", "-m", "psnr", "-o", output, "--resume", "--fail", "psnr<5")
    assert (status, err) == (0, f"wrote {output}\n")
    assert [row["image"] for row in read(output)] == ["a/0.png", "b/0.png"]


def test_rows_end_in_this_runs_order(folders, output):
    run("a/0.png", "b/0.png", "a/3.png", "b/3.png", "-m", "psnr", "-o", output)
    run("a/0.png", "b/3.png", "b/6.png", "b/0.png", "-m", "psnr", "-o", output, "--resume")
    assert [row["image"] for row in read(output)] == ["b/3.png", "b/6.png", "b/0.png"]


def test_other_carried_columns_are_those_of_now(folders):
    list_of = "reference,image,method\na/0.png,b/0.png,{}\na/3.png,b/3.png,{}\n"
    for methods in (("old", "old"), ("new", "old")):
        Path("list.csv").write_text(list_of.format(*methods))
        run("--pairs", "list.csv", "-m", "psnr", "-o", "r.csv", "--resume")
    assert [row["method"] for row in read(Path("r.csv"))] == ["new", "old"]


FOREIGN = {
    "another metric": lambda: run("a", "b", "-m", "lite", "-o", "r.csv"),
    "another order of metrics": lambda: run("a", "b", "-m", "psnr,lite", "-o", "r.csv"),
    "another size": lambda: run("a", "b", "-m", "lite,psnr", "--resize", "ref", "-o", "r.csv"),
    "another background": lambda: run("a", "b", "-m", "lite,psnr", "--background", "black", "-o", "r.csv"),
    "another format": lambda: run("a", "b", "-m", "lite,psnr", "-f", "jsonl", "-o", "r.txt"),
    "somebody's notes": lambda: Path("r.csv").write_text("name,mark\nAnn,1\n"),
    "an empty number": lambda: Path("r.csv").write_text(uninterrupted(Path("r.csv")).replace(",False,", ",,False,", 1)),
    "one line of JSON": lambda: Path("r.csv").write_text('{"important": 1}'),
    "a note without a line end": lambda: Path("r.csv").write_text("remember the milk"),
    "no text": lambda: Path("r.csv").write_bytes(bytes(range(256)) * 9 + b"\n"),
}


@pytest.mark.parametrize("before", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_is_one_error_and_stays(folders, before):
    before()
    if Path("r.txt").exists():
        Path("r.txt").rename("r.csv")
    found = Path("r.csv").read_bytes()
    status, out, err = compare(Path("r.csv"), "--resume")
    assert (status, out) == (2, "")
    assert err.startswith("error: r.csv is not an output of these metrics and settings to resume: ")
    assert len(err.splitlines()) == 1
    assert Path("r.csv").read_bytes() == found


def test_heatmaps_that_are_gone_are_drawn_again(folders, output, alone):
    compare(output, "--heatmap", "maps")
    Path("maps/3.png").unlink()
    shutil.copy("maps/2.png", "maps/4.png")
    before = output.read_text()
    times = {path.name: path.stat().st_mtime_ns for path in Path("maps").iterdir()}
    compare(output, "--heatmap", "maps", "--resume")
    assert output.read_text() == before
    again = {path.name for path in Path("maps").iterdir() if path.stat().st_mtime_ns != times.get(path.name)}
    assert again == {"3.png", "4.png"}


def test_killed_at_random_moments_with_an_image_replaced_in_between(folders):
    kills, output = 2, Path("r.csv")
    command = [*PROGRAM, "a", "b", "-m", "lite,psnr,ssim:matlab", "--resume", "-o"]
    for number in range(40):
        for side in ("a", "b"):
            noise(folders / side / f"more/{number}.png", (64, 48), seed=(number, side == "b"))
    began = time.monotonic()
    subprocess.run([*command, "first.csv"], env=ENVIRONMENT, capture_output=True)
    duration = time.monotonic() - began
    chance = random.Random(0)
    for kill in range(kills):
        if kill == kills // 2:
            noise(folders / "b/more/7.png", (64, 48), seed=99)
        process = subprocess.Popen([*command, output], env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.7, 1) * duration)
        process.kill()
        process.wait()
        if output.exists() and chance.random() < 0.5:  # as if less had reached the disk
            output.write_bytes(output.read_bytes()[: -chance.randrange(1, 300)])
    for name in (output, "again.csv"):
        subprocess.run([*command, name], env=ENVIRONMENT, capture_output=True)
    assert output.read_bytes() == Path("again.csv").read_bytes()
    assert not [path for path in folders.iterdir() if path.name.startswith(".")]
