"""Patterns with fields: files that fit, pairs, and errors."""

import os
import re
import time
import unicodedata
from fnmatch import translate
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from lpips_lite.files.pairs import match_patterns
from lpips_lite.files.patterns import read_pattern
from tests.command import touch

pytestmark = pytest.mark.usefixtures("in_folder")


def shown(pairing):
    return [(str(pair.reference), str(pair.image)) for pair in pairing.pairs]


def as_option(argument, value):
    return f"--{argument.replace('_', '-')} {value}"


# -- what is paired --------------------------------------------------------------------------------------------------


def test_a_suffix_in_two_folders():
    touch("gt/0801.png", "gt/0802.png", "sr/0801x4_SwinIR.png", "sr/0802x4_SwinIR.png")
    pairing = match_patterns("{name}.png", "{name}x4_SwinIR.png", Path("gt"), Path("sr"))
    assert shown(pairing) == [("gt/0801.png", "sr/0801x4_SwinIR.png"), ("gt/0802.png", "sr/0802x4_SwinIR.png")]
    assert [dict(pair.columns) for pair in pairing.pairs] == [{"name": "0801"}, {"name": "0802"}]
    assert [pair.name for pair in pairing.pairs] == ["0801x4_SwinIR", "0802x4_SwinIR"]
    assert pairing.folders == [Path("gt"), Path("sr")]
    assert (pairing.unmatched, pairing.ignored, pairing.notes) == ([], [], [])


def test_relative_to_the_working_folder_or_absolute(tmp_path):
    touch("gt/a.png", "sr/a.png")
    assert shown(match_patterns("gt/{n}.png", "./sr//{n}.png")) == [("gt/a.png", "sr/a.png")]
    expected = [(f"{tmp_path}/gt/a.png", f"{tmp_path}/sr/a.png")]
    assert shown(match_patterns(f"{tmp_path}/gt/{{n}}.png", f"{tmp_path}/sr/{{n}}.png")) == expected
    Path("sub").mkdir()
    os.chdir("sub")
    assert shown(match_patterns("../gt/{n}.png", "../sr/{n}.png")) == [("../gt/a.png", "../sr/a.png")]


def test_a_field_of_images_alone_gives_several_images_for_each_reference():
    touch("gt/a.png", "gt/b.png", *(f"out/{method}/{name}x4.jpg" for method in ("m1", "m2") for name in "ab"))
    pairing = match_patterns("gt/{name}.png", "out/{method}/{name}x4.*")
    assert [(dict(pair.columns), pair.name) for pair in pairing.pairs] == [
        ({"name": "a", "method": "m1"}, "m1/ax4"),
        ({"name": "a", "method": "m2"}, "m2/ax4"),
        ({"name": "b", "method": "m1"}, "m1/bx4"),
        ({"name": "b", "method": "m2"}, "m2/bx4"),
    ]
    assert list(pairing.pairs[0].columns) == ["name", "method"]


def test_fields_in_folders_and_several_of_them():
    touch("gt/s1/001.png", "gt/s1/002.png", "gt/s2/001.png", "out/s1_001.png", "out/s2_001.png", "out/s1_002.png")
    pairing = match_patterns("gt/{scene}/{frame}.png", "out/{scene}_{frame}.png")
    assert [dict(pair.columns) for pair in pairing.pairs] == [
        {"scene": "s1", "frame": "001"}, {"scene": "s1", "frame": "002"}, {"scene": "s2", "frame": "001"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "method"), [("img_1", "ours"), ("img", "sr_x4"), ("a_b", "c_d"), ("x", "x_x"), ("a.b", "v1.2")]
)
def test_fields_split_where_there_is_a_reference(name, method):
    touch(f"gt/{name}.png", f"out/{name}_{method}.png")
    pairing = match_patterns("gt/{name}.png", "out/{name}_{method}.png")
    assert [dict(pair.columns) for pair in pairing.pairs] == [{"name": name, "method": method}]
    assert pairing.unmatched == []


def test_the_same_field_twice_holds_the_same_text():
    touch("gt/a.png", "gt/b.png", "out/a/a_x.png", "out/b/b_x.png", "out/a/b_x.png")
    pairing = match_patterns("gt/{name}.png", "out/{name}/{name}_x.png")
    assert shown(pairing) == [("gt/a.png", "out/a/a_x.png"), ("gt/b.png", "out/b/b_x.png")]
    assert pairing.unmatched == []  # out/a/b_x.png does not fit


