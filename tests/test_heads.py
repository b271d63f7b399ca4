"""Two heads: each way to the distance compared with a plain computation, and the difficult case of a near head at 0."""

import copy
import pickle
from decimal import Decimal, localcontext
from math import factorial

import pytest
import torch

from lpips_lite import LPIPS, Encoding, lpips
from lpips_lite.channel_weights import number_layers
from lpips_lite.heads import Heads, share_of_near
from lpips_lite.tensor_files import save_tensors
from tests import reference
from tests.peers import random_channels, random_tower, two_headed_file

LIMIT = 0.5


def load(path, **options):
    return LPIPS("lite", tower_weights=path, channel_weights=path, **{"reduction": "none", **options})


@pytest.fixture
def metric(two_heads):
    return load(two_heads)


@pytest.fixture
def apart(tmp_path):
    """The far and the near head as two metrics with one head each."""
    for name, seed in (("far", 1), ("near", 2)):
        weights = number_layers(random_channels("lite", seed))
        save_tensors(tmp_path / f"{name}.safetensors", {**random_tower("lite"), **weights}, {})
    return [load(tmp_path / f"{name}.safetensors") for name in ("far", "near")]


def together(far, near):
    return far + (LIMIT * (1 - torch.exp(-near.double() / LIMIT))).to(far.dtype)


def masks(x):
    return torch.zeros(len(x), 1, *x.shape[2:]).index_fill_(3, torch.arange(60), 1.0)


DISTANCES = {
    "forward": lambda m, x, y: m(x, y),
    "lpips": lambda m, x, y: lpips(x, y, m),
    "mask": lambda m, x, y: m(x, y, masks(x)),
    "eroded mask": lambda m, x, y: m(x, y, masks(x), erode=True),
    "encodings": lambda m, x, y: m.distance(m.encode(x), m.encode(y)),
    "one encoding with all": lambda m, x, y: m.distance(m.encode(x[:1]), m.encode(y)),
    "pairwise": lambda m, x, y: m.pairwise(x, y),
    "pairwise with gradients": lambda m, x, y: m.pairwise(x.clone().requires_grad_(), y).detach(),
}
SHARES = {
    "layer_distances": (lambda m, x, y: m.layer_distances(x, y), None),
    "layer_distances under a mask": (lambda m, x, y: m.layer_distances(x, y, masks(x)), masks),
    "distance_map": (lambda m, x, y: m.distance_map(x, y), None),
}


@pytest.fixture
def pair():
    """Three pairs: random, similar, nearly the same."""
    x = torch.rand(3, 3, 67, 71)
    return x, (x + torch.tensor([1.0, 0.05, 1e-4]).view(3, 1, 1, 1) * torch.randn(x.shape)).clamp(0, 1)


