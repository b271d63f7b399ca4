"""The distance: published numbers, the published code, a numpy reference, and properties of any pair."""

import re

import pytest
import torch

from lpips_lite import LPIPS, Encoding, lpips, read_image
from tests import reference
from tests.peers import random_channels, random_tower, upstream

NETS = ["alex", "vgg", "squeeze"]
SIZES = [(1, 67, 71), (2, 64, 64), (129, 33, 40)]  # batch, height, width


@pytest.fixture
def metric():
    return LPIPS("lite", reduction="none")


# -- published numbers ---------------------------------------------------------------------------------------------


def test_published_distances_of_the_example_images(shared):
    folder = shared / "reference"
    images = {name: read_image(folder / f"images/ex_{name}.png")[None] for name in ("ref", "p0", "p1")}
    metric = LPIPS(
        "alex",
        tower_weights=folder / "alexnet_features.pth",
        channel_weights=folder / "channel_weights/v0.1/alex.pth",
    )
    found = [metric(images[a], images[b]).item() for a, b in (("ref", "p0"), ("ref", "p1"), ("p0", "p1"))]
    assert found == pytest.approx([0.721881, 0.137566, 0.719658], abs=1e-6)


def test_published_distances_of_the_seeded_example(shared):
    generator = torch.Generator().manual_seed(42)
    x, y = (torch.rand(2, 3, 100, 100, generator=generator) for _ in range(2))
    metric = LPIPS("squeeze", tower_weights=shared / "reference/squeezenet1_1_features.pth", reduction="none")
    assert metric(x, y).tolist() == pytest.approx([0.1024, 0.0938], abs=5e-5)


def test_lite_chooses_p1_of_the_published_triplet(shared, metric):
    ref, p0, p1 = (read_image(shared / f"reference/images/ex_{name}.png")[None] for name in ("ref", "p0", "p1"))
    assert metric(ref, p1) < metric(ref, p0)


