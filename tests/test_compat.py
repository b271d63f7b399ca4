"""The drop-in replacement: loops written for the published package run unchanged, with equal values and gradients."""

import copy
import warnings
from functools import cache

import lpips as published
import pytest
import torch
from torch import nn

import lpips_lite
from lpips_lite import read_image
from lpips_lite.compat import LPIPS
from tests.peers import copy_tower, random_tower, upstream

NETS = ["alex", "vgg", "squeeze"]


@cache
def _both(net, version):
    tower = random_tower(net)
    ours = LPIPS(net=net, version=version, tower_weights=tower, verbose=False)
    return ours, upstream(net, tower, version=version)


def both(net, version="0.1", spatial=False):
    """Return our loss and the published one with the same random tower."""
    ours, theirs = _both(net, version)
    ours.spatial = theirs.spatial = spatial
    return ours, theirs


def images_of(*shapes):
    return [torch.rand(shape) * 2 - 1 for shape in shapes]


@pytest.fixture
def images():
    return images_of((2, 3, 65, 72), (2, 3, 65, 72))


def assert_equal_to(expected, found):
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("version", ["0.1", "0.0"])
@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_values_and_shapes_equal_upstream(net, spatial, version, images):
    ours, theirs = both(net, version, spatial)
    with torch.no_grad():
        for normalize in (False, True):
            x, y = images if not normalize else [(image + 1) / 2 for image in images]
            found, layers = ours(x, y, retPerLayer=True, normalize=normalize)
            expected, expected_layers = theirs(x, y, retPerLayer=True, normalize=normalize)
            assert_equal_to(expected, found)
            for layer, expected_layer in zip(layers, expected_layers, strict=True):
                assert_equal_to(expected_layer, layer)
            torch.testing.assert_close(ours(x, y, normalize=normalize), found)


