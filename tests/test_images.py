"""Image files under the stated policy, and the checks of tensors with the text of every error."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from lpips_lite import LPIPS, read_image
from lpips_lite.images import ImageWarning, to_float


def gradient(height=24, width=32):
    """Return a smooth RGB array (H, W, 3) uint8."""
    down, across = np.mgrid[0:height, 0:width]
    return np.stack([down * 10 % 256, across * 8, 255 - down * 5], axis=-1).astype(np.uint8)


def saved(tmp_path, image, name="image.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def as_bytes(tensor):
    return (tensor * 255).round().byte().permute(1, 2, 0).numpy()


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.webp"])
def test_rgb_is_read_exactly(tmp_path, name):
    path = saved(tmp_path, Image.fromarray(gradient()), name, **({"lossless": True} if name == "a.webp" else {}))
    image = read_image(path)
    assert image.dtype == torch.float32
    assert image.shape == (3, 24, 32)
    np.testing.assert_array_equal(as_bytes(image), gradient())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = Image.fromarray(gradient(32, 32))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that camera firmware would have left
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(saved(tmp_path, stored, exif=exif))
    np.testing.assert_array_equal(as_bytes(image), gradient(32, 32))


def test_grayscale_and_palette_become_rgb(tmp_path):
    gray = read_image(saved(tmp_path, Image.fromarray(gradient()[..., 1]), "gray.png"))
    assert torch.equal(gray[0], gray[1])
    np.testing.assert_array_equal(as_bytes(gray)[..., 2], gradient()[..., 1])
    palette = Image.fromarray(gradient()).quantize(256)
    np.testing.assert_array_equal(as_bytes(read_image(saved(tmp_path, palette, "p.png"))), palette.convert("RGB"))
    bits = Image.fromarray(gradient()[..., 1] > 128)
    assert read_image(saved(tmp_path, bits, "bits.png")).unique().tolist() == [0, 1]


def test_cmyk_becomes_rgb(tmp_path):
    cmyk = Image.fromarray(gradient()).convert("CMYK")
    path = saved(tmp_path, cmyk, "cmyk.tiff")
    np.testing.assert_array_equal(as_bytes(read_image(path)), cmyk.convert("RGB"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_composited_on_white_and_said(tmp_path, mode):
    image = Image.fromarray(gradient()).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.repeat([0, 255], 16).astype(np.uint8), (24, 1))))
    stored = image.convert(mode) if mode != "P" else image.quantize()
    with pytest.warns(ImageWarning, match=r"transparent; composited on white"):
        found = read_image(saved(tmp_path, stored))
    assert (found[:, :, :16] == 1).all()
    assert (found[:, :, 16:] < 1).any()


def test_opaque_alpha_changes_nothing(tmp_path):
    path = saved(tmp_path, Image.fromarray(gradient()).convert("RGBA"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(as_bytes(read_image(path)), gradient())


def test_16_bit_grayscale_keeps_its_precision(tmp_path):
    values = np.linspace(0, 65535, 24 * 32).astype(np.uint16).reshape(24, 32)
    for name in ("a.png", "a.tiff"):
        found = read_image(saved(tmp_path, Image.fromarray(values), name))
        np.testing.assert_allclose(found[0].numpy(), values / 65535, atol=1e-7)
        assert len(found.unique()) == len(np.unique(values))


def png16(width=4, height=4):
    """Return a 16-bit RGB PNG, which Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + struct.pack(f">{3 * width}H", *range(1000, 1000 + 3 * width)) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_16_bit_color_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "deep.png"
    path.write_bytes(png16())
    assert np.asarray(Image.open(path)).dtype == np.uint8  # what Pillow would do silently
    with pytest.raises(ValueError, match=r"deep.png: 16-bit colour PNG, which Pillow would cut to 8 bits"):
        read_image(path)


def test_floating_point_files_are_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.random.default_rng(0).random((8, 8), np.float32)), "float.tiff")
    with pytest.raises(ValueError, match=r"float.tiff: F-mode pixels have no stated range"):
        read_image(path)


def test_embedded_profile_is_converted_to_srgb(tmp_path):
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))  # its description
    swapped = swapped.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
    path = saved(tmp_path, Image.fromarray(gradient()), icc_profile=swapped)  # a space whose red is our blue
    difference = as_bytes(read_image(path)).astype(int) - gradient()[..., ::-1]
    assert np.abs(difference).max() <= 1


def test_srgb_profile_changes_nothing_and_a_broken_one_is_said(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = saved(tmp_path, Image.fromarray(gradient()), "srgb.png", icc_profile=srgb)
    np.testing.assert_array_equal(as_bytes(read_image(path)), gradient())
    path = saved(tmp_path, Image.fromarray(gradient()), "broken.png", icc_profile=b"nonsense")
    with pytest.warns(ImageWarning, match="broken.png: colour profile ignored, pixels taken as sRGB"):
        np.testing.assert_array_equal(as_bytes(read_image(path)), gradient())


def test_animation_gives_its_first_frame_and_says_so(tmp_path):
    frames = [Image.fromarray(gradient()), Image.fromarray(255 - gradient())]
    path = saved(tmp_path, frames[0], "a.png", save_all=True, append_images=frames[1:])
    with pytest.warns(ImageWarning, match="animated; only the first frame is used"):
        np.testing.assert_array_equal(as_bytes(read_image(path)), gradient())


def truncated(image_format):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, image_format)
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.png", b"hello, world, this is text", r"text.png: not an image file .*starts with b'hello, world'"),
        ("empty.png", b"", r"empty.png: not an image file"),
        ("half.png", truncated("PNG"), r"half.png: cannot be decoded \(.*truncated"),
        ("half.jpg", truncated("JPEG"), r"half.jpg: cannot be decoded \(.*truncated"),
    ],
)
def test_unreadable_files_say_why(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / name)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.png: no such file"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(FileNotFoundError, match="is a folder, not an image"):
        read_image(tmp_path)


def test_decompression_bomb_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.fromarray(gradient()))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"Image size \(768 pixels\) exceeds limit"):
        read_image(path)


# -- tensors -------------------------------------------------------------------------------------------------------

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
    on_device = GOOD.to("meta")
    wanted = [metric._values_wanted(image) for image in (on_device, on_device, on_device[..., :32], on_device.half())]
    assert wanted == [True, False, True, True]
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
