"""Bits per channel: what Pillow would cut is refused whatever the suffix is; gray of more than 8 bits is exact."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from lpips_lite.files.reading import Reader

RANDOM = np.random.default_rng(0)
GRAY16 = RANDOM.integers(0, 65536, (16, 20), np.uint16)
RGB16 = RANDOM.integers(0, 65536, (16, 20, 3), np.uint16)
RGB8 = RANDOM.integers(0, 256, (16, 20, 3), np.uint8)


def pixels(path):
    return Reader().open(path).decode().pixels.numpy()


def png(samples, bits, kind, *chunks):
    """Return a PNG of samples (H, W) or (H, W, C); samples of fewer than 8 bits are already packed into bytes."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    width = samples.shape[1] * 8 // bits if bits < 8 else samples.shape[1]
    rows = b"".join(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, len(samples), bits, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def ppm(samples, maxval):
    height, width, *channels = samples.shape
    kind = b"P6" if channels else b"P5"
    return b"%s\n%d %d\n%d\n" % (kind, width, height, maxval) + samples.astype(">u2").tobytes()


def sgi(samples):
    head = struct.pack(">HBBHHHHII", 474, 0, 2, 3, samples.shape[1], samples.shape[0], 3, 0, 65535).ljust(512, b"\0")
    return head + samples[::-1].transpose(2, 0, 1).astype(">u2").tobytes()


def tiff(path, samples, **options):
    tifffile.imwrite(path, samples, **options)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ""])  # it does not matter
@pytest.mark.parametrize("kind", ["PNG", "PNG with alpha", "PPM", "SGI", "TIFF", "planar TIFF", "deflated TIFF"])
def test_colour_of_16_bits_is_refused(tmp_path, kind, suffix):
    path = tmp_path / f"deep{suffix}"
    data = {
        "PNG": lambda: png(RGB16, 16, 2),
        "PNG with alpha": lambda: png(np.dstack([RGB16, GRAY16]), 16, 6),
        "PPM": lambda: ppm(RGB16, 65535),
        "SGI": lambda: sgi(RGB16),
        "TIFF": lambda: tiff(path, RGB16, photometric="rgb"),
        "planar TIFF": lambda: tiff(path, RGB16.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
        "deflated TIFF": lambda: tiff(path, RGB16, photometric="rgb", compression="zlib"),
    }[kind]()
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"deep.*: 16-bit colour .*cut to 8 bits"):
        pixels(path)


@pytest.mark.parametrize("maxval", [1023, 4095, 65535])
def test_gray_of_more_bits_is_exact_in_pgm(tmp_path, maxval):
    gray = (GRAY16.astype(int) % (maxval + 1)).astype(np.uint16)
    (tmp_path / "gray").write_bytes(ppm(gray, maxval))
    np.testing.assert_array_equal(pixels(tmp_path / "gray")[0], (gray / maxval).astype(np.float32))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("samples", [GRAY16, (GRAY16 >> 8).astype(np.uint8)], ids=["16 bits", "8 bits"])
def test_zero_is_black_or_white_in_tiff(tmp_path, samples, photometric, compression):
    tiff(tmp_path / "a.tif", samples, photometric=photometric, compression=compression)
    found, white = pixels(tmp_path / "a.tif")[0], np.iinfo(samples.dtype).max
    found = found / 255 if found.dtype == np.uint8 else found
    expected = (samples if photometric == "minisblack" else white - samples) / white
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}], ids=["raw", "zlib", "tiles"])
@pytest.mark.parametrize("planar", [False, True])
def test_planes_and_tiles_of_tiff(tmp_path, planar, options):
    samples = RGB8.transpose(2, 0, 1) if planar else RGB8
    tiff(tmp_path / "a.tif", samples, photometric="rgb", planarconfig="separate" if planar else "contig", **options)
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), RGB8.transpose(2, 0, 1))


@pytest.mark.parametrize("samples", [GRAY16.astype(np.int16), (GRAY16 >> 8).astype(np.int8), GRAY16.astype(np.float32)])
def test_signs_and_floating_point_are_refused(tmp_path, samples):
    tiff(tmp_path / "a.tif", samples)
    with pytest.raises(ValueError, match=r"a.tif: (signed samples|[IF]-mode pixels have no stated range)"):
        pixels(tmp_path / "a.tif")


@pytest.mark.parametrize("clear", [0, 700, 65535])
def test_transparent_number_of_16_bit_gray(tmp_path, clear):
    gray = GRAY16.copy()
    gray[3, 5], gray[8, :4] = clear, clear
    gray[0, 0] = clear ^ 1  # its neighbour is opaque: all 16 bits count
    (tmp_path / "a.png").write_bytes(png(gray, 16, 0, (b"tRNS", struct.pack(">H", clear))))
    picture = Reader("black").open(tmp_path / "a.png").decode()
    np.testing.assert_array_equal(picture.pixels[1], np.where(gray == clear, 0, gray / 65535).astype(np.float32))
    assert picture.alpha is not None


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_transparent_number_of_gray_of_few_bits(tmp_path, bits):
    gray, clear = RANDOM.integers(0, 2**bits, (8, 16), np.uint8), 1
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    packed = (gray.reshape(8, -1, 8 // bits) << shifts).sum(axis=2).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(png(packed, bits, 0, (b"tRNS", struct.pack(">H", clear))))
    found = Reader("#102030").open(tmp_path / "a.png").decode().pixels.numpy()
    for channel, ground in zip(found, (0x10, 0x20, 0x30), strict=True):
        np.testing.assert_array_equal(channel, np.where(gray == clear, ground, gray * (255 // (2**bits - 1))))


def test_icon_with_a_deep_picture_is_refused(tmp_path):
    inner = png(np.dstack([RGB16, GRAY16])[:16, :16], 16, 6)
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    (tmp_path / "a.ico").write_bytes(struct.pack("<HHH", 0, 1, 1) + entry + inner)
    with Image.open(tmp_path / "a.ico") as image:
        assert image.mode == "RGBA"  # what Pillow would do silently
    with pytest.raises(ValueError, match="a.ico: 16-bit colour ICO"):
        pixels(tmp_path / "a.ico")


def test_drawings_are_refused_since_another_program_would_draw_them(tmp_path):
    Image.fromarray(RGB8).save(tmp_path / "drawing.eps")
    with pytest.raises(ValueError, match=r"drawing\.eps: EPS is a drawing, whose pixels depend on the program"):
        Reader().open(tmp_path / "drawing.eps")