# -- the published code --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v0.1", "v0.0"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("net", NETS)
def test_layer_distances_equal_upstream(net, size, version):
    if net == "vgg" and size[0] > 2:
        size = (129, 17, 19)  # the same batch, but faster
    tower, (batch, height, width) = random_tower(net), size
    x, y = torch.rand(batch, 3, height, width), torch.rand(batch, 3, height, width)
    peer = upstream(net, tower, version=version.removeprefix("v"))
    metric = LPIPS(net, tower_weights=tower, channel_weights=version, reduction="none")
    with torch.no_grad():
        total, layers = peer(x, y, retPerLayer=True, normalize=True)
        expected = torch.stack([layer.flatten() for layer in layers], dim=1)
        torch.testing.assert_close(metric.layer_distances(x, y), expected, rtol=1e-5, atol=0)
        torch.testing.assert_close(metric(x, y), total.flatten(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("net", NETS)
def test_distance_map_equals_upstreams_spatial(net, pair):
    tower = random_tower(net)
    with torch.no_grad():
        expected = upstream(net, tower, spatial=True)(*pair, normalize=True)
        found = LPIPS(net, tower_weights=tower).distance_map(*pair)
    assert found.shape == (2, 1, 67, 71)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("net", NETS)
def test_gradient_in_float64_equals_upstream(net, size):
    if net == "vgg" and size[0] > 2:
        size = (129, 17, 19)
    tower, (batch, height, width) = random_tower(net), size
    x, y = (torch.rand(batch, 3, height, width).double().requires_grad_() for _ in range(2))
    metric, peer = LPIPS(net, tower_weights=tower, reduction="sum"), upstream(net, tower).double()
    # The same constants, rounded alike: at 129 images a difference of 1e-8 is enough to switch one of 10⁶ ReLUs.
    peer.scaling_layer.shift = 2 * metric.tower.tensors["mean"].double() - 1
    peer.scaling_layer.scale = 2 * metric.tower.tensors["std"].double()
    expected = torch.autograd.grad(peer(x, y, normalize=True).sum(), (x, y))
    found = torch.autograd.grad(metric(x, y), (x, y))
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() <= 1e-6 * theirs.norm()
        assert (ours - theirs).abs().max() <= 1e-6 * theirs.abs().max()


@pytest.mark.parametrize("net", NETS)
def test_torchmetrics_differs_only_by_its_epsilon(net, pair):
    from torchmetrics.functional.image.lpips import _LPIPS

    from tests.peers import copy_tower

    tower = random_tower(net)
    peer = _LPIPS(pretrained=True, net=net, pnet_rand=True)
    copy_tower(peer.net, tower)
    with torch.no_grad():
        expected = peer.eval()(*pair, normalize=True).flatten()
        found = LPIPS(net, tower_weights=tower, reduction="none")(*pair)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)  # √(1e-8 + Σf²) there, √Σf² + 1e-10 here


@pytest.mark.parametrize(("net", "geometry"), [("alex", ((2, 2, 1, 1, 1), 0)), ("lite", ((2, 1, 1, 1, 1), 1, (0, 13)))])
def test_layer_distances_equal_plain_numpy(net, geometry, tmp_path):
    from lpips_lite.tensor_files import save_tensors

    tower, channels = random_tower(net), random_channels(net)
    save_tensors(tmp_path / "w.safetensors", {f"channel_weights.{i}": w for i, w in enumerate(channels)}, {})
    metric = LPIPS(net, tower_weights=tower, channel_weights=tmp_path / "w.safetensors")
    x, y = torch.rand(1, 3, 37, 46), torch.rand(1, 3, 37, 46)
    expected = reference.lpips(
        *(2 * image[0].double().numpy() - 1 for image in (x, y)),
        {key: tensor.numpy() for key, tensor in tower.items()},
        [weight.numpy() for weight in channels],
        (4, 1, 1, 1, 1),
        *geometry,
    )
    assert metric.layer_distances(x, y)[0].tolist() == pytest.approx(expected.tolist(), rel=1e-5)


# -- what must hold for any pair -----------------------------------------------------------------------------------


def test_identity_symmetry_and_sign(metric, pair):
    x, y = pair
    assert metric(x, x).tolist() == [0, 0]
    torch.testing.assert_close(metric(x, y), metric(y, x))
    assert (metric(x, y) > 0).all()
    assert (metric.distance_map(x, y) >= 0).all()


@pytest.mark.parametrize("batch", [1, 2, 129])
def test_rows_do_not_depend_on_the_batch(metric, batch):
    x, y = torch.rand(batch, 3, 32, 35), torch.rand(batch, 3, 32, 35)
    together = metric(x, y)
    assert together.shape == (batch,)
    alone = torch.cat([metric(x[i : i + 1], y[i : i + 1]) for i in range(batch)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-7)


def test_layers_sum_to_the_distance_and_reductions_agree(metric, pair):
    rows = metric.layer_distances(*pair).sum(dim=1)
    torch.testing.assert_close(rows, metric(*pair))
    torch.testing.assert_close(lpips(*pair, LPIPS("lite", reduction="sum")), rows)
    torch.testing.assert_close(LPIPS("lite")(*pair), rows.mean())
    torch.testing.assert_close(LPIPS("lite", reduction="sum")(*pair), rows.sum())


def test_uint8_is_the_same_as_float(metric):
    x, y = (torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8) for _ in range(2))
    torch.testing.assert_close(metric(x, y), metric(x / 255, y / 255))
    torch.testing.assert_close(metric(x, y / 255), metric(x / 255, y / 255))


def test_map_mean_is_near_the_distance(metric):
    x, y = torch.rand(1, 3, 256, 256), torch.rand(1, 3, 256, 256)
    assert metric.distance_map(x, y).mean().item() == pytest.approx(metric(x, y).item(), rel=0.01)


def test_map_shows_where_the_images_differ(metric):
    x = torch.rand(1, 3, 256, 256)
    y = x.clone()
    y[..., 96:128, 160:192] = torch.rand(1, 3, 32, 32)
    heat = metric.distance_map(x, y)[0, 0]
    row, column = divmod(int(heat.argmax()), 256)
    assert 88 <= row <= 136
    assert 152 <= column <= 200
    assert heat[:, :16].max() == 0


def test_mask_weighs_regions(metric):
    x = torch.rand(2, 3, 128, 128)
    y = x.clone()
    y[..., :64] = torch.rand(2, 3, 128, 64)
    left, right = torch.zeros(2, 1, 128, 128), torch.zeros(2, 1, 128, 128)
    left[..., :64], right[..., 100:] = 1, 1
    assert (metric(x, y, mask=left) > metric(x, y)).all()
    assert (metric(x, y, mask=right) < metric(x, y) / 4).all()  # not 0: features at its edge see across
    torch.testing.assert_close(metric(x, y, mask=torch.ones(2, 1, 128, 128)), metric(x, y))
    torch.testing.assert_close(metric(x, y, mask=left.bool()), metric(x, y, mask=3 * left))


# -- encodings -----------------------------------------------------------------------------------------------------


def test_encodings_give_the_same_distance(metric, pair):
    x, y = pair
    encoded = metric.encode(x)
    assert isinstance(encoded, Encoding)
    assert len(encoded) == 2
    torch.testing.assert_close(metric.distance(encoded, metric.encode(y)), metric(x, y))


def test_gradients_flow_through_an_encoding(metric, pair):
    x, y = pair[0].double().requires_grad_(), pair[1].double()
    target = metric.encode(y)
    (through_encoding,) = torch.autograd.grad(metric.distance(metric.encode(x), target).sum(), x)
    (direct,) = torch.autograd.grad(metric(x, y).sum(), x)
    torch.testing.assert_close(through_encoding, direct)


def test_pairwise_is_every_pair():
    metric = LPIPS("lite", reduction="none")
    x, y = torch.rand(3, 3, 33, 48), torch.rand(4, 3, 33, 48)
    table = metric.pairwise(x, y)
    assert table.shape == (3, 4)
    for i in range(3):
        torch.testing.assert_close(table[i], metric(x[i : i + 1].expand(4, -1, -1, -1), y))
    own = metric.pairwise(x)
    assert own.diagonal().tolist() == [0, 0, 0]
    torch.testing.assert_close(own, own.T)


def test_encodings_do_not_mix(metric, pair):
    other = LPIPS("lite", channel_weights="uniform")
    with pytest.raises(ValueError, match=r"encoding made by .*weights=uniform.*expected .*weights=lite-"):
        metric.distance(metric.encode(pair[0]), other.encode(pair[1]))
    with pytest.raises(ValueError, match=r"images of sizes \(67, 71\) and \(32, 32\)"):
        metric.distance(metric.encode(pair[0]), metric.encode(torch.rand(2, 3, 32, 32)))
    three = metric.encode(torch.cat([pair[1], pair[1][:1]]))
    with pytest.raises(ValueError, match="encoding_y has 3 images; expected encoding_x's 2"):
        metric.distance(metric.encode(pair[0]), three)


def test_rows_of_an_encoding_are_encodings(metric, pair):
    gallery = metric.encode(pair[1])
    expected = metric.pairwise(pair[0], pair[1])
    for query, distances in zip(metric.encode(pair[0]), expected, strict=True):
        assert len(query) == 1
        torch.testing.assert_close(metric.distance(query, gallery), distances)
        torch.testing.assert_close(metric.distance(gallery, query), distances)
    torch.testing.assert_close(metric.pairwise(metric.encode(pair[0]), gallery), expected)
    torch.testing.assert_close(metric.distance(gallery[-1], gallery[1]), torch.zeros(1))
    with pytest.raises(IndexError):
        gallery[2]


def test_an_encoding_can_wait_elsewhere_in_fewer_bytes(metric, pair):
    gallery = metric.encode(pair[1].clone().requires_grad_()).detach().cpu().to(torch.float16)
    assert all(feature.dtype == torch.float16 and not feature.requires_grad for feature in gallery.features)
    found = metric.pairwise(pair[0], gallery)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, metric.pairwise(pair[0], pair[1]), rtol=1e-2, atol=1e-4)
    assert gallery.to("meta").features[0].device.type == "meta"


