"""Rows grouped by the values of columns, and notes on uneven groups."""

import pytest

from lpips_lite.files.grouping import Item, group


def items(*rows, names=("method", "scene", "name")):
    """Return an item per string like "A garden 0"; its reference is made of scene and name."""
    return [Item("/".join(text.split()[1:3]), dict(zip(names, text.split(), strict=True))) for text in rows]


WHOLE = [f"{method} {scene} {name}" for method in "AB" for scene in ("garden", "room") for name in "01"]


def test_groups_are_those_of_a_dictionary():
    found = group(items(*WHOLE), ["method", "scene"])
    expected = {}
    for place, text in enumerate(WHOLE):
        expected.setdefault(tuple(text.split()[:2]), []).append(place)
    assert found.members == expected
    assert found.compared == ("method",)
    assert found.rivals(("A", "room")) == ("room",)
    assert found.notes == ()


@pytest.mark.parametrize(("values", "order"), [("30 5 100", "5 30 100"), ("b a c", "b a c"), ("10 x 9", "10 x 9")])
def test_numbers_are_in_their_order_and_names_as_they_come(values, order):
    found = group(items(*(f"{value} s 0" for value in values.split())), ["method"])
    assert [key for (key,) in found.members] == order.split()


def test_a_group_that_lacks_an_image_of_another_is_named():
    found = group(items(*(text for text in WHOLE if text != "B room 1")), ["method", "scene"])
    assert found.notes == ("method=B, scene=room: no image for 1 of 2 references: room/1",)


def test_an_empty_group_is_named():
    found = group(items(*(text for text in WHOLE if not text.startswith("B room"))), ["scene", "method"])
    assert found.notes == ("scene=room, method=B: empty group, no image for any of 2 references: room/0, room/1",)
    assert ("room", "B") not in found.members


def test_references_that_count_more_often_are_named():
    names = ("codec", "name", "quality")
    rows = [Item(name, dict(zip(names, ("jpeg", name, quality), strict=True))) for name in "ab" for quality in "123"]
    assert group(rows, ["codec"]).notes == ()
    assert group(rows[:-1], ["codec"]).notes == ("codec=jpeg: 2 to 3 images for a reference; fewest for b",)


def test_images_that_nothing_tells_apart_are_named():
    found = group(items("A s 0", "A s 0", "B s 0"), ["method"])
    assert found.notes == ("several images that no column tells apart, all counted: of s/0",)


def test_columns_of_images_alone_compare_nothing():
    assert group(items(*WHOLE), ["scene"]).compared == ()


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (["methods"], "by='methods': no column 'methods'; expected some of method, scene, name; fields of patterns"),
        ([], "by='': expected names of columns, each once"),
        (["scene", "scene"], "by='scene,scene': expected names of columns, each once"),
    ],
)
def test_wrong_columns_are_errors(by, message):
    with pytest.raises(ValueError, match=message):
        group(items(*WHOLE), by)


def test_pairs_without_columns_say_where_columns_come_from():
    with pytest.raises(ValueError, match="the pairs have no columns; fields of patterns and columns of a list are"):
        group([Item("r.png", {})], ["method"])
