"""Transparency and colours become pixels, compared with NumPy."""

import numpy as np
import pytest
from PIL import Image

from lpips_lite.files import picture as module
from lpips_lite.files.reading import Reader

RANDOM = np.random.default_rng(0)
RGBA = RANDOM.integers(0, 256, (30, 40, 4), np.uint8)


def read(path, background="white"):
    return Reader(background).open(path).decode()


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP", "TGA", "QOI"])
@pytest.mark.parametrize(("background", "color"), [("white", 255), ("black", 0), ("#102030", (16, 32, 48))])
def test_composited_on_the_background(tmp_path, image_format, background, color):
    options = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    Image.fromarray(RGBA).save(tmp_path / "a", image_format, **options)
    alpha = RGBA[..., 3:] / 255
    expected = (RGBA[..., :3] * alpha + color * (1 - alpha)).transpose(2, 0, 1)
    assert np.abs(read(tmp_path / "a", background).pixels.numpy() - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "LA", "1", "I;16"])
def test_strips_change_nothing(tmp_path, monkeypatch, mode):
    source = Image.fromarray(RGBA) if mode in ("RGBA", "LA") else Image.fromarray(RGBA[..., :3])
    image = Image.fromarray(RGBA[..., 0].astype(np.uint16) * 250) if mode == "I;16" else source.convert(mode)
    image.save(tmp_path / "a.tif")
    whole = read(tmp_path / "a.tif")
    monkeypatch.setattr(module, "_STRIP_PIXELS", 130)  # three rows
    strips = read(tmp_path / "a.tif")
    assert whole.pixels.equal(strips.pixels)
    assert (whole.alpha, whole.rgba) == (strips.alpha, strips.rgba)


def test_hidden_colours_count_for_rgba_and_not_for_alpha(tmp_path):
    hidden = RGBA.copy()
    hidden[..., 3] = np.where(np.arange(40) < 20, 0, 255)
    other = hidden.copy()
    other[:, :20, :3] ^= 255
    for name, pixels in (("a.png", hidden), ("b.png", other)):
        Image.fromarray(pixels).save(tmp_path / name)
    a, b = read(tmp_path / "a.png"), read(tmp_path / "b.png")
    assert a.pixels.equal(b.pixels)
    assert a.alpha == b.alpha
    assert a.rgba != b.rgba


def test_estimate_of_memory_grows_with_pixels_and_depth(tmp_path):
    peaks = []
    for mode in ("L", "RGB", "I;16"):
        Image.new(mode, (2000, 1000)).save(tmp_path / "a.png")
        peaks.append(Reader().open(tmp_path / "a.png").peak_bytes / 2e6)
    lowest = (1 + 3, 4 + 3, 2 + 12)  # Pillow's picture and the result, per pixel
    assert all(low <= peak < low + 12 for low, peak in zip(lowest, peaks, strict=True))
