"""The parts and helpers of the drop-in replacement: their values, and that they have nothing to train."""

import copy
import pickle

import lpips as published
import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from lpips_lite import compat
from lpips_lite.compat import LPIPS
from tests.peers import random_tower, upstream


@pytest.fixture
def image():
    return torch.rand(2, 3, 33, 35) * 2 - 1


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_parts_compute_what_upstream_computes_with_them(net, image):
    tower = random_tower(net)
    ours, theirs = LPIPS(net=net, tower_weights=tower), upstream(net, tower)
    assert (ours.L, ours.chns, ours.version, ours.pnet_type) == (theirs.L, theirs.chns, "0.1", net)
    scaled = ours.scaling_layer(image)
    assert torch.equal(scaled, theirs.scaling_layer(image))
    assert torch.equal(ours.scaling_layer(image[0, :1]), theirs.scaling_layer(image[0, :1]))
    found, expected = ours.net(scaled), theirs.net.forward(scaled)
    assert (found._fields, ours.net.N_slices) == (expected._fields, theirs.net.N_slices)
    for features, expected_features in zip(found, expected, strict=True):
        assert_close(features, expected_features)
    for lin, expected_lin, features in zip(ours.lins, theirs.lins, expected, strict=True):
        assert_close(lin(features), expected_lin(features).detach())
        assert torch.equal(lin.model[-1].weight, expected_lin.model[-1].weight)
        assert torch.equal(lin.model[1].weight, expected_lin.model[1].weight)


def test_a_loop_over_the_parts_gives_the_distance(image):
    ours = LPIPS(net="squeeze", pnet_rand=True)
    x, y = image, image.flip(-1)
    f0, f1 = (ours.net(ours.scaling_layer(image)) for image in (x, y))
    total = 0
    for k in range(ours.L):
        difference = (compat.normalize_tensor(f0[k]) - compat.normalize_tensor(f1[k])) ** 2
        total = total + compat.spatial_average(ours.lins[k](difference), keepdim=True)
    assert_close(total, ours(x, y))


def test_parts_bring_nothing_to_train_and_changing_them_changes_nothing(image):
    loss, x, y = LPIPS(net="squeeze", pnet_rand=True), image, image.flip(-1)
    before = loss(x, y)
    for part in (loss.net, loss.lins, loss.scaling_layer, loss):
        part.requires_grad_(True).train()
        assert not [*part.parameters(), *part.buffers(), *part.state_dict()]
    loss.lins[0].model[-1].weight.zero_()
    for same in (loss, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss).to("cpu").half()):
        assert torch.equal(same(x, y), before)
        assert torch.equal(same.lins[0].model[-1].weight, loss.lins[0].model[-1].weight)
    assert not loss(x, y).requires_grad


HELPERS = {
    "normalize_tensor": lambda module: module.normalize_tensor(torch.rand(2, 5, 4, 3)),
    "normalize_tensor of zeros": lambda module: module.normalize_tensor(torch.zeros(1, 2, 3, 3), eps=1e-3),
    "spatial_average": lambda module: module.spatial_average(torch.rand(2, 5, 4, 3)),
    "spatial_average, flat": lambda module: module.spatial_average(torch.rand(2, 5, 4, 3), keepdim=False),
    "upsample": lambda module: module.upsample(torch.rand(2, 1, 4, 3)),
    "upsample to a size": lambda module: module.upsample(torch.rand(2, 1, 4, 3), out_HW=(9, 7)),
    "im2tensor": lambda module: module.im2tensor(pixels()),
    "im2tensor of a mirrored view": lambda module: module.im2tensor(pixels()[:, ::-1, ::-1]),
    "im2tensor in other units": lambda module: module.im2tensor(pixels(), np.uint8, 0.0, 255.0),
    "tensor2im": lambda module: torch.from_numpy(module.tensor2im(torch.rand(2, 3, 4, 5) * 2 - 1)),
    "tensor2im of all bytes": lambda module: torch.from_numpy(module.tensor2im(module.im2tensor(pixels()))),
    "tensor2im as floats": lambda module: torch.from_numpy(module.tensor2im(torch.randn(1, 3, 4, 5), np.float64)),
    "tensor2im in other units": lambda module: torch.from_numpy(
        module.tensor2im(torch.rand(1, 3, 4, 5), cent=0.0, factor=255.0)
    ),
}


def pixels():
    return np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)


@pytest.mark.parametrize("helper", HELPERS.values(), ids=HELPERS)
def test_helpers_equal_upstream(helper):
    found, expected = (helper(module) for module in (compat, published) if torch.manual_seed(0))
    assert found.dtype == expected.dtype
    assert_close(found, expected)


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_load_image_gives_rgb_bytes_in_rows(suffix, tmp_path):
    Image.fromarray(pixels()).save(tmp_path / f"image.{suffix}")
    found = compat.load_image(tmp_path / f"image.{suffix}")
    assert found.dtype == np.uint8
    assert np.array_equal(found, pixels())
    assert torch.equal(compat.im2tensor(found), published.im2tensor(pixels()))
