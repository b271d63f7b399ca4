"""`lpips-votes check` as people use it: every wrong row with its line, totals, JSON, exit status."""

import json

import jsonschema
import pytest
from click.testing import CliRunner
from PIL import Image

from lpips_lite.cli.votes import main
from tests.test_house import loaded_by
from tests.votes.data import bapps, image, table

FINDINGS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["file", "line", "what"],
        "additionalProperties": False,
        "properties": {
            "file": {"type": "string"},
            "line": {"type": ["integer", "null"], "minimum": 1},
            "what": {"type": "string", "minLength": 1},
        },
    },
}
COUNT = {"type": "integer", "minimum": 0}
TOTALS = {"judgements": COUNT, "votes": {"type": ["number", "null"]}, "references": COUNT}


def whole(properties):
    return {"type": "object", "required": [*properties], "additionalProperties": False, "properties": properties}


DATA = {
    "path": {"type": "string"},
    "layout": {"enum": ["votes", "NIGHTS", "opinion scores", "same or different", "answers", "BAPPS", None]},
    "good_rows": COUNT,
    "families": {"type": "array", "items": whole({"family": {"type": "string"}, **TOTALS})},
}
SCHEMA = whole(
    {
        "data": {"type": "array", "items": whole(DATA)},
        "problems": FINDINGS,
        "notes": FINDINGS,
        "totals": whole({**TOTALS, "good_rows": COUNT, "problems": COUNT}),
    }
)


