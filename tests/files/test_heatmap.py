"""Heatmaps: what is drawn, how large, where it is written, and what it may replace."""

import io
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.ndimage
import torch
from cmap import Colormap
from PIL import Image, ImageDraw, PngImagePlugin

from lpips_lite.files import heatmap as heatmaps
from lpips_lite.files.decoding import Decoded
from lpips_lite.files.drawing import LONGEST_SIDE, MOST_PIXELS, SMOOTHING, bounded, heatmap, map_picture, to_picture
from lpips_lite.files.heatmap import HeatmapFiles, Heatmaps, is_picture_file, not_heatmaps
from lpips_lite.files.pairing import Pair
from tests.conftest import ROOT

MARGIN, HEAD, CELL = 12, 40, 300  # around panels, of their labels, and the least width of one
GRAY = (128, 128, 128)


def labelled(values, image, text="a", **options):
    """Return a heatmap of an image compared with its negative."""
    negative = 255 - image if image.dtype == torch.uint8 else 1 - image
    return heatmap(values, image, negative, [("reference", ""), (text, ""), ("distance", text)], **options)


def panel(picture, place, height, width):
    """Return one panel of a heatmap: 0 the reference, 1 the image, 2 the map."""
    across, down = (0, place) if width > 2 * height else (place, 0)
    top = MARGIN + down * (HEAD + max(height, 80) + MARGIN) + HEAD
    left = MARGIN + across * (max(width, CELL) + MARGIN)
    return np.asarray(picture)[top : top + height, left : left + width]


def drawn(picture, height, width):
    """Return the map of a heatmap, without labels and scale."""
    return panel(picture, 2, height, width)


def smoothed(share):
    """Return shares (H, W) as they are drawn: smoothed by a Gaussian, edges repeated."""
    return scipy.ndimage.gaussian_filter(share, SMOOTHING, mode="nearest", radius=math.ceil(3 * SMOOTHING))


def ramp(height=512, width=512):
    return torch.linspace(0, 1, height)[:, None] * torch.linspace(0, 0.5, width)[None]


# -- drawing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_colours_run_from_zero_to_the_largest_value(dtype):
    values = ramp().to(dtype)
    share = smoothed((values / values.max()).float().numpy())
    expected = (Colormap("inferno")(share)[..., :3] * 255).round()
    found = drawn(labelled(values, torch.rand(3, 512, 512)), 512, 512)
    assert np.abs(found - expected).max() <= 3  # a rounding apart, at most the next of 256 colours
    assert (found == expected).mean() > 0.999


@pytest.mark.parametrize("image", [torch.rand(3, 512, 512), torch.randint(0, 256, (3, 512, 512), dtype=torch.uint8)])
def test_overlay_is_opaque_where_the_distance_is_large(image):
    values = ramp()
    share = smoothed((values / values.max()).numpy())
    gray = (image if image.dtype == torch.float32 else image / 255).mean(dim=0).numpy()[..., None]
    opacity = 0.2 + 0.8 * share[..., None]
    expected = 255 * ((1 - opacity) * gray + opacity * Colormap("inferno")(share)[..., :3])
    found = drawn(labelled(values, image, overlay=True), 512, 512)
    assert np.abs(found - expected).max() < 3


@pytest.mark.parametrize(("height", "width"), [(512, 512), (512, 1100), (1000, 600)])
@pytest.mark.parametrize("overlay", [False, True])
def test_the_pair_stands_beside_its_map(height, width, overlay):
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    picture = labelled(torch.rand(height, width), image, overlay=overlay)
    pixels = image.permute(1, 2, 0).numpy()
    assert (panel(picture, 0, height, width) == 255 - pixels).all()
    assert (panel(picture, 1, height, width) == pixels).all()


def test_small_pairs_keep_their_pixels_and_maps_become_smooth():
    image, values = torch.randint(0, 256, (3, 128, 128), dtype=torch.uint8), torch.zeros(128, 128)
    values[64:, :] = 1
    values[:, 120:] = math.nan
    picture = labelled(values, image)
    assert (panel(picture, 1, 512, 512)[::4, ::4] == image.permute(1, 2, 0).numpy()).all()
    rows = drawn(picture, 512, 512)[:, 200].astype(int).sum(axis=1)
    assert (np.diff(rows) >= 0).all()  # inferno grows brighter
    assert len(np.unique(rows)) > 20  # and pixels of the map would give two
    assert (drawn(picture, 512, 512)[:, 480:] == GRAY).all()
    assert not (drawn(picture, 512, 512)[:, :480] == GRAY).all(axis=2).any()


