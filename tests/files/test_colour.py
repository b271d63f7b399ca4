"""Colours are converted to sRGB by what a profile does, not by its name; other tags are noted."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from lpips_lite.files.reading import Reader
from tests.files.test_depth import png

RAMP = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
RGB = np.stack([RAMP, RAMP[:, ::-1], RAMP // 2], axis=-1)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def s15(*numbers):
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def gamma_profile(gamma, description, *, gray=False):
    """Return an ICC profile of version 2 with the primaries of sRGB and a power function as its curve."""
    curve = b"curv" + struct.pack(">IIH2x", 0, 1, round(gamma * 256))
    name = description.encode() + b"\0"
    text = b"desc" + struct.pack(">II", 0, len(name)) + name + bytes(78)
    columns = [(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)]  # sRGB at D50
    tags = {b"desc": text, b"wtpt": b"XYZ \0\0\0\0" + s15(0.9642, 1, 0.8249)}
    if gray:
        tags[b"kTRC"] = curve
    else:
        for letter, column in zip(b"rgb", columns, strict=True):
            tags[bytes([letter]) + b"XYZ"] = b"XYZ \0\0\0\0" + s15(*column)
            tags[bytes([letter]) + b"TRC"] = curve
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", at + len(body), len(data))
        body += data.ljust(-(-len(data) // 4) * 4, b"\0")
    space = b"GRAY" if gray else b"RGB "
    head = struct.pack(">I4sI4s4s4s12x4s", at + len(body), bytes(4), 0x02400000, b"mntr", space, b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + s15(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def srgb_levels(light):
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def decoded(path):
    picture = Reader().open(path).decode()
    return picture.pixels.numpy().transpose(1, 2, 0), picture.notes


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("name", ["Linear Rec709", "GIMP built-in Linear sRGB", "sRGB IEC61966-2.1"])
def test_linear_profile_is_converted_whatever_its_name(tmp_path, name, image_format):
    options = {"lossless": True} if image_format == "WEBP" else {}
    Image.fromarray(RGB).save(tmp_path / "a", image_format, icc_profile=gamma_profile(1, name), **options)
    found, notes = decoded(tmp_path / "a")
    assert np.abs(found - srgb_levels(RGB / 255)).max() < 2
    assert notes == ()


@pytest.mark.parametrize(("gamma", "name"), [(1, "gray sRGB"), (1.8, "dot gain"), (2.6, "sRGB")])
def test_gray_profile_is_converted(tmp_path, gamma, name):
    Image.fromarray(RAMP).save(tmp_path / "a.png", icc_profile=gamma_profile(gamma, name, gray=True))
    found, _ = decoded(tmp_path / "a.png")
    assert np.abs(found[..., 0] - srgb_levels((RAMP / 255) ** gamma)).max() < 1


def test_gray_profile_of_16_bits_is_noted(tmp_path):
    deep = Image.fromarray(RAMP.astype(np.uint16) * 257)
    deep.save(tmp_path / "a.png", icc_profile=gamma_profile(1, "gray", gray=True))
    found, notes = decoded(tmp_path / "a.png")
    np.testing.assert_allclose(found[..., 0], RAMP / 255, atol=1e-7)
    assert "16-bit gray is not converted" in notes[0]


@pytest.mark.parametrize("profile", [SRGB, SRGB.replace("sRGB".encode("utf-16-be"), "Zyxw".encode("utf-16-be"))])
def test_srgb_by_any_name_changes_nothing(tmp_path, profile):
    Image.fromarray(RGB).save(tmp_path / "a.png", icc_profile=profile)
    found, notes = decoded(tmp_path / "a.png")
    np.testing.assert_array_equal(found, RGB)
    assert notes == ()


SRGB_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_PRIMARIES = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


@pytest.mark.parametrize(
    ("chunks", "note"),
    [
        ([(b"gAMA", struct.pack(">I", 100000))], "its gAMA chunk says gamma 1"),
        ([(b"gAMA", struct.pack(">I", 55556))], "its gAMA chunk says gamma 0.55556"),
        ([(b"gAMA", struct.pack(">I", 45455))], None),
        ([(b"cHRM", struct.pack(">8I", *P3_PRIMARIES))], "its cHRM chunk names other primaries"),
        ([(b"cHRM", struct.pack(">8I", *SRGB_PRIMARIES))], None),
        ([(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100000))], None),
        ([(b"cICP", bytes([9, 16, 0, 1]))], "its cICP chunk says BT.2020 primaries with the PQ curve"),
        ([(b"cICP", bytes([12, 13, 0, 1]))], "its cICP chunk says Display P3 primaries with the sRGB curve"),
        ([(b"cICP", bytes([1, 13, 0, 1]))], None),
    ],
)
def test_tags_of_png_that_are_not_srgb_are_noted(tmp_path, chunks, note):
    (tmp_path / "a.png").write_bytes(png(RGB, 8, 2, *chunks))
    found, notes = decoded(tmp_path / "a.png")
    np.testing.assert_array_equal(found, RGB)
    assert len(notes) == (note is not None)
    assert all(note in said and said.endswith("pixels taken as sRGB") for said in notes)


@pytest.mark.parametrize("space", [2, 65535])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_colour_space_in_exif_is_noted(tmp_path, image_format, space):
    exif = Image.Exif()
    exif[0x0112] = 1  # Pillow does not write empty EXIF data
    exif.get_ifd(0x8769)[0xA001] = space
    Image.fromarray(RGB).save(tmp_path / "a", image_format, exif=exif)
    assert "its EXIF data say that colours are" in decoded(tmp_path / "a")[1][0]
