"""Pictures of the distance: draw a pair and its map as three labelled panels of bounded size.

Used by `heatmap.py`, which writes them, and `gallery.py`. Large maps and images are shrunk channel by channel before
they are coloured, so that little memory is needed however large they are. Maps are smoothed when they are drawn,
because layers of low resolution leave creases in them; the numbers are those of the map itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from cmap import Colormap
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lpips_lite.files.names import printable

COLORMAP = "inferno"  # perceptually uniform: equal steps of distance look equal
UNKNOWN = (128, 128, 128)  # colour for NaN
SMOOTHING = 1.5  # standard deviation of the Gaussian that smooths a drawn map, in pixels
LEAST_SIDES = (256, 512)  # shorter and longer side to which small panels are enlarged, if the two limits below allow it
LONGEST_SIDE = 4096  # of a panel
MOST_PIXELS = 2**22
MARGIN, BAR, FONT_SIZE, TICKS = 12, 16, 14, 4
LEAST_BAR = (TICKS + 1) * (FONT_SIZE + 2)  # least height of the scale bar, so that labels do not touch
LEAST_LABEL = 300  # width that labels may have, even if the panel is narrower
INK, SOFT = "black", (90, 90, 90)

Label = tuple[str, str]  # a panel's title, and a line of detail under it


def heatmap(
    distance_map: Tensor, image: Tensor, reference: Tensor, labels: Sequence[Label], *, overlay: bool = False
) -> Image.Image:
    """Draw a pair and where it differs, with a scale bar from 0 to the map's maximum.

    Args:
        distance_map: (H, W), ≥ 0; NaN is drawn in gray.
        image: The compared image, (3, H, W), uint8 or in [0, 1].
        reference: Same shape and range.
        labels: Labels of reference, image and distance; the middle of a label that is wider than its panel is left out.
        overlay: Whether to draw the map over the gray image, more opaque for larger distances.

    Returns:
        An RGB picture of three panels side by side, or one above the other if they are wide. A panel is shrunk to at
        most 4096 pixels per side and 4 megapixels, or enlarged by a whole factor if it is small: the map by bicubic
        interpolation, the pair by repeating pixels.

    Raises:
        ValueError: If the shapes of map and images differ.
    """
    if distance_map.ndim != 2 or any(side.shape != (3, *distance_map.shape) for side in (image, reference)):
        shapes = f"{tuple(distance_map.shape)}, {tuple(image.shape)} and {tuple(reference.shape)}"
        raise ValueError(
            f"distance_map, image and reference have shapes {shapes}; expected (H, W), (3, H, W) and (3, H, W)"
        )
    values = distance_map.detach().float().cpu().numpy()
    size = bounded((values.shape[1], values.shape[0]), LONGEST_SIDE)
    factor = _enlargement(size)
    full = (size[0] * factor, size[1] * factor)
    share, largest = _shares(values, size)
    share = _interpolate(share, full)
    pair = [to_picture(side, size).resize(full, Image.Resampling.NEAREST) for side in (reference, image)]
    colors = _colors(share)
    if overlay:
        gray = np.asarray(pair[1], dtype=np.float32).mean(axis=2)[..., None]
        opacity = 0.2 + 0.8 * np.nan_to_num(share, nan=1)[..., None]
        colors = ((1 - opacity) * gray + opacity * colors).round().astype(np.uint8)
    return _frame([*pair, Image.fromarray(colors)], labels, largest)


def map_picture(distance_map: Tensor, longest: int) -> tuple[Image.Image, float]:
    """Draw a map (H, W) in gray, and return it with the map's maximum, which is white; NaN is transparent."""
    values = distance_map.detach().float().cpu().numpy()
    share, largest = _shares(values, bounded((values.shape[1], values.shape[0]), longest))
    unknown = np.isnan(share)
    picture = Image.fromarray((np.nan_to_num(share) * 255).round().astype(np.uint8))
    if unknown.any():
        picture.putalpha(Image.fromarray(np.where(unknown, 0, 255).astype(np.uint8)))
    return picture, largest


def bounded(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return width and height, reduced in proportion if a side or the number of pixels is too large."""
    factor = min(1.0, longest / max(size), math.sqrt(MOST_PIXELS / math.prod(size)))
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


def to_picture(image: Tensor, size: tuple[int, int]) -> Image.Image:
    """Turn an image (3, H, W), uint8 or in [0, 1], into a picture of this width and height, one channel at a time."""
    return Image.merge("RGB", [_channel(plane, size) for plane in image.detach()])


def _channel(plane: Tensor, size: tuple[int, int]) -> Image.Image:
    values = (plane if plane.dtype == torch.uint8 else plane.float()).cpu().numpy()
    small = Image.fromarray(values).resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    if small.mode == "L":
        return small
    return Image.fromarray((np.asarray(small).clip(0, 1) * 255).round().astype(np.uint8))


def _shares(values: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Resize a map, averaging if it gets smaller, and return it smoothed, as shares of its maximum, and the maximum.

    NaN stays NaN and does not spread.
    """
    largest = float(np.max(values, initial=0, where=np.isfinite(values)))
    small = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BOX))
    share = (small / (largest or 1)).clip(0, 1)
    known = ~np.isnan(share)
    smooth = _blur(np.where(known, share, 0)) / np.maximum(_blur(known.astype(np.float32)), 1e-6)
    return np.where(known, smooth, np.nan).astype(np.float32), largest