@pytest.mark.parametrize("text", ["(x4)", "+", "[1]", "$^", "\\d", "a|b", ".", "!", "é", "'\""])
def test_everything_else_is_literal(text):
    touch("gt/a.png", f"sr/a{text}.png", "sr/aa.png", "sr/ax4.png", "sr/a1.png")
    assert shown(match_patterns("gt/{name}.png", f"sr/{{name}}{text}.png")) == [("gt/a.png", f"sr/a{text}.png")]


def test_fields_are_compared_composed_and_so_is_literal_text():
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    touch(f"gt/{composed}{decomposed}.png", f"sr/{decomposed}_{composed}{decomposed}.png")
    pairing = match_patterns("gt/{name}.png", f"sr/{composed}_{{name}}.png")
    assert [dict(pair.columns) for pair in pairing.pairs] == [{"name": composed * 2}]
    assert pairing.pairs[0].image.exists()


def test_names_that_look_like_wildcards():
    touch("gt/a*.png", "gt/{b}.png", "sr/a*/a*.png", "sr/{b}/{b}.png")
    pairing = match_patterns("gt/{name}.png", "sr/{name}/{name}.png")
    assert [pair.columns["name"] for pair in pairing.pairs] == ["a*", "{b}"]


def test_one_folder_for_both_sides():
    touch("a.png", "a_sr.png", "b.png", "b_sr.png", "c.png", "d_sr.png")
    pairing = match_patterns("{name}.png", "{name}_sr.png")
    assert shown(pairing) == [("a.png", "a_sr.png"), ("b.png", "b_sr.png")]
    assert (pairing.missing, pairing.new) == ([Path("c.png")], [Path("d_sr.png")])  # which fits both patterns
    assert pairing.folders == []  # only the top of the working folder is searched


def test_a_file_is_not_compared_with_itself():
    touch("s/a.png", "s/ax4.png")
    assert shown(match_patterns("s/{name}.png", "s/{name}*.png")) == [("s/a.png", "s/ax4.png")]
    Path("link").symlink_to("s")
    assert shown(match_patterns("s/{name}.png", "link/{name}*.png")) == [("s/a.png", "link/ax4.png")]
    assert match_patterns("s/{name}.png", "s/{name}.png").pairs == []


# -- wildcards -------------------------------------------------------------------------------------------------------


def fits(pattern, name):
    return list(read_pattern(pattern, None, "pattern").readings(name))


@pytest.mark.parametrize(
    ("pattern", "name", "values"),
    [
        ("{n}.*", "a.png", ["a"]),
        ("{n}.*", "v1.2.png", ["v1.2"]),
        ("{n}.*", "a", []),
        ("{n}.*", "a/b.png", []),
        ("{n}/*", "a/b.png", ["a"]),
        ("{n}/*", "a/.b.png", []),
        ("{n}/?.png", "a/b.png", ["a"]),
        ("{n}/?.png", "a/bc.png", []),
        ("{n}/?.png", "a/.png", []),
        ("{n}?.png", "ab.png", ["a"]),
        ("**/{n}.png", "a.png", ["a"]),
        ("**/{n}.png", "x/y/a.png", ["a"]),
        ("**/{n}.png", "x/.y/a.png", []),
        ("x/**/{n}.png", "x/a.png", ["a"]),
        ("{n}/**/x.png", "a/x.png", ["a"]),
        ("{n}/**", "a/b/c.png", ["a"]),
        ("a**{n}.png", "ab.png", ["b"]),
        ("a**{n}.png", "a/b.png", []),
        ("{n}*.png", "abc.png", ["abc", "ab", "a"]),
        ("{n}_{n}.png", "a_a_a_a.png", ["a_a"]),
        ("{n}_{n}.png", "a_b.png", []),
        ("{n}.png", ".png", []),
        ("{n}.png", ".x.png", [".x"]),
        ("{n}.png", "a.PNG", []),
        ("{n}.png", "a\n.png", ["a\n"]),
    ],
)
def test_what_fits(pattern, name, values):
    fixed = "x/" if pattern.startswith("x/") else ""  # the folder that is searched
    assert [fields["n"] for fields in fits(pattern, name.removeprefix(fixed))] == values


LITERAL = st.text("ab._+([$", min_size=1, max_size=3)
NAMES = st.text("ab._+([$é", min_size=1, max_size=12)


