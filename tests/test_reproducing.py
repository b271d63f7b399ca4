"""docs/reproducing.md lists the numbers of programs and how far ours are from them: measured on bundled images."""

import re
from functools import cache, partial

import numpy as np
import pytest
import torch
import torchmetrics.functional.image as peer
from pytorch_msssim import SSIM
from scipy.ndimage import correlate1d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lpips_lite import read_image
from lpips_lite.catalog import METRICS, parse_metric
from lpips_lite.conventions import CONVENTIONS, find_convention
from tests.conftest import ROOT
from tests.peers import copy_tower, random_tower, upstream

KINDS = ("blur", "jpeg", "noise", "shift")
PAGE = (ROOT / "docs/reproducing.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| ([^|]+) \| [^|]+ \| `([^`]+)` \| ([0-9.e-]+)", re.MULTILINE)
TABLE = {(program, ours): float(bound) for program, ours, bound in ROW.findall(PAGE.partition("## Whose numbers")[2])}


def images(kind):
    return [read_image(ROOT / f"examples/images/scene{name}.png")[None] for name in (f"_{kind}", "")]


def bytes_of(image):
    return (image[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)


def root_psnr(x, y):
    """The PSNR of 3D Gaussian Splatting, of images in [0, 1]."""
    return 20 * torch.log10(1 / ((x - y) ** 2).mean().sqrt())


def gaussian_ssim(x, y, peak, mode):
    """SSIM of one channel with scipy's filters; "valid": where the window fits, else how borders are extended."""
    line = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    line /= line.sum()

    def blur(image):
        filtered = image
        for axis in (0, 1):
            filtered = correlate1d(filtered, line, axis=axis, mode="constant")
        return filtered[5:-5, 5:-5] if mode == "valid" else filtered

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    return (((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


def splatting_ssim(x, y):
    channels = zip(x[0].double().numpy(), y[0].double().numpy(), strict=True)
    return np.mean([gaussian_ssim(a, b, 1, "zeros") for a, b in channels])


def luma(image):
    """Y of 255 values after cropping 4 pixels, from bytes, not rounded."""
    return bytes_of(image)[4:-4, 4:-4].astype(np.float64) @ [65.481, 128.553, 24.966] / 255 + 16


def luma_psnr(x, y):
    return 10 * np.log10(255**2 / ((luma(x) - luma(y)) ** 2).mean())


def rounded_luma_psnr(x, y):
    return 10 * np.log10(255**2 / ((luma(x).round() - luma(y).round()) ** 2).mean())


@cache
def published(net):
    """`lpips.LPIPS` with the random tower."""
    return upstream(net, random_tower(net))


def torchmetrics_lpips(x, y, net):
    """torchmetrics' LPIPS with the random tower."""
    from torchmetrics.functional.image.lpips import _LPIPS

    metric = _LPIPS(pretrained=True, net=net, pnet_rand=True)
    copy_tower(metric.net, random_tower(net))
    with torch.no_grad():
        return metric(x, y, normalize=True)


PROGRAMS = {  # program and our metric, as on the page -> the program's function
    ("3D Gaussian Splatting, `metrics.py`", "psnr"): root_psnr,
    ("3D Gaussian Splatting, `metrics.py`", "ssim:3dgs"): splatting_ssim,
    ("3D Gaussian Splatting, `metrics.py`", "vgg:unscaled"): lambda x, y: published("vgg")(x, y),
    ("nerfstudio, nerfacto", "psnr"): partial(peer.peak_signal_noise_ratio, data_range=1.0),
    ("nerfstudio, nerfacto", "ssim:torchmetrics"): peer.structural_similarity_index_measure,
    ("nerfstudio, nerfacto", "alex"): partial(torchmetrics_lpips, net="alex"),
    ("nerfstudio, splatfacto", "ssim"): SSIM(data_range=1.0, size_average=True, channel=3),
    ("BasicSR, ×4", "psnr:y:crop=4"): luma_psnr,
    ("BasicSR, ×4", "ssim:y:crop=4"): lambda x, y: gaussian_ssim(luma(x), luma(y), 255, "valid"),
    ("papers on super-resolution in MATLAB, ×4", "psnr:y:crop=4"): rounded_luma_psnr,
    ("scikit-image", "psnr"): lambda x, y: peak_signal_noise_ratio(bytes_of(y), bytes_of(x)),
    ("scikit-image", "ssim:skimage"): lambda x, y: structural_similarity(bytes_of(x), bytes_of(y), channel_axis=2),
    ("torchmetrics, `data_range=1`", "ssim:torchmetrics"): partial(
        peer.structural_similarity_index_measure, data_range=1.0
    ),
    ("`lpips` 0.1.4", "vgg"): lambda x, y: published("vgg")(x, y, normalize=True),
}


def largest_difference(program, ours):
    tower = ":tower=random:0" if "tower" in METRICS[parse_metric(ours).name].options else ""
    compute = parse_metric(ours + tower).load().compute
    pairs = [images(kind) for kind in KINDS]
    if tower:  # for which the middle is enough
        pairs = [[image[..., 80:176, 80:176] for image in pair] for pair in pairs]
    with torch.no_grad():
        return max(abs(float(compute(*pair)) - float(program(*pair))) for pair in pairs)


def test_the_page_has_every_program():
    assert set(TABLE) == set(PROGRAMS)


@pytest.mark.parametrize("key", PROGRAMS, ids=lambda key: f"{key[0]} {key[1]}")
def test_measured_differences_are_those_of_the_page(key):
    """Differences are at most those of the page, and not much smaller, so that the page is not too pessimistic."""
    if "lpips" in key[0] or key[1] in ("alex", "vgg:unscaled"):
        pytest.importorskip("lpips")
    found = largest_difference(PROGRAMS[key], key[1])
    assert found <= TABLE[key]
    assert TABLE[key] <= 1e-5 or found >= TABLE[key] / 3


def test_conventions_are_metrics_of_the_grammar_and_on_the_page():
    for name, convention in CONVENTIONS.items():
        assert [parse_metric(text).text for text in convention.metrics] == list(convention.metrics)
        assert f"--convention {name}`" in PAGE or f"`{name}`" in PAGE or f"`{name.removeprefix('basicsr')}`" in PAGE
    with pytest.raises(
        ValueError, match="--convention 3dg: unknown convention; expected one of 3dgs, .*; did you mean 3dgs"
    ):
        find_convention("3dg", "--convention 3dg")
