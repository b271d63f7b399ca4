"""Files to write are checked against files to read, and options against each other, before anything is computed."""

import csv
import hashlib
import os
import subprocess
import threading
from pathlib import Path

import pytest

from lpips_lite import LPIPS
from tests.command import ENVIRONMENT, PROGRAM, noise, noises, run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two folders of images, a list of pairs, weights, and other names for some of them."""
    monkeypatch.chdir(tmp_path)
    noises(tmp_path, "ref/a.png", "ref/b.png", "out/a.png", "out/b.png", "r.png", "s.png")
    (tmp_path / "list.csv").write_text("reference,image\nr.png,s.png\n")
    (tmp_path / "link.png").symlink_to("s.png")
    (tmp_path / "list.txt").symlink_to("list.csv")
    (tmp_path / "hard.csv").hardlink_to("list.csv")
    (tmp_path / "linked").symlink_to("out")
    return tmp_path


def rows(path):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


DESTROYERS = {
    "heatmaps over the images": ["ref", "out", "--heatmap", "out"],
    "heatmaps over the references": ["ref", "out", "--heatmap", "ref"],
    "heatmaps into the folder, by a link": ["ref", "out", "--heatmap", "linked"],
    "heatmaps below the folder": ["ref", "out", "--heatmap", "out/maps"],
    "heatmaps beside one image": ["r.png", "s.png", "--heatmap", "."],
    "heatmap over the image": ["r.png", "s.png", "--heatmap", "s.png"],
    "heatmap over the reference": ["r.png", "s.png", "--heatmap", "r.png"],
    "heatmap over the image, by a link": ["r.png", "s.png", "--heatmap", "link.png"],
    "heatmap over what a link leads to": ["r.png", "link.png", "--heatmap", "s.png"],
    "heatmap over an image without partner": ["ref", "out", "--allow-unmatched", "--heatmap", "ref/only.png"],
    "output over the image": ["r.png", "s.png", "-o", "s.png"],
    "output as CSV over the image": ["r.png", "s.png", "-f", "csv", "-o", "./s.png"],
    "output over the list": ["--pairs", "list.csv", "-o", "list.csv"],
    "output over the list, by a link": ["--pairs", "list.csv", "-o", "list.txt"],
    "output over the list, by its other name": ["--pairs", "list.csv", "-o", "hard.csv"],
    "output over the list, resumed": ["--pairs", "list.csv", "-o", "list.csv", "--resume"],
    "output over the weights": ["r.png", "s.png", "-m", "lite:weights=weights.txt", "-o", "weights.txt"],
    "output over the tower": ["r.png", "s.png", "-m", "alex:tower=weights.txt", "-o", "weights.txt"],
    "report over the image": ["r.png", "s.png", "--report", "s.png"],
    "report over the list": ["--pairs", "list.html", "--report", "list.html"],
    "report over the output": ["r.png", "s.png", "-o", "page", "--report", "page"],
    "JUnit over the image": ["r.png", "s.png", "--junit", "s.xml"],
    "JUnit over an image without partner": ["ref", "out", "--allow-unmatched", "--junit", "ref/only.xml"],
    "JUnit over the report": ["r.png", "s.png", "--report", "page", "--junit", "page"],
    "output as the folder of heatmaps": ["r.png", "s.png", "-o", "maps", "--heatmap", "maps"],
    "output as the folder of heatmaps, by a slash": ["r.png", "s.png", "-f", "csv", "-o", "maps", "--heatmap", "maps/"],
    "report as the folder of heatmaps": ["r.png", "s.png", "--report", "maps", "--heatmap", "maps"],
    "heatmaps where a link in the folder leads": ["walk", "walk2", "--heatmap", "elsewhere/maps"],
    "heatmap over the output": ["r.png", "s.png", "-f", "csv", "-o", "new.png", "--heatmap", "new.png"],
}


@pytest.mark.parametrize("arguments", DESTROYERS.values(), ids=DESTROYERS)
def test_outputs_never_destroy_inputs(folder, monkeypatch, arguments):
    noise(folder / "ref/only.png")
    for picture in ("s", "ref/only"):
        Path(f"{picture}.xml").symlink_to(Path(f"{picture}.png").absolute())
    (folder / "weights.txt").write_text("no weights")
    noise(folder / "elsewhere/e.png")
    for name in ("walk", "walk2"):
        (folder / name).mkdir()
        (folder / name / "sub").symlink_to(folder / "elsewhere")
    (folder / "list.html").write_text("reference,image\nr.png,s.png\n")
    before = contents(folder)
    monkeypatch.setattr(LPIPS, "forward", lambda *_: pytest.fail("something was computed"))
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: --")
    assert len(err.splitlines()) == 1
    assert contents(folder) == before


def test_standard_input_is_an_input_by_the_file_behind_it(folder):
    before = contents(folder)
    with Path("s.png").open("rb") as image:
        command = [*PROGRAM, "r.png", "-", "-m", "lite", "--heatmap", "s.png"]
        result = subprocess.run(command, env=ENVIRONMENT, stdin=image, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--heatmap s.png: would replace a compared image" in result.stderr
    assert contents(folder) == before


HARMLESS = {
    "heatmaps elsewhere": (["ref", "out", "--heatmap", "maps"], ["maps/a.png", "maps/b.png"]),
    "a folder with a dot": (["ref", "out", "--heatmap", "maps.v2"], ["maps.v2/a.png", "maps.v2/b.png"]),
    "a slash at the end": (["r.png", "s.png", "--heatmap", "maps.png/"], ["maps.png/s.png"]),
    "an upper-case suffix": (["r.png", "s.png", "-o", "r.CSV"], ["r.CSV"]),
    "output among the images": (["ref", "out", "-o", "out/results.csv"], ["out/results.csv"]),
    "a page": (["r.png", "s.png", "--report", "page.HTM"], ["page.HTM"]),
    "JSON lines": (["r.png", "s.png", "-o", "r.ndjson"], ["r.ndjson"]),
    "JUnit": (["r.png", "s.png", "--junit", "r.XML"], ["r.XML"]),
}


@pytest.mark.parametrize(("arguments", "written"), HARMLESS.values(), ids=HARMLESS)
def test_other_outputs_are_written(folder, arguments, written):
    before = contents(folder)
    status, _, err = run(*arguments)
    assert status == 0, err
    after = contents(folder)
    assert sorted(set(after) - set(before)) == sorted(folder / name for name in written)
    assert {path: after[path] for path in before} == before
    assert run(*arguments)[0] == 0  # a second time


def test_a_csv_by_upper_case_is_a_csv(folder):
    run("r.png", "s.png", "-o", "r.CSV")
    assert rows("r.CSV")[0]["image"] == "s.png"


WRONG = {
    "suffix of nothing": (["r.png", "s.png", "-o", "r.tsv"], "--output r.tsv: expected .csv, .jsonl, .ndjson, .json"),
    "suffix of a picture": (["r.png", "s.png", "-o", "new.png"], "--output new.png: expected .csv"),
    "suffix of another format": (["r.png", "s.png", "-f", "csv", "-o", "r.json"], "r.json: --format csv contradicts"),
    "page of a picture": (["r.png", "s.png", "--report", "page.png"], "--report page.png: expected a file like page."),
    "no folder": (["r.png", "s.png", "--report", "none/page.html"], "--report none/page.html: no such folder: none"),
    "a folder": (["r.png", "s.png", "-o", "out"], "--output out: is a folder; expected a file"),
    "heatmaps in a file": (["ref", "out", "--heatmap", "list.csv"], "list.csv is a file; expected a folder"),
    "one heatmap for two": (["ref", "out", "--heatmap", "h.png"], "there are 2 pairs; expected a folder, not a file"),
    "resume without output": (["r.png", "s.png", "--resume"], "--resume: expected --output FILE.csv or FILE.jsonl"),
    "resume of JSON": (["r.png", "s.png", "--resume", "-o", "r.json"], "--resume: expected --output FILE.csv or FILE"),
    "a suffix, before weights are loaded": (["r.png", "s.png", "-m", "vgg", "-o", "r.xlsx"], "--output r.xlsx: exp"),
    "a heatmap of no map": (["r.png", "s.png", "-m", "crn", "--heatmap", "maps"], "--heatmap: crn has no map; add "),
    "an empty name": (["r.png", ""], "an empty name; expected a file or a folder"),
    "no format to write": (["r.png", "s.png", "--heatmap", "h.svg"], "--heatmap h.svg: pictures are not written as"),
    "a colour beyond white": (["r.png", "s.png", "--background", "rgb(300,0,0)"], "expected a colour like white"),
    "two ways": (["--pairs", "list.csv", "--all-pairs", "ref"], "expected either REF and IMAGE, or --pairs, or -"),
    "a report to stdout by a dash": (["r.png", "s.png", "--report", "-"], "--report -: expected a file like page.html"),
    "JUnit in a table": (["r.png", "s.png", "--junit", "r.csv"], "--junit r.csv: expected a file like junit.xml"),
    "JUnit to stdout by a dash": (["r.png", "s.png", "--junit", "-"], "--junit -: expected a file like junit.xml"),
    "JUnit in no folder": (["r.png", "s.png", "--junit", "none/j.xml"], "--junit none/j.xml: no such folder: none"),
    "nothing matches": (["ref", "other"], "nothing to compare: no image has a partner in the other folder, like ref"),
    "strict, unmatched": (["ref", "more", "--strict"], "1 images have no partner in the other folder, like more/c.png"),
    "a carried column": (["--pairs", "psnr.csv", "-m", "psnr"], "column 'psnr' is also the name of a res"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_go_together(folder, arguments, message):
    noise(folder / "other/z.png")
    for name in ("a", "b", "c"):
        noise(folder / f"more/{name}.png")
    (folder / "psnr.csv").write_text("reference,image,psnr\nr.png,s.png,3\n")
    before = contents(folder)
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert contents(folder) == before


def test_columns_of_a_list_are_carried_into_every_format(folder):
    (folder / "list.csv").write_bytes(
        '\ufeffimage; method ;reference;note\r\ns.png; JPEG, 10 % ;r.png;"two\r\nlines"\r\n'.encode()
    )
    run("--pairs", "list.csv", "-m", "l1", "-o", "r.csv")
    (row,) = rows("r.csv")
    assert list(row) == ["reference", "image", "method", "note", "l1", "identical", "content", "error", "signature"]
    assert (row["method"], row["note"]) == ("JPEG, 10 %", "two\r\nlines")
    for form in ("json", "jsonl"):
        assert '"method": "JPEG, 10 %"' in run("--pairs", "list.csv", "-m", "l1", "-f", form)[1]


# -- links, pipes and devices --------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are others there")
@pytest.mark.parametrize("option", ["csv", "jsonl", "json", "table", "report"])
def test_pipes_are_written_to_and_stay(folder, option):
    os.mkfifo("pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text()))
    reader.start()
    status, _, err = run(
        "r.png", "s.png", *(["--report", "pipe"] if option == "report" else ["-f", option, "-o", "pipe"])
    )
    reader.join(timeout=30)
    assert status == 0, err
    assert "s.png" in read[0]
    assert Path("pipe").is_fifo()


@pytest.mark.skipif(os.name != "posix", reason="pipes are others there")
@pytest.mark.parametrize(
    "written",
    [["-f", "csv", "-o", "pipe"], ["-f", "json", "-o", "pipe"], ["-o", "pipe"], ["--report", "pipe"]],
    ids=" ".join,
)
def test_a_pipe_without_a_reader_is_an_error(folder, monkeypatch, written):
    from lpips_lite.files import outputs

    monkeypatch.setattr(outputs, "READER_SECONDS", 0.2)
    os.mkfifo("pipe")
    status, _, err = run("r.png", "s.png", *written)
    assert status == 2
    assert "pipe: nobody reads from this pipe; expected a reader" in err


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="there are no such devices")
@pytest.mark.parametrize("target", ["/dev/null", "/dev/stdout", "/dev/fd/1"])
def test_devices_are_written_to_and_stay(folder, target):
    before = os.stat(target.replace("fd/1", "null")).st_mode if target == "/dev/null" else None  # noqa: PTH116
    command = [*PROGRAM, "r.png", "s.png", "-m", "l1", "-f", "csv", "-o", target]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert ("s.png" in result.stdout) == (target != "/dev/null")
    assert before is None or os.stat(target).st_mode == before  # noqa: PTH116


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="there are no such devices")
@pytest.mark.parametrize(
    "written", [["-f", "csv", "-o", "/dev/stdout"], ["-o", "/dev/fd/1"], ["--report", "/dev/stdout"]]
)
def test_what_lies_in_the_file_behind_stdout_stays(folder, written):
    log = folder / "old.log"
    log.write_text("a line that was there before\n" * 100)
    with log.open("a") as file:
        command = [*PROGRAM, "r.png", "s.png", "-m", "l1", *written]
        result = subprocess.run(command, env=ENVIRONMENT, stdout=file, stderr=subprocess.PIPE, timeout=60)
    assert result.returncode == 0
    assert log.read_text().count("a line that was there before\n") == 100
    assert "s.png" in log.read_text()


def test_a_file_called_dash_is_a_file(folder):
    (folder / "s.png").rename("-")
    (folder / "dash.csv").write_text("reference,image\nr.png,./-\n")
    for arguments in (["r.png", "./-"], ["--pairs", "dash.csv"], ["r.png", folder / "-"]):
        status, out, err = run(*arguments, "-m", "l1", "-f", "csv")  # with an empty standard input
        assert (status, err) == (0, "")
        assert float(out.splitlines()[1].split(",")[2]) > 0.1


def test_a_dash_is_stdout(folder):
    assert run("r.png", "s.png", "-f", "csv", "-o", "-") == run("r.png", "s.png", "-f", "csv")
    assert not Path("-").exists()


@pytest.mark.skipif(os.name != "posix", reason="links are others there")
@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "txt", "html"])
def test_links_are_written_through(folder, form):
    Path("elsewhere").mkdir()
    target, link = Path(f"elsewhere/real.{form}"), Path(f"link.{form}")
    target.write_text("old")
    link.symlink_to(target)
    assert run("r.png", "s.png", "--report" if form == "html" else "-o", link)[0] == 0
    assert link.is_symlink()
    assert "s.png" in target.read_text()


def test_heatmaps_never_collide(folder):
    """Pairs whose joined names would be the same."""
    for name in ("a", "a_b", "b_c", "c"):
        noise(folder / f"all/{name}.png")
    assert run("--all-pairs", "all", "--heatmap", "maps")[0] == 0
    assert len(list(Path("maps").glob("*.png"))) == 6
