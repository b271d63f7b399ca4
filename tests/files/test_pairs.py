"""Pairing files: single files, folders, all pairs; names are unique in every way of pairing."""

import copy
import os
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from lpips_lite.files.pairing import Pair
from lpips_lite.files.pairs import find_all_pairs, find_pairs, match_patterns, read_pairs
from tests.command import touch

pytestmark = pytest.mark.usefixtures("in_folder")


def shown(pairing):
    return [(str(pair.reference), str(pair.image), pair.name) for pair in pairing.pairs]


# -- what a pair is --------------------------------------------------------------------------------------------------


def test_columns_are_empty_and_cannot_be_changed():
    pair = Pair(Path("a"), Path("b"), "b")
    assert dict(pair.columns) == {}
    given = {"method": "m"}
    other = Pair(Path("a"), Path("b"), "b", given)
    given["method"] = "changed"
    assert dict(other.columns) == {"method": "m"}
    for each in (pair, other):
        with pytest.raises(TypeError):
            each.columns["x"] = "y"
        with pytest.raises(AttributeError):
            each.name = "c"


@pytest.mark.parametrize("columns", [{}, {"method": "m", "scene": "s"}])
def test_pairs_are_compared_hashed_copied_and_pickled(columns):
    pair = Pair(Path("a"), Path("b"), "b", columns)
    assert pair == Pair(Path("a"), Path("b"), "b", dict(columns))
    assert pair != Pair(Path("a"), Path("b"), "b", {"other": "column"})
    assert len({pair, copy.copy(pair), copy.deepcopy(pair), pickle.loads(pickle.dumps(pair))}) == 1


# -- files -----------------------------------------------------------------------------------------------------------


def test_files_in_order_of_the_arguments():
    touch("ref.png", "b.png", "a.png")
    pairing = find_pairs(Path("ref.png"), [Path("b.png"), Path("a.png")])
    assert shown(pairing) == [("ref.png", "b.png", "b"), ("ref.png", "a.png", "a")]
    assert (pairing.unmatched, pairing.ignored, pairing.notes, pairing.folders, pairing.sources) == ([], [], [], [], [])


def test_patterns_of_the_shell_unless_a_file_has_that_name():
    touch("ref.png", "out/b.png", "out/a.png", "out/c.jpg", "out/[ab].jpg", "out/a.jpg")
    assert [i for _, i, _ in shown(find_pairs(Path("ref.png"), [Path("out/*.png")]))] == ["out/a.png", "out/b.png"]
    assert [i for _, i, _ in shown(find_pairs(Path("ref.png"), [Path("out/[ab].jpg")]))] == ["out/[ab].jpg"]


@pytest.mark.parametrize("name", ["gone.png", "no/thing.png", "*.tif", "a\nb.png", "x\0y.png", "\x1b[2J.png"])
def test_missing_files_are_named_in_one_line(name):
    touch("ref.png")
    with pytest.raises(FileNotFoundError, match="no such file or folder: ") as caught:
        find_pairs(Path("ref.png"), [Path("ref.png"), Path(name)])
    assert str(caught.value).isprintable()


def test_files_and_folders_do_not_mix():
    touch("a.png", "d/a.png", "e/a.png")
    for reference, images in (("a.png", ["d"]), ("d", ["a.png"]), ("d", ["e", "e"]), ("-", ["d"])):
        with pytest.raises(ValueError, match="is a folder; expected either files only, or exactly two folders"):
            find_pairs(Path(reference), [Path(image) for image in images])
    with pytest.raises(ValueError, match="expected at least one image"):
        find_pairs(Path("a.png"), [])


def test_standard_input_and_pipes_are_files():
    touch("a.png")
    os.mkfifo("fifo")
    pairing = find_pairs(Path("-"), [Path("-"), Path("fifo"), Path("a.png"), Path("/dev/stdin")])
    assert [image for _, image, _ in shown(pairing)] == ["-", "fifo", "a.png", "/dev/stdin"]
    assert [name for *_, name in shown(pairing)] == ["001_stdin", "fifo", "a", "004_stdin"]


# -- folders ---------------------------------------------------------------------------------------------------------


def test_folders_by_relative_name_without_suffix():
    touch(
        "gt/a.png", "gt/s/b.PNG", "gt/v1.2.png", "gt/only.png", "out/a.jpg", "out/s/b.exr", "out/v1.2.png", "out/v1.png"
    )
    touch("gt/notes.txt", "out/.DS_Store", "out/._a.jpg")
    pairing = find_pairs(Path("gt"), [Path("out")])
    assert shown(pairing) == [
        ("gt/a.png", "out/a.jpg", "a"), ("gt/s/b.PNG", "out/s/b.exr", "s/b"), ("gt/v1.2.png", "out/v1.2.png", "v1.2"),
    ]  # fmt: skip
    assert (pairing.missing, pairing.new) == ([Path("gt/only.png")], [Path("out/v1.png")])
    assert pairing.ignored == [Path("gt/notes.txt"), Path("out/.DS_Store"), Path("out/._a.jpg")]
    assert pairing.folders == [Path("gt"), Path("out")]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
@pytest.mark.parametrize("name", ["café", "Ångström/é", "가나", "ṩ"])
def test_composed_and_decomposed_names_are_partners(forms, name):
    left, right = (f"{side}/{unicodedata.normalize(form, name)}.png" for side, form in zip("ab", forms, strict=True))
    touch(left, right)
    pairing = find_pairs(Path("a"), [Path("b")])
    assert shown(pairing) == [(left, right, unicodedata.normalize("NFC", name))]
    assert pairing.unmatched == []


