"""Walking through folders: links, loops, which files are images, and notes on what is left out."""

import os
import socket
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from lpips_lite.files.folders import find_images, image_suffixes, is_image, walk_folder


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_names_are_sorted_as_text_and_relative(tmp_path):
    touch(tmp_path, "b.png", "a/z.png", "a.png", "a/b/c.png", "a0.png", ".hidden/x.png", ".y.png")
    assert list(find_images(tmp_path).by_name) == [".hidden/x", ".y", "a", "a/b/c", "a/z", "a0", "b"]
    assert find_images(tmp_path).by_name["a/b/c"] == tmp_path / "a/b/c.png"


def test_depth(tmp_path):
    touch(tmp_path, "a.png", "b/c.png", "b/d/e.png")
    assert walk_folder(tmp_path, 1).files == ["a.png"]
    assert walk_folder(tmp_path, 2).files == ["a.png", "b/c.png"]
    assert walk_folder(tmp_path).files == ["a.png", "b/c.png", "b/d/e.png"]


def test_a_tree_deeper_than_recursion_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [Path("d/" * depth) for depth in range(1, 1501)]
    for folder in folders:
        folder.mkdir()
    file = folders[-1] / "x.png"
    file.touch()
    try:
        assert walk_folder(Path()).files == [str(file)]
    finally:  # pytest's own clean-up is recursive
        file.unlink()
        for folder in reversed(folders):
            folder.rmdir()


# -- links -----------------------------------------------------------------------------------------------------------


def test_linked_folders_and_files_are_entered_as_often_as_they_are_linked(tmp_path):
    touch(tmp_path, "real/x.png", "top/a.png")
    for name in ("one", "two"):
        (tmp_path / "top" / name).symlink_to("../real")
    (tmp_path / "top/b.png").symlink_to("../real/x.png")
    found = find_images(tmp_path / "top")
    assert list(found.by_name) == ["a", "b", "one/x", "two/x"]
    assert (found.ignored, found.notes) == ([], [])


LOOPS = {
    "to its own folder": {"loop": "."},
    "to the folder above": {"sub/loop": ".."},
    "absolute": {"sub/loop": "{root}"},
    "two in turn": {"a/b": "../c", "c/d": "../a"},
    "through another name": {"sub/deep/loop": "../../sub"},
}


@pytest.mark.parametrize("links", LOOPS.values(), ids=LOOPS)
def test_loops_end_and_are_named(tmp_path, links):
    touch(tmp_path, "x.png")
    for name, target in links.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(target.format(root=tmp_path))
    found = find_images(tmp_path)
    assert "x" in found.by_name
    assert len(found.notes) == 1
    assert "lead back to a folder they lie in" in found.notes[0]
    assert found.ignored
    assert all(str(path) in found.notes[0] for path in found.ignored)


def test_a_link_that_leads_nowhere_is_an_image_if_it_is_named_like_one(tmp_path):
    touch(tmp_path, "x.png")
    (tmp_path / "gone.jpg").symlink_to("nothing")
    assert find_images(tmp_path).by_name["gone"] == tmp_path / "gone.jpg"


@pytest.mark.parametrize(("name", "target"), [("folder", "nothing"), ("v1.2", "nothing/there"), ("self", "self")])
def test_any_other_link_that_leads_nowhere_is_named(tmp_path, name, target):
    touch(tmp_path, "x.png")
    (tmp_path / name).symlink_to(target)
    found = find_images(tmp_path)
    assert list(found.by_name) == ["x"]
    assert found.ignored == [tmp_path / name]
    assert found.notes == [f"links that lead nowhere, left out: {tmp_path / name}"]


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # the whole path may be too long


def make_device_link(path):
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_device_link])
@pytest.mark.parametrize("name", ["special.png", "special"])
def test_pipes_sockets_and_devices_are_not_opened_but_named(tmp_path, monkeypatch, make, name):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "x.png")
    make(Path(name))
    found = find_images(Path())
    assert list(found.by_name) == ["x"]
    assert found.ignored == [Path(name)]
    assert found.notes == [f"pipes and devices in a folder, left out: {name}"]


