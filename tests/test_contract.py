"""One contract for every metric: each metric must pass each test.

The metrics are the public functions and Modules and the metrics of the catalog. A new metric is tested without a new
line here. Devices, transforms and states of frameworks are in `test_states.py`, and images larger than memory in
`test_strips.py`.
"""

import inspect
from functools import cache

import pytest
import torch

import lpips_lite
from lpips_lite import METRICS, FeatureTower, crn_tower, dists_tower
from lpips_lite.catalog import entry_of, may_be_infinite, parse_metric

NO_METRICS = {  # public, but not functions of a pair of images
    *(
        "LPIPS",
        "Encoding",
        "FeatureTower",
        "TOWERS",
        "METRICS",
        "read_image",
        "compare",
        "summarize",
        "__version__",
        "lpips",
    ),
    *("gram_matrix", "crn_tower", "dists_tower", "read_dists_weights", "Jittered", "MultiScale"),
}
TOWERS = {"crn": lambda: crn_tower("random:0"), "dists": lambda: dists_tower("random:0")}


@cache
def tower_for(name):
    kind = next((kind for kind in TOWERS if name.lower().startswith(kind)), None)
    return TOWERS[kind]() if kind else FeatureTower("lite")


def there(function, *modules):
    """Return a function of two batches that moves its modules to their device."""

    def run(x, y, **mask):
        for module in modules:
            module.to(x.device)
        return function(x, y, **mask)

    return run


def metric(name, new_tower=False, **options):
    """Return the function or Module with a public name as a function of two batches."""
    value = getattr(lpips_lite, name)
    make = tower_for.__wrapped__ if new_tower else tower_for
    tower = (make(name),) if "tower" in inspect.signature(value).parameters else ()
    if inspect.isclass(value):
        module = value(*tower, **options)
        return there(module, module)
    return there(lambda x, y, **mask: value(x, y, *tower, **mask, **options), *tower)


PUBLIC = sorted(set(lpips_lite.__all__) - NO_METRICS)
FUNCTIONS = [name for name in PUBLIC if not inspect.isclass(getattr(lpips_lite, name))]
LPIPS = ["LPIPS"]
CATALOG = [f"METRICS {name}" for name in (*METRICS, "lite:max", "lite:p99", "pixels:shift", "region:shift")]
ALL = PUBLIC + LPIPS + CATALOG
COUNTS = ("changed_pixels", *(name for name in CATALOG if name.split()[1].startswith(("pixels", "region"))))


def spelled(name):
    """Return a catalog's metric with a random tower, so that nothing is downloaded."""
    entry = METRICS[name.partition(":")[0]]
    options = {"tower": "random:0", "weights": "uniform"} if entry.has_map else {"tower": "random:0"}
    own = {} if name.startswith("lite") else {key: options[key] for key in options if key in entry.options}
    return ":".join([name, *(f"{key}={value}" for key, value in own.items())])


def load(name, new_tower=False, **options):
    if name in CATALOG:
        return parse_metric(spelled(name.removeprefix("METRICS "))).load().compute
    if name != "LPIPS":
        return metric(name, new_tower, **options)
    module = lpips_lite.LPIPS("lite", **options)
    return there(module, module)


