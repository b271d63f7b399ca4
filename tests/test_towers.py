"""Towers: layer tables compared with torchvision's networks, taps, sizes, and values of a plain-numpy tower."""

import weakref

import pytest
import torch

from lpips_lite import TOWERS, FeatureTower
from lpips_lite.layers import Pool
from lpips_lite.towers import OTHERS
from tests import reference
from tests.peers import random_tower


@pytest.mark.parametrize("net", ["alex", "vgg", "vgg19", "squeeze"])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_each_tap_equals_a_prefix_of_torchvisions_features(net, pooling):
    models = pytest.importorskip("torchvision.models")
    build = {"alex": "alexnet", "vgg": "vgg16", "vgg19": "vgg19", "squeeze": "squeezenet1_1"}[net]
    features = getattr(models, build)(weights=None).features.eval().double()
    tensors = {f"features.{key}": tensor.float() for key, tensor in features.state_dict().items()}
    tower = FeatureTower(net, weights=tensors, pooling=pooling)
    if pooling == "average":
        for index, layer in enumerate(features):
            if isinstance(layer, torch.nn.MaxPool2d):
                features[index] = torch.nn.AvgPool2d(layer.kernel_size, layer.stride, ceil_mode=layer.ceil_mode)
    x = torch.rand(1, 3, 75, 64, dtype=torch.float64)
    scaled = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    with torch.no_grad():
        for tap, feature in zip(tower.taps, tower(x), strict=True):
            torch.testing.assert_close(feature, features[: tap.index + 1](scaled), rtol=1e-9, atol=1e-12)
            assert feature.shape[1] == tap.channels


def test_weights_choose_their_table_by_their_names():
    (older,) = OTHERS["lite"]
    tensors = {key: torch.rand(shape) for key, shape in older.shapes().items()}
    tower = FeatureTower("lite", weights=tensors)
    assert tower.spec is older
    assert [tap.channels for tap in tower.taps] == [40, 80, 112, 96, 96]
    assert FeatureTower("lite", weights="random:0").spec is TOWERS["lite"]
    with pytest.raises(ValueError, match=r"features.3.bias has shape \(81,\); expected \(80,\)"):
        FeatureTower("lite", weights={**tensors, "features.3.bias": torch.rand(81)})


def test_networks_side_by_side_read_the_same_images():
    whole = random_tower("lite")
    (near,) = OTHERS["lite"]
    image = torch.rand(1, 3, 40, 47)
    features = FeatureTower("lite", weights=whole)(image)
    alone = FeatureTower("lite", weights={key: whole[key] for key in near.shapes()})(image)
    assert all(torch.equal(a, b) for a, b in zip(features[:5], alone, strict=True))
    changed = {key: tensor * 2 if key in near.shapes() else tensor for key, tensor in whole.items()}
    again = FeatureTower("lite", weights=changed)(image)
    assert all(torch.equal(a, b) for a, b in zip(features[5:], again[5:], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(features[:5], again[:5], strict=True))


@pytest.mark.parametrize(("net", "kept"), [("alex", 0), ("lite", 5)])
def test_images_are_freed_when_the_last_network_has_read_them(net, kept):
    spec, images = TOWERS[net], torch.rand(1, 3, 64, 64)
    alive = weakref.ref(images)
    stream = spec.run(images, random_tower(net), spec.find_taps())
    del images
    assert [alive() is not None for _ in stream] == [number < kept for number in range(len(spec.taps))]


def test_published_taps():
    indices = {net: [tap.index for tap in TOWERS[net].find_taps()] for net in ("alex", "vgg", "squeeze")}
    assert indices == {"alex": [1, 4, 7, 9, 11], "vgg": [3, 8, 15, 22, 29], "squeeze": [1, 4, 7, 9, 10, 11, 12]}
    channels = {net: [tap.channels for tap in TOWERS[net].find_taps()] for net in ("alex", "vgg", "squeeze")}
    assert channels == {
        "alex": [64, 192, 384, 256, 256],
        "vgg": [64, 128, 256, 512, 512],
        "squeeze": [64, 128, 256, 384, 384, 512, 512],
    }


@pytest.mark.parametrize("net", TOWERS)
def test_smallest_side_works_and_one_less_does_not(net):
    spec = TOWERS[net]
    taps = spec.find_taps([layer.name for network in spec.networks for layer in network if hasattr(layer, "name")])
    tower = FeatureTower(net, taps=[tap.name for tap in taps], weights="random:0")
    side = spec.min_side
    assert tower(torch.rand(1, 3, side, side))[-1].numel() > 0
    if net != "lite":  # its windows are padded; there the smallest side is a choice, not a crash
        with pytest.raises(RuntimeError):
            tower(torch.rand(1, 3, side - 1, side - 1))


@pytest.mark.parametrize("net", TOWERS)
def test_tap_stride_is_the_ratio_of_sizes(net):
    tower = FeatureTower(net, weights="random:0")
    for tap, feature in zip(tower.taps, tower(torch.rand(1, 3, 256, 256)), strict=True):
        assert abs(feature.shape[-1] - 256 / tap.stride) <= 1


@pytest.mark.parametrize(("net", "geometry"), [("alex", ((2, 2, 1, 1, 1), 0)), ("lite", ((2, 1, 1, 1, 1), 1, (0, 13)))])
def test_features_equal_plain_numpy(net, geometry):
    tensors = random_tower(net)
    x = torch.rand(1, 3, 40, 47, dtype=torch.float64)
    scaled = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    expected = reference.alexnet_like(
        scaled[0].numpy(), {k: t.numpy() for k, t in tensors.items()}, (4, 1, 1, 1, 1), *geometry
    )
    for feature, numbers in zip(FeatureTower(net, weights=tensors)(x), expected, strict=True):
        torch.testing.assert_close(feature[0], torch.from_numpy(numbers), rtol=1e-5, atol=1e-6)


def test_chosen_taps_come_in_layer_order_and_stop_the_tower_early():
    tower = FeatureTower("vgg", taps=["relu2_1", "relu1_1"], weights="random:0")
    assert [tap.name for tap in tower.taps] == ["relu1_1", "relu2_1"]
    assert [f.shape[1:] for f in tower(torch.rand(1, 3, 2, 2))] == [(64, 2, 2), (128, 1, 1)]  # too small for the rest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"net": "vgg16"}, "net='vgg16': expected one of 'lite', 'alex', 'vgg', 'vgg19', 'squeeze'"),
        ({"net": "lite", "taps": ["relu9"]}, "tower 'lite' has the taps relu1, relu2, relu3, relu4, relu5"),
        ({"net": "lite", "pooling": "avg"}, "pooling='avg': expected 'max', 'average' or 'l2'"),
    ],
)
def test_wrong_arguments_list_the_right_ones(arguments, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        FeatureTower(**arguments)


def test_given_tensors_are_copied():
    tensors = random_tower("lite")
    tower = FeatureTower("lite", weights=tensors)
    x = torch.rand(1, 3, 32, 32)
    before = tower(x)[0]
    tensors["features.0.weight"].zero_()
    assert torch.equal(tower(x)[0], before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_l2_pooling_of_large_and_of_no_features_in_half_precision(dtype, autocast):
    features = torch.randint(0, 3000, (2, 5, 9, 8)).float()
    features[0] = 0
    x = features.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        found = Pool(2, 2)(x, {}, "l2")
    expected = Pool(2, 2)(x.detach().float(), {}, "l2")
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=torch.finfo(dtype).eps, atol=1e-4)
    found.sum().backward()
    assert x.grad.isfinite().all()
