"""Baselines under masks: the pixels alone, the published maps averaged, and what windows may see."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity

from lpips_lite import l1, l2, psnr, ssd, ssim
from lpips_lite.baselines.structural import BORDERS


@pytest.fixture
def images(pair):
    return tuple(image.double() for image in pair)


@pytest.fixture
def mask():
    return torch.rand(2, 1, 67, 71) > 0.7


def pixels(image, mask, crop=0):
    """Return the colours of the pixels that a mask leaves, (K, 3)."""
    inner = slice(crop, -crop or None)
    return image.permute(1, 2, 0)[inner, inner][mask[0, inner, inner]].numpy()


NUMPY = {
    "l1": (l1, {}, lambda x, y: np.abs(x - y).mean()),
    "l2": (l2, {}, lambda x, y: np.square(x - y).mean()),
    "l2, crop": (l2, {"crop": 9}, lambda x, y: np.square(x - y).mean()),
    "l1, lab": (l1, {"space": "lab"}, lambda x, y: np.abs(rgb2lab(x) - rgb2lab(y)).mean()),
    "psnr": (psnr, {}, lambda x, y: -10 * np.log10(np.square(x - y).mean())),
    "psnr, y": (psnr, {"space": "y"}, lambda x, y: -10 * np.log10(np.square((x - y) @ LUMA).mean())),
    "ssd": (ssd, {}, lambda x, y: np.square(x - y).sum()),
}
LUMA = np.array([65.481, 128.553, 24.966]) / 255


@pytest.mark.parametrize(("function", "options", "expected"), NUMPY.values(), ids=NUMPY)
def test_pixels_under_a_mask_are_those_pixels_alone(images, mask, function, options, expected):
    found = function(*images, mask=mask, **options)
    crop = options.get("crop", 0)
    alone = [expected(*(pixels(image[row], mask[row], crop) for image in images)) for row in range(2)]
    assert found.tolist() == pytest.approx(alone, rel=1e-5 if "space" in options else 1e-12)
    x, y = images[0].clone().requires_grad_(), images[1]
    function(x, y, mask=mask, **options).sum().backward()
    assert not x.grad.masked_select(~mask.expand_as(x)).any()
    assert x.grad.masked_select(mask.expand_as(x)).count_nonzero() > 1000
    half = [image.to(torch.bfloat16) for image in images]
    exact = function(*(image.float() for image in half), mask=mask, **options)
    torch.testing.assert_close(function(*half, mask=mask, **options), exact, rtol=0, atol=0)


def test_masks_weigh():
    x, y = torch.zeros(2, 1, 3, 2, 2)
    y[..., 0, 0], y[..., 0, 1] = 0.5, 1
    weights = torch.tensor([[[[1.0, 3.0], [0.0, 0.0]]]])
    assert l1(x, y, mask=weights).item() == (0.5 + 3 * 1) / 4
    assert ssd(x, y, mask=weights).item() == 3 * (0.25 + 3 * 1)
    with pytest.raises(TypeError, match="mask has dtype torch.uint8; expected bool"):
        ssd(x, y, mask=weights.byte())


GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@pytest.mark.parametrize(("variant", "reach", "options"), [("wang2004", 5, GAUSSIAN), ("skimage", 3, {})])
def test_ssim_under_a_mask_is_the_mean_of_the_published_map(images, mask, variant, reach, options):
    found = ssim(*images, variant=variant, mask=mask)
    for row in range(2):
        arrays = [image[row].permute(1, 2, 0).numpy() for image in images]
        full = structural_similarity(*arrays, channel_axis=2, data_range=1, full=True, **options)[1]
        inner = slice(reach, -reach)
        expected = full[inner, inner][mask[row, 0].numpy()[inner, inner]].mean()
        assert found[row].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("variant", ["wang2004", "matlab", "skimage", *BORDERS])
def test_a_window_sees_so_far_and_no_farther(variant):
    reach = 3 if variant == "skimage" else 5
    x = torch.rand(1, 3, 40, 44, dtype=torch.float64)
    y = x.clone()
    y[:, :, 19, 23] = 1 - y[:, :, 19, 23]
    for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        for distance in (reach, reach + 1):
            mask = torch.zeros(1, 1, 40, 44)
            mask[..., 19 + distance * down, 23 + distance * right] = 1
            assert (ssim(x, y, variant=variant, mask=mask).item() < 1) == (distance == reach)


def test_matlab_shrinks_the_mask_with_the_image():
    x = torch.rand(1, 3, 520, 540)
    y = x.clone()
    y[..., 260:] = torch.rand(1, 3, 520, 280)
    mask = torch.zeros(1, 1, 520, 540)
    mask[..., :240] = 1
    assert ssim(x, y, variant="matlab", mask=mask).item() == pytest.approx(1, abs=1e-5)
    assert ssim(x, y, variant="matlab", mask=1 - mask).item() < 0.2


def test_a_mask_of_borders_leaves_no_window(images):
    mask = torch.ones(2, 1, 67, 71, dtype=torch.bool)
    mask[0, :, 5:-5, 5:-5] = False
    with pytest.raises(ValueError, match=r"empty for rows \[0\] where windows are centred, 5 pixels inside"):
        ssim(*images, mask=mask)
    assert torch.isfinite(ssim(*images, variant="3dgs", mask=mask)).all()
    with pytest.raises(ValueError, match=r"empty for rows \[0\] inside crop=6"):
        l2(*images, mask=mask, crop=6)
