"""Conventions of papers, each compared with the formula of its program, written independently in numpy."""

from functools import partial

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from lpips_lite import (
    LPIPS,
    L2Loss,
    MSSSIMLoss,
    SSIMLoss,
    fsim,
    l1,
    l2,
    match_template,
    ms_ssim,
    ncc,
    psnr,
    ssd,
    ssim,
    zncc,
)
from lpips_lite.catalog import parse_metric
from tests import reference


@pytest.fixture
def images():
    x = torch.rand(1, 3, 41, 46, dtype=torch.float64)
    return x, (x + 0.1 * torch.randn_like(x)).clamp(0, 1)


def test_3dgs_pads_with_zeros_and_averages_over_all_positions(images):
    x, y = (image[0].numpy() for image in images)
    padded = (np.pad(image, ((0, 0), (5, 5), (5, 5))) for image in (x, y))
    assert ssim(*images, variant="3dgs").item() == pytest.approx(reference.ssim(*padded), abs=1e-12)


def y_of_basicsr(image, crop):
    """Crop (3, H, W) and return Y of 255 values: np.dot(img, [65.481, 128.553, 24.966]) + 16.0."""
    image = image[:, crop : image.shape[1] - crop, crop : image.shape[2] - crop]
    return np.tensordot([65.481, 128.553, 24.966], image, 1) + 16


@pytest.mark.parametrize("crop", [0, 4])
def test_luma_is_basicsrs(images, crop):
    x, y = (y_of_basicsr(image[0].numpy(), crop) for image in images)
    mse = ((x - y) ** 2).mean()
    assert psnr(*images, space="y", crop=crop).item() == pytest.approx(10 * np.log10(255**2 / mse), rel=1e-12)
    assert l2(*images, space="y", crop=crop).item() == pytest.approx(mse / 255**2, rel=1e-12)
    assert l1(*images, space="y", crop=crop).item() == pytest.approx(np.abs(x - y).mean() / 255, rel=1e-12)
    line = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    window = np.outer(line, line) / line.sum() ** 2

    def blur(image):  # on values up to 255, as BasicSR computes it
        return np.einsum("hwij,ij->hw", sliding_window_view(image, (11, 11)), window)

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()
    assert ssim(*images, space="y", crop=crop).item() == pytest.approx(expected, abs=1e-9)


GRAY = {  # what a metric of one channel is of the same channel three times
    "l1": (l1, 1),
    "l2": (l2, 1),
    "psnr": (psnr, 1),
    **{variant: (partial(ssim, variant=variant), 1) for variant in ("wang2004", "skimage", "torchmetrics", "3dgs")},
    "matlab": (partial(ssim, variant="matlab"), 1),
    "ms-ssim": (ms_ssim, 1),
    "fsim": (fsim, 1),
    "ssd": (ssd, 1 / 3),
    "ncc": (ncc, 1),
    "zncc": (zncc, 1),
    "template": (match_template, 1),
}


