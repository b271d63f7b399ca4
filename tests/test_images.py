"""The checks of tensors, with the text of every error."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lpips_lite import LPIPS
from lpips_lite.images import gradients_wanted, to_float

GOOD = torch.full((2, 3, 64, 64), 0.5)


def with_value(value):
    image = GOOD.clone()
    image[0, 0, 0, 0] = value
    return image


WRONG = {
    "list": ([[0.5]], GOOD, TypeError, r"x is a list; expected a torch.Tensor \(N, 3, H, W\)"),
    "int64": (GOOD.long(), GOOD, TypeError, "x has dtype torch.int64; expected floats in .* or uint8"),
    "bool": (GOOD, GOOD > 0, TypeError, "y has dtype torch.bool"),
    "complex": (GOOD.cfloat(), GOOD, TypeError, "x has dtype torch.complex64"),
    "3-D": (GOOD[0], GOOD[0], ValueError, r"x has shape \(3, 64, 64\); expected \(N, 3, H, W\).*x\[None\]"),
    "5-D": (GOOD[None], GOOD[None], ValueError, r"x has shape \(1, 2, 3, 64, 64\); expected \(N, 3, H, W\)"),
    "gray": (GOOD[:, :1], GOOD[:, :1], ValueError, r"1 channels; expected 3 \(RGB\); for grayscale use x.expand"),
    "RGBA": (torch.zeros(1, 4, 64, 64), GOOD, ValueError, r"x has shape \(1, 4, 64, 64\), 4 channels; expected 3"),
    "NHWC": (GOOD.permute(0, 2, 3, 1), GOOD, ValueError, r"looks like \(N, H, W, 3\): use x.permute\(0, 3, 1, 2\)"),
    "empty": (GOOD[:0], GOOD[:0], ValueError, "expected at least one image"),
    "sizes": (GOOD, GOOD[..., :60], ValueError, r"y has shape \(2, 3, 64, 60\); expected x's shape \(2, 3, 64, 64\)"),
    "batch": (GOOD, GOOD[:1], ValueError, r"y has shape \(1, 3, 64, 64\); expected x's shape \(2, 3, 64, 64\)"),
    "small": (GOOD[..., :15], GOOD[..., :15], ValueError, "x is 64×15; expected at least 16×16"),
    "device": (GOOD, GOOD.to("meta"), ValueError, "y is on meta; expected x's device cpu"),
    "NaN x": (with_value(float("nan")), GOOD, ValueError, r"x has NaN or infinite values; expected floats in \[0, 1\]"),
    "NaN y": (GOOD, with_value(float("nan")), ValueError, "y has NaN or infinite values"),
    "inf": (with_value(float("inf")), GOOD, ValueError, "x has NaN or infinite values"),
    "uint8 floats": (GOOD * 255, GOOD, ValueError, r"x has values from 127.5 to 127.5.*look like 0…255; divide by 255"),
    "y 0…255": (GOOD, GOOD * 255, ValueError, "y has values .* look like 0…255"),
    "y −1…1": (
        GOOD,
        with_value(-0.5),
        ValueError,
        r"y has values from -0.5 to 0.5.*look like −1…1; use \(y \+ 1\) / 2",
    ),
    "x −1…1": (with_value(-0.9), GOOD, ValueError, "x has values from -0.9 .* look like −1…1"),
    "y above": (GOOD, with_value(1.01), ValueError, r"y has values from 0.5 to 1.01; expected \[0, 1\]"),
    "x far above": (with_value(1.51), GOOD, ValueError, "x has values from 0.5 to 1.51"),
}


@pytest.fixture(scope="module")
def metric():
    return LPIPS("lite", check_range="always")


@pytest.mark.parametrize(("x", "y", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_is_refused_before_the_tower_runs(metric, monkeypatch, x, y, error, message):
    def forbidden(*_):
        raise AssertionError("the tower ran")

    monkeypatch.setattr(metric.tower, "forward", forbidden)
    for function in (metric, metric.layer_distances, metric.distance_map):
        with pytest.raises(error, match=message):
            function(x, y)


def test_tolerances():
    metric = LPIPS("lite")
    for in_x, in_y in ((1.5, 0), (-0.5, 0), (0, 1.0009), (0, -0.0009)):
        assert torch.isfinite(metric(with_value(in_x), with_value(in_y)))


def test_check_range_never_and_auto():
    wrong = GOOD * 255
    assert torch.isfinite(LPIPS("lite", check_range="never")(wrong, wrong))
    for policy in ("auto", "always"):
        with pytest.raises(ValueError, match="look like 0…255"):
            LPIPS("lite", check_range=policy)(wrong, wrong)
    with pytest.raises(ValueError, match=r"\(2, 3, 64\)"):  # shapes are checked all the same
        LPIPS("lite", check_range="never")(wrong[..., 0], wrong[..., 0])


def test_auto_checks_each_shape_and_dtype_once_on_an_accelerator():
    metric = LPIPS("lite")
    shapes = [((2, 3, 64, 64), torch.float32)] * 2 + [((2, 3, 64, 32), torch.float32), ((2, 3, 64, 64), torch.half)]
    with FakeTensorMode():
        images = [torch.empty(shape, dtype=dtype, device="cuda") for shape, dtype in shapes]
    wanted = []
    for image in images:
        wanted.append(metric._values_wanted(image))
        metric._note_checked(image)
    assert wanted == [True, False, True, True]
    assert not metric._values_wanted(GOOD.to("meta"))  # which has no values
    assert [metric._values_wanted(GOOD) for _ in range(2)] == [True, True]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(2, 64, 64), r"mask has shape \(2, 64, 64\); expected \(N, 1, H, W\) = \(2, 1, 64, 64\)"),
        (torch.ones(2, 1, 64, 60), r"mask has shape \(2, 1, 64, 60\)"),
        (torch.stack([torch.ones(1, 64, 64), torch.zeros(1, 64, 64)]), r"mask is empty for rows \[1\]"),
        (-torch.ones(2, 1, 64, 64), "mask has negative, NaN or infinite values"),
        (torch.full((2, 1, 64, 64), float("nan")), "mask has negative, NaN or infinite values"),
        (torch.ones(2, 1, 64, 64, device="meta"), "mask is on meta; expected x's device cpu"),
    ],
)
def test_wrong_masks_are_refused(metric, mask, message):
    with pytest.raises(ValueError, match=message):
        metric(GOOD, GOOD, mask=mask)


def test_encode_and_pairwise_check_too(metric):
    with pytest.raises(ValueError, match="look like 0…255"):
        metric.encode(GOOD * 255)
    with pytest.raises(ValueError, match=r"images of sizes \(64, 64\) and \(64, 60\)"):
        metric.pairwise(GOOD, GOOD[..., :60])


def test_to_float():
    assert torch.equal(to_float(torch.tensor([0, 255], dtype=torch.uint8)), torch.tensor([0.0, 1.0]))
    assert to_float(GOOD) is GOOD


def test_gradients_are_wanted_of_what_requires_them_while_they_are_on():
    x, y = torch.rand(2, requires_grad=True), torch.rand(2)
    assert gradients_wanted(y, x)
    assert not gradients_wanted(y)
    with torch.no_grad():
        assert not gradients_wanted(x, y)
