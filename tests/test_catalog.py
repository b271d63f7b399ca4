"""The catalog: values and descriptions of its metrics, and the grammar of their names."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import save_file

import lpips_lite
from lpips_lite import LPIPS, FeatureTower
from lpips_lite.baselines import content, pixel, structural, style
from lpips_lite.catalog import METRICS, entry_of, may_be_infinite, parse_metric, parse_metrics
from lpips_lite.towers import NEAR

SIGNATURES = {  # these never change, since stored results refer to them
    "lite": "lpips-lite/1.0 net=lite tower=60ccb2b9 weights=lite-0.4-77f49e32 heads=2",
    "l1": "lpips-lite/1.0 l1 range=[0,1]",
    "l2": "lpips-lite/1.0 l2 range=[0,1]",
    "l2-lab": "lpips-lite/1.0 l2 space=lab",
    "psnr": "lpips-lite/1.0 psnr peak=1",
    "ssim": "lpips-lite/1.0 ssim variant=wang2004 channels=rgb",
    "ms-ssim": "lpips-lite/1.0 ms_ssim negative=relu channels=rgb",
    "fsim": "lpips-lite/1.0 fsim",
    "fsimc": "lpips-lite/1.0 fsim chromatic",
    "zncc": "lpips-lite/1.0 zncc",
    "bytes": "lpips-lite/1.0 bytes of=image",
    "bpp": "lpips-lite/1.0 bpp of=image pixels=reference",
    "gram-lite": "lpips-lite/1.0 gram normalization=johnson net=lite taps=relu1,relu2,relu3,relu4,relu5 tower=60ccb2b9",
}
TEXTS = {  # the part of the signature after the definition
    "ncc": "ncc",
    "ssd": "ssd",
    "l1:lab": "l1 space=lab",
    "l2:lab": "l2 space=lab",
    "psnr:lab": "psnr space=lab",
    "ssim:matlab": "ssim variant=matlab channels=luma",
    "ssim:wang2004": "ssim variant=wang2004 channels=rgb",
    "ms-ssim:negative=raise": "ms_ssim negative=raise channels=rgb",
    "fsim:chromatic": "fsim chromatic",
    "gram:tower=random:0": (
        "gram normalization=johnson net=vgg taps=relu1_2,relu2_2,relu3_3,relu4_3 tower=custom-ab775ecf"
    ),
    "content:tower=random:0": "content net=vgg taps=relu3_3 tower=custom-ab775ecf",
    "crn:tower=random:0": "crn net=vgg19 resolution=256p tower=custom-ba6385ec",
    "crn:resolution=gta:tower=random:0": "crn net=vgg19 resolution=gta tower=custom-ba6385ec",
    "dists:tower=random:0": "dists net=vgg pooling=l2 weights=uniform tower=custom-ab775ecf",
    "squeeze:weights=uniform:tower=random:3": "net=squeeze tower=custom-c2884e71 weights=uniform-20ff8eeb",
    "gram-lite:centered:normalization=gatys": (
        "gram normalization=gatys net=lite taps=relu1,relu2,relu3,relu4,relu5 tower=60ccb2b9 centered"
    ),
}


def texts(*entries):
    return [spec.text for spec in parse_metrics(entries)]


# -- what metrics are --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_stay_as_they_are(name):
    assert parse_metric(name).load().signature == SIGNATURES[name]


@pytest.mark.parametrize("text", TEXTS)
def test_signatures_say_what_options_change(text):
    assert parse_metric(text).load().signature == f"lpips-lite/1.0 {TEXTS[text]}"


def vgg(**arguments):
    return FeatureTower("vgg", weights="random:0", **arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "l1:lab": lambda x, y: lpips_lite.l1(x, y, space="lab"),
        "L2-Lab": lambda x, y: lpips_lite.l2(x, y, space="lab"),
        "l2:LAB": lambda x, y: lpips_lite.l2(x, y, space="lab"),
        "psnr:lab": lambda x, y: lpips_lite.psnr(x, y, space="lab"),
        "ssim:matlab": lambda x, y: lpips_lite.ssim(x, y, variant="matlab"),
        "ssim:skimage": lambda x, y: lpips_lite.ssim(x, y, variant="skimage"),
        "ssim:torchmetrics": lambda x, y: lpips_lite.ssim(x, y, variant="torchmetrics"),
        "fsim:chromatic": lambda x, y: lpips_lite.fsim(x, y, chromatic=True),
        "fsimc": lambda x, y: lpips_lite.fsim(x, y, chromatic=True),
        "ncc": lpips_lite.ncc,
        "ssd": lpips_lite.ssd,
        "lite:weights=uniform": lambda x, y: LPIPS("lite", channel_weights="uniform", reduction="none")(x, y),
        "alex:weights=uniform:tower=random:7": lambda x, y: LPIPS(
            "alex", channel_weights="uniform", tower_weights="random:7", reduction="none"
        )(x, y),
        "gram-lite:normalization=gatys": lambda x, y: lpips_lite.gram_distance(
            x, y, FeatureTower("lite", taps=NEAR.taps), normalization="gatys"
        ),
        "gram:centered:tower=random:0": lambda x, y: lpips_lite.gram_distance(
            x, y, vgg(taps=style.JOHNSON_TAPS), centered=True
        ),
        "content:tower=random:0": lambda x, y: lpips_lite.content_distance(x, y, vgg(taps=["relu3_3"])),
        "crn:resolution=512p:tower=random:1": lambda x, y: lpips_lite.crn_distance(
            x, y, lpips_lite.crn_tower("random:1"), resolution="512p"
        ),
        "dists:tower=random:0": lambda x, y: lpips_lite.dists(x, y, lpips_lite.dists_tower("random:0")),
    }.items(),
)
def test_options_reach_the_functions(text, expected, pair):
    torch.testing.assert_close(parse_metric(text).load().compute(*pair), expected(*pair))


@pytest.mark.parametrize(("text", "expected"), [("Bytes", 500.0), ("BPP", 2.0)])
def test_measures_of_files_are_in_the_grammar_and_refuse_pixels(text, expected, pair):
    loaded = parse_metric(text).load()
    assert loaded.of_file(500, 2000) == expected
    assert entry_of(text).direction == "lower"
    with pytest.raises(ValueError, match=f"{text.lower()} measures files, not pixels; expected image files"):
        loaded.compute(*pair)


def test_known_mistakes_are_told():
    (mistake,) = parse_metric("vgg:unscaled").mistakes()
    assert mistake.startswith("vgg:unscaled: unscaled feeds images in [0, 1] to a network that expects [-1, 1]")
    assert parse_metric("vgg").mistakes() == parse_metric("ssim:3dgs").mistakes() == []


def test_negative_reaches_ms_ssim():
    x = torch.zeros(1, 3, 176, 176)
    x[..., ::2] = 1
    assert parse_metric("ms-ssim").load().compute(x, 1 - x) == 0
    with pytest.raises(ValueError, match="a mean over one scale is -"):
        parse_metric("ms-ssim:negative=raise").load().compute(x, 1 - x)


def test_weights_of_files(tmp_path, pair):
    widths = [tap.channels for tap in lpips_lite.TOWERS["alex"].find_taps()]
    path = tmp_path / "fitted: a,b.safetensors"
    save_file({f"channel_weights.{n}": torch.rand(width) for n, width in enumerate(widths)}, path)
    (spec,) = parse_metrics([f"alex:weights={path}:tower=random:0"])
    expected = LPIPS("alex", channel_weights=path, tower_weights="random:0", reduction="none")
    assert spec.load().signature == expected.signature
    torch.testing.assert_close(spec.load().compute(*pair), expected(*pair))

    count = 3 + sum(tap.channels for tap in lpips_lite.TOWERS["vgg"].find_taps())
    alpha, beta = torch.rand(1, count, 1, 1), torch.rand(1, count, 1, 1)
    torch.save({"alpha": alpha, "beta": beta}, tmp_path / "weights.pt")
    metric = parse_metric(f"dists:tower=random:0:weights={tmp_path / 'weights.pt'}").load()
    tower = lpips_lite.dists_tower("random:0")
    torch.testing.assert_close(
        metric.compute(*pair), lpips_lite.dists(*pair, tower, weights=(alpha.flatten(), beta.flatten()))
    )
    torch.save({"alpha": beta, "beta": alpha}, tmp_path / "other.pt")
    other = parse_metric(f"dists:tower=random:0:weights={tmp_path / 'other.pt'}").load()
    assert len({metric.signature, other.signature, parse_metric("dists:tower=random:0").load().signature}) == 3


def test_lpips_metrics_have_maps_and_encodings(pair):
    metric = parse_metric("lite:weights=uniform").load()
    assert metric.distance_map(*pair).shape == (2, 1, 67, 71)
    torch.testing.assert_close(metric.distance(*map(metric.encode, pair)), metric.compute(*pair))


@pytest.mark.parametrize("name", METRICS)
def test_the_catalog_knows_which_metrics_have_maps(name):
    tower = ":tower=random:0" if "tower" in METRICS[name].options else ""
    weights = ":weights=uniform" if METRICS[name].has_map else ""  # otherwise published weights would be downloaded
    assert (parse_metric(f"{name}{tower}{weights}").load().distance_map is not None) == METRICS[name].has_map


def test_the_memory_for_tiles_is_read_when_a_metric_is_loaded(monkeypatch):
    assert parse_metric("lite").load().compute.max_memory == 2**30
    monkeypatch.setattr("lpips_lite.entries.MAX_MEMORY", "4MiB")
    assert parse_metric("lite").load().compute.max_memory == 4 * 2**20


def test_every_public_distance_is_in_the_catalog():
    functions = {"l1", "l2", "psnr", "ssim", "ms_ssim", "fsim", "ssd", "ncc", "zncc", "dists"}
    functions |= {"gram_distance", "content_distance", "crn_distance"}
    assert functions <= set(lpips_lite.__all__)
    assert {parse_metric(name.removesuffix("_distance")).name.replace("-", "_") for name in functions} == {
        name.removesuffix("_distance") for name in functions
    }


@pytest.mark.parametrize(
    ("choices", "metric", "option"),
    [
        (pixel.SPACES, "l1", None),
        (structural.SPACES, "ms-ssim", None),
        (get_args(structural.Variant), "ssim", None),
        (get_args(structural.Negative), "ms-ssim", "negative"),
        (get_args(style.Normalization), "gram", "normalization"),
        (get_args(content.Resolution), "crn", "resolution"),
    ],
)
def test_options_are_those_of_the_functions(choices, metric, option):
    """Return all values except the default of `space`, which has no flag."""
    known = METRICS[metric].options
    if option is None:
        argument = "space" if "rgb" in choices else "variant"
        assert {flag.flag for flag in known.values() if flag.argument == argument} == set(choices) - {"rgb"}
    else:
        assert [known[option].read(choice) for choice in choices] == list(choices)


def test_no_two_names_are_the_same_in_another_spelling():
    for name, entry in METRICS.items():
        assert parse_metric(name.upper().replace("-", "_")).text == name
        for option, what in entry.options.items():
            text = f"{name}:{option}" + ("" if what.flag is not None else "=x")
            if what.words is not None or what.flag is not None:
                assert parse_metric(text.replace(option, option.upper())).text == text


def test_the_catalog_imports_nothing_slow():
    code = "import sys; from lpips_lite.catalog import parse_metrics; parse_metrics(['alex:weights=a,ssim:matlab'])"
    code += "; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "lpips_lite.catalog" in modules
    assert not {"torch", "numpy", "PIL", "click", "rich", "lpips_lite.files"} & set(modules)


# -- what is known of them ---------------------------------------------------------------------------------------------


def test_entries_tell_what_options_change():
    assert entry_of("ssim") == METRICS["ssim"]
    assert (entry_of("l2").range, entry_of("l2").decimals) == ("[0, 1]", 6)
    assert (entry_of("l2:lab").range, entry_of("l2:lab").decimals) == ("[0, ∞)", 4)
    assert entry_of("SSIM:matlab").direction == "higher"
    assert entry_of("alex:tower=random:0:weights=a").title == "LPIPS, AlexNet, tower=random:0, weights=a"
    with pytest.raises(ValueError, match="unknown metric 'pairs'"):
        entry_of("pairs")


def test_where_infinity_is_a_value(pair):
    infinite = {name for name in METRICS if may_be_infinite(name)}
    assert infinite == {"psnr"}
    assert may_be_infinite("psnr:lab")
    assert not may_be_infinite("l1:lab")
    for text in ("psnr", "psnr:lab"):
        assert parse_metric(text).load().compute(pair[0], pair[0]).isinf().all()


def test_values_are_in_the_range_that_is_told():
    blue, yellow = (torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, 16, 16) for color in ((0.0, 0, 1), (1.0, 1, 0)))
    assert parse_metric("psnr:lab").load().compute(blue, yellow) < 0
    assert entry_of("psnr:lab").range == "(-∞, ∞]"
    assert parse_metric("l1:lab").load().compute(blue, yellow) > 1


# -- the grammar -------------------------------------------------------------------------------------------------------


def test_commas_part_metrics_and_the_same_one_comes_once():
    assert texts("lite, PSNR,,", "ms_ssim,MSSSIM", " psnr ") == ["lite", "psnr", "ms-ssim"]
    assert texts("ssim:matlab,ssim:skimage,SSIM:Matlab") == ["ssim:matlab", "ssim:skimage"]
    assert texts("l2_lab", "l2lab", "Gram_Lite") == ["l2-lab", "gram-lite"]


def test_options_keep_their_order_and_values_their_case():
    assert texts("ALEX:Tower=A/B.pth:WEIGHTS=Mine.safetensors") == ["alex:tower=A/B.pth:weights=Mine.safetensors"]
    assert parse_metric("gram:centered:tower=T").options == (("centered", None), ("tower", "T"))


@pytest.mark.parametrize(
    "path",
    [
        r"C:\weights\a.pth",
        "a:b:c.pth",
        "a=b.pth",
        "a,b.pth",
        "a, b=c,d:e.pth",
        "lite.pth",
        "x,lite.pth",
        "p>q.pth",
        "a(1).pth",
    ],
)
def test_paths_may_hold_anything(path):
    for text in (f"alex:weights={path}", f"alex:weights={path}:tower=random:0", f"vgg:tower={path}"):
        specs = parse_metrics([f"psnr,{text},ssim:matlab"])
        assert [spec.text for spec in specs] == ["psnr", text, "ssim:matlab"]
        assert specs[1].files() == [Path(path)]


def test_words_are_no_files():
    found = texts("lite:weights=uniform,alex:weights=v0.0:tower=random:12,vgg:weights=calibrated,dists:weights=uniform")
    assert [parse_metric(text).files() for text in found] == [[], [], [], [Path("uniform")]]
    assert parse_metric("ms-ssim:negative=relu").files() == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("aA:=,-_()> .1", min_size=1, max_size=12), min_size=1, max_size=2))
def test_the_catalogs_spelling_is_stable(values):
    text = "alex" + "".join(f":{name}=x{value}" for name, value in zip(("weights", "tower"), values, strict=False))
    spec = parse_metric(text)
    assert parse_metric(spec.text) == spec
    assert spec.text == text.strip()


@pytest.mark.parametrize(
    ("text", "message"),
    {
        "": "no metric is named; expected one or more of lite, alex",
        "lpips": "unknown metric 'lpips'; expected one of lite, .*; did you mean lite, alex, vgg, squeeze?",
        "lipps": "did you mean lite, alex, vgg, squeeze?",
        "LPIPS:weights=a": "unknown metric 'LPIPS'; .* did you mean lite, alex, vgg, squeeze?",
        "mse": "did you mean l2?",
        "MAE": "did you mean l1?",
        "pnsr": "did you mean psnr?",
        "msim": "did you mean .*ms-ssim",
        "structural": "did you mean ssim, ms-ssim",
        "zzzz": "unknown metric 'zzzz'; expected one of lite, .*, region, bytes, bpp$",
        "ssim=0.2": "unknown metric 'ssim=0.2'",
        "ssim:matlb": "unknown option 'matlb'; expected wang2004, .*, 3dgs, y, crop; did you mean matlab?",
        "ssim:": "unknown option ''; expected wang2004",
        "ssim:variant=matlab": "unknown option 'variant'; expected wang2004",
        "zncc:lab": "unknown option 'lab'; zncc has no options",
        "l2:centered": "unknown option 'centered'; expected lab",
        "ms-ssim:negative=relu:x": "unknown option 'x'; expected negative",
        "ms-ssim:negative=rely": "negative=rely: expected relu, raise; did you mean relu?",
        "crn:resolution=1024p": "resolution=1024p: expected 256p, 512p, gta",
        "gram:normalization=Gatys": "normalization=Gatys: expected johnson, gatys; did you mean gatys?",
        "ssim:matlab:skimage": "matlab and skimage; expected just one of them",
        "ssim:matlab:Matlab": "matlab and matlab; expected just one of them",
        "alex:weights=a:tower=b:weights=c": "weights and weights; expected just one of them",
        "l2:lab=1": "lab takes no value",
        "l2:lab=": "lab takes no value",
        "gram:tower=x:centered=yes": "centered takes no value",
        "alex:weights": "weights without a value; expected weights=VALUE",
        "alex:weights=": "weights without a value",
        "alex:tower=x:weights": "weights without a value",
        "lite:weights=a\udcff": "expected valid text",
    }.items(),
)
def test_what_is_not_in_the_grammar(text, message):
    with pytest.raises(ValueError, match=message):
        parse_metrics([f"{text},psnr" if text else text])


@pytest.mark.parametrize("entry", [None, 3, ["lite"], Path("lite")])
def test_entries_are_texts(entry):
    with pytest.raises(TypeError, match="metrics: expected strings like 'lite'"):
        parse_metrics(["psnr", entry])
