"""How files are read and measured: one place that checks it, for the command and for `compare()` alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Resize = Literal["no", "ref", "crop", "pad"] | tuple[int, int]
Box = tuple[int, int, int, int]  # left, top, width, height
Precision = Literal["fp32", "bf16"]
Spelling = Callable[[str, object], str]

MAX_PIXELS = 2**28  # of one image: 16384 × 16384


def python_spelling(argument: str, value: object) -> str:
    """Spell an argument as a caller in Python does, for messages: `resize='ref'`."""
    return f"{argument}={value!r}"


@dataclass(frozen=True)
class Settings:
    """How pairs of files are read and measured.

    Attributes:
        resize: "no" · "ref", to the reference's size · "crop", to the middle that both share · "pad", with `background`
            on the right and at the bottom, to the larger width and height · (height, width).
        background: What transparent pixels are put on: a colour name or "#rrggbb".
        max_pixels: Largest number of pixels of an image; larger images are errors.
        device: Where to compute.
        precision: "fp32" · "bf16", under autocast.
        batch_size: Largest number of pairs in a batch.
        workers: Number of threads that decode.
        spell: Argument and value -> how messages write them; the command speaks of its options.
        ignore_boxes: Boxes (left, top, width, height) of the reference's pixels that are not compared.
        masks: What signatures say about the masks.

    Raises:
        ValueError: If a value is not as described.
    """

    resize: Resize = "no"
    background: str = "white"
    max_pixels: int = MAX_PIXELS
    device: str = "cpu"
    precision: Precision = "fp32"
    batch_size: int = 8
    workers: int = 2
    spell: Spelling = python_spelling
    ignore_boxes: Sequence[Box] = ()
    masks: str = ""

    def __post_init__(self) -> None:
        for name in ("max_pixels", "batch_size", "workers"):
            if not _is_count(getattr(self, name)):
                raise self._error(name, "expected a whole number from 1 up")
        if not isinstance(self.device, str):
            raise self._error("device", "expected a name, like cpu or cuda")
        if self.precision not in get_args(Precision):
            raise self._error("precision", "expected fp32 or bf16")
        size = self.resize
        if size not in ("no", "ref", "crop", "pad"):
            if not (isinstance(size, tuple) and len(size) == 2 and all(map(_is_count, size))):
                raise self._error("resize", "expected no, ref, crop, pad or a size in pixels, as (height, width)")
            if size[0] * size[1] > self.max_pixels:
                allowed = self.spell("max_pixels", self.max_pixels)
                raise self._error("resize", f"{size[0] * size[1]} pixels; expected no more than {allowed}")
        if not (isinstance(self.ignore_boxes, (tuple, list)) and all(map(_is_box, self.ignore_boxes))):
            raise self._error("ignore_boxes", "expected boxes of whole numbers (left, top, width, height)")
        try:
            red_green_blue(self.background)
        except (ValueError, AttributeError):
            raise self._error("background", "expected a colour like white, black or #808080") from None

    def _error(self, argument: str, problem: str) -> ValueError:
        return ValueError(f"{self.spell(argument, getattr(self, argument))}: {problem}")

    def suffix(self) -> str:
        """Return what the settings add to a signature."""
        size = "x".join(map(str, reversed(self.resize))) if isinstance(self.resize, tuple) else self.resize
        color = "#{:02x}{:02x}{:02x}".format(*red_green_blue(self.background))
        boxes = "+".join(",".join(map(str, box)) for box in sorted(set(map(tuple, self.ignore_boxes))))
        parts = {
            "resize": (size, "no"),
            "background": (color, "#ffffff"),
            "precision": (self.precision, "fp32"),
            "mask": (self.masks, ""),
            "ignore": (boxes, ""),
        }
        return "".join(f" {name}={value}" for name, (value, default) in parts.items() if value != default)


def red_green_blue(color: str) -> tuple[int, int, int]:
    """Return a colour as three numbers in [0, 255].

    Raises:
        ValueError: If it is not an opaque colour.
    """
    from PIL import ImageColor

    found = ImageColor.getrgb(color)
    if len(found) != 3 or max(found) > 255:
        raise ValueError(f"{color!r} is not opaque, or beyond 255")
    return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_box(value: object) -> bool:
    if not (isinstance(value, (tuple, list)) and len(value) == 4):
        return False
    return all(isinstance(number, int) and not isinstance(number, bool) for number in value) and min(value[2:]) > 0