@pytest.mark.parametrize("name", GRAY)
def test_grayscale_is_one_channel(name):
    function, factor = GRAY[name]
    x = torch.rand(2, 1, 170, 165, dtype=torch.float64)
    y = (x + 0.1 * torch.randn_like(x)).clamp(0, 1)
    expected = factor * function(x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1))
    tolerance = 2e-4 if name == "matlab" else 1e-9  # MATLAB's weights of luma sum to 0.9999
    torch.testing.assert_close(function(x, y), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("function", [psnr, ssim, ms_ssim, lambda *pair, **peak: SSIMLoss(**peak)(*pair),
                                      lambda *pair, **peak: MSSSIMLoss(**peak)(*pair)])  # fmt: skip
def test_another_peak_is_a_scale(function):
    x = torch.rand(1, 3, 165, 170)
    y = (x + 0.1 * torch.randn_like(x)).clamp(0, 1)
    torch.testing.assert_close(function(1000 * x, 1000 * y, peak=1000.0), function(x, y), rtol=1e-4, atol=1e-5)
    half = [(1000 * image).half() for image in (x, y)]
    wide = function(*(image.float() for image in half), peak=1000.0)
    torch.testing.assert_close(function(*half, peak=1000.0), wide, rtol=1e-6, atol=1e-6)
    with pytest.raises(
        ValueError, match=r"x has values from .* expected \[0, 1000\]: values seem to have another peak"
    ):
        function(5000 * x, 1000 * y, peak=1000.0)
    with pytest.raises(ValueError, match=r"values overshoot.*use y.clamp\(0, 1000\)"):
        function(1000 * x, 1200 * y, peak=1000.0)
    with pytest.raises(ValueError, match="peak=10 with uint8 images, whose peak is 255"):
        function((x * 255).byte(), (y * 255).byte(), peak=10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(psnr, crop=-1), "crop=-1: expected a whole number of pixels ≥ 0"),
        (partial(psnr, crop=2.5), "crop=2.5: expected a whole number of pixels ≥ 0"),
        (partial(psnr, crop=True), "crop=True: expected a whole number of pixels ≥ 0"),
        (partial(psnr, peak="1"), "peak='1': expected a positive number"),
        (partial(psnr, crop=23), "crop=23 leaves 0×0 of 41×46; expected at least 1×1"),
        (partial(ssim, crop=16), "crop=16 leaves 9×14 of 41×46; expected at least 11×11"),
        (partial(psnr, peak=0), "peak=0: expected a positive number"),
        (partial(ssim, peak=float("nan")), "peak=nan: expected a positive number"),
        (partial(ssim, space="lab"), "space='lab': expected 'rgb' or 'y'"),
        (lambda x, y: l2(x[:, :1], y[:, :1], space="y"), r"space='y' with images of one channel; expected three"),
        (lambda x, y: fsim(x[:, :1], y[:, :1], chromatic=True), "chromatic=True with images of one channel"),
        (lambda x, y: ssim(x[:, :2], y[:, :2]), r"2 channels; expected 3 \(RGB\) or 1 \(grayscale\)"),
        (lambda x, y: match_template(x, y[:, :1, :9, :9]), "template has 1 channels; expected image's 3"),
    ],
)
def test_wrong_conventions_are_errors(images, call, message):
    with pytest.raises(ValueError, match=message):
        call(*images)


def test_losses_take_the_same_conventions(images):
    found = SSIMLoss(variant="3dgs", space="y", crop=2)(*images)
    torch.testing.assert_close(found, 1 - ssim(*images, variant="3dgs", space="y", crop=2).mean())
    torch.testing.assert_close(L2Loss(space="y", crop=3)(*images), l2(*images, space="y", crop=3).mean())


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_unscaled_is_what_lpips_gives_for_images_that_are_not_scaled(net):
    """metrics.py of 3D Gaussian Splatting feeds [0, 1] to a network that expects [-1, 1]."""
    from tests.peers import random_tower, upstream

    x, y = torch.rand(2, 3, 64, 72), torch.rand(2, 3, 64, 72)
    loaded = parse_metric(f"{net}:unscaled:tower=random:0").load()
    expected = upstream(net, random_tower(net))(x, y).flatten()
    torch.testing.assert_close(loaded.compute(x, y), expected, rtol=1e-5, atol=0)
    assert loaded.encode is None  # its features could be mistaken for those of scaled images
    assert loaded.distance_map(x, y).shape == (2, 1, 64, 72)
    right = LPIPS(net, tower_weights="random:0", reduction="none")
    assert loaded.signature == f"{right.signature} unscaled=mistake"
    assert not torch.allclose(loaded.compute(x, y), right(x, y), rtol=1e-2)
    with pytest.raises(ValueError, match="lite.*unknown option 'unscaled'"):
        parse_metric("lite:unscaled")


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        ("psnr:y:crop=4", "lpips-lite/1.0 psnr space=y crop=4"),
        ("ssim:3dgs", "lpips-lite/1.0 ssim variant=3dgs channels=rgb"),
        ("ssim:y:crop=4", "lpips-lite/1.0 ssim variant=wang2004 space=y crop=4"),
        ("ssim:matlab", "lpips-lite/1.0 ssim variant=matlab channels=luma"),
        ("ms-ssim:y", "lpips-lite/1.0 ms_ssim negative=relu space=y"),
    ],
)
def test_signatures_name_the_convention(text, signature):
    assert parse_metric(text).load().signature == signature
    with pytest.raises(ValueError, match="crop=x: expected a whole number ≥ 0"):
        parse_metric("psnr:crop=x")