def test_folders_that_link_to_each_other_come_to_an_end(tmp_path):
    folders = [tmp_path / name for name in "abcdefghij"]
    for folder in folders:
        folder.mkdir()
    for folder in folders:
        touch(folder, "x.png")
        for other in folders:
            if other != folder:
                (folder / f"to_{other.name}").symlink_to(other)
    walk = walk_folder(tmp_path)
    assert {"a/x.png", "j/x.png", "a/to_b/x.png"} <= set(walk.files)
    assert len(walk.files) < 1000
    assert walk.left_out


def test_many_left_out_are_counted(tmp_path):
    touch(tmp_path, "x.png")
    for number in range(12):
        (tmp_path / f"link{number:02}").symlink_to("nothing")
    (note,) = find_images(tmp_path).notes
    assert "link04" in note
    assert note.endswith(" and 7 more")


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "x.png", "closed/y.png")
    (tmp_path / "closed").chmod(0)
    root = os.geteuid() == 0
    if root:  # who may read everything
        tmp_path.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match="closed"):
            find_images(Path())
    finally:
        if root:
            os.seteuid(0)
        (tmp_path / "closed").chmod(0o755)


# -- suffixes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix", ["png", "PNG", "Jpg", "jpeg", "tif", "TIFF", "webp", "bmp", "gif", "ppm", "pfm", "psd", "jp2", "mpo"]
)
def test_what_pillow_reads_is_an_image(suffix):
    assert is_image(f"a.{suffix}")


@pytest.mark.parametrize(
    "suffix", ["exr", "hdr", "HEIC", "heif", "avif", "jxl", "dng", "CR2", "nef", "xcf", "svg", "dpx"]
)
def test_what_pillow_may_not_read_is_an_image_too(suffix):
    assert is_image(f"a.{suffix}")


@pytest.mark.parametrize(
    "suffix", ["txt", "csv", "json", "pdf", "mpg", "h5", "grib", "bufr", "mp4", "npy", "zip", "", "1"]
)
def test_other_files_are_not(suffix):
    assert not is_image(f"a.{suffix}")


def test_every_suffix_that_a_decoder_of_pillow_claims_counts():
    """Whatever kind of file Pillow writes and opens again is an image by its suffix."""
    stubs = {"BUFR", "GRIB", "HDF5", "MPEG"}
    claimed = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    refused = claimed - image_suffixes()
    assert {Image.registered_extensions()[suffix] for suffix in refused} <= stubs


@pytest.mark.parametrize("name", ["._a.png", "sub/._a.png", ".DS_Store", "Thumbs.db", ".png", "png"])
def test_what_systems_leave_behind_is_ignored(tmp_path, name):
    touch(tmp_path, "a.png", name)
    found = find_images(tmp_path)
    assert list(found.by_name) == ["a"]
    assert found.ignored == [tmp_path / name]


def test_only_the_last_suffix_is_one(tmp_path):
    touch(tmp_path, "a.tar.png", "a.png", "v1.2.png", "v1.png", "v1.3.jpg")
    assert list(find_images(tmp_path).by_name) == ["a", "a.tar", "v1", "v1.2", "v1.3"]


@pytest.mark.parametrize(
    "names", [("a.png", "a.jpg"), ("a.png", "a.PNG"), ("s/a.b.png", "s/a.b.exr"), ("a\n.png", "a\n.gif")]
)
def test_a_name_that_stands_for_two_files_is_an_error(tmp_path, names):
    touch(tmp_path, *names)
    with pytest.raises(ValueError, match="stands for several files") as caught:
        find_images(tmp_path)
    for name in names:
        assert name.replace("\n", r"\n") in str(caught.value)
    assert "ref_pattern='{name}.png'" in str(caught.value)


def test_a_name_in_two_spellings_of_unicode_is_an_error(tmp_path):
    touch(tmp_path, *(unicodedata.normalize(form, "café.png") for form in ("NFC", "NFD")))
    with pytest.raises(ValueError, match=r"café stands for several files: .*\(with accents stored apart\)"):
        find_images(tmp_path)


def test_no_image_is_an_error_that_tells_what_was_left_out(tmp_path):
    touch(tmp_path, "notes.txt")
    (tmp_path / "images").symlink_to("nothing")
    with pytest.raises(ValueError, match=r"no image files in this folder; links that lead nowhere.*images"):
        find_images(tmp_path)
