"""`lpips-votes agree` as people use it, and its messages, and those of the benchmark script, for bad input."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks import two_afc
from lpips_lite import LPIPS, lpips, read_image
from lpips_lite.cli.votes import main
from lpips_lite.tensor_files import save_tensors
from lpips_lite.tower_weights import identify, save_tower
from lpips_lite.votes import distances
from lpips_lite.votes.agreement import jnd_average_precision
from lpips_lite.votes.provenance import reference_digest
from tests.command import ENVIRONMENT, noise

HEADER = "ref,p0,p1,votes_p0,votes_p1\n"


def run(*arguments):
    """Return exit status, stdout and stderr."""
    result = CliRunner().invoke(main, ["agree", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def good(*arguments):
    status, out, error = run(*arguments)
    assert (status, error) == (0, "")
    return out


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Two references in the working folder with two images each, judged by five people."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for ref in "ab":
        scene = np.random.default_rng(ord(ref)).integers(0, 256, (48, 48, 3))
        (tmp_path / "study").mkdir(exist_ok=True)
        for name, strength in (("ref", 0), ("near", 20), ("far", 90)):
            moved = scene + strength * np.random.default_rng(1).standard_normal(scene.shape)
            Image.fromarray(moved.clip(0, 255).astype(np.uint8)).save(tmp_path / f"study/{ref}-{name}.png")
        rows.append(f"{ref}-ref.png,{ref}-far.png,{ref}-near.png,{'14'['ab'.index(ref)]},4\n")
    (tmp_path / "study/votes.csv").write_text(HEADER + "".join(rows))
    return tmp_path / "study/votes.csv"


def test_any_metric_of_the_catalog_and_tables_of_others(study, tmp_path):
    (tmp_path / "mine.csv").write_text("family,ref,d0,d1,judgement\nstudy,a,1,2,0.8\nstudy,b,2,1,0.5\n")
    out = good(study, "-m", "lite,alex:tower=random:0:weights=uniform", "-m", "PSNR", "--distances", "mine=mine.csv",
               "--format", "json", "--against", "Psnr")  # fmt: skip
    document = json.loads(out)
    values = {entry["metric"]: entry["agreement"] for entry in document["results"]}
    assert values["lite"] == values["psnr"] == pytest.approx(65)
    assert values["mine"] == pytest.approx((20 + 50) / 2)
    assert document["against"] == "psnr"
    assert {entry["metric"] for entry in document["differences"]} == {*values} - {"psnr"}
    assert document["signatures"]["lite"] == LPIPS("lite").signature
    assert document["signatures"]["mine"] is None
    assert {entry["metric"] for entry in document["reliability"]} == {"lite"}
    (part,) = document["data"]
    assert (part["rows"], part["votes"], part["references"]) == (2, 13, 2)


def test_a_tuned_tower_is_another_metric(study):
    tower = {key: tensor.clone() for key, tensor in LPIPS("lite").tower.tensors.items() if key.startswith("features.")}
    for tensor in tower.values():
        tensor.mul_(torch.linspace(0.5, 1.5, len(tensor)).view(-1, *[1] * (tensor.ndim - 1)))
    save_tower("lite", identify("lite", tower), Path("tuned.safetensors"))
    signatures = json.loads(good(study, "-m", "lite,lite:tower=tuned.safetensors", "-f", "json"))["signatures"]
    assert "tower=custom-" in signatures["lite:tower=tuned.safetensors"]
    assert len(list(Path("distances").glob("lite-*.jsonl"))) == 2


def test_a_metric_that_has_learnt_what_it_is_judged_on_is_named(study, tmp_path):
    digest = reference_digest(tmp_path / "study/b-ref.png")
    save_tensors(tmp_path / "mine.safetensors", dict(LPIPS("lite").tensors), {"trained_on": digest})
    status, out, _ = run(study, "-m", "lite,lite:weights=mine.safetensors", "--format", "json")
    assert status == 0
    (note,) = json.loads(out)["notes"]
    assert note.startswith("lite:weights=mine.safetensors was trained on people's judgments of 1 of these 2 references")


def test_votes_or_triplets(study):
    for count, expected in (("triplets", 65), ("votes", 100 * 8 / 13)):
        table = pd.read_csv(io.StringIO(good(study, "-m", "l2", "--count", count, "-f", "csv"))).set_index("metric")
        assert table.loc["l2", "agreement"] == pytest.approx(expected)


def test_predicted_shares_are_those_of_preference(study):
    bins = json.loads(good(study, "-m", "lite", "-f", "json"))["reliability"]
    images = [[read_image(study.parent / f"{r}-{name}.png") for r in "ab"] for name in ("ref", "far", "near")]
    metric = LPIPS("lite")
    shares = [metric.preference(*(image[None] for image in triplet)).item() for triplet in zip(*images, strict=True)]
    found = sum(entry["predicted"] * entry["votes"] for entry in bins if entry["votes"])
    assert found == pytest.approx(100 * (5 * shares[0] + 8 * shares[1]), rel=1e-4)


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_tables_and_picture(study, tmp_path, form):
    out = good(study, "-m", "lite,l2", "--plot", "bars.png", "-f", form)
    for text in ("2AFC agreement in % of triplets", "people, leave-one-out (2 triplets)", "p² + (1−p)²", "difference",
                 "reliability of lite", "ties"):  # fmt: skip
        assert text in out
    with Image.open("bars.png") as bars:
        assert min(bars.size) > 400


@pytest.fixture
def jnd(tmp_path):
    """Twelve pairs of noise; the first half is hardly changed and looks the same to most people."""
    for part in ("p0", "p1", "same"):
        (tmp_path / "cnn" / part).mkdir(parents=True)
    for number in range(12):
        noise(tmp_path / f"cnn/p0/{number}.png", (40, 40), seed=number)
        pixels = np.asarray(Image.open(tmp_path / f"cnn/p0/{number}.png")).astype(int)
        changed = np.clip(
            pixels + (5 + 10 * number) * np.random.default_rng(number).standard_normal(pixels.shape), 0, 255
        )
        Image.fromarray(changed.astype(np.uint8)).save(tmp_path / f"cnn/p1/{number}.png")
        np.save(
            tmp_path / f"cnn/same/{number}.npy", np.array([[1, 1, 2 / 3, 1, 1 / 3, 0, 1, 0, 0, 1 / 3, 0, 0][number]])
        )
    return tmp_path


def test_jnd_folders_are_judged_by_average_precision(jnd, study):
    status, out, error = run(jnd / "cnn", study, "-m", "lite,l2", "-f", "json")
    assert status == 0
    assert "the number of observers is not in the data" in error
    document = json.loads(out)
    d, same = [], []
    for path in sorted((jnd / "cnn/p0").iterdir()):
        x, y = (read_image(jnd / "cnn" / part / path.name)[None] for part in ("p0", "p1"))
        d.append(lpips(y, x, LPIPS("lite")).item())
        same.append(np.load(jnd / f"cnn/same/{path.stem}.npy").item())
    values = {(e["metric"], e["family"]): e for e in document["results"]}
    found = values["lite", "cnn"]
    assert found["average_precision"] == pytest.approx(100 * jnd_average_precision(d, same))
    assert found["low"] < found["average_precision"] <= found["high"]
    assert "agreement" in values["lite", "study"]
    assert {(e["metric"], e["family"]) for e in document["differences"]} == {("l2", "cnn"), ("l2", "study")}
    out = good(jnd / "cnn", "--votes-per-judgement", "3", "-m", "lite,l2", "--plot", "jnd.png")
    assert "JND average precision in %" in out
    assert "12 pairs  36" in out


def test_data_sets_of_one_name_are_told_apart(study, tmp_path):
    (tmp_path / "other/study").mkdir(parents=True)
    for file in study.parent.iterdir():
        (tmp_path / "other/study" / file.name).write_bytes(file.read_bytes())
    out = json.loads(good("study/votes.csv", "other/study/votes.csv", "-m", "l2", "-f", "json"))
    assert [part["family"] for part in out["data"]] == ["study", "study (other/study/votes.csv)"]


def test_an_interrupted_run_goes_on(study, monkeypatch):
    reads = []

    def read_some(path):
        reads.append(path.name)
        if len(reads) == 5:
            raise KeyboardInterrupt
        return read_image(path)

    monkeypatch.setattr(distances, "read_image", read_some)
    status, out, error = run(study, "-m", "l2", "--batch-size", "1")
    assert (status, out, error.strip()) == (130, "", "interrupted")
    first = list(reads)
    reads.clear()
    good(study, "-m", "l2", "--batch-size", "1")
    assert 0 < len(reads) < len(first) + 3
    assert first[1] not in reads  # measured before


# -- bad input -------------------------------------------------------------------------------------------------------

DISTANCES = "d0,d1,judgement\n"
BAD = {  # files, arguments, message
    "no such file": ({}, ["nothing.csv"], "nothing.csv: no such file or folder"),
    "a folder without judgments": ({"empty/x.txt": ""}, ["empty"], "empty"),
    "not a table": ({"votes.csv": "hello\n"}, ["votes.csv"], "votes.csv"),
    "not text": ({"votes.csv": b"\x89PNG\r\n\x1a\n\0\0"}, ["votes.csv"], "votes.csv"),
    "an empty file": ({"votes.csv": ""}, ["votes.csv"], "votes.csv"),
    "no rows": ({"votes.csv": HEADER}, ["votes.csv"], "votes.csv"),
    "negative votes": ({"votes.csv": f"{HEADER}a.png,b.png,c.png,-1,2\n"}, ["votes.csv"], "votes.csv:2"),
    "votes in words": ({"votes.csv": f"{HEADER}a.png,b.png,c.png,many,2\n"}, ["votes.csv"], "votes.csv"),
    "a missing image": ({"votes.csv": f"{HEADER}a.png,b.png,none.png,1,2\n"}, ["votes.csv"], "none.png"),
    "an unreadable image": ({"votes.csv": f"{HEADER}a.png,b.png,text.png,1,2\n", "text.png": "hello"}, ["votes.csv"],
                            "text.png"),
    "images of other sizes": ({"votes.csv": f"{HEADER}a.png,b.png,large.png,1,2\n"}, ["votes.csv"],
                              "large.png: size (48, 56) differs from (48, 48) of"),
    "an image too small for the metric": ({"votes.csv": f"{HEADER}tiny.png,tiny.png,tiny2.png,1,2\n"},
                                          ["votes.csv", "-m", "ssim"], "tiny"),
    "a judgement that is no fraction": ({"set/judge/0.npy": 5.0}, ["set"], "0.npy"),
    "a judgement that is no number": ({"set/judge/0.npy": "hello"}, ["set"], "0.npy"),
    "JND in which nobody said same": ({"jnd/same/0.npy": 0.0}, ["jnd"], "jnd: nobody called any pair the same"),
    "data named twice": ({}, ["good.csv", "./good.csv"], "named twice"),
    "an unknown metric": ({}, ["good.csv", "-m", "pnsr"], "unknown metric 'pnsr'"),
    "a missing weight file": ({}, ["good.csv", "-m", "lite:weights=none.safetensors"], "none.safetensors"),
    "a weight file that is none": ({"w.safetensors": "hello"}, ["good.csv", "-m", "lite:weights=w.safetensors"],
                                   "w.safetensors"),
    "no such device": ({}, ["good.csv", "--device", "gpu"], "gpu"),
    "a cache that cannot be made": ({"file": ""}, ["good.csv", "--cache", "file/cache"], "file/cache"),
    "a cache that is a file": ({"file": ""}, ["good.csv", "--cache", "file"], "file"),
    "a picture in no folder": ({}, ["good.csv", "--plot", "none/x.png"], "none"),
    "a picture of no kind": ({}, ["good.csv", "--plot", "x.csv"], "x.csv"),
    "distances without a name": ({}, ["--distances", "d.csv"], "expected NAME=PATH"),
    "distances named twice": ({"d.csv": f"{DISTANCES}1,2,0\n"}, ["--distances", "m=d.csv", "--distances", "m=d.csv"],
                              "m is already used for d.csv"),
    "distances with a metric's name": ({"d.csv": f"{DISTANCES}1,2,0\n"}, ["good.csv", "--distances", "l2=d.csv"],
                                       "l2: also the name of a metric"),
    "no file of distances": ({}, ["--distances", "m=none.csv"], "none.csv: no such file or folder"),
    "a folder without distances": ({"empty/x.txt": ""}, ["--distances", "m=empty"], "no CSV file in this folder"),
    "a table without distances": ({"d.csv": "d0,d1\n1,2\n"}, ["--distances", "m=d.csv"], "no column judgement"),
    "NaN distances": ({"d.csv": f"{DISTANCES}1,2,0\n1,nan,0\n"}, ["--distances", "m=d.csv"], "d.csv:3: d1 is 'nan'"),
    "judgements beyond [0, 1]": ({"d.csv": f"{DISTANCES}1,2,5\n"}, ["--distances", "m=d.csv"], "d.csv:2: judgement"),
    "a row cut short": ({"d.csv": f"{DISTANCES}1,2\n"}, ["--distances", "m=d.csv"], "d.csv:2: 2 cells"),
    "lengths that differ": ({"d.csv": f"family,{DISTANCES}folder,1,2,0\nfolder,1,2,0\n"},
                            ["good.csv", "--distances", "m=d.csv"], "m: 2 triplets in folder; expected 1, as l2 has"),
    "votes counted that are unknown": ({"d.csv": f"{DISTANCES}1,2,0\n"},
                                       ["--distances", "m=d.csv", "--count", "votes"], "number of votes"),
    "a batch of none": ({}, ["good.csv", "--batch-size", "0"], "--batch-size"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with good data and images for bad ones."""
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    sizes = {"a": (48, 48), "b": (48, 48), "c": (48, 48), "large": (56, 48), "tiny": (8, 8), "tiny2": (8, 8)}
    for number, (name, size) in enumerate(sizes.items()):
        noise(tmp_path / f"folder/{name}.png", size, seed=number)
    (tmp_path / "folder/good.csv").write_text(f"{HEADER}a.png,b.png,c.png,5,0\n")
    return tmp_path / "folder"


