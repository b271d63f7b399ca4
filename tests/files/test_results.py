"""Rows in files: they are the same after writing and reading, and other files give one clear error."""

import csv
import io
import json
import math
import os
import stat
import threading

import pytest

from lpips_lite.files.results import ResultsFile, RowFormat, arrange, check_columns, json_safe, to_json, write_text

SIGNATURES = {"lite": "lpips-lite/1.0 net=lite", "psnr": "lpips-lite/1.0 psnr peak=1"}
CONTENT = "0123456789abcdef"


def row(name="a.png", lite=0.25, psnr=30.5, error=None, content=CONTENT, **carried):
    made = {"identical": psnr == math.inf, "content": content, "error": error}
    return arrange({"reference": "r.png", "image": name, **carried, "lite": lite, "psnr": psnr, **made}, SIGNATURES)


ROWS = [
    row(),
    row("same.png", 0.0, math.inf),
    row("refused.png", None, 31.25, "refused.png: lite: x is 8×8; expected at least 16×16"),
    row("broken.png", None, None, "broken.png: cannot be decoded (a, \"b\";\nc)", None),
    row("new\nline, comma; \"quote\" and \r return.png"),
    row("café 日本 😀.png", 1e-7, 100.0),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("end", ["whole", "cut"])
def test_rows_are_read_as_they_were_written(tmp_path, kind, end):
    path, row_format = tmp_path / "r", RowFormat(kind, SIGNATURES)
    sink = ResultsFile(path, row_format)
    for one in ROWS:
        sink.take(one, None)
    sink.finish()
    if end == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    assert list(row_format.read(path)) == (ROWS if end == "whole" else ROWS[:-1])


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_file_cut_anywhere_gives_the_rows_before_the_cut(tmp_path, kind):
    row_format = RowFormat(kind, SIGNATURES)
    lines = [row_format.line(one).encode() for one in ROWS]
    whole = row_format.header().encode() + b"".join(lines)
    path = tmp_path / "r"
    ends = [len(row_format.header().encode()) + len(b"".join(lines[:count])) for count in range(len(lines) + 1)]
    for cut in range(ends[0], len(whole)):
        path.write_bytes(whole[:cut])
        assert list(row_format.read(path)) == ROWS[: sum(end <= cut for end in ends[1:])], cut


def test_csv_is_what_other_readers_expect(tmp_path):
    text = RowFormat("csv", SIGNATURES).header() + "".join(map(RowFormat("csv", SIGNATURES).line, ROWS))
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [one["image"] for one in found] == [one["image"] for one in ROWS]
    assert [one["error"] or None for one in found] == [one["error"] for one in ROWS]


def edited(kind, change):
    """Return the rows of a file of two rows after changing its second line."""
    row_format = RowFormat(kind, SIGNATURES)
    lines = [row_format.header(), row_format.line(ROWS[0]), row_format.line(ROWS[1])]
    lines[1] = change(lines[1])
    return "".join(lines)


def with_value(key, value):
    def change(line):
        record = json.loads(line)
        return json.dumps({**record, key: value}) + "\n"

    return change


FOREIGN = {
    "another header": ("csv", "name,score\na,1\n", "its columns are name, score; expected reference"),
    "a number is empty": ("csv", edited("csv", lambda line: line.replace(",0.25,", ",,")), "line 2: lite is None; exp"),
    "a number is text": ("csv", edited("csv", lambda line: line.replace("0.25", "good")), "line 2: could not convert"),
    "a number is nan": ("csv", edited("csv", lambda line: line.replace("0.25", "nan")), "line 2: lite is nan; expect"),
    "a cell is missing": ("csv", edited("csv", lambda line: line.replace(",0.25", "")), "line 2: 7 cells; expected 8"),
    "other settings": ("csv", edited("csv", lambda line: line.replace("peak=1", "peak=2")), "by other metrics or sett"),
    "no content": ("csv", edited("csv", lambda line: line.replace(CONTENT, "")), "line 2: content is None; expected"),
    "not a truth": ("csv", edited("csv", lambda line: line.replace("False", "maybe")), "line 2: identical is 'maybe'"),
    "an image": ("csv", "\x89PNG\r\n\x1a\n\x00\x00", "its columns are"),
    "a number alone": ("jsonl", "1\n", "line 1: its columns differ"),
    "no JSON": ("jsonl", "reference,image\n", "line 1: not JSON"),
    "a list": ("jsonl", "[]\n", "line 1: its columns differ"),
    "null for a number": ("jsonl", edited("jsonl", with_value("lite", None)), "line 1: lite is None; expected a num"),
    "true for a number": ("jsonl", edited("jsonl", with_value("psnr", True)), "line 1: psnr is True; expected a num"),
    "a key more": ("jsonl", edited("jsonl", with_value("mine", 1)), "line 1: its columns differ"),
    "another signature": ("jsonl", edited("jsonl", with_value("signature", {})), "line 1: its numbers were made by"),
    "wrong content": ("jsonl", edited("jsonl", with_value("content", "xyz")), "line 1: content is xyz; expected 16"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "message"), FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_or_edited_file_is_one_clear_error(tmp_path, kind, text, message):
    (tmp_path / "r").write_text(text, encoding="latin-1" if "PNG" in text else "utf-8", newline="")
    with pytest.raises(ValueError, match="(?s).") as caught:
        list(RowFormat(kind, SIGNATURES).read(tmp_path / "r"))
    assert message in str(caught.value) or "codec can't decode" in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("kept", [(), (0,), (2,), (0, 1, 2), (1, 4), (5,)])
@pytest.mark.parametrize("stop", [None, 2])
def test_kept_and_new_rows_end_in_the_order_of_the_run(tmp_path, kind, kept, stop):
    path, row_format = tmp_path / "r", RowFormat(kind, SIGNATURES)
    rows = [row(f"{number}.png") for number in range(6)]
    stale = [row("gone.png"), *(rows[position] for position in kept)]
    path.write_text(row_format.header() + "".join(map(row_format.line, stale)))
    sink = ResultsFile(path, row_format, [rows[position] for position in kept])
    assert [one["image"] for one in row_format.read(path)] == [f"{position}.png" for position in kept]
    for one in rows[:stop]:
        sink.take(one, None)
    sink.finish()
    expected = range(6) if stop is None else sorted({*range(stop), *kept})
    assert [one["image"] for one in row_format.read(path)] == [f"{position}.png" for position in expected]
    assert [name.name for name in tmp_path.iterdir()] == ["r"]


@pytest.mark.skipif(os.name != "posix", reason="links, pipes and permissions are others there")
@pytest.mark.parametrize("resumed", [False, True])
def test_links_and_permissions_stay(tmp_path, resumed):
    (tmp_path / "elsewhere").mkdir()
    real, link, hard = tmp_path / "elsewhere/real.csv", tmp_path / "link.csv", tmp_path / "hard.csv"
    row_format = RowFormat("csv", SIGNATURES)
    real.write_text(row_format.header() + row_format.line(row("gone.png")) + row_format.line(ROWS[0]))
    real.chmod(0o640)
    link.symlink_to(real)
    hard.hardlink_to(real)
    sink = ResultsFile(link, row_format, ROWS[:1] if resumed else ())
    sink.take(ROWS[0] if resumed else ROWS[1], None)
    sink.finish()
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert len(list(row_format.read(real))) == 1
    if not resumed:
        assert hard.read_text() == real.read_text()


@pytest.mark.skipif(os.name != "posix", reason="there are no named pipes there")
def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    sink = ResultsFile(pipe, RowFormat("csv", SIGNATURES))
    sink.take(ROWS[0], None)
    sink.finish()
    reader.join(timeout=10)
    assert received == [RowFormat("csv", SIGNATURES).header() + RowFormat("csv", SIGNATURES).line(ROWS[0])]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "row_format\n")
    reader.join(timeout=10)
    assert received[1] == "row_format\n"


def test_json_has_partial_rows_among_results_and_errors():
    document = json.loads(to_json(ROWS, SIGNATURES, {"pairs": 6}), parse_constant=lambda name: pytest.fail(name))
    assert [one["image"] for one in document["results"]] == [
        one["image"] for one in ROWS if one["image"] != "broken.png"
    ]
    assert [one["image"] for one in document["errors"]] == ["refused.png", "broken.png"]
    partial = document["results"][2]
    assert (partial["lite"], partial["psnr"]) == (None, 31.25)
    assert partial["error"] == ROWS[2]["error"]
    assert document["results"][1]["psnr"] is None
    assert "error" not in document["results"][0]


def test_carried_columns_come_after_the_paths_and_may_not_be_results():
    assert list(row(method="jpeg", scene="1")) == [
        *("reference", "image", "method", "scene", "lite", "psnr", "identical", "content", "error")
    ]
    check_columns(["method", "scene"], SIGNATURES)
    for name in ("lite", "content", "error", "identical", "signature", "image"):
        with pytest.raises(ValueError, match=f"column '{name}' is also the name of a result"):
            check_columns(["method", name], SIGNATURES)


def test_infinity_is_null_in_json():
    assert json_safe({"a": math.inf, "b": 1.0}) == {"a": None, "b": 1.0}
