"""Which pixels of a pair are compared: a mask's file and boxes in; an area, or the reason why there is none, out.

Used by `decoding.py`. Masks and boxes refer to the reference's pixels as read: upright, before they are resized.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lpips_lite.files.names import printable
from lpips_lite.files.pairing import Pair
from lpips_lite.files.reading import ImageFile
from lpips_lite.files.settings import Box, Settings
from lpips_lite.images import to_float

WHITE = 128  # this or brighter is compared; what is darker is left out


class Mask(NamedTuple):
    """A mask's file, decoded.

    Attributes:
        white: (H, W), bool; where to compare.
        notes: What was noticed while reading.
    """

    white: Tensor
    notes: tuple[str, ...]


def read_mask(file: ImageFile) -> Mask:
    """Decode a file as a mask.

    Raises:
        ValueError: If it cannot be decoded, is transparent or coloured, or leaves nothing to compare.
    """
    name, expected = printable(file.path), "expected white where to compare and black elsewhere"
    picture = file.decode()
    if picture.alpha is not None:
        raise ValueError(f"{name}: transparent; as a mask, {expected}")
    white = picture.pixels >= (WHITE if picture.pixels.dtype == torch.uint8 else WHITE / 255)
    if not torch.equal(white.all(dim=0), white.any(dim=0)):
        raise ValueError(f"{name}: has colours; as a mask, {expected}")
    if not white.any():
        largest = round(255 * to_float(picture.pixels).max().item())
        brightest = f"; its brightest value is {largest} of 255" if largest else ""
        raise ValueError(f"{name}: leaves nothing to compare{brightest}; {expected}")
    return Mask(white[0].contiguous(), picture.notes)


def area_of(
    pair: Pair, mask: Mask | None, size: tuple[int, int], settings: Settings
) -> tuple[Tensor | None, list[str]]:
    """Return where a pair is compared, (H, W), bool, or `None` for everywhere; and notes.

    Args:
        pair: The pair.
        mask: Its mask, if it has one.
        size: Height and width of the reference.
        settings: The settings, which hold the boxes.

    Raises:
        ValueError: If the mask has another size, or a box lies outside of the reference.
    """
    if mask is None and not settings.ignore_boxes:
        return None, []
    reference, (height, width) = printable(pair.reference), size
    if mask is not None and tuple(mask.white.shape) != size:
        found = f"{mask.white.shape[1]}×{mask.white.shape[0]}"
        raise ValueError(f"{printable(pair.mask or '')}: {found}; expected {width}×{height}, as {reference}")
    area = torch.ones(size, dtype=torch.bool) if mask is None else mask.white.clone()
    notes = [] if mask is None else list(mask.notes)
    for box in settings.ignore_boxes:
        said = settings.spell("ignore_boxes", [box])
        left, top, right, bottom = _edges(box)
        inside = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
        if area[inside].numel() == 0:
            raise ValueError(f"{reference}: {said} lies outside of its {width}×{height} pixels")
        if min(left, top) < 0 or right > width or bottom > height:
            notes.append(f"{said} reaches beyond {width}×{height} pixels; clipped")
        area[inside] = False
    return area, notes


def _edges(box: Box) -> tuple[int, int, int, int]:
    left, top, width, height = box
    return left, top, left + width, top + height