@pytest.mark.parametrize("run", DISTANCES.values(), ids=DISTANCES)
def test_distances_are_made_of_both_heads(run, metric, apart, pair):
    torch.testing.assert_close(
        run(metric, *pair), together(*(run(head, *pair) for head in apart)), rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize(("run", "mask"), SHARES.values(), ids=SHARES)
def test_shares_are_those_of_one_factor_for_an_image(run, mask, metric, apart, pair):
    far, near = (run(head, *pair) for head in apart)
    whole = apart[1](*pair, mask and mask(pair[0]))
    factor = (LIMIT * (1 - torch.exp(-whole.double() / LIMIT)) / whole).float().view(-1, *[1] * (far.ndim - 1))
    torch.testing.assert_close(run(metric, *pair), far + factor * near, rtol=1e-5, atol=1e-9)


def test_rows_of_shares_sum_to_the_distance(metric, pair):
    torch.testing.assert_close(metric.layer_distances(*pair).sum(dim=1), metric(*pair), rtol=1e-5, atol=0)
    assert metric.distance_map(*pair).shape == (3, 1, 67, 71)


def test_the_distance_equals_plain_numpy(metric, pair):
    images = [2 * image[0].double().numpy() - 1 for image in pair]
    tower = {key: tensor.numpy() for key, tensor in random_tower("lite").items()}
    geometry = (4, 1, 1, 1, 1), (2, 1, 1, 1, 1), 1, (0, 13)
    far, near = (
        reference.lpips(*images, tower, [w.numpy() for w in random_channels("lite", seed)], *geometry)
        for seed in (1, 2)
    )
    expected = together(torch.tensor(far.sum()), torch.tensor(near.sum())).item()
    assert metric(*pair)[0].item() == pytest.approx(expected, rel=1e-5)
    shares = far + near * (expected - far.sum()) / near.sum()
    assert metric.layer_distances(*pair)[0].tolist() == pytest.approx(shares.tolist(), rel=1e-5)


def test_without_a_limit_the_heads_add_up(tmp_path, pair):
    far, near = random_channels("lite", 1), random_channels("lite", 2)
    save_tensors(tmp_path / "sum.safetensors", number_layers(a + b for a, b in zip(far, near, strict=True)), {})
    added = LPIPS("lite", tower_weights="random:0", channel_weights=tmp_path / "sum.safetensors", reduction="none")
    endless = load(two_headed_file(tmp_path / "endless.safetensors", near_limit=torch.tensor(1e9)))
    torch.testing.assert_close(endless(*pair), added(*pair))
    torch.testing.assert_close(endless.layer_distances(*pair), added.layer_distances(*pair))


def test_a_near_head_of_nothing_changes_no_bit(tmp_path, apart, pair):
    nothing = number_layers([], [torch.zeros_like(weights) for weights in random_channels("lite")])
    metric = load(two_headed_file(tmp_path / "nothing.safetensors", **nothing))
    for name in ("forward", "lpips", "mask", "eroded mask"):
        assert torch.equal(DISTANCES[name](metric, *pair), DISTANCES[name](apart[0], *pair))
    for run, _ in SHARES.values():
        assert torch.equal(run(metric, *pair), run(apart[0], *pair))
    table = metric.pairwise(*pair)  # sums in another order
    torch.testing.assert_close(table, apart[0].pairwise(*pair))


# -- derivatives -----------------------------------------------------------------------------------------------------


def exact_share(ratio, order):
    """Return a derivative of (1 − exp(−r)) / r with 300 digits."""
    with localcontext(prec=300):
        r, sign = Decimal(ratio), (-1) ** order
        if r == 0:
            return sign / (order + 1)
        first = sum(r**k / factorial(k) for k in range(order + 1))
        return float(sign * factorial(order) * (1 - (-r).exp() * first) / r ** (order + 1))


@pytest.mark.parametrize("ratio", [0, 1e-30, 1e-9, 1e-4, 0.01, 0.2499, 0.25, 0.2501, 0.3, 1, 10, 100, 1e3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_share_of_the_near_head_and_its_derivatives(ratio, dtype, tolerance):
    r = torch.tensor([ratio], dtype=dtype, requires_grad=True)
    value = share_of_near(r)
    (slope,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), r)
    found = [number.item() for number in (value, slope, curvature)]
    assert found == pytest.approx([exact_share(r.item(), order) for order in range(3)], rel=tolerance)


def test_a_share_of_nan_is_nan():
    assert share_of_near(torch.tensor([torch.nan])).isnan().all()


@pytest.mark.parametrize("run", [lambda h, *p: h.distance(sum(p)), lambda h, *p: torch.stack(h.shares(p))])
@pytest.mark.parametrize("near", [0.0, 1e-3, 0.3, 2.0])
def test_gradients_and_their_gradients(run, near):
    heads = Heads([], torch.tensor(LIMIT, dtype=torch.float64))
    layers = torch.rand(2, 3, 2, dtype=torch.float64)
    layers[..., 1] = near * torch.rand(2, 3)
    parts = [layer.clone().requires_grad_() for layer in layers]
    assert torch.autograd.gradcheck(lambda *p: run(heads, *p), parts)
    assert torch.autograd.gradgradcheck(lambda *p: run(heads, *p), parts)


def test_gradients_are_those_of_both_heads(metric, apart, pair):
    x, y = (image.double() for image in pair)

    def gradients(function):
        image = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(function(image).sum(), image, create_graph=True)
        return first, torch.autograd.grad(first.square().sum(), image)[0]

    expected = gradients(lambda image: together(*(head(image, y) for head in apart)))
    for found, wanted in zip(gradients(lambda image: metric(image, y)), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9 * wanted.abs().max().item())


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("run", ["forward", "layer_distances", "distance_map"])
def test_equal_images_have_distance_and_gradient_zero(run, metric, pair):
    x = pair[0].requires_grad_()
    with torch.autograd.detect_anomaly(check_nan=True):
        found = getattr(metric, run)(x, pair[0].detach().clone())
        found.sum().backward()
    assert found.abs().max() == 0
    assert x.grad.abs().max() == 0


# -- what a user does with it ------------------------------------------------------------------------------------------


def test_all_numbers_are_in_tensors_and_signature(metric, tmp_path):
    assert [*metric.tensors][-2:] == ["near_weights.9", "near_limit"]
    assert metric.tensors["near_limit"].item() == LIMIT
    assert metric.scaled
    assert metric.signature.startswith("lpips-lite/1.0 net=lite tower=")
    assert metric.signature.endswith(" heads=2")
    other = load(two_headed_file(tmp_path / "other.safetensors", near_limit=torch.tensor(0.6)))
    assert other.signature != metric.signature
    assert "heads" not in LPIPS("lite", channel_weights="uniform").signature


def test_copies_moves_and_files_keep_it(metric, pair, tmp_path):
    expected = metric(*pair)
    for same in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric).to("meta").to("cpu")):
        assert torch.equal(same.half()(*pair), expected)
        assert same.signature == metric.signature
    metric.encode(pair[0]).save(tmp_path / "encoding")
    torch.testing.assert_close(metric.distance(Encoding.load(tmp_path / "encoding"), metric.encode(pair[1])), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_and_combined_in_float32(dtype, metric, pair):
    expected = metric(*pair)
    with torch.autocast("cpu", dtype=dtype):
        found = metric(*pair)
    for distances in (found, metric(*(image.to(dtype) for image in pair))):
        assert distances.dtype == torch.float32
        torch.testing.assert_close(distances[:2], expected[:2], rtol=0.1, atol=0)
    torch.testing.assert_close(found.mean(), expected.mean(), rtol=0.02, atol=0)


def test_compiled_it_is_the_same(metric, pair):
    compiled = torch.compile(lambda x, y: (metric(x, y), metric.layer_distances(x, y)), fullgraph=True, backend="eager")
    for found, expected in zip(compiled(*pair), (metric(*pair), metric.layer_distances(*pair)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