@pytest.fixture
def pair(name, device, dtype):
    """A pair of two images each, as small as the metric allows."""
    generator, side = (
        torch.Generator().manual_seed(0),
        176 if name in ("ms_ssim", "MSSSIMLoss", "METRICS ms-ssim") else 32,
    )
    x = torch.rand(2, 3, side, side, generator=generator)
    y = (x + 0.05 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    return x.to(device, dtype), y.to(device, dtype)


def has_tower(name):
    if name in CATALOG:
        return "tower" in entry_of(name.removeprefix("METRICS ")).options
    return name == "LPIPS" or "tower" in inspect.signature(getattr(lpips_lite, name)).parameters


def takes_mask(name):
    if name in CATALOG:
        return entry_of(name.removeprefix("METRICS ")).takes_mask
    value = getattr(lpips_lite, name)
    return "mask" in inspect.signature(value.forward if inspect.isclass(value) else value).parameters


MASKED = [name for name in ALL if takes_mask(name)]


def test_every_public_distance_is_in_the_table():
    for name in PUBLIC:
        parameters = inspect.signature(getattr(lpips_lite, name)).parameters
        assert "check_range" in parameters, name
        assert parameters["check_range"].default == "auto", name


WRONG = {
    "0…255": (lambda x, y: (x * 255, y * 255), "look like 0…255"),
    "−1…1": (lambda x, y: (x, y * 2 - 1), "look like −1…1"),
    "NaN in x": (lambda x, y: (torch.where(x > 0.999, torch.nan, x), y), "NaN or infinite"),
    "NaN in y": (lambda x, y: (x, torch.where(y > 0.999, torch.nan, y)), "NaN or infinite"),
    "infinity": (lambda x, y: (torch.where(x > 0.999, torch.inf, x), y), "NaN or infinite"),
    "far beyond": (lambda x, y: (x * 1.8, y), "unbounded"),
    "overshoot": (lambda x, y: (x, y * 1.1 - 0.05), r"overshoot.*clamp\(0, 1\)"),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG)
def test_wrong_values_are_errors_that_say_so(pair, name, spoil, message):
    with pytest.raises(ValueError, match=message):
        load(name)(*spoil(*pair))
    if name not in CATALOG:
        with pytest.raises(ValueError, match=message):
            load(name, check_range="always")(*spoil(*pair))


@pytest.mark.parametrize("name", PUBLIC + LPIPS)
def test_checks_can_be_switched_off_and_no_number_comes_of_nan(pair, name):
    x, y = pair
    function = load(name, check_range="never")
    assert torch.isfinite(function(x * 1.8, y)).all()
    x = x.clone()
    x[:, :, 5, 7] = torch.nan
    found = function(x, y)
    if found.ndim == 3:  # a map
        found = found.flatten(1).sum(dim=1)
    assert found.isnan().all()


@pytest.mark.parametrize("name", PUBLIC + LPIPS)
def test_an_unknown_policy_is_an_error(pair, name):
    with pytest.raises(ValueError, match="check_range='sometimes': expected"):
        load(name, check_range="sometimes")(*pair)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_input_counts_as_its_values(pair, name, dtype):
    half = [image.to(dtype) for image in pair]
    found, expected = (load(name)(*images) for images in (half, [image.float() for image in half]))
    assert found.dtype == torch.float32
    if not has_tower(name):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    else:
        torch.testing.assert_close(found, expected, rtol=0.3, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_autocast_reaches_towers_only(pair, name):
    function = load(name)
    expected = function(*pair)
    with torch.autocast(pair[0].device.type, dtype=torch.bfloat16):
        found = function(*pair)
    assert found.dtype == expected.dtype
    if has_tower(name):
        torch.testing.assert_close(found, expected, rtol=0.3, atol=1e-4)
    else:
        assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ALL)
def test_float64_stays_float64(pair, name):
    found = load(name)(*(image.double() for image in pair))
    assert found.dtype == torch.float64


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_images_are_at_the_best_value(pair, name, dtype):
    x = pair[0].to(dtype)
    found = load(name)(x, x)
    best = best_of(name)
    if name == "match_template":
        found = found.amax(dim=(1, 2))
    assert torch.equal(found, torch.full_like(found, best)) or (
        best == 1 and torch.allclose(found, torch.full_like(found, best), rtol=0, atol=1e-5)
    )


def best_of(name):
    """Return the value for equal images."""
    if name in CATALOG:
        text = name.removeprefix("METRICS ")
        return torch.inf if may_be_infinite(text) else float(entry_of(text).direction == "higher")
    higher = {"ssim", "ms_ssim", "fsim", "ncc", "zncc", "match_template"}
    return torch.inf if name == "psnr" else float(name in higher)


@pytest.mark.parametrize("name", FUNCTIONS + CATALOG)
def test_rows_of_a_batch_do_not_depend_on_each_other(pair, name):
    function = load(name)
    together = function(*pair)
    alone = torch.cat([function(*(image[row : row + 1] for image in pair)) for row in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_built_and_used_under_inference_mode_then_as_a_loss(pair, name):
    with torch.inference_mode():
        function = load(name, new_tower=True)
        function(*pair)
    x = pair[0].clone().requires_grad_()
    found = function(x, pair[1]).sum()
    if name in COUNTS:  # which have no gradient, so that using them as a loss is an error
        assert not found.requires_grad
        return
    found.backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", ALL)
def test_a_default_device_does_not_decide_where_it_computes(pair, name):
    with torch.device("meta"):
        function = load(name, new_tower=True)
        found = function(*pair)
    assert found.device == pair[0].device
    assert torch.equal(found, load(name)(*pair))


@pytest.mark.parametrize("name", FUNCTIONS + CATALOG)
def test_vmap_is_a_loop(pair, name):
    function, stacked = load(name), [torch.stack([image, image.flip(0)]) for image in pair]
    found = torch.func.vmap(function)(*stacked)
    expected = torch.stack([function(*images) for images in zip(*stacked, strict=True)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_exported_gives_the_same(pair, name):
    class Exported(torch.nn.Module):
        def forward(self, x, y):
            return function(x, y)

    if name in ("fsim", "match_template") and torch.__version__ < (2, 9):
        pytest.skip("this torch cannot export transforms of Fourier")
    function = load(name)
    program = torch.export.export(Exported(), pair, strict=False)
    torch.testing.assert_close(program.module()(*pair), function(*pair), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_a_full_mask_is_none_and_other_metrics_take_none(pair, name):
    ones = torch.ones_like(pair[0][:, :1])
    if name not in MASKED:
        with pytest.raises(TypeError, match="mask"):
            load(name)(*pair, mask=ones)
        return
    expected = load(name)(*pair)
    for mask in (ones, ones.bool()):
        torch.testing.assert_close(load(name)(*pair, mask=mask), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MASKED)
def test_masks_of_a_batch_do_not_depend_on_each_other(pair, name):
    function, mask = load(name), torch.rand_like(pair[0][:, :1]) > 0.5
    together = function(*pair, mask=mask)
    alone = torch.stack([function(*(image[r : r + 1] for image in pair), mask=mask[r : r + 1]) for r in range(2)])
    torch.testing.assert_close(together, alone.mean() if together.ndim == 0 else alone[:, 0], rtol=1e-4, atol=1e-6)
    mapped = torch.func.vmap(lambda x, y, m: function(x, y, mask=m))(*(t[:, None] for t in (*pair, mask)))
    torch.testing.assert_close(mapped, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", MASKED)
def test_wrong_masks_are_errors_and_what_they_leave_out_is_checked_too(pair, name):
    x, y = pair
    mask = torch.ones_like(x[:, :1])
    for wrong, message in (
        (mask[:1], r"mask has shape \(1, 1, 32, 32\); expected \(N, 1, H, W\) = \(2, 1, 32, 32\)"),
        (-mask, "mask has negative"),
        (mask * torch.tensor([1.0, 0.0]).to(mask).view(2, 1, 1, 1), r"mask is empty for rows \[1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            load(name)(x, y, mask=wrong)
    spoilt, mask[:, :, 5, 7] = x.clone(), 0
    spoilt[:, :, 5, 7] = torch.nan
    with pytest.raises(ValueError, match="x has NaN"):
        load(name)(spoilt, y, mask=mask)
    if name not in CATALOG:
        assert load(name, check_range="never")(spoilt, y, mask=mask).isnan().all()
