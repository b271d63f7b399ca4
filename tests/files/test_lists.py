"""Lists of pairs as programs and spreadsheets write them, and errors for other files."""

import csv
import io
import os
import random
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from lpips_lite.files.pairs import read_pairs


def write(tmp_path, content, name="list.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pairs_of(path):
    return [(str(pair.reference), str(pair.image)) for pair in read_pairs(path).pairs]


def columns_of(path):
    return [dict(pair.columns) for pair in read_pairs(path).pairs]


PLAIN = "reference,image\r\na.png,b.png\r\n"
DIALECTS = {
    "plain": PLAIN,
    "byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf" + PLAIN.encode(),
    "byte order mark before a quote": b'\xef\xbb\xbf"reference","image"\n"a.png","b.png"\n',
    "UTF-16 little": PLAIN.encode("utf-16"),
    "UTF-16 big": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-16 with tabs, Excel's Unicode text": PLAIN.replace(",", "\t").encode("utf-16"),
    "semicolons": PLAIN.replace(",", ";"),
    "quoted semicolons": '"reference";"image"\r\n"a.png";"b.png"\r\n',
    "tabs": PLAIN.replace(",", "\t"),
    "separator told to Excel": "sep=;\r\n" + PLAIN.replace(",", ";"),
    "separator told to Excel after a mark": b"\xef\xbb\xbfsep=,\r\n" + PLAIN.encode(),
    "line feeds": PLAIN.replace("\r\n", "\n"),
    "carriage returns": PLAIN.replace("\r\n", "\r"),
    "no end of line": "reference,image\na.png,b.png",
    "spaces after separators": "reference, image\na.png, b.png\n",
    "spaces before separators": "reference , image \na.png , b.png \n",
    "spaces before quotes": '"reference", "image"\n"a.png", "b.png"\n',
    "no-break spaces in the header": "\u00a0reference,image\u00a0\na.png,b.png\n",
    "upper case": "Reference,IMAGE\na.png,b.png\n",
    "the other order": "image,reference\nb.png,a.png\n",
    "empty lines": "\n\nreference,image\n\na.png,b.png\n\n   \n",
    "empty rows of a spreadsheet": "reference,image\n,\na.png,b.png\n , \n,\n",
}


@pytest.mark.parametrize("content", DIALECTS.values(), ids=DIALECTS)
def test_dialects(tmp_path, content):
    path = write(tmp_path, content)
    assert pairs_of(path) == [(str(tmp_path / "a.png"), str(tmp_path / "b.png"))]
    assert read_pairs(path).notes == []
    assert read_pairs(path).sources == [path]


NAMES = [
    "a,b.png",
    "a;b.png",
    'a"b.png',
    "a\nb.png",
    "a\r\nb.png",
    "a\rb.png",
    "a\tb.png",
    "ä 画.png",
    "trailing .png",
    "-x.png",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_names_come_back_as_they_were_written(tmp_path, name, delimiter):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\r\n").writerows(
        [["reference", "image", "note"], [name, name, name]]
    )
    path = write(tmp_path, text.getvalue())
    assert pairs_of(path) == [(str(tmp_path / name), str(tmp_path / name))]
    assert columns_of(path) == [{"note": name}]


def test_a_file_that_ends_with_a_space_is_meant_if_it_exists(tmp_path):
    path = write(tmp_path, "reference,image\n" + "a.png ,b.png \n" * 2)
    (tmp_path / "b.png ").touch()
    assert pairs_of(path) == [(str(tmp_path / "a.png"), str(tmp_path / "b.png "))] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes")
def test_bytes_that_are_not_utf8_name_the_file_and_are_escaped_in_columns(tmp_path):
    path = write(tmp_path, b"reference,image,caf\xe9\na\xff.png,b.png,\xfc\n")
    (pair,) = read_pairs(path).pairs
    assert os.fsencode(pair.reference) == os.fsencode(tmp_path) + b"/a\xff.png"
    assert dict(pair.columns) == {r"caf\xe9": r"\xfc"}


def test_paths_are_relative_to_the_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    write(tmp_path, "reference,image\n../a.png,/abs/b.png\n", "lists/list.csv")
    assert pairs_of(Path("lists/list.csv")) == [("lists/../a.png", "/abs/b.png")]
    write(tmp_path, "reference,image\na.png,sub/b.png\n")
    assert pairs_of(Path("list.csv")) == [("a.png", "sub/b.png")]


def test_other_columns_are_carried_in_order(tmp_path):
    path = write(tmp_path, "scene;image;Method;reference\n s1 ;b.png; A B;a.png\ns2;c.png;;a.png\n")
    assert columns_of(path) == [{"scene": "s1", "Method": "A B"}, {"scene": "s2", "Method": ""}]
    assert list(columns_of(path)[0]) == ["scene", "Method"]


def test_a_column_without_a_name_is_left_out_and_said(tmp_path):
    frame = pd.DataFrame({"reference": ["a.png"], "image": ["b.png"], "method": ["m"]})
    frame.to_csv(tmp_path / "list.csv")  # with its index
    pairing = read_pairs(tmp_path / "list.csv")
    assert dict(pairing.pairs[0].columns) == {"method": "m"}
    assert pairing.notes == [f"{tmp_path / 'list.csv'}: left out cells in columns without a name"]
    path = write(tmp_path, "reference,image,,\na.png,b.png,,\n")
    assert read_pairs(path).notes == []


EXPECTED = "; expected the columns reference and image"
ERRORS = {
    "missing column": ("reference,picture,x\na,b,c\n", f": no column 'image'{EXPECTED}; found reference, picture, x"),
    "missing column, semicolons": ("ref;image\na;b\n", f": no column 'reference'{EXPECTED}; found ref, image"),
    "no header": ("a.png,b.png\n", f": no column 'reference'{EXPECTED}; found a.png, b.png"),
    "empty": ("", ": empty; expected the columns reference and image"),
    "only empty lines": ("\n \n\r\n", ": empty; expected the columns reference and image"),
    "no row": ("reference,image\n\n", ": no pairs; expected at least one row"),
    "no image": ("reference,image\na.png,\n", ", line 2: expected a reference and an image"),
    "no reference": ("reference,image,m\n\n  ,b.png,m\n", ", line 3: expected a reference and an image"),
    "too few cells": ("reference,image,m\na.png,b.png,m\na.png,b.png\n", ", line 3: 2 cells; expected 3"),
    "too many cells": ("reference,image\na.png,b.png\nc,d.png,e.png\n", ", line 3: 3 cells; expected 2"),
    "after a quoted line break": ('reference,image\n"a\nb.png",c.png\na.png\n', ", line 4: 1 cells; expected 2"),
    "open quote": ('reference,image\na.png,b.png\n"a.png,b.png\n', ", line 3: "),
    "text after a quote": ('reference,image\n"a".png,b.png\n', ", line 2: "),
    "very long cell": ("reference,image\na.png," + "b" * 200_000 + "\n", ", line 2: field larger than field limit"),
    "duplicate column": ("reference,image,image\na,b,c\n", ": column 'image' appears twice"),
    "duplicate column in other case": ("reference,image,m,M\na,b,c,d\n", ": column 'm' appears twice"),
    "column of results": ("reference,image,error\na,b,c\n", ": error: also the name of a result"),
    "columns of results": ("reference,image,content,Error\na,b,c,d\n", ": content, Error: also the name of a result"),
    "standard input in a cell": ("reference,image\na.png,b.png\na.png,-\n", "; '-' stands for standard input"),
    "NUL far in": ("reference,image\n" + "a.png,b.png\n" * 1000 + "a\0.png,b.png\n", ", line 1002: a NUL character"),
    "control characters in the header": ("reference,im\x1bage\na,b\n", r"found reference, im\x1bage"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), ERRORS.values(), ids=ERRORS)
def test_what_is_no_list_is_one_clear_error(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read_pairs(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


PICTURES = {
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1",
    "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1",
    "WebP": b"RIFF\x24\0\0\0WEBPVP8 ",
    "UTF-16 without mark": PLAIN.encode("utf-16-le"),
}


@pytest.mark.parametrize("content", PICTURES.values(), ids=PICTURES)
def test_an_image_given_by_mistake(tmp_path, content):
    path = write(tmp_path, content, "a.png")
    with pytest.raises(ValueError, match="a.png: not a text file; expected a CSV with the columns reference and image"):
        read_pairs(path)


def test_broken_utf16(tmp_path):
    with pytest.raises(ValueError, match="starts like UTF-16, but is not"):
        read_pairs(write(tmp_path, b"\xff\xfea"))


def test_no_such_list_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\\nlist.csv: no such file"):
        read_pairs(tmp_path / "no\nlist.csv")
    with pytest.raises(IsADirectoryError, match="is a folder; expected a CSV"):
        read_pairs(tmp_path)


# -- pipes -----------------------------------------------------------------------------------------------------------


def standard_input(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))


def test_standard_input_is_relative_to_the_working_folder(monkeypatch):
    standard_input(monkeypatch, PLAIN)
    assert pairs_of(Path("-")) == [("a.png", "b.png")]
    standard_input(monkeypatch, PLAIN)
    assert read_pairs(Path("-")).sources == [Path("/dev/stdin")]  # which may be a file


def test_errors_in_standard_input_name_it(monkeypatch):
    standard_input(monkeypatch, "reference,image\na\n")
    with pytest.raises(ValueError, match="^standard input, line 2: 1 cells"):
        read_pairs(Path("-"))
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="^standard input: closed"):
        read_pairs(Path("-"))


@pytest.mark.parametrize("cell", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_standard_input_is_not_read_for_two_things(monkeypatch, cell):
    standard_input(monkeypatch, f"reference,image\na.png,{cell}\n")
    with pytest.raises(ValueError, match="^standard input, line 2: .*expected"):
        read_pairs(Path("-"))


@pytest.fixture
def pipe():
    """Return a function that makes /dev/fd/N deliver a text once, like <(…) in a shell; {fd} in it becomes N."""
    opened = []

    def deliver(content):
        reading, writing = os.pipe()
        opened.append(reading)
        with open(writing, "w") as file:  # noqa: PTH123 - a descriptor
            file.write(content.format(fd=reading))
        return Path(f"/dev/fd/{reading}")

    yield deliver
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/fd")
def test_an_open_pipe_is_read_once_and_relative_to_the_working_folder(pipe):
    assert pairs_of(pipe(PLAIN)) == [("a.png", "b.png")]
    other = pipe("")
    assert pairs_of(pipe(f"reference,image\na.png,{other}\n")) == [("a.png", str(other))]


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/fd")
@pytest.mark.parametrize("own", ["/dev/fd/{fd}", "/proc/self/fd/{fd}", "/dev/../dev/fd/{fd}"])
def test_a_pipe_is_not_its_own_image(pipe, own):
    path = pipe(f"reference,image\na.png,b.png\na.png,{own}\n")
    with pytest.raises(ValueError, match="line 3: .* is the list itself; expected a file"):
        read_pairs(path)


def test_a_named_pipe(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    monkeypatch.chdir(tmp_path)
    fifo = Path("lists/fifo")
    os.mkfifo(fifo)

    def read(content):
        writer = threading.Thread(target=lambda: fifo.write_text(content))
        writer.start()
        try:
            return pairs_of(fifo)
        finally:
            writer.join()

    assert read(PLAIN) == [("a.png", "b.png")]
    with pytest.raises(ValueError, match="line 2: lists/fifo is the list itself"):
        read("reference,image\na.png,lists/fifo\n")


def test_a_list_in_the_memory_of_the_machine_is_an_ordinary_file():
    folder = Path("/dev/shm")
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        pytest.skip("no /dev/shm")
    path = folder / f"list{random.getrandbits(64)}.csv"
    path.write_text(PLAIN)
    try:
        assert pairs_of(path) == [("/dev/shm/a.png", "/dev/shm/b.png")]
    finally:
        path.unlink()


# -- many ------------------------------------------------------------------------------------------------------------


def test_long_lists_take_time_by_their_length_only(tmp_path):
    """Ten times the rows take about ten times as long, not a hundred times."""

    def seconds(count):
        rows = (f"gt/{n // 10}.png,out/m{n % 10}/{n // 10}.png,m{n % 10}" for n in range(count))
        path = write(tmp_path, "reference,image,method\n" + "\n".join(rows))
        began = time.process_time()
        pairing = read_pairs(path)
        took = time.process_time() - began
        assert len({pair.name for pair in pairing.pairs}) == count
        return took

    assert seconds(40_000) < 40 * seconds(4_000)
