"""Files to write are never files to read, by whatever name."""

from pathlib import Path

import pytest

from lpips_lite.files.outputs import check_folder, check_outputs, check_outside


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with an image that has many names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"pixels")
    (tmp_path / "link.png").symlink_to("in/a.png")
    (tmp_path / "linked").symlink_to("in")
    (tmp_path / "hard.png").hardlink_to("in/a.png")
    (tmp_path / "dangling.png").symlink_to("in/absent.png")
    return tmp_path


@pytest.mark.parametrize("read", ["in/a.png", "link.png", "linked/a.png", "hard.png"])
@pytest.mark.parametrize("written", ["in/a.png", "in/../in/a.png", "link.png", "linked/a.png", "hard.png"])
def test_an_output_that_is_an_input_is_refused(folder, read, written):
    with pytest.raises(ValueError, match="--output .*: would replace a compared image, .*; expected another path"):
        check_outputs([("--output", Path(written))], [("a compared image", Path(read))])
    with pytest.raises(ValueError, match="would replace"):
        check_outputs([("--output", Path(written).absolute())], [("a compared image", Path(read))])


def test_a_missing_input_must_not_be_made_either(folder):
    with pytest.raises(ValueError, match="would replace"):
        check_outputs([("--heatmap", folder / "in/absent.png")], [("a compared image", Path("dangling.png"))])


def test_outputs_must_differ_from_each_other(folder):
    with pytest.raises(ValueError, match="--report r.html: would replace what --output writes"):
        check_outputs([("--output", Path("r.html")), ("--report", Path("r.html"))], [])
    check_outputs([("--output", Path("r.csv")), ("--report", Path("r.html"))], [("an image", Path("in/a.png"))])


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="there are no such devices")
def test_devices_are_nobodys_file():
    check_outputs([("--output", Path("/dev/null")), ("--report", Path("/dev/null"))], [("list", Path("/dev/null"))])


def test_a_folder_to_be_filled_lies_outside_the_compared_ones(folder):
    for target in ("in", "in/maps", "linked/maps/deeper"):
        with pytest.raises(ValueError, match="--heatmap .*: is in .*, whose images are compared"):
            check_outside("--heatmap", Path(target), [Path("in")])
    check_outside("--heatmap", Path("maps"), [Path("in")])
    check_outside("--heatmap", Path("in2"), [Path("in")])


def test_where_a_file_can_be_written(folder):
    check_folder("--output", Path("r.csv"))
    with pytest.raises(FileNotFoundError, match="--output none/r.csv: no such folder: none"):
        check_folder("--output", Path("none/r.csv"))
    with pytest.raises(IsADirectoryError, match="--output in: is a folder; expected a file"):
        check_folder("--output", Path("in"))
