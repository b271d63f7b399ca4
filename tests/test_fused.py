"""The fast comparison of a layer equals the plain formula, in value and in every kind of derivative."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.autograd import forward_ad

from lpips_lite import LPIPS, distance, fused

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 6), st.integers(1, 6))
HEADS = [(), (1,), (2,), (3,)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(fused, "BLOCK", 16)  # so that even small features are cut


def draw(shape, dtype=torch.float64, seed=0, heads=()):
    """Return features after a ReLU, some positions all zero, and channel weights, some zero."""
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(shape, generator=generator, dtype=torch.float64).relu().to(dtype) for _ in range(2))
    x[0, :, 0, 0] = 0
    return x.requires_grad_(), y.requires_grad_(), torch.rand(shape[1], *heads, generator=generator).sub(0.2).relu()


@given(
    SHAPES,
    st.sampled_from(LAYOUTS),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
    st.sampled_from(HEADS),
)
@settings(deadline=None)
def test_values_and_gradients_are_those_of_the_formula(shape, layout, dtype, heads):
    x, y, weights = draw(shape, dtype, heads=heads)
    found = fused.layer_map(*(f.contiguous(memory_format=layout) for f in (x, y)), weights)
    expected = distance.layer_map(x, y, weights)
    assert found.dtype == expected.dtype
    assert found.shape == (shape[0], *heads, *shape[2:])
    torch.testing.assert_close(found, expected)
    upstream = torch.rand_like(found)
    lengths = [f.detach().float().norm(dim=1, keepdim=True) + 1e-10 for f in (x, y)]
    for got, wanted, scale in zip(
        *(torch.autograd.grad(m, (x, y), upstream) for m in (found, expected)), lengths, strict=True
    ):
        error = (got - wanted).abs() * scale  # gradients are proportional to 1 / ‖f‖, up to 1e10 for all-zero features
        assert error.max() <= (0.02 if dtype == torch.bfloat16 else 1e-5)


def test_each_head_is_what_it_is_alone():
    x, y, weights = draw((2, 8, 5, 5), torch.float32, heads=(2,))
    found = fused.layer_map(x, y, weights)
    for head in range(2):
        assert torch.equal(found[:, head], fused.layer_map(x, y, weights[:, head].contiguous()))


def test_equal_features_have_distance_and_gradient_zero():
    x, _, weights = draw((2, 8, 5, 5), torch.float32)
    found = fused.layer_map(x, x.detach().clone(), weights)
    assert found.abs().max() == 0
    assert torch.autograd.grad(found.sum(), x)[0].abs().max() == 0


@pytest.mark.filterwarnings("ignore:`torch.jit")  # which torch.func imports
@pytest.mark.parametrize("heads", [(), (2,)])
def test_gradients_of_gradients_batched_gradients_and_transforms(heads):
    x, y = (torch.rand(3, 4, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weights = torch.rand(4, *heads, dtype=torch.float64)

    def layer(a, b):
        return fused.layer_map(a, b, weights)

    assert torch.autograd.gradcheck(layer, (x, y))
    assert torch.autograd.gradgradcheck(layer, (x, y))

    def plain(a):
        return distance.layer_map(a, y.detach(), weights)

    def fast(a):
        return layer(a, y.detach())

    inputs = x.detach()
    for transform in (torch.func.jacrev, torch.func.hessian):
        torch.testing.assert_close(
            transform(lambda a: fast(a).square().sum())(inputs), transform(lambda a: plain(a).square().sum())(inputs)
        )
    for got, wanted in zip(*(torch.func.jvp(f, (inputs,), (inputs,)) for f in (fast, plain)), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("heads", [(), (2,)])
@pytest.mark.parametrize("dims", [(0, None), (None, 1), (0, 1)])
def test_vmap(dims, heads):
    x, y = (torch.rand(5, 4, 2, 3) if dim is None else torch.rand(5, 5, 4, 2, 3) for dim in dims)
    weights = torch.rand(4, *heads)
    found = torch.func.vmap(lambda a, b: fused.layer_map(a, b, weights), dims)(x, y)
    for row in range(5):
        a, b = (t if dim is None else t.select(dim, row) for t, dim in zip((x, y), dims, strict=True))
        torch.testing.assert_close(found[row], distance.layer_map(a, b, weights))


def test_vmap_over_channel_weights_is_refused():
    x, y = torch.rand(2, 4, 2, 3), torch.rand(2, 4, 2, 3)
    with pytest.raises(ValueError, match="channel_weights: expected the same ones throughout a vmap"):
        torch.func.vmap(lambda w: fused.layer_map(x, y, w))(torch.rand(5, 4))


@pytest.mark.parametrize("heads", [(), (2,)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_does_not_reach_the_sum_over_channels(dtype, heads):
    x, y, weights = draw((2, 64, 4, 4), torch.float32, heads=heads)
    with torch.autocast("cpu", dtype=dtype):
        found = fused.layer_map(x, y, weights)
        gradient = torch.autograd.grad(found.sum(), y)[0]
        with forward_ad.dual_level():
            along = forward_ad.unpack_dual(fused.layer_map(forward_ad.make_dual(x, y), y, weights)).tangent
    assert found.dtype == along.dtype == torch.float32
    expected = distance.layer_map(x, y, weights)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), y)[0])
    torch.testing.assert_close(along, torch.func.jvp(lambda a: distance.layer_map(a, y, weights), (x,), (y,))[1])


def test_only_features_are_kept_for_the_backward_pass():
    metric = LPIPS("vgg", tower_weights="random:0")
    x, y = torch.rand(1, 3, 64, 64, requires_grad=True), torch.rand(1, 3, 64, 64)
    features = [list(metric.tower(image)) for image in (x, y)]
    known = {f.untyped_storage().data_ptr() for side in features for f in side}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        maps = [fused.layer_map(a, b, w) for a, b, w in zip(*features, metric.tensors.values(), strict=True)]
    assert len(maps) == 5
    assert sum(kept.values()) <= sum(w.nbytes for w in metric.tensors.values())


def test_checkpointing_changes_nothing_and_keeps_less():
    x, y = torch.rand(1, 3, 64, 64, dtype=torch.float64), torch.rand(1, 3, 64, 64, dtype=torch.float64)
    results = []
    for checkpoint in (False, True):
        metric = LPIPS("vgg", tower_weights="random:0", checkpoint=checkpoint)
        kept = {}

        def keep(tensor, kept=kept):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        image = x.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            value = metric(image, y)
        results.append((value, torch.autograd.grad(value, image)[0], sum(kept.values())))
    (value, gradient, plain), (same_value, same_gradient, less) = results
    torch.testing.assert_close(value, same_value)
    torch.testing.assert_close(gradient, same_gradient)
    assert less < 0.6 * plain