def check(*arguments):
    """Return exit status, lines of stdout, and stderr."""
    result = CliRunner().invoke(main, ["check", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout.splitlines(), result.stderr


def check_json(*arguments):
    status, lines, err = check(*arguments, "--format", "json")
    document = json.loads("\n".join(lines))
    jsonschema.validate(document, SCHEMA)
    assert err == ""
    assert (status == 2) == bool(document["problems"])
    return document


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A working folder with images and a table in which every line except the first and the last is wrong."""
    monkeypatch.chdir(tmp_path)
    for value, name in enumerate(("r.png", "a.png", "b.png")):
        image(tmp_path / name, value=value)
    image(tmp_path / "small.png", (8, 6))
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "folder.png").mkdir()
    rows = [
        "a.png,b.png,1,2",
        "a.png,a.png,1,1",
        "a.png,small.png,1,1",
        "text.png,gone.png,1,1",
        "a.png,folder.png,1,1",
    ]
    table(
        tmp_path / "votes.csv", *(f"r.png,{row}" for row in rows), "gone.png,a.png,b.png,1,1", "r.png,b.png,a.png,2,0"
    )
    return tmp_path


def test_every_wrong_row_and_the_totals(study):
    status, lines, err = check("votes.csv")
    assert (status, err) == (2, "")
    assert lines == [
        "bad: votes.csv:3: p0 and p1 are the same file, a.png",
        "bad: votes.csv:4: p1 small.png: size (6, 8) differs from (16, 16) of r.png",
        "bad: votes.csv:5: p0 text.png: not an image file that Pillow can read (it starts with b'hello')",
        "bad: votes.csv:5: p1 gone.png: no such file",
        "bad: votes.csv:6: p1 folder.png: is a folder, not an image",
        "bad: votes.csv:7: ref gone.png: no such file",
        "note: votes.csv:8: judges the pair of line 2 again; each row counts as a separate triplet",
        f"{study.name}: 6 triplets, 13 votes, 2 references",
        "votes.csv: 2 good rows, 6 problems",
    ]


def test_good_data(tmp_path):
    bapps(tmp_path / "cnn", [0.2, 0.8])
    assert check(tmp_path / "cnn", "--votes-per-judgement", 5)[:2] == (
        0,
        ["cnn: 2 triplets, 10 votes, 2 references", f"{tmp_path}/cnn: 2 good rows, 0 problems"],
    )
    status, (note, *lines), _ = check(tmp_path / "cnn")
    assert status == 0
    assert note.startswith(f"note: {tmp_path}/cnn: the number of observers is not in the data")
    assert lines[0] == "cnn: 2 triplets, number of votes unknown, 2 references"


def test_what_is_not_wrong_is_noted(tmp_path):
    image(tmp_path / "r.png", value=0)
    image(tmp_path / "a.png")
    image(tmp_path / "copy.png")
    Image.new("RGBA", (16, 16), (1, 2, 3, 4)).save(tmp_path / "glass.png")
    path = table(tmp_path / "v.csv", "r.png,a.png,copy.png,1,0.5", "r.png,glass.png,a.png,1,4")
    assert check(path)[:2] == (
        0,
        [
            f"note: {tmp_path}/glass.png: transparent; composited on white",
            f"note: {path}:2: p0 and p1 have the same bytes; votes on them tell nothing about distances",
            f"{tmp_path.name}: 2 triplets, 5 votes in 1 of them, 1 references",
            f"{path}: 2 good rows, 0 problems",
        ],
    )


def test_jnd_and_opinion_scores(tmp_path):
    bapps(tmp_path / "jnd/cnn", [1 / 3, 1], ("p0", "p1", "same"))
    image(tmp_path / "jnd/cnn/p1/000000.png", (8, 8))
    status, lines, _ = check(tmp_path / "jnd", "--votes-per-judgement", 3)
    assert status == 2
    assert lines[0].startswith(
        f"bad: {tmp_path}/jnd/cnn/same/000000.npy: p1 {tmp_path}/jnd/cnn/p1/000000.png: size (8, 8)"
    )
    assert lines[1:] == ["cnn: 2 pairs, 6 votes", f"{tmp_path}/jnd: 1 good rows, 1 problems"]
    for name in "rab":
        image(tmp_path / f"{name}.png")
    path = table(tmp_path / "s.csv", "a.png,r.png,3", "b.png,r.png,1", "c.png,r.png,1", header="file,ref,mos")
    assert check(path)[:2] == (
        2,
        [
            f"bad: {path}:4: file {tmp_path}/c.png: no such file",
            f"{tmp_path.name}: 2 triplets, number of votes unknown, 1 references",
            f"{path}: 2 good rows, 1 problems",
        ],
    )


@pytest.mark.parametrize("name", ["none", "empty.csv", "header.csv", "semicolons.csv", "folder"])
def test_no_data_is_status_2(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.csv").touch()
    table(tmp_path / "header.csv")
    table(tmp_path / "semicolons.csv", "r;a;b;1;4", header="ref;p0;p1;votes_p0;votes_p1")
    status, lines, err = check(name)
    assert (status, len(lines), err) == (2, 2, "")
    assert lines[0].startswith(f"bad: {name}:")
    assert lines[1] == f"{name}: 0 good rows, 1 problems"


def test_json(study):
    bapps(study / "cnn", [0.2, 0.8])
    table(study / "one.csv", "r.png,a.png,b.png,1,2")
    document = check_json("votes.csv", "cnn", "none", "one.csv")
    assert [(part["path"], part["layout"], part["good_rows"]) for part in document["data"]] == [
        *[("votes.csv", "votes", 2), ("cnn", "BAPPS", 2), ("none", None, 0), ("one.csv", "votes", 1)],
    ]
    assert document["problems"][0] == {
        "file": "votes.csv", "line": 3, "what": "p0 and p1 are the same file, a.png",
    }  # fmt: skip
    assert document["problems"][-1] == {"file": "none", "line": None, "what": "no such file or folder"}
    assert document["totals"] == {"judgements": 9, "votes": None, "references": 5, "good_rows": 5, "problems": 7}
    assert check_json("one.csv")["totals"]["votes"] == 3


def test_methods_and_other_arguments(study):
    table(study / "one.csv", "r.png,a.png,b.png,1,2")
    status, lines, _ = check("one.csv", "--method-pattern", "{method}x.png")
    assert (status, lines[0]) == (2, "bad: one.csv:2: p0 a.png does not fit method_pattern '{method}x.png'")
    status, lines, err = check("one.csv", "--method-pattern", "out/*")
    assert (status, lines) == (2, [])
    assert "expected the field {method}" in err
    assert check("one.csv", "--votes-per-judgement", "0")[0] == 2
    assert check()[0] == 2


def test_help_is_instant_and_has_examples():
    program = "from lpips_lite.cli.votes import main\ntry: main(['check', '--help'])\nexcept SystemExit: pass"
    assert not loaded_by(program) & {"torch", "pandas", "numpy", "rich", "PIL"}
    assert "lpips-votes check votes.csv" in "\n".join(check("--help")[1])