def write(path, content):
    """Write a file of a case; for a judgement, also its images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".npy":
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return
    for place, part in enumerate(("p0", "p1") if path.parent.name == "same" else ("ref", "p0", "p1")):
        noise(path.parent.parent / part / f"{path.stem}.png", (48, 48), seed=place)
    path.write_text(content) if isinstance(content, str) else np.save(path, np.array([content]))


@pytest.mark.parametrize("door", ["agree", "two_afc"])
@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_told_in_a_line_with_exit_status_2(folder, kind, door):
    files, arguments, message = BAD[kind]
    for name, content in files.items():
        write(folder / name, content)
    quick = [] if "-m" in arguments or arguments[0] == "--distances" else ["-m", "l2"]
    called = [main, "agree"] if door == "agree" else [two_afc.main]
    result = CliRunner().invoke(called[0], [*called[1:], *arguments, *quick])
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert message in result.stderr
    assert "a fault of the program" not in result.stderr
    *_, last = result.stderr.rstrip("\n").split("\n")
    assert last.lower().startswith("error: ")
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'DATA...'"),
        (["-m", "l2"], "Missing argument 'DATA...'"),
        (["-m", "l2", "--distances", "m=d.csv"], "--metric without DATA"),
        (["good.csv", "-m", "l2", "--against", "ssim"], "'ssim'; expected one of l2"),
        (["good.csv", "-m", "l2", "--against", "l2:z"], "'l2:z'; expected one of l2"),
    ],
)
def test_what_agree_alone_is_asked_wrongly(folder, arguments, message):
    (folder / "d.csv").write_text(f"{DISTANCES}1,2,0\n")
    status, out, error = run(*arguments)
    assert (status, out) == (2, "")
    assert message in error


def test_help_needs_neither_torch_nor_pandas():
    code = (
        "import sys\nfrom lpips_lite.cli.votes import main\ntry: main(['agree', '--help'])\nexcept SystemExit: pass\n"
    )
    code += "print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert "lpips-votes agree votes.csv -m lite,alex:weights=mine.safetensors" in result.stdout
    assert not {"torch", "pandas", "numpy", "scipy", "rich", "PIL"} & set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [
        ("pandas", ["agree", "good.csv", "-m", "l2"]),
        ("scipy", ["fit", "good.csv", "--metric", "lite:weights=uniform", "-o", "w.safetensors"]),
    ],
)
def test_without_the_extra_each_command_names_it(folder, missing, arguments):
    code = f"import sys\nsys.modules['{missing}'] = None\nfrom lpips_lite.cli.votes import main\nmain({arguments})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=ENVIRONMENT)
    assert result.returncode == 2
    assert result.stderr == f'error: {missing} is not installed; pip install "lpips_lite[votes]"\n'
