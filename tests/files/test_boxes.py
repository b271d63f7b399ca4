"""The box of what changed: a column of its own in every output, kept when a run goes on, and never a group."""

import csv
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from lpips_lite import compare, summarize
from tests.command import run

METRICS = "region,pixels,region:threshold=0.5"
BOX = "5,3,4,6"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two pages that are equal, and two of which the second has a square of 4 × 6 pixels."""
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("changed", "same"):
            page = Image.new("RGB", (20, 16), "white")
            if (folder, name) == ("b", "changed"):
                page.paste("gray", (5, 3, 9, 9))
            page.save(f"{folder}/{name}.png")
    return tmp_path


def results(output):
    if output.suffix == ".json":
        return json.loads(output.read_text())["results"]
    if output.suffix == ".jsonl":
        return list(map(json.loads, output.read_text().splitlines()))
    return list(csv.DictReader(output.read_text().splitlines()))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_files_have_a_column_of_it(folders, kind):
    output = Path(f"r.{kind}")
    assert run("a", "b", "-m", METRICS, "-o", output)[0] == 0
    changed, same = results(output)
    names = [name for name in changed if name.startswith(("region", "pixels"))]
    assert names == ["region", "region:box", "pixels", "region:threshold=0.5", "region:threshold=0.5:box"]
    assert (float(changed["region"]), changed["region:box"]) == (24, BOX)
    assert (float(same["region"]), same["region:box"] or None) == (0, None)
    assert changed["region:threshold=0.5:box"] in ("", None)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_run_goes_on_with_it(folders, kind):
    output = Path(f"r.{kind}")
    run("a", "b", "-m", METRICS, "-o", output)
    whole = output.read_bytes()
    output.write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 1])
    assert run("a", "b", "-m", METRICS, "-o", output, "--resume")[0] == 0
    assert output.read_bytes() == whole
    output.write_bytes(whole.replace(BOX.encode(), b"5,3,4"))
    status, _, err = run("a", "b", "-m", METRICS, "-o", output, "--resume")
    assert status == 2
    assert "region:box is 5,3,4; expected left,top,width,height" in err


def test_tables_show_it(folders):
    _, out, _ = run("a", "b", "-m", "region,pixels")
    assert re.search(r"region ↓ +region:box +pixels ↓", out)
    assert re.search(rf"b/changed.png +24 +{BOX} +24\n", out)
    assert re.search(r"b/same.png  \(identical\) +0 +– +0\n", out)


def test_it_makes_no_groups(folders):
    options = ("--ref-pattern", "a/{name}.png", "--image-pattern", "b/{name}.png", "-m", "region,pixels")
    status, out, _ = run(*options, "--by", "name")
    assert status == 0
    assert "box" not in out.partition("region: lpips")[0]
    status, _, err = run(*options, "--by", "region:box")
    assert status == 2
    assert "no column 'region:box'; expected some of name" in err


def test_python_has_it(folders):
    table = compare(ref_pattern="a/{name}.png", image_pattern="b/{name}.png", metrics=["region"])
    assert table["region:box"].tolist()[0] == BOX
    assert pd.isna(table["region:box"][1])
    assert list(table.columns[2:5]) == ["name", "region", "region:box"]
    assert summarize(table, by="name").value.tolist() == [24, 0]


def test_a_column_of_a_list_cannot_be_called_so(folders):
    Path("list.csv").write_text("reference,image,Region:Box\na/same.png,b/same.png,1\n")
    status, _, err = run("--pairs", "list.csv", "-m", "region")
    assert status == 2
    assert "column 'Region:Box' is also the name of a result" in err


def test_what_is_ignored_is_in_no_box(folders):
    table = compare("a", "b", metrics=["region"], ignore_boxes=[(0, 0, 7, 16)])
    assert table[["region", "region:box"]].values.tolist()[0] == [12, "7,3,2,6"]
