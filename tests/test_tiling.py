"""Tiles give what the whole image gives, for every net, size and position of the borders."""

import itertools
import math

import pytest
import torch

from lpips_lite import LPIPS, FeatureTower, tiling
from lpips_lite.memory import parse_memory


def metric_of(net, max_memory=None):
    weights = None if net == "lite" else "random:0"
    return LPIPS(net, tower_weights=weights, reduction="none", max_memory=max_memory)


def memory_for(net, side, dtype, width=10_000):
    """Return the memory in which a tile of `side` pixels and its margins just fit, in an image of this width."""
    tower = metric_of(net).tower
    _, reach = tiling.stride_and_reach(tower)
    return int((2 * reach + side) * min(width, 2 * reach + side) * tiling.bytes_per_pixel(tower, dtype)) + 1


def pair(size, dtype, n=1):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, 3, *size, generator=generator, dtype=dtype)
    return x, (x + 0.1 * torch.randn(x.shape, generator=generator, dtype=dtype)).clamp(0, 1)


@pytest.mark.parametrize(
    ("net", "size", "side"),
    [
        ("lite", (301, 415), 48),
        ("alex", (335, 289), 64),
        ("squeeze", (355, 427), 112),
        ("squeeze", (431, 362), 64),
        ("vgg", (401, 20), 16),
        ("vgg", (20, 395), 16),
    ],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_tiles_equal_the_whole(net, size, side, dtype, tolerance):
    x, y = pair(size, dtype)
    tiled = metric_of(net, memory_for(net, side, dtype, min(size)))
    assert math.prod(tiling.grid(tiled.tower, x, tiled.max_memory)) > 1
    whole = metric_of(net)
    with torch.no_grad():
        torch.testing.assert_close(tiled.layer_distances(x, y), whole.layer_distances(x, y), rtol=tolerance, atol=0)
        if net == "lite":
            found, expected = tiled.distance_map(x, y), whole.distance_map(x, y)
            torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_tiles_of_two_heads_equal_the_whole(two_heads):
    x, y = pair((301, 275), torch.float64)
    weights = {"tower_weights": two_heads, "channel_weights": two_heads, "reduction": "none"}
    whole = LPIPS("lite", **weights)
    stride, reach = tiling.stride_and_reach(whole.tower)
    memory = int((2 * reach + 4 * stride) ** 2 * tiling.bytes_per_pixel(whole.tower, x.dtype))
    tiled, mask = LPIPS("lite", **weights, max_memory=memory), torch.rand(1, 1, 301, 275)
    assert math.prod(tiling.grid(tiled.tower, x, memory)) > 1
    for run in (lambda m: m(x, y), lambda m: m(x, y, mask), lambda m: m.distance_map(x, y)):
        torch.testing.assert_close(run(tiled), run(whole), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("width", [400, 417, 450, 1000, 1033])
@pytest.mark.parametrize("height", [400, 2005])
def test_no_tile_is_a_sliver_and_no_other_grid_sees_less(width, height):
    tower, x = metric_of("vgg").tower, torch.empty(1, 3, height, width, device="meta")
    stride, reach = tiling.stride_and_reach(tower)
    room = 400 * 400
    memory = int(room * tiling.bytes_per_pixel(tower, x.dtype)) + 1

    def spans(parts):
        return [tiling._spans(side, count, stride, reach) for side, count in zip((height, width), parts, strict=True)]

    def seen(parts):
        rows, columns = ([span.seen.stop - span.seen.start for span in side] for side in spans(parts))
        return max(rows) * max(columns), sum(rows) * sum(columns)

    chosen = tiling.grid(tower, x, memory)
    most, work = seen(chosen)
    assert most <= room
    every = itertools.product(range(1, height // stride), range(1, width // stride))
    fitting = [seen(parts)[1] for parts in every if seen(parts)[0] <= room]
    assert work <= 1.1 * min(fitting, default=work)
    for side, own in zip((height, width), spans(chosen), strict=True):
        sizes = [span.own.stop - span.own.start for span in own]
        assert sum(sizes) == side
        assert max(sizes) - min(sizes) <= 2 * stride


@pytest.mark.parametrize("size", [(720, 60), (60, 720)])
def test_strips_of_narrow_images_batches_masks_and_uint8(size):
    x, y = ((image * 255).byte() for image in pair(size, torch.float32, n=2))
    mask = torch.rand(2, 1, *size)
    tiled, whole = metric_of("lite", memory_for("lite", 80, torch.float32)), metric_of("lite")
    assert not tiling.fits(tiled.tower, x, tiled.max_memory)
    torch.testing.assert_close(tiled(x, y, mask), whole(x, y, mask))
    torch.testing.assert_close(tiled(x, y), whole(x, y))


@pytest.mark.parametrize("net", ["lite", "alex", "vgg", "squeeze"])
def test_features_see_no_farther_than_the_margin(net):
    tower = metric_of(net).tower
    stride, reach = tiling.stride_and_reach(tower)
    assert stride == 16
    side = 2 * reach + 2 * stride
    image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    place = reach // stride
    features = [f[0, :, int(place * stride / tap.stride), int(place * stride / tap.stride)].sum()
                for f, tap in zip(tower(image), tower.taps, strict=True)]  # fmt: skip
    (seen,) = torch.autograd.grad(sum(features), image)
    rows = seen.abs().sum(dim=(0, 1, 3)).nonzero()
    assert rows.min() >= place * stride - reach
    assert rows.max() < (place + 1) * stride + reach


def test_margins_are_those_of_the_deepest_tap_of_any_network():
    deep, both = (FeatureTower("lite", taps=taps) for taps in (["relu5"], ["relu5", "far1"]))
    assert tiling.stride_and_reach(both) == tiling.stride_and_reach(deep)


def test_what_fits_is_computed_at_once_and_gradients_are_refused_beyond():
    x, y = pair((96, 96), torch.float32)
    x.requires_grad_()
    roomy = metric_of("lite", "1GiB")
    (gradient,) = torch.autograd.grad(roomy(x, y).sum(), x)
    assert gradient.abs().sum() > 0
    with pytest.raises(ValueError, match="tiles give no gradients"):
        metric_of("lite", 1000)(x, y)


def test_too_little_memory_says_how_much_is_needed():
    with pytest.raises(ValueError, match=r"max_memory=1000 bytes: expected at least \d+ for tower 'alex'"):
        metric_of("alex", 1000)(*pair((500, 500), torch.float32))


@pytest.mark.parametrize(
    ("text", "expected"), [("2GiB", 2**31), ("500 MB", 500_000_000), ("1.5kb", 1500), (1024, 1024)]
)
def test_memory_is_read_with_units(text, expected):
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["2 parsecs", "", "-1", 0, "GiB", "1.2.3MB"])
def test_memory_without_meaning_is_refused(text):
    with pytest.raises(ValueError, match="max_memory=.*: expected bytes, or a string like '2GiB'"):
        LPIPS("lite", max_memory=text)
