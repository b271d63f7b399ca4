"""The drop-in: the published loops unchanged, equal in value, shape and gradient."""

import warnings

import pytest
import torch
from torch import nn

from lpips_lite import read_image
from lpips_lite.compat import LPIPS
from tests.peers import random_tower, upstream


@pytest.fixture
def images():
    return torch.rand(2, 3, 65, 72) * 2 - 1, torch.rand(2, 3, 65, 72) * 2 - 1


@pytest.mark.parametrize("version", ["0.1", "0.0"])
@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_values_and_shapes_equal_upstream(net, spatial, version, images, tmp_path):
    tower = random_tower(net)
    torch.save(tower, tmp_path / "tower.pth")
    ours = LPIPS(net=net, version=version, spatial=spatial, tower_weights=tmp_path / "tower.pth", verbose=False)
    theirs = upstream(net, tower, version=version, spatial=spatial)
    with torch.no_grad():
        for normalize in (False, True):
            x, y = images if not normalize else [(image + 1) / 2 for image in images]
            found, layers = ours(x, y, retPerLayer=True, normalize=normalize)
            expected, expected_layers = theirs(x, y, retPerLayer=True, normalize=normalize)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
            assert len(layers) == len(expected_layers)
            for layer, expected_layer in zip(layers, expected_layers, strict=True):
                torch.testing.assert_close(layer, expected_layer, rtol=1e-5, atol=1e-7)
            torch.testing.assert_close(ours(x, y, normalize=normalize), found)


def test_gradient_equals_upstream_in_float64(images, tmp_path):
    tower = random_tower("alex")
    torch.save(tower, tmp_path / "tower.pth")
    x, y = (image.double().requires_grad_() for image in images)
    expected = torch.autograd.grad(upstream("alex", tower).double()(x, y).sum(), (x, y))
    found = torch.autograd.grad(LPIPS(tower_weights=tmp_path / "tower.pth")(x, y).sum(), (x, y))
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() <= 1e-6 * theirs.norm()


def test_lpips_false_is_uniform_weights(images, tmp_path):
    import lpips

    tower = random_tower("alex")
    torch.save(tower, tmp_path / "tower.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = lpips.LPIPS(net="alex", lpips=False, pnet_rand=True, verbose=False)
    from tests.peers import copy_tower

    copy_tower(peer.net, tower)
    ours = LPIPS(lpips=False, pretrained=False, tower_weights=tmp_path / "tower.pth")
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


def test_warns_once_when_declared_range_looks_wrong():
    loss, x = LPIPS(net="lite"), torch.rand(1, 3, 32, 32)
    with pytest.warns(UserWarning, match=r"in0 and in1 have no negative value, but \[-1, 1\] is expected"):
        loss(x, x)
    loss(x, x)  # warnings are errors in these tests: there is no second one
    LPIPS(net="lite")(x, x, normalize=True)
    LPIPS(net="lite")(2 * x - 1, x)


@pytest.mark.parametrize(
    ("lowest", "highest", "normalize", "message"),
    [
        (0, 255, False, r"in0 has values .* expected \[-1, 1\]: values look like 0…255"),
        (0, 255, True, r"in0 has values .* expected \[0, 1\]: values look like 0…255"),
        (-1, 1, True, r"in0 has values .* expected \[0, 1\]: values look like −1…1"),
    ],
)
def test_wrong_ranges_are_errors_in_this_interfaces_terms(lowest, highest, normalize, message):
    x = torch.rand(1, 3, 32, 32) * (highest - lowest) + lowest
    with pytest.raises(ValueError, match=message):
        LPIPS(net="lite")(x, x, normalize=normalize)


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
    new.load_state_dict(old.state_dict())
    torch.testing.assert_close(new.layer.weight, old.layer.weight)
    assert new.loss.metric.signature == before
    with pytest.raises(RuntimeError, match="loss.other.weight"):
        new.load_state_dict({**old.state_dict(), "loss.other.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pnet_tune": True}, "pnet_tune=True: the tower is frozen"),
        ({"pretrained": False}, "pretrained=False: channel weights would be random"),
        ({"version": "0.2"}, "version='0.2': expected '0.1' or '0.0'"),
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
