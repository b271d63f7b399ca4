"""Image files under the stated policy, with the text of every error."""

import io
import struct
import warnings
import zlib
from random import Random
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from PIL import Image, ImageCms, ImageFile

from lpips_lite import read_image
from lpips_lite.files.reading import ImageWarning, Reader


def gradient(height=24, width=32):
    """Return a smooth RGB array (H, W, 3) uint8."""
    down, across = np.mgrid[0:height, 0:width]
    return np.stack([down * 10 % 256, across * 8, 255 - down * 5], axis=-1).astype(np.uint8)


def saved(tmp_path, image, name="image.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def as_bytes(tensor):
    return (tensor * 255).round().byte().permute(1, 2, 0).numpy()


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
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that a camera would have applied
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


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.webp", "a.gif", "a.ico", "a.tga"])
def test_too_many_pixels_are_refused_whatever_the_limit_of_pillow(tmp_path, monkeypatch, name):
    path = saved(tmp_path, Image.fromarray(gradient(16, 16)), name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_image(path).shape == (3, 16, 16)  # no warning of Pillow's, either
    with pytest.raises(ValueError, match=rf"{name}: .*256 pixels; expected no more than max_pixels=255"):
        read_image(path, max_pixels=255)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_what_needs_more_memory_than_there_is_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.new("L", (8192, 4096)), "large.png")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**26))
    with pytest.raises(
        ValueError, match=r"large.png: needs more memory than there is \(about \d+ MiB; 64 MiB are free"
    ):
        read_image(path)


class OwnError(Exception):
    pass


@pytest.mark.parametrize("error", [RuntimeError, TypeError, IndexError, struct.error, RecursionError, OwnError])
@pytest.mark.parametrize("where", ["load", "getexif"])
def test_whatever_a_decoder_raises_names_the_file(tmp_path, monkeypatch, error, where):
    def broken(*_, **__):
        raise error("no\nsuch thing")

    path = saved(tmp_path, Image.fromarray(gradient()))
    monkeypatch.setattr(Image.Image if where == "getexif" else ImageFile.ImageFile, where, broken)
    if where == "load":
        with pytest.raises(ValueError, match=rf"image.png: cannot be decoded \({error.__name__}: no such thing\)"):
            read_image(path)
    else:  # broken EXIF data do not affect pixels
        with pytest.warns(ImageWarning, match=r"image.png: EXIF data ignored, picture taken as upright"):
            read_image(path)


def test_memory_that_runs_out_names_the_file(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.fromarray(gradient()))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: bytearray(2**62))
    with pytest.raises(ValueError, match=r"image.png: needs more memory than there is"):
        read_image(path)


FORMATS = (
    "PNG",
    "JPEG",
    "TIFF",
    "GIF",
    "BMP",
    "PPM",
    "PCX",
    "TGA",
    "ICO",
    "DDS",
    "WEBP",
    "SGI",
    "QOI",
    "XBM",
    "MSP",
)


def changed(random, data):
    """Return bytes with a few of them changed, cut off or put in, most of them near the start."""
    result, at = bytearray(data), random.randrange(min(len(data), 400))
    match random.randrange(4):
        case 0:
            result[at] ^= 1 << random.randrange(8)
        case 1:
            result[at : at + 4] = random.choice([bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff"])
        case 2:
            del result[at:]
        case 3:
            result[at:at] = random.randbytes(3)
    return bytes(result)


@pytest.mark.parametrize("image_format", FORMATS)
def test_changed_files_are_read_or_refused_by_name(tmp_path, image_format):
    random, buffer, path = Random(image_format), io.BytesIO(), tmp_path / "changed"
    mode = {"XBM": "1", "MSP": "1", "QOI": "RGBA"}.get(image_format, "RGB")
    Image.fromarray(gradient(16, 16)).convert(mode).save(buffer, image_format)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        starts = [buffer.getvalue()[:count] for count in range(0, 20, 3)]
        for data in [*starts, *(changed(random, buffer.getvalue()) for _ in range(20))]:
            path.write_bytes(data)
            message = ""
            try:
                assert Reader(max_pixels=2**22).open(path).decode().pixels.shape[0] == 3
            except ValueError as error:
                message = str(error)
            assert not message or (message.startswith(f"{path}: ") and "\n" not in message)
