"""Visible changes: the counts are pixelmatch's, areas are where they were drawn, and masks hide what is outside."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from pixelmatch import pixelmatch

from lpips_lite import changed_pixels
from lpips_lite.baselines.changes import largest_region
from lpips_lite.catalog import parse_metric
from lpips_lite.map_statistics import over_map


def batch(*pictures):
    return torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures])


def written(words, at=(5, 4), size=16, disc=0, **options):
    """A small page with text and a disc."""
    picture = Image.new("RGB", (96, 40), "white")
    pen = ImageDraw.Draw(picture)
    pen.text(at, words, fill=(20, 30, 90), font=ImageFont.load_default(size), **options)
    pen.ellipse((62 + disc, 12, 90 + disc, 36), fill=(200, 80, 30), outline="black")
    return picture


def noise(seed, levels, gray=False):
    values = np.random.default_rng(seed).integers(0, levels, (40, 50, 1 if gray else 3)) * (255 // (levels - 1))
    return np.broadcast_to(values, (40, 50, 3)).astype(np.uint8)


PAIRS = {
    "digit": (written("12345"), written("12845")),
    "moved by a part": (written("hello"), written("hello", (5.4, 4))),
    "moved by one": (written("hello"), written("hello", (6, 4))),
    "larger": (written("hello"), written("hello", size=16.5)),
    "bolder": (written("hello"), written("hello", stroke_width=0.4)),
    "disc moved": (written("hello"), written("hello", disc=1)),
    "softer": (written("hello"), written("hello").resize((72, 30), 1).resize((96, 40), 1)),
    "colours": (noise(0, 256), noise(1, 256)),
    "few colours": (noise(2, 3), noise(3, 3)),
    "few grays": (noise(4, 2, True), noise(5, 4, True)),
}


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("kind", ["bytes", "floats"])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_the_count_is_pixelmatchs(pair, kind, threshold):
    flat = [np.dstack([picture, np.full(np.shape(picture)[:2], 255, np.uint8)]).ravel().tolist() for picture in pair]
    x, y = (batch(picture) for picture in pair)
    if kind == "floats":
        x, y = x.float() / 255, y.double() / 255
    expected = pixelmatch(*flat, x.shape[3], x.shape[2], threshold=threshold)
    assert changed_pixels(x, y, threshold=threshold).tolist() == [expected]
    if threshold == 0.1 and pair is PAIRS["digit"]:
        assert expected > 5


def test_a_shift_explains_what_moved_by_a_part_and_nothing_else():
    page, names = written("12345"), ("digit", "bolder")
    moved = page.transform(page.size, Image.Transform.AFFINE, (1, 0, -0.4, 0, 1, -0.3), Image.Resampling.BILINEAR)
    inside = np.s_[1:-1, 1:-1]  # what moves in from outside is black
    x, y = (batch(np.array(picture)[inside]) for picture in (page, moved))
    assert changed_pixels(x, y) > 0
    assert changed_pixels(x, y, ignore="shift") == 0
    for pair in map(PAIRS.get, names):
        assert largest_region(*map(batch, pair), ignore="shift")[0, 0] > 3


@pytest.fixture
def areas():
    """A black pair of which the second has two areas: one of 12 pixels, one of 13 that touch by corners only."""
    x, y = torch.zeros(2, 1, 3, 30, 40)
    y[..., 3:6, 4:8] = 1
    y[..., torch.arange(13) + 10, torch.arange(13) + 20] = 1
    return x, y


def test_the_largest_area_and_its_box(areas):
    x, y = areas
    assert largest_region(x, y).tolist() == [[13, 20, 10, 13, 13]]
    assert changed_pixels(x, y).tolist() == [25]
    assert largest_region(x, x).tolist() == [[0] * 5]
    both = largest_region(torch.cat([x, x]), torch.cat([x, y.flip(3)]))
    assert both.tolist() == [[0] * 5, [13, 7, 10, 13, 13]]


def test_of_equal_areas_the_first_from_the_top_counts():
    x, y = torch.zeros(2, 1, 3, 20, 20)
    y[..., 12:14, 2:4] = y[..., 3:5, 9:11] = 1
    assert largest_region(x, y).tolist() == [[4, 9, 3, 2, 2]]


MASKED = ["pixels", "pixels:shift", "region", "region:shift", "lite:max", "lite:p99"]


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
@pytest.mark.parametrize("text", MASKED)
def test_what_is_outside_a_mask_changes_nothing(text, kind):
    x, y = torch.rand(2, 3, 32, 40), torch.rand(2, 3, 32, 40)
    mask = torch.zeros(2, 1, 32, 40, dtype=kind)
    mask[0, :, 4:20, 7:30] = mask[1, :, :9] = 1
    compute = parse_metric(text).load().compute
    found = compute(x, y, mask=mask)
    other = torch.where(mask > 0, x, torch.rand_like(x))
    assert torch.equal(compute(other, y, mask=mask), found)
    assert torch.equal(compute(torch.where(mask > 0, y, x), y, mask=mask), torch.zeros(2))
    assert (found > 0).all()
    torch.testing.assert_close(compute(x, y, mask=torch.ones_like(mask)), compute(x, y))
    with pytest.raises(ValueError, match="mask has shape"):
        compute(x, y, mask=mask[:1])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [(37, 50), (101, 1)])  # a rank between two values, and a whole one
def test_statistics_of_a_map_are_numpys(size, masked):
    maps, images = torch.rand(3, 1, *size), torch.rand(3, 3, *size)
    mask = torch.rand_like(maps) > (0.4 if masked else -1)
    for statistic, expected in (("max", np.max), ("p99", lambda values: np.percentile(values, 99))):
        found = over_map(lambda x, y, mask: maps, images, images, statistic=statistic, mask=mask if masked else None)
        wanted = [expected(row[own].numpy()) for row, own in zip(maps, mask, strict=True)]
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": -0.1}, r"threshold=-0.1: expected a number in \[0, 1\]"),
        ({"threshold": "0.1"}, "threshold='0.1': expected a number"),
        ({"ignore": "edges"}, "ignore='edges': expected 'antialiasing' or 'shift'"),
    ],
)
def test_options_that_there_are_not(options, message):
    for function in (changed_pixels, largest_region):
        with pytest.raises(ValueError, match=message):
            function(*torch.zeros(2, 1, 3, 8, 8), **options)


@pytest.mark.parametrize("text", ["pixels:threshold=2", "region:threshold=nan", "pixels:threshold=a", "lite:max:p99"])
def test_spellings_that_there_are_not(text):
    with pytest.raises(ValueError, match=r"expected a number in \[0, 1\]|max and p99; expected just one"):
        parse_metric(text)


def test_signatures_say_how():
    assert parse_metric("pixels").load().signature.endswith("changed_pixels threshold=0.1 ignore=antialiasing")
    assert parse_metric("region:shift:threshold=.2").load().signature.endswith("region threshold=0.2 ignore=shift")
    plain, largest = (parse_metric(text).load() for text in ("lite", "lite:max"))
    assert largest.signature == f"{plain.signature} map=max"
    assert largest.slope is None
    assert largest.trained_on == plain.trained_on


def test_without_scipy_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.delitem(sys.modules, "scipy.ndimage", raising=False)
    with pytest.raises(ImportError, match=r'region needs scipy: pip install "lpips_lite\[regression\]"'):
        parse_metric("region").load()
