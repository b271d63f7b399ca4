"""Pictures of the distance: draw a map and its image as a captioned heatmap of bounded size.

Used by `heatmap.py`, which writes them, and `report.py`. Large maps and images are shrunk channel by channel before
they are coloured, so that little memory is needed however large they are.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from cmap import Colormap
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lpips_lite.files.names import printable

COLORMAP = "inferno"  # perceptually uniform: equal steps of distance look equal
UNKNOWN = (128, 128, 128)  # colour for NaN
SMALLEST_SIDE = 256  # small maps are enlarged to this, if the two limits below allow it, so that the caption fits
LONGEST_SIDE = 4096  # of a map in the picture, without the frame
MOST_PIXELS = 2**22
MARGIN, BAR, FONT_SIZE, TICKS = 12, 16, 14, 4
LEAST_BAR = (TICKS + 1) * (FONT_SIZE + 2)  # least height of the scale bar, so that labels do not touch
CAPTION = 640  # width that a caption may have, even if the picture is narrower


def heatmap(distance_map: Tensor, image: Tensor, caption: str, *, overlay: bool = False) -> Image.Image:
    """Draw where two images differ, with a scale bar from 0 to the map's maximum.

    Args:
        distance_map: (H, W), ≥ 0; NaN is drawn in gray.
        image: The compared image, (3, H, W), uint8 or in [0, 1].
        caption: One line above the picture; its middle is left out if it is much wider than the picture.
        overlay: Whether to draw the map over the gray image, more opaque for larger distances.

    Returns:
        An RGB picture with caption and scale bar around the map. The map is shrunk to at most 4096 pixels per side and
        4 megapixels, or enlarged by a whole factor if it is small.

    Raises:
        ValueError: If the shapes of map and image differ.
    """
    if distance_map.ndim != 2 or image.shape != (3, *distance_map.shape):
        shapes = f"{tuple(distance_map.shape)} and {tuple(image.shape)}"
        raise ValueError(f"distance_map and image have shapes {shapes}; expected (H, W) and (3, H, W)")
    values = distance_map.detach().float().cpu().numpy()
    size = bounded((values.shape[1], values.shape[0]), LONGEST_SIDE)
    share, largest = _shares(values, size)
    colors = _colors(share)
    if overlay:
        gray = np.asarray(to_picture(image, size), dtype=np.float32).mean(axis=2)[..., None]
        opacity = 0.2 + 0.8 * np.nan_to_num(share, nan=1)[..., None]
        colors = ((1 - opacity) * gray + opacity * colors).round().astype(np.uint8)
    return _frame(_enlarge(Image.fromarray(colors)), caption, largest)


def colorize(distance_map: Tensor, longest: int) -> tuple[Image.Image, float]:
    """Draw a map (H, W) in the colours of `heatmap`, without a frame, and return it with the map's maximum."""
    values = distance_map.detach().float().cpu().numpy()
    share, largest = _shares(values, bounded((values.shape[1], values.shape[0]), longest))
    return Image.fromarray(_colors(share)), largest


def bounded(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return width and height, reduced by the same factor if a side or the number of pixels is too large."""
    factor = min(1.0, longest / max(size), math.sqrt(MOST_PIXELS / math.prod(size)))
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


def to_picture(image: Tensor, size: tuple[int, int]) -> Image.Image:
    """Turn an image (3, H, W), uint8 or in [0, 1], into a picture of the given size, one channel at a time."""
    return Image.merge("RGB", [_channel(plane, size) for plane in image.detach()])


def _channel(plane: Tensor, size: tuple[int, int]) -> Image.Image:
    values = (plane if plane.dtype == torch.uint8 else plane.float()).cpu().numpy()
    small = Image.fromarray(values).resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    if small.mode == "L":
        return small
    return Image.fromarray((np.asarray(small).clip(0, 1) * 255).round().astype(np.uint8))


def _shares(values: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Resize a map, averaging if it gets smaller, and return it as shares of its maximum, and the maximum."""
    largest = float(np.max(values, initial=0, where=np.isfinite(values)))
    small = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BOX))
    return (small / (largest or 1)).clip(0, 1), largest


@cache
def _palette() -> np.ndarray:
    """Return 256 colours for shares from 0 to 1, and one for NaN, (257, 3)."""
    colors = np.array(Colormap(COLORMAP).lut(256))[:, :3]
    return np.concatenate([(colors * 255).round(), [UNKNOWN]]).astype(np.uint8)


def _colors(share: np.ndarray) -> np.ndarray:
    index = np.where(np.isnan(share), 256, np.minimum(share * 256, 255))
    return _palette()[index.astype(np.uint16)]


def _enlarge(picture: Image.Image) -> Image.Image:
    wanted = -(-SMALLEST_SIDE // min(picture.size))  # rounded up
    allowed = min(LONGEST_SIDE // max(picture.size), math.isqrt(MOST_PIXELS // math.prod(picture.size)))
    factor = max(1, min(wanted, allowed))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _frame(picture: Image.Image, caption: str, largest: float) -> Image.Image:
    """Put the caption above a picture and the scale bar to its right."""
    font = ImageFont.load_default(FONT_SIZE)
    labels = [f"{largest * (tick / TICKS):.3g}" for tick in range(TICKS + 1)]
    label_width = round(max(font.getlength(label) for label in labels))
    top, left, tall = 2 * MARGIN + FONT_SIZE, MARGIN, max(picture.height, LEAST_BAR)
    bar_left = left + picture.width + MARGIN
    inner = bar_left + BAR + 8 + label_width - left
    caption = _shorten(printable(caption), font, max(inner, CAPTION))
    width = left + max(inner, math.ceil(font.getlength(caption))) + MARGIN
    canvas = Image.new("RGB", (width, top + tall + MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((left, MARGIN - 2), caption, "black", font)
    canvas.paste(picture, (left, top))
    scale = np.linspace(1, 0, tall)[:, None].repeat(BAR, axis=1)
    canvas.paste(Image.fromarray(_colors(scale)), (bar_left, top))
    for tick, label in enumerate(labels):
        y = top + (tall - 1) * (1 - tick / TICKS)
        draw.line((bar_left + BAR, y, bar_left + BAR + 3, y), "black")
        draw.text((bar_left + BAR + 7, y), label, "black", font, anchor="lm")
    return canvas


def _shorten(caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Leave out the middle of a caption that is wider than `width`; name and value are at its ends."""
    text, kept = caption, len(caption)
    while kept > 2 and (found := font.getlength(text)) > width:
        kept = min(kept - 2, int(kept * width / found))
        text = f"{caption[: kept - kept // 2]} … {caption[len(caption) - kept // 2 :]}"
    return text