@pytest.mark.parametrize(
    ("size", "expected"),
    {
        (1, 1): (512, 512),
        (3, 5): (309, 515),
        (300, 1200): (300, 1200),
        (300, 400): (600, 800),
        (512, 512): (512, 512),
        (600, 512): (600, 512),
        (20, 8000): (10, 4096),
        (1, 100_000): (1, 4096),
        (100_000, 1): (4096, 1),
        (20, 4000): (20, 4000),  # twice that would be too wide
        (4000, 4000): (2048, 2048),
    }.items(),
)
def test_size_is_bounded(size, expected):
    height, width = expected
    picture = labelled(torch.ones(size), torch.zeros(3, *size, dtype=torch.uint8), overlay=True)
    map_panel = drawn(picture, height, width)
    assert map_panel.shape == (height, width, 3)
    assert (map_panel == map_panel[0, 0]).all()
    assert (panel(picture, 0, height, width) == 255).all()  # the negative of black
    across, down = (1, 3) if width > 2 * height else (3, 1)
    assert picture.height == down * (HEAD + max(height, 80) + MARGIN) + MARGIN
    assert across * width < picture.width < across * (max(width, CELL) + MARGIN) + 110
    assert height * width <= MOST_PIXELS
    assert max(height, width) <= LONGEST_SIDE


@pytest.mark.parametrize("size", [(1, 1), (4096, 1024), (4097, 1), (7680, 4320), (3, 10**9), (10**9, 3)])
def test_bound_keeps_the_shape(size):
    small = bounded(size, LONGEST_SIDE)
    factor = max(small) / max(size)
    assert max(small) <= LONGEST_SIDE
    assert math.prod(small) <= MOST_PIXELS
    for side, whole in zip(small, size, strict=True):
        assert side == 1 or abs(side - factor * whole) < 1


def test_large_maps_are_averaged_and_keep_their_maximum():
    values = torch.zeros(4096, 4096)
    values[::2, ::2] = 1  # a quarter on the average
    values[0, 0] = 8
    picture = drawn(labelled(values, torch.zeros(3, 4096, 4096, dtype=torch.uint8)), 2048, 2048)
    expected = np.round(np.array(Colormap("inferno")(0.25 / 8)[:3]) * 255)
    assert np.abs(picture[9:, 9:] - expected).max() <= 1
    small, largest = map_picture(values, 640)
    assert (small.size, largest) == ((640, 640), 8)


def test_maps_for_the_page_are_shares_of_the_maximum_and_clear_where_unknown():
    values = ramp()
    picture, largest = map_picture(values, 640)
    assert (picture.mode, largest) == ("L", 0.5)
    assert np.abs(np.asarray(picture) / 255 - smoothed((values / 0.5).numpy())).max() <= 0.51 / 255
    values[:20] = math.nan
    picture, _ = map_picture(values, 640)
    assert picture.mode == "LA"
    assert (np.asarray(picture)[..., 1] == np.where(np.arange(512) < 20, 0, 255)[:, None]).all()


def labels_of(monkeypatch, *arguments, **options):
    texts = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, at, text, *_, **__: texts.append(text))
    labelled(*arguments, **options)
    return texts


@pytest.mark.parametrize(
    ("spoilt", "largest"),
    {"nan": (math.nan, "0.5"), "inf": (math.inf, "0.5"), "-inf": (-math.inf, "0.5"), "fine": (0.25, "0.5")}.values(),
)
@pytest.mark.parametrize("overlay", [False, True])
def test_values_that_are_not_finite_leave_the_scale(monkeypatch, spoilt, largest, overlay):
    values = ramp()
    values[:10, :10] = spoilt
    image = torch.zeros(3, 512, 512)
    corner = drawn(labelled(values, image, overlay=overlay), 512, 512)[:5, :5]
    assert (corner == corner[0, 0]).all()
    if math.isnan(spoilt):
        assert tuple(corner[0, 0]) == GRAY
    if spoilt == math.inf:
        assert tuple(corner[0, 0]) == (252, 255, 164)  # the last colour
    assert labels_of(monkeypatch, values, image, "a", overlay=overlay)[-1] == largest


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, -math.inf, 1e-45, 3e38])
@pytest.mark.parametrize("overlay", [False, True])
def test_maps_of_one_value(value, overlay):
    picture = labelled(torch.full((40, 50), value), torch.rand(3, 40, 50), overlay=overlay)
    assert picture.size[0] >= 3 * 550
    if value == 0 and not overlay:
        assert (drawn(picture, 440, 550) == [0, 0, 4]).all()