SHAPES = {
    "one with many": ((1, 3, 33, 35), (3, 3, 33, 35)),
    "many with one": ((3, 3, 33, 35), (1, 3, 33, 35)),
    "without a batch": ((3, 33, 35), (3, 33, 35)),
    "without a batch with many": ((3, 33, 35), (2, 3, 33, 35)),
    "many with one without a batch": ((2, 3, 33, 35), (3, 33, 35)),
    "one channel": ((2, 1, 33, 35), (2, 1, 33, 35)),
    "one channel with three": ((2, 1, 33, 35), (2, 3, 33, 35)),
    "one channel, one with many": ((1, 1, 33, 35), (3, 3, 33, 35)),
    "one channel without a batch": ((1, 33, 35), (1, 33, 35)),
    "many with one of one channel without a batch": ((2, 3, 33, 35), (1, 33, 35)),
    "neither batch nor channel": ((33, 35), (33, 35)),
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("net", NETS)
def test_shapes_that_upstream_broadcasts(net, spatial, shapes):
    ours, theirs = both(net, spatial=spatial)
    x, y = images_of(*shapes)
    upstream_x = x if x.ndim == 4 or not spatial else x.expand(1, 3, -1, -1)  # which it needs for the size of the map
    with torch.no_grad():
        found, layers = ours(x, y, retPerLayer=True)
        expected, expected_layers = theirs(upstream_x, y, retPerLayer=True)
    assert_equal_to(expected, found)
    for layer, expected_layer in zip(layers, expected_layers, strict=True):
        assert_equal_to(expected_layer, layer)


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_gradients_of_shapes_that_upstream_broadcasts(shapes):
    ours, theirs = both("alex")
    theirs = copy.deepcopy(theirs).double()
    x, y = (image.double().requires_grad_() for image in images_of(*shapes))
    expected = torch.autograd.grad(theirs(x, y).sum(), (x, y))
    for gradient, expected_gradient in zip(torch.autograd.grad(ours(x, y).sum(), (x, y)), expected, strict=True):
        assert gradient.shape == expected_gradient.shape
        assert (gradient - expected_gradient).norm() <= 1e-6 * expected_gradient.norm()


@pytest.mark.parametrize(
    ("first", "second", "error", "message"),
    [
        ((2, 3, 33, 35), (3, 3, 33, 35), ValueError, r"in1 has shape \(3, .*; expected in0's, \(2, .* batch of one"),
        ((2, 3, 33, 35), (2, 3, 33, 36), ValueError, r"in1 has shape \(2, 3, 33, 36\); expected in0's"),
        ((2, 2, 33, 35), (2, 3, 33, 35), ValueError, "in0 has shape .* 2 channels; expected 3"),
        ((2, 3, 33, 35), (33, 35, 3), ValueError, r"in1 has shape .* use in1.permute\(0, 3, 1, 2\)"),
        ((2, 3, 33, 30), (2, 3, 33, 35), ValueError, "in0 is 33×30; expected at least 31×31"),
    ],
)
def test_shapes_that_upstream_refuses_are_errors(first, second, error, message):
    ours, theirs = both("alex")
    x, y = images_of(first, second)
    with pytest.raises(error, match=message):
        ours(x, y)
    if first[2:] == second[2:]:  # for sizes that differ little, see test_migrating.py
        with pytest.raises(RuntimeError):
            theirs(x, y)


def untrained(*shape):
    """Images from a network without a final activation; some values are outside [-2, 2]."""
    x = torch.randn(*shape)
    return 3.1 * x / x.abs().amax()


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("scale", [1, 10, 1000])
def test_values_of_an_untrained_network_are_computed(scale, normalize):
    ours, theirs = both("alex")
    x, y = scale * untrained(2, 3, 33, 35), images_of((2, 3, 33, 35))[0]
    y = (y + 1) / 2 if normalize else y
    with torch.no_grad():
        assert_equal_to(theirs(x, y, normalize=normalize), ours(x, y, normalize=normalize))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_as_upstream_does(dtype):
    ours, theirs = both("alex")
    x, y = images_of((2, 3, 33, 35), (2, 3, 33, 35))
    with torch.no_grad():
        for pair in ((x.to(dtype), y.to(dtype)), (x.to(dtype), y), (x, y.to(dtype))):
            assert_equal_to(theirs(*pair), ours(*pair))


def test_gradient_equals_upstream_in_float64(images):
    ours, theirs = both("alex")
    x, y = (image.double().requires_grad_() for image in images)
    expected = torch.autograd.grad(copy.deepcopy(theirs).double()(x, y).sum(), (x, y))
    for gradient, expected_gradient in zip(torch.autograd.grad(ours(x, y).sum(), (x, y)), expected, strict=True):
        assert (gradient - expected_gradient).norm() <= 1e-6 * expected_gradient.norm()


def test_lpips_false_is_uniform_weights(images):
    tower = random_tower("alex")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = published.LPIPS(net="alex", lpips=False, pnet_rand=True, verbose=False)
    copy_tower(peer.net, tower)
    ours = LPIPS(lpips=False, pretrained=False, tower_weights=tower)
    torch.testing.assert_close(ours(*images), peer(*images), rtol=1e-5, atol=0)


def test_published_distances(shared):
    folder = shared / "reference"
    images = {name: 2 * read_image(folder / f"images/ex_{name}.png")[None] - 1 for name in ("ref", "p0", "p1")}
    loss = LPIPS(net="alex", tower_weights=folder / "alexnet_features.pth")
    found = [loss(images[a], images[b]).item() for a, b in (("ref", "p0"), ("ref", "p1"), ("p0", "p1"))]
    assert found == pytest.approx([0.721881, 0.137566, 0.719658], abs=1e-6)
    generator = torch.Generator().manual_seed(42)
    x, y = (torch.rand(2, 3, 100, 100, generator=generator) * 2 - 1 for _ in range(2))
    loss = LPIPS(net="squeeze", tower_weights=folder / "squeezenet1_1_features.pth")
    assert loss(x, y).flatten().tolist() == pytest.approx([0.1024, 0.0938], abs=5e-5)


def in_range(low, high):
    return torch.rand(1, 3, 32, 32) * (high - low) + low


@pytest.mark.parametrize(
    ("low", "high", "normalize", "message"),
    [
        (0, 1, False, r"in0 and in1 have no negative value, but \[-1, 1\] is expected: are they in \[0, 1\]"),
        (-1, 1, True, r"in0 has values .* expected \[0, 1\]: are they in \[-1, 1\]\? Then leave normalize=True out"),
        (-20, 270, False, r"in0 has values .*: do they overshoot 0…255, .* use in0 / 127.5 - 1"),
        (-3, 258, True, r"in0 has values .*: do they overshoot 0…255, .* use in0 / 255"),
    ],
)
def test_warns_once_when_values_do_not_look_as_declared(low, high, normalize, message):
    loss, x = LPIPS(net="lite"), in_range(low, high)
    y = in_range(0, 1)
    with pytest.warns(UserWarning, match=message) as found:
        loss(x, y, normalize=normalize)
    assert found[0].filename == __file__
    loss(x, y, normalize=normalize)  # warnings are errors in tests, so there is no second warning
    LPIPS(net="lite", check_range="never")(x, y, normalize=normalize)


def test_images_that_may_be_bright_do_not_warn():
    loss = LPIPS(net="lite")
    loss(in_range(-1, 1), in_range(0, 1))
    loss(in_range(0, 1), in_range(0, 1), normalize=True)


@pytest.mark.parametrize("scale", [255, 30])
@pytest.mark.parametrize("wrong", [0, 1])
@pytest.mark.parametrize("normalize", [False, True])
def test_bytes_as_floats_are_an_error(wrong, scale, normalize):
    pair = [in_range(0, 1), in_range(0, 1)]
    pair[wrong] *= scale
    use = rf"in{wrong} / 255" if normalize else rf"in{wrong} / 127.5 - 1"
    message = rf"in{wrong} has values .*; expected \[{0 if normalize else -1}, 1\]: values look like 0…255; use {use}"
    with pytest.raises(ValueError, match=message):
        LPIPS(net="lite")(*pair, normalize=normalize)


class OldModel(nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.loss = loss


def test_checkpoint_with_the_old_keys_loads_strictly():
    tower = random_tower("squeeze")
    old = OldModel(upstream("squeeze", tower))
    assert any(key.startswith("loss.net.") for key in old.state_dict())
    new = OldModel(LPIPS(net="lite"))
    before = new.loss.metric.signature
    with pytest.warns(UserWarning, match=r"weights under 'loss.' differ from 'lpips-lite/1.0 net=lite .*, which stay"):
        new.load_state_dict(old.state_dict())
    torch.testing.assert_close(new.layer.weight, old.layer.weight)
    assert new.loss.metric.signature == before
    same = OldModel(LPIPS(net="squeeze", tower_weights=tower))
    same.load_state_dict(old.state_dict())  # without a warning
    trained = old.state_dict()
    trained["loss.lin0.model.1.weight"] = 3 * trained["loss.lin0.model.1.weight"]
    with pytest.warns(UserWarning, match="pass the file as model_path="):
        same.load_state_dict(trained)
    with pytest.raises(RuntimeError, match="loss.other.weight"):
        same.load_state_dict({**old.state_dict(), "loss.other.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pnet_tune": True}, "pnet_tune=True: the tower is frozen"),
        ({"pretrained": False}, "pretrained=False: channel weights would be random"),
        ({"version": "0.2"}, "version='0.2': expected '0.1' or '0.0'"),
        ({"net": "lite", "version": "0.0"}, "version='0.0': expected the version whose channel weights are used"),
        ({"net": "resnet"}, "net='resnet': expected one of"),
    ],
)
def test_what_is_not_supported_says_so(arguments, message):
    with pytest.raises(ValueError, match=message):
        LPIPS(**arguments)


