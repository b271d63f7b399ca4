"""Patterns proposed for names in two folders without a partner: they make the pairs that they promise."""

from pathlib import Path

import pytest

from lpips_lite.files.pairs import find_pairs, match_patterns
from lpips_lite.files.proposals import propose_patterns
from tests.command import touch

pytestmark = pytest.mark.usefixtures("in_folder")


def as_option(argument, value):
    return f"--{argument.replace('_', '-')} {value}"


PROPOSALS = {
    "end of images": (["0801", "0802"], ["0801x4_SR", "0802x4_SR"], ("{name}.png", "{name}x4_SR.png", 2)),
    "one pair": (["0801"], ["0801x4_SR"], ("{name}.png", "{name}x4_SR.png", 1)),
    "beginning of images": (["a", "b", "c"], ["sr_a", "sr_b", "sr_c"], ("{name}.png", "sr_{name}.png", 3)),
    "end of references": (["a_gt", "b_gt"], ["a", "b"], ("{name}_gt.png", "{name}.png", 2)),
    "beginning of references": (["gt-a", "gt-b"], ["a", "b"], ("gt-{name}.png", "{name}.png", 2)),
    "ends on both sides": (["a_gt", "b_gt"], ["a_out", "b_out"], ("{name}_gt.png", "{name}_out.png", 2)),
    "the most common": (["1", "2", "3"], ["1x", "2x", "3y"], ("{name}.png", "{name}x.png", 2)),
    "names within names": (["1", "10", "11"], ["1x", "10x", "11x"], ("{name}.png", "{name}x.png", 3)),
    "in folders": (["s/a", "t/a"], ["s/a_x", "t/a_x"], ("{folder}/{name}.png", "{folder}/{name}_x.png", 2)),
    "deep": (["s/t/a"], ["s/t/a_x"], ("{folder}/{folder1}/{name}.png", "{folder}/{folder1}/{name}_x.png", 1)),
    "some without": (["a", "b", "c"], ["a_x", "d_x", "e_x"], ("{name}.png", "{name}_x.png", 1)),
}


@pytest.mark.parametrize(("references", "images", "expected"), PROPOSALS.values(), ids=PROPOSALS)
def test_proposed_patterns_pair_what_they_promise(references, images, expected):
    proposal = propose_patterns(dict.fromkeys(references, ".png"), dict.fromkeys(images, ".png"))
    assert proposal == expected
    touch(*(f"left/{name}.png" for name in references), *(f"right/{name}.png" for name in images))
    found = match_patterns(*proposal[:2], Path("left"), Path("right"))
    assert len(found.pairs) == proposal[2]


@pytest.mark.parametrize(
    ("references", "images"),
    [([], []), (["a"], []), ([], ["a"]), (["a"], ["b"]), (["a"], ["a*"]), (["a"], ["a{x}"]), (["s/a"], ["t/a_x"])],
)
def test_nothing_is_proposed_where_nothing_fits(references, images):
    assert propose_patterns(dict.fromkeys(references, ".png"), dict.fromkeys(images, ".png")) is None


def test_a_note_proposes_patterns_for_folders():
    touch("gt/0801.png", "gt/0802.jpg", "gt/same.png", "sr/0801x4.png", "sr/0802x4.png", "sr/same.png", "sr/lone.png")
    pairing = find_pairs(Path("gt"), [Path("sr")], spell=as_option)
    assert [pair.name for pair in pairing.pairs] == ["same"]
    assert pairing.missing == [Path("gt/0801.png"), Path("gt/0802.jpg")]
    assert pairing.new == [Path("sr/0801x4.png"), Path("sr/0802x4.png"), Path("sr/lone.png")]
    assert pairing.notes == [
        "with the same folders, --ref-pattern {name}.* and --image-pattern {name}x4.png "
        "would pair 2 of the names without a partner"
    ]
