"""Pictures of the distance: a map and its image in, a captioned heatmap out."""

from __future__ import annotations

import numpy as np
from cmap import Colormap
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

COLORMAP = "inferno"  # perceptually uniform: equal steps of distance look equal
SMALLEST_SIDE = 256  # smaller maps are enlarged, so that the caption fits
MARGIN, BAR, FONT_SIZE, TICKS = 12, 16, 14, 4


def heatmap(distance_map: Tensor, image: Tensor, caption: str, *, overlay: bool = False) -> Image.Image:
    """Draw where two images differ, with a scale bar from 0 to the map's maximum.

    Args:
        distance_map: (H, W), ≥ 0.
        image: The image that was compared, (3, H, W) in [0, 1].
        caption: One line above the picture.
        overlay: Draw the map over the image in gray, the more opaque the larger the distance.

    Returns:
        An RGB picture with caption and scale bar around the map.
    """
    values = distance_map.detach().float().cpu().numpy()
    largest = float(values.max())
    share = values / largest if largest > 0 else values
    colors = Colormap(COLORMAP)(share)[..., :3]
    if overlay:
        gray = image.detach().float().cpu().mean(dim=0).numpy()[..., None]
        opacity = (0.2 + 0.8 * share)[..., None]
        colors = (1 - opacity) * gray + opacity * colors
    return _frame(_to_picture(colors), caption, largest)


def colorize(values: np.ndarray) -> Image.Image:
    """Draw a map (H, W), ≥ 0, in the colours of `heatmap`, without frame, from 0 to its own maximum."""
    largest = float(values.max())
    colors = Colormap(COLORMAP)(values / largest if largest > 0 else values)[..., :3]
    return Image.fromarray((colors * 255).round().astype(np.uint8))


def _to_picture(colors: np.ndarray) -> Image.Image:
    picture = Image.fromarray((np.clip(colors, 0, 1) * 255).round().astype(np.uint8))
    factor = -(-SMALLEST_SIDE // min(picture.size))  # rounded up
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _frame(picture: Image.Image, caption: str, largest: float) -> Image.Image:
    """Put the caption above a picture and the scale bar to its right."""
    font = ImageFont.load_default(FONT_SIZE)
    labels = [f"{largest * tick / TICKS:.3g}" for tick in range(TICKS + 1)]
    label_width = round(max(font.getlength(label) for label in labels))
    top, left = 2 * MARGIN + FONT_SIZE, MARGIN
    bar_left = left + picture.width + MARGIN
    width = max(bar_left + BAR + 8 + label_width, left + round(font.getlength(caption))) + MARGIN
    canvas = Image.new("RGB", (width, top + picture.height + MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((left, MARGIN - 2), caption, "black", font)
    canvas.paste(picture, (left, top))
    scale = Colormap(COLORMAP)(np.linspace(1, 0, picture.height))[:, None, :3]
    canvas.paste(_to_strip(scale), (bar_left, top))
    for tick, label in enumerate(labels):
        y = top + (picture.height - 1) * (1 - tick / TICKS)
        draw.line((bar_left + BAR, y, bar_left + BAR + 3, y), "black")
        draw.text((bar_left + BAR + 7, y), label, "black", font, anchor="lm")
    return canvas


def _to_strip(scale: np.ndarray) -> Image.Image:
    return Image.fromarray((np.repeat(scale, BAR, axis=1) * 255).round().astype(np.uint8))