@given(st.lists(st.sampled_from(["*", "?", "{n}"]) | LITERAL, min_size=1, max_size=6), NAMES)
def test_fits_if_and_only_if_a_regular_expression_says_so(parts, name):
    """An independent reference: the standard library's translation of shell patterns, with a group for the field."""
    if any(a[:1] == "{" == b[:1] for a, b in pairwise(parts)) or "".join(parts).endswith(".*") or parts == ["."]:
        return
    groups, expression = 0, ""
    for part in parts:
        if part == "{n}":
            expression += r"(?P<n>.+)" if not groups else r"(?P=n)"
            groups += 1
        else:
            expression += translate(part.replace("[", "[[]"))[4:-3]
    hidden = name.startswith(".") and parts[0] in ("*", "?")
    found = re.fullmatch(expression, name, re.DOTALL) and not hidden
    pattern = read_pattern("".join(parts), None, "pattern")
    assert bool(list(pattern.readings(name))) == bool(found)


def test_only_images_count_where_the_suffix_is_open():
    touch("gt/a.png", "gt/b.jpg", "gt/a.txt", "gt/._a.png", "sr/a.exr", "sr/b.PNG", "sr/b.json", "sr/Thumbs.db")
    pairing = match_patterns("gt/{name}.*", "sr/{name}.*")
    assert shown(pairing) == [("gt/a.png", "sr/a.exr"), ("gt/b.jpg", "sr/b.PNG")]
    assert pairing.ignored == [Path(name) for name in ("gt/._a.png", "gt/a.txt", "sr/Thumbs.db", "sr/b.json")]


@pytest.mark.parametrize(("pattern", "column"), [("{name}", "a.png"), ("{name}*", "a.png"), ("{name}.pn?", "a")])
def test_other_open_ends(pattern, column):
    touch("gt/a.png", "gt/notes.txt", "sr/a.png", "sr/notes.pnx")
    (pair,) = match_patterns(pattern, "{name}" if column == "a.png" else "{name}.png", Path("gt"), Path("sr")).pairs
    assert pair.columns["name"] == column


def test_only_as_deep_as_the_pattern(monkeypatch):
    """Without `**`, subfolders are not searched, however large they are."""
    touch("a.png", "a_x.png", "deep/er/b.png")
    opened = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (opened.append(str(path)), scandir(path))[1])
    match_patterns("{name}.png", "{name}_x.png")
    assert opened == [".", "."]


def test_links_and_pipes_are_said_where_they_could_matter():
    touch("a.png", "a_x.png", "in/b.png", "in/b_x.png")
    os.mkfifo("pipe")
    os.mkfifo("pipe_x.png")
    Path("nothing").symlink_to("gone")
    Path("in/loop").symlink_to(".")
    pairing = match_patterns("{name}.png", "{name}_x.png")
    assert pairing.ignored == [Path("pipe_x.png")]
    assert pairing.notes == ["pipes and devices in a folder, left out: pipe_x.png"]
    pairing = match_patterns("**/{name}.png", "**/{name}_x.png")
    assert {path.name for path in pairing.ignored} == {"pipe", "pipe_x.png", "nothing", "loop"}
    assert pairing.folders == [Path(), Path()]


# -- what is left over, and what is refused --------------------------------------------------------------------------


def test_files_without_partner_of_both_sides():
    touch("gt/a.png", "gt/b.png", "sr/b_x.png", "sr/c_x.png", "sr/other.txt")
    pairing = match_patterns("gt/{name}.png", "sr/{name}_x.png")
    assert shown(pairing) == [("gt/b.png", "sr/b_x.png")]
    assert (pairing.missing, pairing.new) == ([Path("gt/a.png")], [Path("sr/c_x.png")])


REFUSED = {
    "no field at all": ("a.png", "b.png", "share no field; expected one in both, like {name}"),
    "no shared field": ("{a}.png", "{b}.png", "--ref-pattern {a}.png and --image-pattern {b}.png share no field"),
    "open brace": ("gt/{name.png", "{name}.png", "--ref-pattern gt/{name.png: a brace that belongs to no field"),
    "closing brace": ("gt/{name}}.png", "{name}.png", "a brace that belongs to no field"),
    "brace in a folder": ("g}t/{name}.png", "{name}.png", "a brace that belongs to no field"),
    "brace around a folder": ("{a/b}.png", "{name}.png", "a brace that belongs to no field"),
    "two braces": ("gt/{{name}}.png", "{name}.png", "a brace that belongs to no field"),
    "empty field": ("gt/{}.png", "{name}.png", "{} is not a field; expected letters, digits and _, like {name}"),
    "format": ("gt/{name:04}.png", "{name}.png", "{name:04} is not a field"),
    "space": ("gt/{my name}.png", "{name}.png", "{my name} is not a field"),
    "number": ("gt/{0}.png", "{name}.png", "{0} is not a field"),
    "a result": ("gt/{image}.png", "{image}.png", "{image} is also the name of a result"),
    "a result in other case": ("gt/{name}.png", "{name}_{Error}.png", "--image-pattern {name}_{Error}.png: {Error} is"),
    "two fields that touch": ("gt/{a}{b}.png", "{a}.png", "{a}{b}: expected something between two fields"),
    "empty": ("", "{name}.png", "--ref-pattern : expected a pattern of files"),
    "folder": ("gt/{name}/", "{name}.png", "expected a pattern of files"),
    "fits nothing": ("gt/{name}.jpg", "sr/{name}.png", "--ref-pattern gt/{name}.jpg: no file in gt fits"),
    "image fits nothing": ("gt/{name}.png", "sr/{name}.jpg", "--image-pattern sr/{name}.jpg: no file in sr fits"),
    "no folder": ("nowhere/{name}.png", "sr/{name}.png", "--ref-pattern nowhere/{name}.png: no such folder: nowhere"),
}


