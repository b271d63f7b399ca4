"""Pictures of a page, drawn: two designs, each as it should be, with faults to be found, and with harmless differences.

And a line of text in which one digit changes, for every two digits and in several sizes.

Pillow alone draws them, with its own font, so that they are the same on every machine with the same version of Pillow.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

SIZE = (640, 480)
Point = tuple[int, int]


@dataclass(frozen=True)
class Look:
    """What a design looks like; a fault is a look with something replaced."""

    paper: str = "#f5f6f8"
    card: str = "#ffffff"
    ink: str = "#1d2433"
    faint: str = "#5b6475"
    line: str = "#d5d9e0"
    accent: str = "#1f6feb"
    on_accent: str = "#ffffff"
    field: str = "#ffffff"
    text_size: float = 14
    title: str = "Invoice 2031"
    words: tuple[str, ...] = ("Delivered to the warehouse on Monday.", "Payment is due within thirty days.")
    rows: tuple[tuple[str, str], ...] = (
        ("Paper", "128.50"),
        ("Ink", "36.80"),
        ("Postage", "-9.95"),
        ("Total", "155.35"),
    )
    button: str = "Save"
    typed: str = "Ada Byron"
    caret: int | None = None  # after so many characters of what is typed
    lines: int = 4  # under the rows of the table
    underline: bool = False  # under the first line of words
    ticked: bool = False
    bar: tuple[int, int] | None = None  # top and height of the scrollbar's thumb
    bold: bool = False  # the title
    icon: bool = True
    right: int = 0  # by which the button stands further right
    down: int = 0  # by which the table stands lower
    border: int = 1  # of the field


LIGHT = Look()
DARK = Look(
    *("#14171c", "#1c2027", "#e6e9ef", "#9aa3b2", "#343b47", "#d9822b", "#14171c", "#101318", 16),
    title="Orders",
    words=("Twelve parcels wait for the courier.", "Two of them came back yesterday."),
    rows=(("North", "3,071"), ("South", "1,864"), ("Abroad", "-255"), ("Sum", "4,680")),
    button="Send",
    typed="parcel 7",
)


def draw(look: Look, mode: str = "L") -> Image.Image:
    """Draw a page; `mode` is that of its text: "L", smoothed, or "1", not."""
    image = Image.new("RGB", SIZE, look.paper)
    pen = ImageDraw.Draw(image)
    pen.fontmode = mode

    def text(at: tuple[float, float], words: str, colour: str, size: float = look.text_size, **options: object) -> None:
        pen.text(at, words, fill=colour, font=ImageFont.load_default(size), **options)

    pen.rectangle((0, 0, 639, 43), fill=look.card)
    pen.line((0, 43, 639, 43), fill=look.line)
    if look.icon:
        _disc(image, (24, 22), 9, look.accent)
    text((44, 12), look.title, look.ink, 18, stroke_width=0.4 if look.bold else 0)
    for place, words in enumerate(look.words):
        text((24, 64 + 22 * place), words, look.ink)
    if look.underline:
        wide = ImageFont.load_default(look.text_size).getlength(look.words[0])
        pen.line((24, 64 + look.text_size + 3, 24 + wide, 64 + look.text_size + 3), fill=look.ink)
    top = 130 + look.down
    pen.rounded_rectangle((24, top, 330, top + 132), 6, fill=look.card, outline=look.line)
    for place, (name, number) in enumerate(look.rows):
        text((40, top + 10 + 31 * place), name, look.faint)
        text((314, top + 10 + 31 * place), number, look.ink, anchor="ra")
        if 0 < place < look.lines:
            pen.line((25, top + 31 * place + 2, 329, top + 31 * place + 2), fill=look.line)
    text((24, 292), "Name", look.faint)
    pen.rectangle((24, 314, 250, 344), fill=look.field, outline=look.faint, width=look.border)
    text((34, 320), look.typed, look.ink)
    if look.caret is not None:
        at = 35 + round(ImageFont.load_default(look.text_size).getlength(look.typed[: look.caret]))
        pen.line((at, 319, at, 338), fill=look.ink)
    pen.rectangle((24, 366, 38, 380), fill=look.field, outline=look.faint)
    if look.ticked:
        pen.line((27, 373, 30, 377, 36, 369), fill=look.ink, width=2)
    text((48, 364), "Remember", look.ink)
    left = 24 + look.right
    pen.rounded_rectangle((left, 410, left + 96, 442), 6, fill=look.accent)
    text((left + 48, 426), look.button, look.on_accent, anchor="mm")
    _gradient(image, (370, 130, 600, 262), look.accent, look.card)
    pen.line((370, 400, 420, 350, 480, 380, 540, 310, 600, 330), fill=look.accent, width=2)
    if look.bar is not None:
        pen.rectangle((628, 44, 639, 479), fill=look.line)
        pen.rectangle((630, look.bar[0], 637, sum(look.bar)), fill=look.faint)
    return image


def _disc(image: Image.Image, at: Point, radius: int, colour: str) -> None:
    """Draw a disc whose edge is smoothed."""
    side = 8 * (2 * radius + 2)
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((8, 8, side - 8, side - 8), fill=255)
    mask = mask.resize((side // 8, side // 8), Image.Resampling.BOX)
    image.paste(colour, (at[0] - radius - 1, at[1] - radius - 1), mask)


def _gradient(image: Image.Image, box: tuple[int, int, int, int], start: str, end: str) -> None:
    """Draw a gradient from left to right."""
    size = box[2] - box[0], box[3] - box[1]
    ramp = Image.linear_gradient("L").rotate(90).resize(size)
    image.paste(Image.composite(Image.new("RGB", size, end), Image.new("RGB", size, start), ramp), box[:2])


# -- harmless differences: pictures of the same page, made in another way ----------------------------------------------


def _moved(right: float, down: float) -> Callable[[Image.Image], Image.Image]:
    def move(page: Image.Image) -> Image.Image:
        return page.transform(SIZE, Image.Transform.AFFINE, (1, 0, -right, 0, 1, -down), Image.Resampling.BILINEAR)

    return move


def _coded(name: str, quality: int, **options: object) -> Callable[[Image.Image], Image.Image]:
    def code(page: Image.Image) -> Image.Image:
        file = io.BytesIO()
        page.save(file, name, quality=quality, **options)
        return Image.open(file).convert("RGB")

    return code


def _stepped(*steps: int) -> Callable[[Image.Image], Image.Image]:
    """Change each channel by a step that nobody sees, where it stays in range."""

    def step(page: Image.Image) -> Image.Image:
        return Image.fromarray((np.asarray(page, np.int16) + steps).clip(0, 255).astype(np.uint8))

    return step


def _noisy(page: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).integers(-2, 3, (SIZE[1], SIZE[0], 3))
    return Image.fromarray((np.asarray(page, np.int16) + noise).clip(0, 255).astype(np.uint8))


def _dithered(page: Image.Image) -> Image.Image:
    """Keep six bits of each channel, by ordered dithering."""
    bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16
    tiled = np.tile(bayer, (SIZE[1] // 4, SIZE[0] // 4))[..., None]
    return Image.fromarray((np.floor(np.asarray(page) / 255 * 63 + tiled) / 63 * 255).clip(0, 255).astype(np.uint8))


def _resampled(page: Image.Image) -> Image.Image:
    twice = page.resize((SIZE[0] * 2, SIZE[1] * 2), Image.Resampling.BICUBIC)
    return twice.resize(SIZE, Image.Resampling.BICUBIC)


def _smoothed_in_colour(look: Look) -> Image.Image:
    """Draw text as for the stripes of a flat screen: red and blue a third of a pixel aside."""
    red, green, blue = draw(look).split()
    third = (1, 0, 1 / 3, 0, 1, 0), (1, 0, -1 / 3, 0, 1, 0)
    sides = [
        channel.transform(SIZE, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        for channel, matrix in zip((red, blue), third, strict=True)
    ]
    return Image.merge("RGB", (sides[0], green, sides[1]))


def _smoothed_softly(look: Look) -> Image.Image:
    """Draw everything a little softer."""
    return draw(look).filter(ImageFilter.GaussianBlur(0.25))


class Case(NamedTuple):
    """A picture that is compared with the page as it should be.

    Attributes:
        fault: Whether a rule must find it.
        reference, image: What is compared.
    """

    fault: bool
    reference: Image.Image
    image: Image.Image


def faults(look: Look) -> Mapping[str, tuple[Look, Look]]:
    """Return what must be found: name -> the page as it should be, and as it is."""
    (name, number), *others = look.rows
    caret, bar = replace(look, caret=3), replace(look, bar=(60, 200))
    return {
        "digit": (look, replace(look, rows=((name, number.translate(str.maketrans("80", "38"))), *others))),
        "decimal point": (look, replace(look, rows=((name, number.replace(".", "").replace(",", "")), *others))),
        "minus sign": (look, replace(look, rows=tuple((n, v.replace("-", "")) for n, v in look.rows))),
        "button text": (look, replace(look, button={"Save": "Safe", "Send": "Sent"}[look.button])),
        "word": (look, replace(look, words=(look.words[0].replace("the", "a"), look.words[1]))),
        "letter": (look, replace(look, words=(look.words[0], look.words[1].replace("m", "n", 1)))),
        "text colour": (look, replace(look, faint=look.ink)),
        "text size": (look, replace(look, text_size=look.text_size + 1)),
        "bold title": (look, replace(look, bold=True)),
        "underline": (look, replace(look, underline=True)),
        "button colour": (look, replace(look, accent="#2da44e")),
        "button moved by 3": (look, replace(look, right=3)),
        "table moved by 2": (look, replace(look, down=2)),
        "line of one pixel": (look, replace(look, lines=3)),
        "border of the field": (look, replace(look, border=2)),
        "icon": (look, replace(look, icon=False)),
        "tick": (look, replace(look, ticked=True)),
        "caret": (look, caret),
        "caret moved": (caret, replace(look, caret=6)),
        "scrollbar": (look, bar),
        "scrollbar moved": (bar, replace(look, bar=(70, 200))),
    }


HARMLESS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "shift of 0.4 right": _moved(0.4, 0),
    "shift of 0.4 down": _moved(0, 0.4),
    "shift of 0.25 both": _moved(0.25, 0.25),
    "colour step of 1": _stepped(-1, 0, 1),
    "colour step of 2": _stepped(2, -2, -2),
    "noise of 2": _noisy,
    "dithering": _dithered,
    "resampled": _resampled,
    "JPEG 95": _coded("JPEG", 95, subsampling=0),
    "JPEG 90": _coded("JPEG", 90),
    "WebP 90": _coded("WEBP", 90),
}


def harmless(look: Look) -> Mapping[str, Image.Image]:
    """Return what must pass: name -> the page in another way."""
    page = draw(look)
    smoothing = {
        "text in colour stripes": _smoothed_in_colour(look),
        "text smoothed softly": _smoothed_softly(look),
        "text not smoothed": draw(look, "1"),
    }
    return {**{name: change(page) for name, change in HARMLESS.items()}, **smoothing}


def cases(look: Look) -> dict[str, Case]:
    """Return all pictures of a design."""
    found = {name: Case(True, *map(draw, looks)) for name, looks in faults(look).items()}
    for name, case in found.items():
        assert ImageChops.difference(case.reference, case.image).getbbox(), name
    page = draw(look)
    return found | {name: Case(False, page, image) for name, image in harmless(look).items()}


def changed_digits(sizes: tuple[int, ...] = (12, 13, 14, 16, 18)) -> Iterator[Case]:
    """Yield lines of text in which one digit is another: every two digits, in each size."""
    for size in sizes:
        lines = []
        for digit in range(10):
            lines.append(Image.new("RGB", (160, 40), "#ffffff"))
            font = ImageFont.load_default(size)
            ImageDraw.Draw(lines[-1]).text((10, 10), f"Total: 4{digit}.50", fill="#222222", font=font)
        yield from (Case(True, *pair) for pair in combinations(lines, 2))
