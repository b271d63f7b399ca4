"""Names as text: exact in results, safe on a terminal, unique."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from lpips_lite.files.names import PATHS, RESULT_COLUMNS, path_text, printable, same_name, unique_names
from lpips_lite.files.results import MADE


def test_reserved_names_are_those_of_results():
    assert set(RESULT_COLUMNS) == {*PATHS, *MADE, "signature"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb.png", r"a\nb.png"),
        ("a\rb.png", r"a\rb.png"),
        ("a\tb.png", r"a\tb.png"),
        ("\x1b[2Ja.png", r"\x1b[2Ja.png"),
        ("a\x7f.png", r"a\x7f.png"),
        ("a\x85b.png", r"a\x85b.png"),
        ("a\u2028b.png", r"a\u2028b.png"),
        ("gnp.\u202ea.exe", r"gnp.\u202ea.exe"),
        ("a\u2066b\u2069.png", r"a\u2066b\u2069.png"),
        ("a\u200fb.png", r"a\u200fb.png"),
        ("a\u061cb.png", r"a\u061cb.png"),
        ("a\udcffb.png", r"a\xffb.png"),
        ("a\ud800b.png", r"a\ud800b.png"),
        ("a\uffffb.png", r"a\uffffb.png"),
    ],
)
def test_what_moves_the_cursor_or_turns_text_around_is_escaped(name, shown):
    assert printable(name) == shown
    assert printable(Path(name)) == shown


@pytest.mark.parametrize(
    "name",
    [
        "plain.png",
        "dos\\path.png",
        "no\u00a0break.png",
        "全角\u3000空白.png",
        "👩\u200d🚀.png",
        "שלום.png",
        "e\u0301.png",
    ],
)
def test_ordinary_text_is_left_alone(name):
    assert printable(name) == name
    assert path_text(Path(name)) == name


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes")
@pytest.mark.parametrize("raw", [b"a\xff.png", b"caf\xe9.png", b"\xed\xa0\x80.png", b"\xe2\x82.png"])
def test_bytes_that_are_no_text_become_escapes(raw):
    text = path_text(Path(os.fsdecode(raw)))
    assert text == raw.decode("utf-8", "backslashreplace")
    text.encode("utf-8")  # can be written


def test_path_text_keeps_line_breaks():
    assert path_text(Path("a\r\nb.png")) == "a\r\nb.png"


def test_composed_and_decomposed_names_are_the_same():
    assert same_name("cafe\u0301") == same_name("caf\u00e9") == "caf\u00e9"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "b"], ["001_a", "002_a", "b"]),
        (["x/a", "y/a", "x/a"], ["x/001_a", "y/a", "x/003_a"]),
        (["a", "A"], ["001_a", "002_A"]),
        (["caf\u00e9", "cafe\u0301"], ["001_caf\u00e9", "002_cafe\u0301"]),
        (["straße", "STRASSE"], ["001_straße", "002_STRASSE"]),
        (["a", "a", "001_a"], ["001_a_", "002_a", "001_a"]),
        (["a", "a.png/x"], ["001_a", "a.png/x"]),
        (["a", "A.PNG/x/y"], ["001_a", "A.PNG/x/y"]),
        (["a", "a", "001_a.png/x"], ["001_a_", "002_a", "001_a.png/x"]),
        (["a", "a/x"], ["a", "a/x"]),
        (["..", "../../a", "/etc/passwd", "", "a//b"], ["001_unnamed", "a", "etc/passwd", "004_unnamed", "a/b"]),
    ],
)
def test_unique_names(names, expected):
    assert unique_names(names) == expected


PARTS = st.text(st.sampled_from("aAé0_.\u0301"), max_size=3) | st.sampled_from(["..", ".", "a.png", "001_a", "A.PNG"])
NAMES = st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=8)


@given(NAMES)
def test_files_of_unique_names_never_meet(names):
    """No file is another file, or the folder of one, if case and accents do not count."""
    files = [same_name(f"{name}.png").casefold() for name in unique_names(names)]
    folders = {str(parent) for file in files for parent in Path(file).parents}
    assert len(set(files)) == len(names)
    assert not folders & set(files)
    for file in files:
        assert not file.startswith("/")
        assert not {"", ".", ".."} & set(file.split("/"))


@pytest.mark.parametrize("name", ["a" * 252, "画" * 85, "a" * 120 + "_" + "b" * 250, "d/" + "é" * 127])
def test_names_stay_short_enough_for_a_file(tmp_path, name):
    for unique in unique_names([name, name]):
        file = tmp_path / f"{unique}.png"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
