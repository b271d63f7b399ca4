"""Baselines: published values, peers in float64, closed forms, gradients, degenerate images."""

import math

import numpy as np
import pytest
import torch

from lpips_lite import (
    FeatureTower,
    GramLoss,
    L2Loss,
    SSIMLoss,
    gram_distance,
    gram_matrix,
    l2,
    psnr,
    read_image,
    ssim,
)
from lpips_lite.baselines.style import JOHNSON_TAPS
from tests import reference

TOWER = FeatureTower("lite")


def style(x, y):
    return gram_distance(x, y, TOWER)


FUNCTIONS = {"l2": l2, "psnr": psnr, "ssim": ssim, "gram": style}


@pytest.fixture
def images(pair):
    return tuple(image.double() for image in pair)


# -- published values ----------------------------------------------------------------------------------------------


def test_values_of_the_example_images(shared):
    ref, p0, p1 = (read_image(shared / f"reference/images/ex_{n}.png")[None].double() for n in ("ref", "p0", "p1"))
    assert [ssim(ref, p).item() for p in (p0, p1)] == pytest.approx([0.43675, 0.29590], abs=5e-6)
    assert [psnr(ref, p).item() for p in (p0, p1)] == pytest.approx([18.0455, 13.8675], abs=5e-5)
    assert [l2(ref, p).item() for p in (p0, p1)] == pytest.approx([0.01568, 0.04104], abs=5e-6)


# -- peers and closed forms ----------------------------------------------------------------------------------------


def test_l2_and_psnr_equal_numpy_and_scikit_image(images):
    from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

    for row, (x, y) in enumerate(zip(*(image.numpy() for image in images), strict=True)):
        assert l2(*images)[row].item() == pytest.approx(mean_squared_error(x, y), rel=1e-12)
        assert psnr(*images)[row].item() == pytest.approx(peak_signal_noise_ratio(x, y, data_range=1), rel=1e-12)


def test_ssim_equals_peers(images):
    import piq
    import pytorch_msssim
    from skimage.metrics import structural_similarity

    found = ssim(*images)
    peers = (
        pytorch_msssim.ssim(*images, data_range=1, size_average=False),
        piq.ssim(*images, downsample=False, reduction="none"),
    )
    for peer in peers:
        torch.testing.assert_close(found, peer, rtol=0, atol=1e-6)  # their windows are rounded to float32
    for row, (x, y) in enumerate(zip(*(image.numpy() for image in images), strict=True)):
        assert found[row].item() == pytest.approx(reference.ssim(x, y), abs=1e-12)
        peer = structural_similarity(
            x, y, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
        )
        assert found[row].item() == pytest.approx(peer, abs=1e-9)


def test_ssim_of_constant_images_has_a_closed_form():
    x, y = (torch.full((1, 3, 16, 16), value, dtype=torch.float64) for value in (0.2, 0.6))
    assert ssim(x, y).item() == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4), rel=1e-10)


def test_gram_matrix_is_the_definition_and_ignores_positions():
    features = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    gram = gram_matrix(features)
    expected = np.einsum("nchw,ndhw->ncd", features.numpy(), features.numpy()) / (5 * 4 * 6)
    torch.testing.assert_close(gram, torch.from_numpy(expected))
    torch.testing.assert_close(gram, gram.transpose(1, 2))
    assert (torch.linalg.eigvalsh(gram) > -1e-12).all()
    shuffled = features.flatten(2)[..., torch.randperm(24)].view_as(features)
    torch.testing.assert_close(gram_matrix(shuffled), gram)


def test_gram_distance_equals_piqs_style_loss_after_rescaling(images):
    import piq

    tower = FeatureTower("vgg", taps=JOHNSON_TAPS, weights="random:0")
    found = gram_distance(*images, tower)
    expected = 0
    for a, b in zip(tower(images[0]), tower(images[1]), strict=True):
        difference = piq.StyleLoss.gram_matrix(a) - piq.StyleLoss.gram_matrix(b)  # (N, 1, C, C), not normalised
        expected = expected + difference.square().mean((1, 2, 3)) / a[0].numel() ** 2
    torch.testing.assert_close(found, expected)


# -- what must hold for each ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_identity_symmetry_rows_and_uint8(name, pair):
    function, (x, y) = FUNCTIONS[name], pair
    identical = {"l2": 0, "psnr": math.inf, "ssim": 1, "gram": 0}[name]
    assert function(x, x).tolist() == pytest.approx([identical] * 2)
    torch.testing.assert_close(function(x, y), function(y, x))
    torch.testing.assert_close(function(x, y), torch.cat([function(x[i : i + 1], y[i : i + 1]) for i in range(2)]))
    bytes_x, bytes_y = (x * 255).byte(), (y * 255).byte()
    torch.testing.assert_close(function(bytes_x, bytes_y), function(bytes_x / 255, bytes_y / 255))
    assert function(x.half(), y.half()).dtype == torch.float32


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradcheck(name):
    x, y = (torch.rand(1, 3, 17, 18, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(FUNCTIONS[name], (x, y), fast_mode=True)


@pytest.mark.parametrize("name", ["l2", "ssim", "gram"])
@pytest.mark.parametrize("kind", ["black", "constant", "identical", "inverted"])
def test_degenerate_images_give_finite_gradients(name, kind, pair):
    y = pair[0]
    x = {"black": y * 0, "constant": y * 0 + 0.5, "identical": y.clone(), "inverted": 1 - y}[kind].requires_grad_()
    value = FUNCTIONS[name](x, y)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("module", "function"), [(L2Loss(), l2), (SSIMLoss(), lambda x, y: 1 - ssim(x, y)), (GramLoss(TOWER), style)]
)
def test_losses_are_means_and_zero_for_identical_images(module, function, pair):
    torch.testing.assert_close(module(*pair), function(*pair).mean())
    assert module(pair[0], pair[0]).item() == pytest.approx(0, abs=1e-6)
    assert list(module.parameters()) == []


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="x is 10×64; expected at least 11×11"):
        ssim(torch.rand(1, 3, 10, 64), torch.rand(1, 3, 10, 64))
    with pytest.raises(ValueError, match=r"y has shape \(1, 3, 9, 8\); expected x's shape \(1, 3, 8, 8\)"):
        l2(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 9, 8))
