"""Baselines: published values, peers in float64, closed forms, gradients, degenerate images."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from lpips_lite import (
    ContentLoss,
    CRNLoss,
    DISTSLoss,
    FeatureTower,
    FSIMLoss,
    GramLoss,
    L1Loss,
    L2Loss,
    MSSSIMLoss,
    NCCLoss,
    SSDLoss,
    SSIMLoss,
    ZNCCLoss,
    content_distance,
    crn_distance,
    crn_tower,
    dists,
    dists_tower,
    fsim,
    gram_distance,
    gram_matrix,
    l1,
    l2,
    match_template,
    ms_ssim,
    ncc,
    psnr,
    read_dists_weights,
    read_image,
    ssd,
    ssim,
    zncc,
)
from lpips_lite.baselines.content import CRN_MEAN, CRN_SCALES, CRN_STD
from lpips_lite.baselines.spaces import to_lab
from lpips_lite.baselines.style import JOHNSON_TAPS
from tests import reference

TOWER = FeatureTower("lite")
CRN_TOWER = crn_tower("random:0")
DISTS_TOWER = dists_tower("random:0")


def style(x, y):
    return gram_distance(x, y, TOWER)


def content(x, y):
    return content_distance(x, y, TOWER)


def crn(x, y):
    return crn_distance(x, y, CRN_TOWER)


def texture(x, y):
    return dists(x, y, DISTS_TOWER)


FUNCTIONS = {
    "l1": l1,
    "l2": l2,
    "l2-lab": partial(l2, space="lab"),
    "psnr": psnr,
    "ssim": ssim,
    **{variant: partial(ssim, variant=variant) for variant in ("matlab", "skimage", "torchmetrics")},
    "ms-ssim": ms_ssim,
    "fsim": fsim,
    "fsimc": partial(fsim, chromatic=True),
    "ssd": ssd,
    "ncc": ncc,
    "zncc": zncc,
    "gram": style,
    "gram-gatys": partial(gram_distance, tower=TOWER, normalization="gatys"),
    "covariance": partial(gram_distance, tower=TOWER, centered=True),
    "content": content,
    "crn": crn,
    "dists": texture,
}
AT_IDENTITY = {"psnr": math.inf} | dict.fromkeys(
    ("ssim", "matlab", "skimage", "torchmetrics", "ms-ssim", "fsim", "fsimc", "ncc", "zncc"), 1
)


@pytest.fixture
def images(pair):
    return tuple(image.double() for image in pair)


def natural(*size):
    """Return images with structure and their noisy copies, float64."""
    smooth = torch.rand(size[0], 3, size[1] // 4, size[2] // 4, dtype=torch.float64)
    x = torch.nn.functional.interpolate(smooth, size=size[1:], mode="bicubic").clamp(0, 1)
    x = 0.7 * x + 0.3 * torch.rand_like(x)
    return x, (x + 0.1 * torch.randn_like(x)).clamp(0, 1)


def pair_for(name, pair):
    """Return a pair that is large enough."""
    return (torch.rand(2, 3, 163, 166), torch.rand(2, 3, 163, 166)) if name == "ms-ssim" else pair


# -- published values ----------------------------------------------------------------------------------------------


def test_values_of_the_example_images(shared):
    ref, p0, p1 = (read_image(shared / f"reference/images/ex_{n}.png")[None].double() for n in ("ref", "p0", "p1"))
    assert [ssim(ref, p).item() for p in (p0, p1)] == pytest.approx([0.43675, 0.29590], abs=5e-6)
    assert [ssim(ref, p, variant="skimage").item() for p in (p0, p1)] == pytest.approx([0.47685, 0.31316], abs=5e-6)
    assert [ssim(ref, p, variant="torchmetrics").item() for p in (p0, p1)] == pytest.approx(
        [0.45009, 0.28592], abs=2e-5
    )
    assert [fsim(ref, p).item() for p in (p0, p1)] == pytest.approx([0.64755, 0.67489], abs=5e-6)
    assert [fsim(ref, p, chromatic=True).item() for p in (p0, p1)] == pytest.approx([0.64527, 0.66895], abs=5e-6)
    assert [psnr(ref, p).item() for p in (p0, p1)] == pytest.approx([18.0455, 13.8675], abs=5e-5)
    assert [l2(ref, p).item() for p in (p0, p1)] == pytest.approx([0.01568, 0.04104], abs=5e-6)


# -- peers and closed forms ----------------------------------------------------------------------------------------


def test_l2_and_psnr_equal_numpy_and_scikit_image(images):
    from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

    for row, (x, y) in enumerate(zip(*(image.numpy() for image in images), strict=True)):
        assert l1(*images)[row].item() == pytest.approx(np.abs(x - y).mean(), rel=1e-12)
        assert l2(*images)[row].item() == pytest.approx(mean_squared_error(x, y), rel=1e-12)
        assert psnr(*images)[row].item() == pytest.approx(peak_signal_noise_ratio(x, y, data_range=1), rel=1e-12)


def test_ssim_equals_peers(images):
    import piq
    import pytorch_msssim
    import torchmetrics.functional.image as torchmetrics
    from skimage.metrics import structural_similarity

    found = ssim(*images)
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-(offsets**2) / 4.5)
    window = (window / window.sum()).expand(3, 1, 1, 11)  # its own is rounded to float32
    peer = pytorch_msssim.ssim(*images, data_range=1, size_average=False, win=window)
    torch.testing.assert_close(found, peer, rtol=0, atol=1e-9)
    torch.testing.assert_close(found, piq.ssim(*images, downsample=False, reduction="none"), rtol=0, atol=1e-9)
    other, default = ssim(*images, variant="torchmetrics"), ssim(*images, variant="skimage")
    for row, (x, y) in enumerate(zip(*images, strict=True)):
        peer = torchmetrics.structural_similarity_index_measure(x[None], y[None], data_range=1.0)
        assert other[row].item() == pytest.approx(peer.item(), abs=1e-9)
        x, y = x.numpy(), y.numpy()
        assert found[row].item() == pytest.approx(reference.ssim(x, y), abs=1e-12)
        peer = structural_similarity(
            x, y, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
        )
        assert found[row].item() == pytest.approx(peer, abs=1e-9)
        assert default[row].item() == pytest.approx(structural_similarity(x, y, channel_axis=0, data_range=1), abs=1e-9)


def test_ssim_of_large_images_is_shrunk_as_matlab_does():
    import piq

    x, y = natural(1, 400, 520)  # shrunk by 2, where piq's borders agree with MATLAB's

    def gray(images):
        return (images * images.new_tensor([0.2989, 0.5870, 0.1140]).view(3, 1, 1)).sum(1, keepdim=True)

    peer = piq.ssim(gray(x), gray(y), downsample=True)
    assert ssim(x, y, variant="matlab").item() == pytest.approx(peer.item(), abs=1e-9)
    x, y = natural(1, 770, 772)  # shrunk by 3: the mean of 3×3 about every third pixel, borders mirrored
    shrunk = [np.pad(gray(image)[0, 0].numpy(), 1, mode="symmetric") for image in (x, y)]
    shrunk = [sum(image[i : i + 770 : 3, j : j + 772 : 3] for i in range(3) for j in range(3)) / 9 for image in shrunk]
    expected = reference.ssim(*(np.stack([image] * 3) for image in shrunk))
    assert ssim(x, y, variant="matlab").item() == pytest.approx(expected, abs=1e-9)


def test_ms_ssim_equals_pytorch_msssim():
    import pytorch_msssim

    offsets = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-(offsets**2) / 4.5)
    window = (window / window.sum()).expand(3, 1, 1, 11)
    for images in (natural(2, 177, 190), (torch.rand(1, 3, 161, 200).double(), torch.rand(1, 3, 161, 200).double())):
        peer = pytorch_msssim.ms_ssim(*images, data_range=1, size_average=False, win=window)
        torch.testing.assert_close(ms_ssim(*images), peer, rtol=0, atol=1e-9)


def test_negative_similarity_has_no_power():
    x = torch.rand(1, 3, 161, 161)
    assert ms_ssim(x, 1 - x).item() == 0
    with pytest.raises(ValueError, match=r"a mean over one scale is -0\.\d+; expected ≥ 0"):
        ms_ssim(x, 1 - x, negative="raise")
    assert ms_ssim(x, x, negative="raise").item() == pytest.approx(1)


@pytest.mark.parametrize("size", [(67, 71), (64, 64), (390, 386)])
@pytest.mark.parametrize("chromatic", [False, True])
def test_fsim_equals_piq(size, chromatic):
    import piq

    x, y = natural(2, *size)
    found, peer = fsim(x, y, chromatic=chromatic), piq.fsim(x, y, chromatic=chromatic, reduction="none")
    torch.testing.assert_close(found, peer, rtol=0, atol=1e-9)
    torch.testing.assert_close(fsim(x.float(), y.float(), chromatic=chromatic).double(), peer, rtol=0, atol=1e-5)


def test_lab_equals_scikit_image(images):
    from skimage.color import rgb2lab

    lab = [rgb2lab(image[0].permute(1, 2, 0).numpy()) for image in images]
    np.testing.assert_allclose(to_lab(images[0])[0].permute(1, 2, 0).numpy(), lab[0], atol=1e-9)
    assert l1(*images, space="lab")[0].item() == pytest.approx(np.abs(lab[0] - lab[1]).mean(), rel=1e-9)
    assert l2(*images, space="lab")[0].item() == pytest.approx(((lab[0] - lab[1]) ** 2).mean(), rel=1e-9)
    expected = 10 * math.log10(100**2 / ((lab[0] - lab[1]) ** 2).mean())
    assert psnr(*images, space="lab")[0].item() == pytest.approx(expected, rel=1e-9)


def test_templates_are_found_as_scikit_image_finds_them(images):
    from skimage.feature import match_template as peer

    gray = images[0].mean(1, keepdim=True).expand(-1, 3, -1, -1)
    template = gray[:, :, 10:23, 20:37]
    found = match_template(gray, template)
    for row in range(2):
        np.testing.assert_allclose(found[row].numpy(), peer(gray[row, 0].numpy(), template[row, 0].numpy()), atol=1e-9)
        assert divmod(int(found[row].argmax()), found.shape[2]) == (10, 20)
    float32 = match_template(gray.float(), template.float())
    torch.testing.assert_close(float32.double(), found, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("method", "function"), [("ssd", ssd), ("ncc", ncc), ("zncc", zncc)])
def test_response_maps_hold_the_function_of_each_window(images, method, function):
    image, template = images[0], images[1][:, :, 5:18, 6:23]
    found = match_template(image, template, method=method)
    assert found.shape == (2, 55, 55)
    for i, j in ((0, 0), (30, 9), (54, 54)):
        torch.testing.assert_close(found[:, i, j], function(image[:, :, i : i + 13, j : j + 17], template))


def test_correlations_ignore_gain_and_zncc_offset_too(images):
    x, y = images
    torch.testing.assert_close(ncc(0.3 * x, y), ncc(x, y))
    torch.testing.assert_close(zncc(0.3 * x + 0.2, y), zncc(x, y))
    assert not torch.allclose(ncc(x + 0.2, y), ncc(x, y))
    expected = np.corrcoef(x[0].numpy().ravel(), y[0].numpy().ravel())[0, 1]
    assert zncc(x, y)[0].item() == pytest.approx(expected, rel=1e-9)
    assert ncc(x * 0, y).tolist() == zncc(x * 0 + 0.5, y).tolist() == [0, 0]


def test_ssim_of_constant_images_has_a_closed_form():
    x, y = (torch.full((1, 3, 16, 16), value, dtype=torch.float64) for value in (0.2, 0.6))
    assert ssim(x, y).item() == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4), rel=1e-10)


def test_gram_matrix_is_the_definition_and_ignores_positions():
    features = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    gram = gram_matrix(features)
    expected = np.einsum("nchw,ndhw->ncd", features.numpy(), features.numpy()) / (5 * 4 * 6)
    torch.testing.assert_close(gram, torch.from_numpy(expected))
    torch.testing.assert_close(gram, gram.transpose(1, 2))
    assert (torch.linalg.eigvalsh(gram) > -1e-12).all()
    shuffled = features.flatten(2)[..., torch.randperm(24)].view_as(features)
    torch.testing.assert_close(gram_matrix(shuffled), gram)


def test_gram_distance_equals_piqs_style_loss_after_rescaling(images):
    import piq

    tower = FeatureTower("vgg", taps=JOHNSON_TAPS, weights="random:0")
    found = gram_distance(*images, tower)
    expected = 0
    for a, b in zip(tower(images[0]), tower(images[1]), strict=True):
        difference = piq.StyleLoss.gram_matrix(a) - piq.StyleLoss.gram_matrix(b)  # (N, 1, C, C), not normalised
        expected = expected + difference.square().mean((1, 2, 3)) / a[0].numel() ** 2
    torch.testing.assert_close(found, expected)


def test_the_two_gram_conventions_have_a_fixed_ratio(images):
    tower = FeatureTower("vgg19", weights="random:0", taps=["relu2_1"])
    johnson = gram_distance(*images, tower)
    torch.testing.assert_close(gram_distance(*images, tower, normalization="gatys"), johnson * 128**2 / 4)
    f_x, f_y = (tower(image)[0].flatten(2).numpy() for image in images)
    products = [np.einsum("ncp,ndp->ncd", f, f) for f in (f_x, f_y)]
    expected = ((products[0] - products[1]) ** 2).sum((1, 2)) / (4 * 128**2 * f_x.shape[2] ** 2)
    np.testing.assert_allclose(gram_distance(*images, tower, normalization="gatys").numpy(), expected, rtol=1e-9)


def test_covariance_is_numpys():
    features = torch.randn(1, 5, 4, 6, dtype=torch.float64) + 3
    found = gram_matrix(features, normalization="gatys", centered=True)
    np.testing.assert_allclose(found[0].numpy(), np.cov(features[0].flatten(1).numpy(), bias=True), rtol=1e-9)


class FakeTower(FeatureTower):
    """A tower whose features are the images, and the images times two."""

    def stream(self, x):
        return iter((x, 2 * x))


def test_content_distance_of_a_fake_tower_has_a_closed_form(images):
    x, y = images
    torch.testing.assert_close(content_distance(x, y, FakeTower("lite")), 5 * l2(x, y))


def torchvisions(tower):
    """Return torchvision's VGG-16 with a tower's weights, float64."""
    import torchvision

    model = torchvision.models.vgg16(weights=None).features.double()
    own = {key.removeprefix("features."): v.double() for key, v in tower.tensors.items() if key.startswith("features")}
    model.load_state_dict(own, strict=False)
    return model


def test_content_distance_equals_piqs_content_loss(images):
    import piq

    tower = FeatureTower("vgg", weights="random:0", taps=["relu2_2", "relu3_3"])
    peer = piq.ContentLoss(torchvisions(tower), layers=["8", "15"], weights=[1 / 128, 1 / 256], reduction="none")
    torch.testing.assert_close(content_distance(*images, tower), peer(*images).view(-1))


def test_dists_equals_piqs(images, tmp_path):
    import piq

    tower = dists_tower("random:0")
    alpha, beta = torch.rand(1, 1475, 1, 1), torch.rand(1, 1475, 1, 1)
    torch.save({"alpha": alpha, "beta": beta}, tmp_path / "weights.pt")
    found = dists(*images, tower, read_dists_weights(tmp_path / "weights.pt", tower))

    peer = piq.DISTS.__new__(piq.DISTS)  # its constructor downloads
    channels = [3, *(tap.channels for tap in tower.taps)]
    total = alpha.double().sum() + beta.double().sum()
    weights = [part / total for weight in (alpha, beta) for part in weight.double().split(channels, dim=1)]
    piq.ContentLoss.__init__(
        peer,
        torchvisions(tower),
        layers=["3", "8", "15", "22", "29"],
        weights=weights,
        replace_pooling=True,
        reduction="none",
        allow_layers_weights_mismatch=True,
    )
    torch.testing.assert_close(found, peer(*images).view(-1), rtol=0, atol=1e-5)
    torch.save({"alpha": alpha}, tmp_path / "half.pt")
    with pytest.raises(ValueError, match="missing keys"):
        read_dists_weights(tmp_path / "half.pt", tower)


def test_crn_distance_is_the_weighted_sum_of_its_terms(images):
    x, y = images
    terms = [255 * l1(x, y), *((a - b).abs().mean((1, 2, 3)) for a, b in zip(CRN_TOWER(x), CRN_TOWER(y), strict=True))]
    for resolution, scales in CRN_SCALES.items():
        expected = sum(term / scale for term, scale in zip(terms, scales, strict=True))
        torch.testing.assert_close(crn_distance(x, y, CRN_TOWER, resolution=resolution), expected)
    first = {key: value for key, value in CRN_TOWER.tensors.items() if key.startswith("features.0.")}
    centred = 255 * x - torch.tensor([123.68, 116.779, 103.939]).view(3, 1, 1)
    expected = torch.nn.functional.conv2d(
        centred, first["features.0.weight"].double(), first["features.0.bias"].double(), padding=1
    ).relu()
    found = FeatureTower("vgg19", taps=["relu1_1"], weights="random:0", mean=CRN_MEAN, std=CRN_STD)(x)[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    taps = "relu1, relu2, relu3, relu4, relu5, far1, far2, far3, far4, far5"
    with pytest.raises(ValueError, match=f"tower has the taps {taps}; expected relu1_2"):
        crn_distance(x, y, TOWER)


# -- what must hold for each ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_identity_symmetry_rows_and_uint8(name, pair):
    function, (x, y) = FUNCTIONS[name], pair_for(name, pair)
    assert function(x, x).tolist() == pytest.approx([AT_IDENTITY.get(name, 0)] * 2, abs=1e-5)
    torch.testing.assert_close(function(x, y), function(y, x))
    rows = torch.cat([function(x[i : i + 1], y[i : i + 1]) for i in range(2)])
    rtol = 3e-5 if name.startswith("gram") else 1e-5  # sums of tens of thousands of products of large features
    torch.testing.assert_close(function(x, y), rows, rtol=rtol, atol=1e-5)
    bytes_x, bytes_y = (x * 255).byte(), (y * 255).byte()
    torch.testing.assert_close(function(bytes_x, bytes_y), function(bytes_x / 255, bytes_y / 255))
    if name not in ("content", "crn", "dists", "gram", "gram-gatys", "covariance"):
        assert function(x.half(), y.half()).dtype == torch.float32


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradcheck(name):
    side = 162 if name == "ms-ssim" else 17
    x, y = (torch.rand(1, 3, side, side + 1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(FUNCTIONS[name], (x, y), fast_mode=True)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "psnr"])
@pytest.mark.parametrize("kind", ["black", "constant", "identical", "inverted", "both constant"])
def test_degenerate_images_give_finite_gradients(name, kind, pair):
    y = pair_for(name, pair)[0]
    x = {"black": y * 0, "identical": y.clone(), "inverted": 1 - y}.get(kind, y * 0 + 0.5).requires_grad_()
    if kind == "both constant":
        y = y * 0 + 0.25
    value = FUNCTIONS[name](x, y)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(x.grad).all()


LOSSES = [
    (L1Loss(), l1),
    (L2Loss(space="lab"), partial(l2, space="lab")),
    (SSIMLoss(variant="skimage"), lambda x, y: 1 - ssim(x, y, variant="skimage")),
    (MSSSIMLoss(), lambda x, y: 1 - ms_ssim(x, y)),
    (FSIMLoss(chromatic=True), lambda x, y: 1 - fsim(x, y, chromatic=True)),
    (SSDLoss(), ssd),
    (NCCLoss(), lambda x, y: 1 - ncc(x, y)),
    (ZNCCLoss(), lambda x, y: 1 - zncc(x, y)),
    (GramLoss(TOWER), style),
    (GramLoss(TOWER, normalization="gatys", centered=True), partial(FUNCTIONS["gram-gatys"], centered=True)),
    (ContentLoss(TOWER), content),
    (CRNLoss(CRN_TOWER, resolution="gta"), partial(crn_distance, tower=CRN_TOWER, resolution="gta")),
    (DISTSLoss(DISTS_TOWER), texture),
]


@pytest.mark.parametrize(("module", "function"), LOSSES, ids=lambda value: type(value).__name__)
def test_losses_are_means_and_zero_for_identical_images(module, function, pair):
    pair = pair_for("ms-ssim" if isinstance(module, MSSSIMLoss) else "", pair)
    torch.testing.assert_close(module(*pair), function(*pair).mean())
    assert module(pair[0], pair[0]).item() == pytest.approx(0, abs=1e-5)
    assert list(module.parameters()) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(ssim, variant="other"), "variant='other': expected one of 'wang2004'"),
        (partial(ms_ssim, negative="abs"), "negative='abs': expected 'relu' or 'raise'"),
        (ms_ssim, "x is 67×71; expected at least 161×161"),
        (partial(l2, space="hsv"), "space='hsv': expected 'rgb' or 'lab'"),
        (partial(gram_distance, tower=TOWER, normalization="none"), "normalization='none': expected 'johnson'"),
        (partial(crn_distance, tower=CRN_TOWER, resolution="64p"), "resolution='64p': expected one of '256p'"),
        (partial(match_template, method="mad"), "method='mad': expected 'ssd', 'ncc' or 'zncc'"),
    ],
)
def test_options_are_checked(call, message, pair):
    with pytest.raises(ValueError, match=message):
        call(*pair)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="x is 10×64; expected at least 11×11"):
        ssim(torch.rand(1, 3, 10, 64), torch.rand(1, 3, 10, 64))
    with pytest.raises(ValueError, match=r"y has shape \(1, 3, 9, 8\); expected x's shape \(1, 3, 8, 8\)"):
        l2(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 9, 8))


@pytest.mark.parametrize(("side", "factor"), [(100, 1), (256, 1), (383, 1), (384, 2), (640, 3), (896, 4), (1152, 5)])
def test_images_are_shrunk_by_matlabs_round(side, factor):
    """MATLAB rounds halves up: 1.5 → 2, 2.5 → 3, 3.5 → 4, 4.5 → 5."""
    from lpips_lite.images import shrinking_factor

    assert shrinking_factor(torch.empty(1, 3, side, side + 9, device="meta")) == factor