def test_images_behind_linked_folders_are_compared():
    touch("real/r/x.png", "real/o/x.png", "ref/top.png", "out/top.png")
    Path("ref/sub").symlink_to("../real/r")
    Path("out/sub").symlink_to("../real/o")
    pairing = find_pairs(Path("ref"), [Path("out")])
    assert [name for *_, name in shown(pairing)] == ["sub/x", "top"]


def test_what_was_not_entered_is_said_and_counted_for_both_folders():
    touch("a/x.png", "b/x.png")
    Path("a/loop").symlink_to(".")
    Path("b/gone").symlink_to("nowhere")
    pairing = find_pairs(Path("a"), [Path("b")])
    assert pairing.ignored == [Path("a/loop"), Path("b/gone")]
    assert pairing.notes == [
        "links that lead back to a folder they lie in, not entered: a/loop",
        "links that lead nowhere, left out: b/gone",
    ]


def test_an_image_that_leads_nowhere_is_a_pair_or_has_no_partner():
    touch("a/x.png", "b/x.png")
    Path("a/y.png").symlink_to("nowhere")
    Path("b/y.png").symlink_to("nowhere")
    Path("b/z.png").symlink_to("nowhere")
    pairing = find_pairs(Path("a"), [Path("b")])
    assert [name for *_, name in shown(pairing)] == ["x", "y"]
    assert pairing.unmatched == [Path("b/z.png")]


# -- all pairs -------------------------------------------------------------------------------------------------------


def test_every_image_with_every_later_one():
    touch("d/b.png", "d/a.png", "d/s/c.png", "d/notes.txt")
    pairing = find_all_pairs(Path("d"))
    assert shown(pairing) == [
        ("d/a.png", "d/b.png", "a_b"), ("d/a.png", "d/s/c.png", "a_s_c"), ("d/b.png", "d/s/c.png", "b_s_c"),
    ]  # fmt: skip
    assert (pairing.ignored, pairing.folders) == ([Path("d/notes.txt")], [Path("d")])


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a_b", "b_c", "c"),
        ("a", "b/c", "b_c"),
        ("x", "x_x", "x_x_x"),
        ("A", "a", "B", "b"),
        ("a", "a_b.png/b", "b", "c"),
    ],
)
def test_names_of_all_pairs_are_unique(names):
    touch(*(f"d/{name}.jpg" for name in names))
    pairing = find_all_pairs(Path("d"))
    made = [f"{pair.name}.png".casefold() for pair in pairing.pairs]
    assert len(set(made)) == len(names) * (len(names) - 1) // 2
    assert not set(made) & {str(parent) for name in made for parent in Path(name).parents}


def test_all_pairs_need_a_folder_with_two_images():
    touch("d/a.png", "e/notes.txt")
    with pytest.raises(ValueError, match="d: one image; expected at least two"):
        find_all_pairs(Path("d"))
    with pytest.raises(ValueError, match="e: no image files in this folder"):
        find_all_pairs(Path("e"))
    with pytest.raises(NotADirectoryError, match=r"d/a.png: is a file; expected a folder"):
        find_all_pairs(Path("d/a.png"))
    with pytest.raises(FileNotFoundError, match=r"g\\nh: no such folder"):
        find_all_pairs(Path("g\nh"))


# -- names in every way of pairing -----------------------------------------------------------------------------------


def by_files():
    touch("ref.png", "x/a.png", "y/a.png", "y/A.jpg", "z/b.png")
    return find_pairs(Path("ref.png"), [Path("x/a.png"), Path("y/a.png"), Path("y/A.jpg"), Path("z/b.png")] * 2)


def by_folders():
    touch(*(f"{side}/{name}.jpg" for side in "xy" for name in ("a", "A", "a.png/b", "a.png/B", "é", "É")))
    return find_pairs(Path("x"), [Path("y")])


def by_list():
    rows = ["a.png,x/a.png", "a.png,y/a.jpg", "a.png,../..", "a.png,/", "a.png,/dev/fd/7", "a.png,a/../.."] * 2
    Path("list.csv").write_text("\n".join(["reference,image", *rows]))
    return read_pairs(Path("list.csv"))


def by_patterns():
    touch("x/a.png", "x/b.png", *(f"y/{m}/{n}" for m in "mM" for n in ("a.png", "a.jpg", "b.png", "b.png.jpg")))
    return match_patterns("x/{name}.png", "y/{method}/{name}*.*")


@pytest.mark.parametrize("find", [by_files, by_folders, by_list, by_patterns])
def test_names_are_unique_relative_paths(find, tmp_path):
    pairs = find().pairs
    assert len(pairs) >= 6
    files = [f"{pair.name}.png".casefold() for pair in pairs]
    assert len(set(files)) == len(pairs)
    assert not set(files) & {str(parent) for file in files for parent in Path(file).parents}
    for file in files:
        assert not {"..", "", "."} & set(file.split("/"))
        assert (tmp_path / "maps" / file).is_relative_to(tmp_path / "maps")


def test_columns_of_lists_and_patterns():
    assert {tuple(pair.columns) for pair in by_patterns().pairs} == {("name", "method")}
    assert {tuple(pair.columns) for pair in by_list().pairs} == {()}


def test_importing_pairs_loads_no_torch():
    program = "import sys, lpips_lite.files.pairs; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "click", "rich"} & set(done.stdout.split())
