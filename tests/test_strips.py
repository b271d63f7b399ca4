"""Strips and tiles of large images give what the whole images give, for every metric of the catalog."""

import pytest
import torch

from lpips_lite import METRICS, entries, strips
from lpips_lite.catalog import parse_metric

SPELLINGS = [
    *METRICS,
    *("l1:lab", "l2:y:crop=3", "psnr:y", "ssim:matlab", "ssim:skimage", "ssim:torchmetrics", "ssim:3dgs", "ssim:y"),
    *(
        "ms-ssim:y:crop=2",
        "pixels:shift",
        "region:shift",
        "gram:normalization=gatys",
        "gram:centered",
        "gram-lite:centered",
        "alex:unscaled",
    ),
]


def load(text):
    name = text.partition(":")[0]
    tower = ":tower=random:0" if "tower" in METRICS[name].options else ""
    return parse_metric(text + tower + (":weights=uniform" if METRICS[name].has_map else "")).load()


def natural(*size, dtype=torch.float64):
    smooth = torch.rand(size[0], 3, -(-size[1] // 8), -(-size[2] // 8), dtype=dtype)
    x = torch.nn.functional.interpolate(smooth, size=size[1:], mode="bilinear")
    return x, (x + 0.1 * torch.randn_like(x)).clamp(0, 1)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("text", SPELLINGS)
def test_parts_give_what_the_whole_gives(text, across, monkeypatch):
    tower = "tower" in METRICS[text.partition(":")[0]].options
    size, dtype = ((2, 593, 31), torch.float32) if tower else ((2, 401, 193), torch.float64)
    x, y = natural(*size, dtype=dtype)
    if across:  # wider than high
        x, y = x.transpose(2, 3).contiguous(), y.transpose(2, 3).contiguous()
    with torch.no_grad():
        whole = load(text).compute(x, y)
        monkeypatch.setattr(strips, "NUMBERS", 1)
        monkeypatch.setattr(strips, "LEAST_ROWS", 37)
        monkeypatch.setattr(entries, "MAX_MEMORY", tower_memory(text, x))
        parts = load(text).compute(x, y)
    torch.testing.assert_close(parts, whole, rtol=1e-5 if tower else 1e-9, atol=0)


@pytest.mark.parametrize("text", ["lite", "l2:y:crop=3", "ssd", "ssim", "ssim:matlab", "ssim:3dgs"])
def test_parts_under_a_mask_give_what_the_whole_gives(text, monkeypatch):
    x, y = natural(2, 193, 291, dtype=torch.float32 if text == "lite" else torch.float64)
    mask = torch.rand_like(x[:, :1]) > 0.5
    with torch.no_grad():
        whole = load(text).compute(x, y, mask=mask)
        monkeypatch.setattr(strips, "NUMBERS", 1)
        monkeypatch.setattr(entries, "MAX_MEMORY", tower_memory(text, x))
        parts = load(text).compute(x, y, mask=mask)
    torch.testing.assert_close(parts, whole, rtol=1e-5 if text == "lite" else 1e-9, atol=0)


def tower_memory(text, x):
    """Return the memory in which a third of an image fits."""
    from lpips_lite import tiling

    compute = load(text).compute
    tower = getattr(compute, "tower", None) or getattr(compute, "keywords", {}).get("tower")
    if tower is None:
        return "1GiB"
    _, reach = tiling.stride_and_reach(tower)
    return int((2 * reach + 160) * min(x.shape[2:]) * tiling.bytes_per_pixel(tower, x.dtype)) + 1


@pytest.mark.parametrize("text", ["l1", "psnr:lab", "ssim", "ssim:matlab", "ssim:3dgs", "ms-ssim", "fsimc", "zncc"])
def test_bytes_become_floats_strip_by_strip(text, monkeypatch):
    x, y = ((image * 255).byte() for image in natural(1, 401, 389))
    whole = load(text).compute(x / 255, y / 255)
    monkeypatch.setattr(strips, "NUMBERS", 1)
    torch.testing.assert_close(load(text).compute(x, y), whole, rtol=1e-5, atol=1e-6)


def test_what_is_cut_in_strips_and_what_is_not(monkeypatch):
    x, y = natural(1, 100, 16)
    monkeypatch.setattr(strips, "NUMBERS", 1)
    cut = list(strips.strips(x, y, window=11))
    assert [strip.x.shape[2] for strip in cut] == [42, 42, 36]
    seen = [strip.x.shape[2] for strip in strips.strips(x, y, window=11, above=5, below=5)]
    assert seen == [37, 42, 41, 9]
    x.requires_grad_()
    assert len(list(strips.strips(x, y, window=11))) == 1
    with torch.no_grad():
        assert len(list(strips.strips(x, y, window=11))) == 3


@pytest.mark.parametrize("net", ["lite", "alex", "squeeze"])
@pytest.mark.parametrize("size", [(400, 100), (130, 335)])
def test_a_last_tile_that_owns_nothing_of_a_layer_does_not_count(net, size):
    """Unpadded towers have fewer of the deepest features than the image has strides."""
    from lpips_lite import FeatureTower, content_distance, gram_distance, tiling

    tower = FeatureTower(net, weights=None if net == "lite" else "random:0")
    x, y = natural(1, *size, dtype=torch.float32)
    stride, reach = tiling.stride_and_reach(tower)
    with torch.no_grad():
        for metric in (content_distance, gram_distance):
            whole = metric(x, y, tower)
            for side in (3 * stride, 100):
                memory = int((2 * reach + side) ** 2 * tiling.bytes_per_pixel(tower, x.dtype)) + 1
                torch.testing.assert_close(metric(x, y, tower, max_memory=memory), whole, rtol=1e-4, atol=0)


def test_fsim_of_very_long_images_says_what_it_needs():
    x, y = torch.zeros(2, 1, 3, 256, 20_000, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"max_memory=1GiB, but FSIM of 1 × 256×20000 pixels needs 2048000000 bytes"):
        load("fsim").compute(x, y)


def test_gradients_through_tiles_are_refused(monkeypatch):
    monkeypatch.setattr(entries, "MAX_MEMORY", 1000)
    x, y = natural(1, 64, 64)
    for text in ("content", "dists", "gram", "crn"):
        with pytest.raises(ValueError, match="tiles give no gradients"):
            load(text).compute(x.requires_grad_(), y)