@pytest.mark.parametrize(
    "caption",
    ["画像 نقطة 😀 é", "a\nb\tc\r", "\udcff\ud800", "\u202eevil", "\uffff\U0010ffff", "", "e\u0301" * 50],
    ids=ascii,
)
def test_any_caption_can_be_written(caption):
    assert labelled(ramp(), torch.rand(3, 512, 512), caption).height == 576


@pytest.mark.parametrize("length", [100, 4000, 100_000])
def test_long_labels_lose_their_middle(monkeypatch, length):
    name, image = "start" + length * "m" + "end.png", torch.rand(3, 512, 512)
    plain, found = labelled(ramp(), image), labelled(ramp(), image, name)
    assert found.size == plain.size
    for text in [text for text in labels_of(monkeypatch, ramp(), image, name) if "start" in text]:
        assert text.endswith("mmend.png")
        assert " … " in text
    wide = labels_of(monkeypatch, ramp(100, 3000), torch.rand(3, 100, 3000), "start" + 100 * "m")
    assert "start" + 100 * "m" in wide  # there is room for it


@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 4, 5), (4, 5), (3, 4, 6)])
def test_image_of_another_shape(shape):
    images = [torch.zeros(3, 4, 5), torch.zeros(shape)]
    for image, reference in (images, reversed(images)):
        with pytest.raises(ValueError, match=r"\(4, 5\), .* and .*; expected \(H, W\), \(3, H, W\) and \(3, H, W\)"):
            heatmap(torch.zeros(4, 5), image, reference, [("", "")] * 3, overlay=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pictures_of_images(dtype):
    pixels = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    image = pixels if dtype == torch.uint8 else pixels / 255
    assert (np.asarray(to_picture(image, (30, 20))) == pixels.permute(1, 2, 0).numpy()).all()
    flat = torch.stack([torch.full((900, 700), value, dtype=torch.uint8) for value in (10, 200, 255)])
    small = to_picture(flat if dtype == torch.uint8 else flat / 255, (70, 90))
    assert small.size == (70, 90)
    assert (np.asarray(small) == [10, 200, 255]).all()


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux tells it")
def test_memory_stays_bounded():
    """A map of 33 megapixels takes 132 MB itself, and its colours as floats would take more than 1 GB."""
    program = """
import resource, torch
from lpips_lite.files.drawing import heatmap, map_picture, to_picture
labels = [("", "")] * 3
values, image = torch.rand(4320, 7680), torch.zeros(3, 4320, 7680, dtype=torch.uint8)
heatmap(values[:64, :64], image[:, :64, :64], image[:, :64, :64], labels, overlay=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
heatmap(values, image, image, labels, overlay=True); map_picture(values, 640); to_picture(image, (640, 360))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert int(run.stdout) < 300


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["heat.png", "heat.PNG", "heat.jpg", "heat.JPEG", "heat.webp", "heat.Bmp", "a.b/heat.tif", "heat.gif", "h.v2.png"],
)
def test_names_of_files(tmp_path, name):
    assert is_picture_file(str(tmp_path / name))


@pytest.mark.parametrize(
    "name",
    [
        "maps",
        "maps.v2",
        "results_1.0",
        "maps/",
        "heat.png/",
        "there.png",
        ".",
        "..",
        "",
        ".png",
        "h.psd",
        "h.h5",
        "h.svg",
    ],
)
def test_names_of_folders(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").mkdir()
    assert not is_picture_file(name)


SIGNATURES = {"psnr": "psnr signature", 'alex:weights=my "w" ÄŁ\udcff.safetensors': "alex signature"}
METRIC = list(SIGNATURES)[1]
CONTENT = "0123456789abcdef"


def decoded_pair(name="part/a", folder="images", **fields):
    pair = Pair(*(folder_path / f"{name}.jpg" for folder_path in (heatmaps.Path(folder), heatmaps.Path("b"))), name)
    pictures = {} if "error" in fields else {"image": torch.rand(3, 30, 40), "reference": torch.rand(3, 30, 40)}
    return Decoded(pair, **{"content": CONTENT, **pictures, **fields})


def row_of(decoded, **fields):
    paths = {"reference": str(decoded.pair.reference), "image": str(decoded.pair.image)}
    numbers = {"psnr": 20.0, METRIC: 0.25}
    return {**paths, **numbers, "identical": False, "content": decoded.content, "error": decoded.error, **fields}


def draw_zeros(decoded):
    return METRIC, torch.zeros(decoded.image.shape[1:])


def sink(target, *, draw=draw_zeros, overlay=False, signatures=SIGNATURES):
    return Heatmaps(HeatmapFiles(str(target)), draw, overlay, signatures)


def take(heatmap_sink, decoded):
    heatmap_sink.take(row_of(decoded), decoded)
    heatmap_sink.finish()


def test_one_picture_for_each_pair(tmp_path):
    maps = sink(tmp_path / "maps.v2")
    pairs = [decoded_pair(name) for name in ("a", "part/a", "part/b.old")]
    for decoded in pairs:
        take(maps, decoded)
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert found == ["maps.v2/a.png", "maps.v2/part/a.png", "maps.v2/part/b.old.png"]
    assert sorted(maps.files.path(decoded.pair) for decoded in pairs) == sorted(tmp_path.rglob("*.png"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".png"]


@pytest.mark.parametrize("suffix", ["png", "PNG", "jpg", "webp", "bmp", "tiff", "gif", "ppm"])
def test_exactly_the_file(tmp_path, suffix):
    target = tmp_path / "new" / f"heat.{suffix}"
    maps, decoded = sink(target), decoded_pair()
    assert maps.files.path(decoded.pair) == target
    take(maps, decoded)
    assert list(tmp_path.rglob("*.*")) == [target]
    with Image.open(target) as picture:
        assert picture.format == Image.registered_extensions()[f".{suffix.lower()}"]
        assert np.asarray(picture.convert("RGB"))[0, 0].min() > 250
    assert maps.has(decoded.pair, CONTENT) == (suffix.lower() == "png")


@pytest.mark.parametrize("kind", ["error", "refused", "refused when drawn", "elsewhere"])
def test_no_heatmap_without_a_number(tmp_path, kind):
    def refuse(decoded):
        raise RuntimeError("not enough memory")

    maps = sink(tmp_path, draw=refuse if kind == "refused when drawn" else draw_zeros)
    decoded = decoded_pair(error="a.jpg: cannot be read") if kind == "error" else decoded_pair()
    row = row_of(decoded, **({METRIC: None, "error": "too small"} if kind.startswith("refused") else {}))
    maps.take(row, None if kind == "elsewhere" else decoded)
    assert list(tmp_path.iterdir()) == []


def test_a_number_beside_another_metric_s_error(tmp_path):
    decoded = decoded_pair("a")
    sink(tmp_path).take(row_of(decoded, psnr=None, error="psnr: refused"), decoded)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_what_cannot_be_drawn_without_a_reason_in_the_row_is_an_error(tmp_path):
    def fail(decoded):
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        take(sink(tmp_path, draw=fail), decoded_pair())


# -- resuming --------------------------------------------------------------------------------------------------------


def test_a_heatmap_is_known_by_what_it_was_made_of(tmp_path):
    decoded = decoded_pair()
    take(sink(tmp_path), decoded)
    assert sink(tmp_path).has(decoded.pair, CONTENT)
    assert not sink(tmp_path).has(decoded.pair, "f" * 16)
    assert not sink(tmp_path).has(decoded.pair, None)
    assert not sink(tmp_path, overlay=True).has(decoded.pair, CONTENT)
    assert not sink(tmp_path, signatures={**SIGNATURES, "psnr": "another"}).has(decoded.pair, CONTENT)
    assert not sink(tmp_path, signatures=dict(reversed(SIGNATURES.items()))).has(decoded.pair, CONTENT)
    assert not sink(tmp_path).has(decoded_pair("part/other").pair, CONTENT)
    take(sink(tmp_path, overlay=True), decoded)
    assert sink(tmp_path, overlay=True).has(decoded.pair, CONTENT)


@pytest.mark.parametrize("rest", [0, 4, 100, 0.5, -1, -12])
def test_a_cut_heatmap_is_not_believed(tmp_path, rest):
    decoded = decoded_pair("a")
    take(sink(tmp_path, draw=lambda _: (METRIC, torch.rand(30, 40))), decoded)
    data = (tmp_path / "a.png").read_bytes()
    size = int(rest * len(data)) if isinstance(rest, float) else rest if rest >= 0 else len(data) + rest
    (tmp_path / "a.png").write_bytes(data[:size])
    assert not sink(tmp_path).has(decoded.pair, CONTENT)
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2] + bytes(30) + data[len(data) // 2 + 30 :])
    assert not sink(tmp_path).has(decoded.pair, CONTENT)
    (tmp_path / "a.png").write_bytes(data)
    assert sink(tmp_path).has(decoded.pair, CONTENT)


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "stopped"]
)
def test_a_failure_while_writing_leaves_the_old_picture(tmp_path, monkeypatch, step, error):
    decoded = decoded_pair("a")
    take(sink(tmp_path), decoded)
    before = (tmp_path / "a.png").read_bytes()
    write = heatmaps.Path.write_bytes

    def fail(path, data):
        if step == "write_bytes":
            write(path, data[:100])
        raise error

    monkeypatch.setattr(heatmaps.Path, step, fail)
    with pytest.raises(type(error)) as caught:
        take(sink(tmp_path, overlay=True), decoded)
    assert isinstance(error, KeyboardInterrupt) or f"No space left on device: '{tmp_path}/a.png'" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


# -- what may be replaced --------------------------------------------------------------------------------------------


def picture_bytes(style="PNG", **texts):
    file, chunks = io.BytesIO(), PngImagePlugin.PngInfo()
    for key, text in texts.items():
        chunks.add_text(key, text)
    Image.new("RGB", (4, 4)).save(file, style, **({"pnginfo": chunks} if style == "PNG" else {}))
    return file.getvalue()


FOREIGN = {
    "picture": picture_bytes(),
    "of another program": picture_bytes(Software="another", Content=CONTENT),
    "JPEG by another name": picture_bytes("JPEG"),
    "text": b"not a picture",
    "empty": b"",
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_other_pictures_in_the_folder_are_not_replaced(tmp_path, data):
    (tmp_path / "part").mkdir()
    (tmp_path / "part/a.png").write_bytes(data)
    maps, pair = sink(tmp_path), decoded_pair().pair
    assert not_heatmaps([maps.files.path(pair)]) == [tmp_path / "part/a.png"]
    assert not maps.has(pair, CONTENT)
    with pytest.raises(FileExistsError, match=r"part/a\.png would be replaced and is not a heatmap of this program"):
        maps.files.check([pair, decoded_pair("b").pair])
    maps.files.check([decoded_pair("b").pair])
    HeatmapFiles(str(tmp_path / "part/a.png")).check([pair])  # asked for by name


def test_a_folder_or_link_in_the_place_of_a_picture_is_not_replaced(tmp_path):
    (tmp_path / "maps/a.png").mkdir(parents=True)
    (tmp_path / "mine.png").write_bytes(picture_bytes())
    (tmp_path / "maps/b.png").symlink_to(tmp_path / "mine.png")
    for name in "ab":
        with pytest.raises(FileExistsError, match=f"maps/{name}.png would be replaced"):
            HeatmapFiles(str(tmp_path / "maps")).check([decoded_pair(name).pair])
    with pytest.raises(FileExistsError, match=r"maps/a\.png and 1 more would be replaced"):
        HeatmapFiles(str(tmp_path / "maps")).check([decoded_pair(name).pair for name in "abc"])


def test_older_heatmaps_are_replaced(tmp_path):
    decoded = decoded_pair()
    take(sink(tmp_path), decoded)
    later = sink(tmp_path, overlay=True, signatures={METRIC: "newer"})
    later.files.check([decoded.pair])
    take(later, decoded)
    assert later.has(decoded.pair, CONTENT)
    assert not_heatmaps([tmp_path / "part/a.png", tmp_path / "nothing.png"]) == []


def test_files_in_the_place_of_folders(tmp_path):
    (tmp_path / "maps").write_text("a file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/part").write_text("a file")
    for target in ("maps", "maps/deeper", "other"):
        with pytest.raises(NotADirectoryError, match=r"(maps|part) is a file; expected a folder"):
            HeatmapFiles(str(tmp_path / target)).check([decoded_pair().pair])
    HeatmapFiles(str(tmp_path / "other")).check([decoded_pair("elsewhere/a").pair])


def test_one_file_for_several_pairs(tmp_path):
    with pytest.raises(ValueError, match=r"heat\.png': there are 2 pairs; expected a folder, not a file"):
        HeatmapFiles(str(tmp_path / "heat.png")).check([decoded_pair(name).pair for name in "ab"])


def test_links_are_written_through(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "heat.png").symlink_to(tmp_path / "there/real.png")
    take(sink(tmp_path / "heat.png"), decoded_pair())
    assert (tmp_path / "heat.png").is_symlink()
    with Image.open(tmp_path / "there/real.png") as picture:
        assert picture.format == "PNG"
    (tmp_path / "null.png").symlink_to("/dev/null")
    take(sink(tmp_path / "null.png"), decoded_pair())
    assert (tmp_path / "null.png").is_symlink()
    assert not os.path.isfile("/dev/null")  # noqa: PTH113 - a device as before
