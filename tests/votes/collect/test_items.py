"""Items of a study: balanced choices from folders, tables, and catch items that everybody sees."""

from collections import Counter

import pytest
from PIL import Image

from lpips_lite.files.reading import read_image
from lpips_lite.votes.collect.catches import VISIBLE, catch_items, catch_picture
from lpips_lite.votes.collect.lists import check_items, read_list
from lpips_lite.votes.collect.proposing import propose
from tests.votes.collect.people import write_folders
from tests.votes.data import image, table


def test_methods_and_references_come_equally_often(tmp_path):
    references, results = write_folders(tmp_path, references=10)
    items, notes = propose(references, results, count=15, seed=3)
    assert notes == []
    assert set(Counter((item.method0, item.method1) for item in items).values()) == {5}
    assert set(Counter(item.ref for item in items).values()) <= {1, 2}
    assert all(item.p0.stem == item.p1.stem == item.ref.stem for item in items)
    assert all(item.p0.parent.name == item.method0 for item in items)
    assert len({*items}) == 15
    assert items == propose(references, results, count=15, seed=3)[0]
    assert items != propose(references, results, count=15, seed=4)[0]
    assert len(propose(references, results)[0]) == 30
    pairs, _ = propose(references, results, mode="same", count=12)
    assert set(Counter(item.method0 for item in pairs).values()) == {4}
    assert {item.p1 for item in pairs} == {None}


def test_gaps_and_mistakes_of_folders(tmp_path):
    references, results = write_folders(tmp_path)
    (results[0] / "2.png").unlink()
    items, (note,) = propose(references, results)
    assert "weak: no image for 1 of 4 references" in note
    assert len(items) == 12 - 2
    with pytest.raises(ValueError, match="count is 11; expected at most 10"):
        propose(references, results, count=11)
    with pytest.raises(ValueError, match="expected at least 2"):
        propose(references, results[:1])
    with pytest.raises(ValueError, match="named twice"):
        propose(references, [results[0], results[0]])
    image(tmp_path / "other/x.png")
    image(tmp_path / "another/x.png")
    with pytest.raises(ValueError, match="expected the same names"):
        propose(references, [tmp_path / "other", tmp_path / "another"])
    nested, _ = propose(references, [results[1], write_folders(tmp_path / "more")[1][1]])
    assert {item.method0 for item in nested} == {f"{tmp_path.name}/middle"}


def test_tables(tmp_path):
    for name in "rab":
        image(tmp_path / f"{name}.png", value=ord(name))
    path = table(tmp_path / "t.csv", "r.png,a.png,b.png,x,y", header="ref,p0,p1,method_p0,method_p1")
    (item,) = read_list(path)
    assert (item.ref, item.p1, item.method1) == (tmp_path / "r.png", tmp_path / "b.png", "y")
    (pair,) = read_list(path, "same")
    assert (pair.p0, pair.p1, pair.method0, pair.method1) == (tmp_path / "a.png", None, "x", None)
    assert check_items([item])[0] == [item]
    with pytest.raises(ValueError, match="listed twice"):
        check_items([item, item])
    for line, message in (("r.png,a.png,r.png", r"t\.csv:2: names a file twice"), ("r.png,,b.png", "p0 is empty")):
        with pytest.raises(ValueError, match=message):
            read_list(table(tmp_path / "t.csv", line, header="ref,p0,p1"))
    with pytest.raises(ValueError, match=r"expected the columns of triplets \(ref,p0,p1\)"):
        read_list(table(tmp_path / "t.csv", "1,2", header="a,b"))


def test_images_that_cannot_be_shown(tmp_path):
    references, results = write_folders(tmp_path)
    items, _ = propose(references, results)
    (results[1] / "1.png").write_bytes((results[0] / "1.png").read_bytes())
    kept, notes = check_items(items)
    assert len(kept) == 11
    assert notes == ["1 triplets whose p0 and p1 have the same bytes are not asked about"]
    image(results[1] / "1.png", size=(8, 8))
    with pytest.raises(ValueError, match="size .* differs"):
        check_items(items)
    (results[1] / "1.png").write_text("no image")
    with pytest.raises(ValueError, match=r"1\.png"):
        check_items(items)


def test_catch_items_are_visible_and_the_same_each_time(tmp_path):
    references, results = write_folders(tmp_path, references=6)
    image(references / "flat.png", size=(32, 32))  # which blur does not change
    for folder in results:
        image(folder / "flat.png", size=(32, 32), value=90)
    items, _ = propose(references, results)
    made = catch_items(items, seed=1)
    assert len(made) == 7
    assert made == catch_items(items, seed=1)
    for item in made:
        assert (item.kind, item.p0, item.right) == ("catch", item.ref, "p0")
        change = catch_picture(item.ref, item.distortion) - read_image(item.ref)
        assert change.square().mean().sqrt() > VISIBLE
    same = catch_items(items, "same", seed=1)
    assert Counter(item.right for item in same) == {"different": 7, "same": 4}
    with Image.open(references / "0.png") as whole:
        assert catch_picture(references / "0.png", None).shape[1:] == whole.size