@pytest.mark.parametrize(("ref", "image", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(ref, image, message):
    touch("gt/a.png", "sr/a.png", "a.png")
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        match_patterns(ref, image, spell=as_option)
    assert message in str(caught.value)


def test_messages_speak_python_by_default():
    with pytest.raises(ValueError, match=r"^ref_pattern='\{': a brace"):
        match_patterns("{", "{name}")


def test_absolute_patterns_do_not_go_with_a_folder(tmp_path):
    touch("gt/a.png", "sr/a.png")
    with pytest.raises(ValueError, match="expected a pattern relative to sr"):
        match_patterns("{name}.png", f"{tmp_path}/sr/{{name}}.png", Path("gt"), Path("sr"))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{name}.*", ("a.png", "a.jpg")),
        ("{name}_{take}.png", ("a_1.png", "a_2.png")),
        ("**/{name}.png", ("x/a.png", "y/a.png")),
        ("{name}.png", tuple(f"{unicodedata.normalize(form, 'é')}.png" for form in ("NFC", "NFD"))),
    ],
)
def test_two_references_with_the_same_fields_are_an_error(pattern, names):
    touch("sr/a.png", *(f"gt/{name}" for name in names))
    Path("gt", names[1]).write_text("other bytes")
    with pytest.raises(ValueError, match="are both the reference of name=.*, and differ; expected one") as caught:
        match_patterns(pattern, "{name}.png", Path("gt"), Path("sr"))
    assert all(f"gt/{name}" in str(caught.value) for name in names)


def test_copies_of_a_reference_count_once_and_a_note_names_them():
    touch(*(f"s/{method}/{side}/{n}.png" for method in "AB" for side in ("gt", "out") for n in "12"))
    pairing = match_patterns("{scene}/*/gt/{name}.png", "{scene}/{method}/out/{name}.png")
    assert shown(pairing) == [(f"s/A/gt/{n}.png", f"s/{method}/out/{n}.png") for n in "12" for method in "AB"]
    assert pairing.unmatched == []
    assert pairing.notes == ["copies of other references, byte for byte, left out: s/B/gt/1.png, s/B/gt/2.png"]


def test_images_that_no_field_tells_apart_are_named():
    touch("gt/a.png", "sr/a.png", "sr/a.jpg")
    pairing = match_patterns("gt/{name}.png", "sr/{name}.*")
    assert len(pairing.pairs) == 2
    assert pairing.notes == ["images that no field tells apart, all compared: sr/a.jpg, sr/a.png"]


@pytest.mark.parametrize(
    ("pattern", "references", "image"),
    [
        ("{name}*.png", ("1", "10"), "10x4.png"),
        ("{name}_{method}.png", ("a", "a_b"), "a_b_c.png"),
        ("*{name}.png", ("b", "ab"), "xab.png"),
    ],
)
def test_an_image_that_could_belong_to_two_references_is_an_error(pattern, references, image):
    touch(f"sr/{image}", *(f"gt/{name}.png" for name in references))
    with pytest.raises(ValueError, match="could belong to") as caught:
        match_patterns("{name}.png", pattern, Path("gt"), Path("sr"))
    assert all(f"gt/{name}.png" in str(caught.value) for name in references)


def test_many_wildcards_end():
    began = time.process_time()
    assert fits("*a*a*a*a*a*a*a*a*{name}b.png", "a" * 120 + ".png") == []
    assert time.process_time() - began < 5  # without remembering dead ends: longer than anybody waits