def _blur(values: np.ndarray) -> np.ndarray:
    """Return values smoothed along both axes by a Gaussian of `SMOOTHING` pixels; edges are repeated."""
    reach = math.ceil(3 * SMOOTHING)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1, dtype=np.float32) / SMOOTHING) ** 2)
    for axis in (0, 1):
        padded = np.pad(values, [(reach, reach) if axis == other else (0, 0) for other in (0, 1)], mode="edge")
        length = values.shape[axis]
        taps = [slice(at, at + length) for at in range(len(kernel))]
        values = sum(
            padded[tap if axis == 0 else (slice(None), tap)] * weight for tap, weight in zip(taps, kernel, strict=True)
        )
        values /= kernel.sum()
    return values


def _interpolate(share: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return shares enlarged to a width and height by bicubic interpolation, NaN by whole pixels."""
    if share.shape == size[::-1]:
        return share
    unknown = np.isnan(share)
    smooth = Image.fromarray(np.where(unknown, 0, share)).resize(size, Image.Resampling.BICUBIC)
    mask = Image.fromarray(unknown).resize(size, Image.Resampling.NEAREST)
    return np.where(np.asarray(mask), np.nan, np.asarray(smooth).clip(0, 1))


@cache
def palette() -> np.ndarray:
    """Return 256 colours for shares from 0 to 1, and one for NaN, (257, 3)."""
    colors = np.array(Colormap(COLORMAP).lut(256))[:, :3]
    return np.concatenate([(colors * 255).round(), [UNKNOWN]]).astype(np.uint8)


def _colors(share: np.ndarray) -> np.ndarray:
    index = np.where(np.isnan(share), 256, np.minimum(share * 256, 255))
    return palette()[index.astype(np.uint16)]


def _enlargement(size: tuple[int, int]) -> int:
    """Return the whole factor by which a small panel is drawn larger."""
    wanted = max(-(-least // side) for least, side in zip(LEAST_SIDES, sorted(size), strict=True))  # rounded up
    return max(1, min(wanted, LONGEST_SIDE // max(size), math.isqrt(MOST_PIXELS // math.prod(size))))


def _frame(panels: Sequence[Image.Image], labels: Sequence[Label], largest: float) -> Image.Image:
    """Put labels above panels of one size, and the scale bar to the right of the last."""
    font, small = ImageFont.load_default(FONT_SIZE), ImageFont.load_default(FONT_SIZE - 2)
    ticks = [f"{largest * (tick / TICKS):.3g}" for tick in range(TICKS + 1)]
    bar_width = MARGIN + BAR + 8 + round(max(font.getlength(tick) for tick in ticks))
    width, height = panels[0].size
    head, tall, cell = 2 * FONT_SIZE + MARGIN, max(height, LEAST_BAR), max(width, LEAST_LABEL)
    if width > 2 * height:
        corners = [(MARGIN, MARGIN + place * (head + tall + MARGIN)) for place in range(len(panels))]
    else:
        corners = [(MARGIN + place * (cell + MARGIN), MARGIN) for place in range(len(panels))]
    right, bottom = corners[-1][0] + max(cell, width + bar_width) + MARGIN, corners[-1][1] + head + tall + MARGIN
    canvas = Image.new("RGB", (right, bottom), "white")
    draw = ImageDraw.Draw(canvas)
    for panel, (title, detail), (left, top) in zip(panels, labels, corners, strict=True):
        draw.text((left, top - 3), _shorten(printable(title), font, cell), INK, font)
        draw.text((left, top + FONT_SIZE + 3), _shorten(printable(detail), small, cell), SOFT, small)
        draw.rectangle((left - 1, top + head - 1, left + width, top + head + height), outline=(170, 170, 170))
        canvas.paste(panel, (left, top + head))
    left, top = corners[-1][0] + width + MARGIN, corners[-1][1] + head
    scale = np.linspace(1, 0, tall)[:, None].repeat(BAR, axis=1)
    canvas.paste(Image.fromarray(_colors(scale)), (left, top))
    for tick, text in enumerate(ticks):
        y = top + (tall - 1) * (1 - tick / TICKS)
        draw.line((left + BAR, y, left + BAR + 3, y), INK)
        draw.text((left + BAR + 7, y), text, INK, font, anchor="lm")
    return canvas


def _shorten(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Leave out the middle of a line that is wider than `width`; name and value stand at its ends."""
    text, kept = line, len(line)
    while kept > 2 and (found := font.getlength(text)) > width:
        kept = min(kept - 2, int(kept * width / found))
        text = f"{line[: kept - kept // 2]} … {line[len(line) - kept // 2 :]}"
    return text
