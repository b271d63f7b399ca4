"""The maths: properties on random features, and gradients in difficult cases."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from lpips_lite import distance as maths

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))


def features(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(SHAPES, st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_unit_normalize_gives_unit_vectors_whatever_the_scale(shape, scale):
    f = features(shape) + 10  # far from zero, where the epsilon would matter
    unit = maths.unit_normalize(f * scale)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(unit[:, 0].shape, dtype=torch.float64))
    torch.testing.assert_close(unit, maths.unit_normalize(f))


@given(SHAPES)
@settings(deadline=None)
def test_uniform_weights_give_twice_the_cosine_distance(shape):
    f, g = features(shape), features(shape, 1)
    layer = maths.weigh(
        maths.channel_differences(maths.unit_normalize(f), maths.unit_normalize(g)), torch.ones(shape[1])
    )
    cosine = torch.nn.functional.cosine_similarity(f, g, dim=1)
    torch.testing.assert_close(layer, 2 * (1 - cosine), rtol=1e-6, atol=1e-8)


@given(SHAPES, st.floats(0, 10), st.floats(0, 10))
@settings(deadline=None)
def test_weigh_is_linear_in_the_weights(shape, a, b):
    differences = features(shape) ** 2
    v, w = torch.rand(shape[1], dtype=torch.float64), torch.rand(shape[1], dtype=torch.float64)
    combined = maths.weigh(differences, a * v + b * w)
    torch.testing.assert_close(combined, a * maths.weigh(differences, v) + b * maths.weigh(differences, w))


@given(SHAPES)
@settings(deadline=None)
def test_two_heads_are_weighed_and_pooled_each_by_itself(shape):
    differences, weights = features(shape) ** 2, torch.rand(shape[1], 2, dtype=torch.float64)
    both, mask = maths.weigh(differences, weights), torch.rand(shape[0], 1, 7, 9)
    assert both.shape == (shape[0], 2, *shape[2:])
    for head in range(2):
        alone = maths.weigh(differences, weights[:, head])
        torch.testing.assert_close(both[:, head], alone)
        torch.testing.assert_close(maths.pool_mean(both)[:, head], maths.pool_mean(alone))
        torch.testing.assert_close(maths.pool_mask(both, mask)[:, head], maths.pool_mask(alone, mask))


@given(SHAPES, st.integers(1, 20), st.integers(1, 20))
@settings(deadline=None)
def test_a_full_mask_is_the_mean_and_a_mask_only_sees_its_part(shape, height, width):
    layer_map = features(shape)[:, 0] ** 2
    ones = torch.ones(shape[0], 1, height, width)
    torch.testing.assert_close(maths.pool_mask(layer_map, ones), maths.pool_mean(layer_map))
    torch.testing.assert_close(maths.pool_mask(layer_map, 7 * ones), maths.pool_mean(layer_map))


def test_mask_of_a_corner_averages_that_corner():
    layer_map = torch.arange(16.0).view(1, 4, 4)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4, :4] = 1
    assert maths.pool_mask(layer_map, mask).item() == layer_map[0, :2, :2].mean().item()


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_all_zero_features_stay_zero_with_a_finite_gradient():
    f = torch.zeros(1, 4, 2, 2, requires_grad=True)
    with torch.autograd.detect_anomaly(check_nan=True):
        unit = maths.unit_normalize(f)
        maths.channel_differences(unit, torch.ones(1, 4, 2, 2)).sum().backward()
    assert unit.abs().max() == 0
    assert torch.isfinite(f.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    f = torch.full((1, 512, 2, 2), 300.0, dtype=dtype)  # its sum of squares is beyond float16
    unit = maths.unit_normalize(f)
    assert unit.dtype == torch.float32
    torch.testing.assert_close(unit, torch.full_like(unit, 512**-0.5))
    assert maths.unit_normalize(f.double()).dtype == torch.float64


def test_gradients_and_their_gradients():
    f, g = features((2, 3, 2, 2)).requires_grad_(), features((2, 3, 2, 2), 1).requires_grad_()
    weight = torch.rand(3, dtype=torch.float64)

    def layer(a, b):
        return maths.pool_mean(
            maths.weigh(maths.channel_differences(maths.unit_normalize(a), maths.unit_normalize(b)), weight)
        )

    assert torch.autograd.gradcheck(layer, (f, g))
    assert torch.autograd.gradgradcheck(layer, (f, g))