def test_pnet_rand_and_model_path(tmp_path, shared, images):
    assert LPIPS(net="squeeze", pnet_rand=True)(*images).shape == (2, 1, 1, 1)
    path = shared / "reference/channel_weights/v0.1/squeeze.pth"
    loss = LPIPS(net="squeeze", pnet_rand=True, model_path=path)
    assert loss.metric.signature == LPIPS(net="squeeze", pnet_rand=True).metric.signature


def test_two_heads(two_heads, images):
    """Layers are shares of the distance; `lins` raises an error."""
    metric = lpips_lite.LPIPS("lite", tower_weights=two_heads, channel_weights=two_heads, reduction="none")
    x, y = ((image + 1) / 2 for image in images)
    shares, heat = metric.layer_distances(x, y), metric.distance_map(x, y)
    loss = LPIPS(net="lite", tower_weights=two_heads, model_path=two_heads)
    total, layers = loss(*images, retPerLayer=True)
    torch.testing.assert_close(total.flatten(), metric(x, y), rtol=1e-5, atol=0)
    torch.testing.assert_close(torch.cat(layers, dim=1).flatten(1), shares, rtol=1e-5, atol=1e-8)
    one = loss(images[0][:1], images[1])
    torch.testing.assert_close(one.flatten(), metric.pairwise(x[:1], y)[0], rtol=1e-5, atol=0)
    loss.spatial = True
    total, layers = loss(*images, retPerLayer=True)
    torch.testing.assert_close(total, heat, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(sum(layers), total)
    with pytest.raises(ValueError, match="lins: the weights of .* heads=2' have two heads"):
        _ = loss.lins
