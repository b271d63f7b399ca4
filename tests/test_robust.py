"""Wrappers of losses: each option does what it is for."""

import pytest
import torch
import torch.nn.functional as F

from lpips_lite import LPIPS, Jittered, L1Loss, L2Loss, MultiScale, SSIMLoss
from lpips_lite.distance import erode


def photo(side, seed=0, n=1):
    """Return smooth texture, (n, 3, side, side)."""
    coarse = torch.rand(n, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (side, side), mode="bicubic", antialias=True).clamp(0, 1)


# -- masks ---------------------------------------------------------------------------------------------------------


def test_an_eroded_mask_sees_nothing_outside_itself():
    metric = LPIPS("alex", tower_weights="random:0", reduction="none")
    x, y = torch.rand(2, 3, 160, 160), torch.rand(2, 3, 160, 160)
    mask = torch.zeros(2, 1, 160, 160)
    mask[:, :, 16:128, 30:140] = 1
    same_inside = torch.where(mask.bool(), x, y)
    assert (metric(same_inside, x, mask) > 0).all()  # features at the border see pixels outside
    assert metric(same_inside, x, mask, erode=True).tolist() == [0, 0]
    assert (metric(y, x, mask, erode=True) > 0).all()


def test_a_full_mask_changes_nothing_and_gradients_stay_inside():
    metric = LPIPS("lite", reduction="none")
    x, y = torch.rand(1, 3, 96, 80), torch.rand(1, 3, 96, 80)
    ones = torch.ones(1, 1, 96, 80)
    torch.testing.assert_close(metric(x, y, ones, erode=True), metric(x, y))
    mask = torch.zeros(1, 1, 96, 80)
    mask[:, :, :64, :64] = 1
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(metric(x, y, mask, erode=True).sum(), x)
    assert gradient[:, :, :64, :64].abs().sum() > 0
    assert gradient[:, :, 64:].abs().max() == gradient[:, :, :, 64:].abs().max() == 0


def test_a_mask_too_small_for_deep_features_leaves_finite_numbers():
    metric = LPIPS("lite", reduction="none")
    mask = torch.zeros(1, 1, 64, 64)
    mask[:, :, 30:45, 30:45] = 1
    layers = metric.layer_distances(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64), mask, erode=True)
    assert layers[0, 0] > 0
    assert layers[0, -1] == 0
    with pytest.raises(ValueError, match="erode=True: expected a mask with it"):
        metric(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64), erode=True)


def test_erosion_is_the_least_value_in_each_field():
    mask = torch.rand(1, 1, 13, 17)
    stride, before, after = 4, 3, 6
    found = erode(mask, (3, 4), stride, before, after)
    for row in range(3):
        for column in range(4):
            rows = slice(max(0, stride * row - before), stride * row + after + 1)
            columns = slice(max(0, stride * column - before), stride * column + after + 1)
            assert found[0, 0, row, column] == mask[0, 0, rows, columns].min()


# -- wrappers ------------------------------------------------------------------------------------------------------


def test_jitter_frees_the_distance_from_the_grid():
    plain = LPIPS("lite", reduction="none")
    averaged = Jittered(plain, samples=8, shift=16, generator=torch.Generator().manual_seed(0))
    x = photo(112)
    y = (x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    y[:, :, 50:53] = 0  # a thin line, which falls between features or on them

    def spread(loss):
        values = torch.cat([loss(y[:, :, t : t + 96, t : t + 96], x[:, :, t : t + 96, t : t + 96]) for t in range(8)])
        return values.std() / values.mean()

    assert spread(averaged) < 0.8 * spread(plain)


def test_jitter_moves_both_images_alike_and_leaves_gradients_everywhere():
    loss = Jittered(LPIPS("lite"), samples=8, shift=4, generator=torch.Generator().manual_seed(0))
    x = torch.rand(2, 3, 48, 48)
    assert loss(x, x) == 0
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x, torch.rand(2, 3, 48, 48)), x)
    assert (gradient[:, :, 4:-4, 4:-4] != 0).float().mean() > 0.9
    repeated = [Jittered(LPIPS("lite"), generator=torch.Generator().manual_seed(3))(x, x.flip(-1)) for _ in range(2)]
    assert repeated[0] == repeated[1]


def test_several_scales_see_large_structure():
    plain, scaled = LPIPS("lite"), MultiScale(LPIPS("lite"), weights=(1, 1, 1, 1))
    x = photo(256)
    wide = F.interpolate(torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(2)), (256, 256), mode="bicubic")
    large = (x + 0.25 * (wide - 0.5)).clamp(0, 1)
    fine = (x + 0.04 * torch.randn(x.shape, generator=torch.Generator().manual_seed(3))).clamp(0, 1)
    assert scaled(large, x) / scaled(fine, x) > 1.5 * plain(large, x) / plain(fine, x)
    assert scaled(x, x) == 0
    first = MultiScale(SSIMLoss(), weights=(0.5,))
    torch.testing.assert_close(first(large, x), 0.5 * SSIMLoss()(large, x))


def test_losses_add():
    x, y = photo(64).requires_grad_(), photo(64, seed=1)
    parts = [torch.autograd.grad(loss(x, y), x)[0] for loss in (LPIPS("lite"), L1Loss())]
    (together,) = torch.autograd.grad(LPIPS("lite")(x, y) + 0.1 * L1Loss()(x, y), x)
    torch.testing.assert_close(together, parts[0] + 0.1 * parts[1])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Jittered(L1Loss(), samples=0), "samples=0, shift=8: expected samples ≥ 1 and shift ≥ 0"),
        (lambda: MultiScale(L1Loss(), weights=()), r"weights=\(\): expected at least one, all ≥ 0"),
        (lambda: MultiScale(L1Loss(), weights=(1, -1)), r"weights=\(1, -1\): expected at least one, all ≥ 0"),
        (lambda: Jittered(L1Loss(), shift=40)(photo(32), photo(32)), "x is 32×32; expected at least 41×41"),
    ],
)
def test_wrong_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scales_are_averaged_in_float32(dtype):
    x = torch.rand(1, 3, 64, 64).to(dtype)
    y = (x.float() * 0.9995).to(dtype)
    found, expected = MultiScale(L2Loss())(x, y), MultiScale(L2Loss())(x.float(), y.float())
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