# -- arguments and signature ---------------------------------------------------------------------------------------


def test_signature_names_net_tower_and_weights():
    calibrated = LPIPS("lite").signature
    assert calibrated.startswith("lpips-lite/1.0 net=lite tower=")
    assert "weights=lite-" in calibrated
    uniform = LPIPS("lite", channel_weights="uniform").signature
    assert uniform.split()[:3] == calibrated.split()[:3]
    assert re.search(r" weights=uniform-[0-9a-f]{8}$", uniform)
    assert LPIPS("alex", tower_weights="random:1").signature != LPIPS("alex", tower_weights="random:2").signature


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"net": "alexnet"}, "net='alexnet': expected one of 'lite', 'alex', 'vgg', 'squeeze'"),
        ({"reduction": "avg"}, "reduction='avg': expected one of 'mean', 'sum', 'none'"),
        ({"check_range": "no"}, "check_range='no': expected one of 'auto', 'always', 'never'"),
        ({"channel_weights": "v0.1"}, r"channel_weights='v0.1': not published for net='lite' \(published: none\)"),
        ({"net": "vgg", "channel_weights": "v0.2"}, r"not published for net='vgg' \(published: v0.0, v0.1\)"),
    ],
)
def test_wrong_arguments_list_the_right_ones(arguments, message):
    with pytest.raises(ValueError, match=message):
        LPIPS(**arguments)
