"""Ask which of two copies of a photograph is closer to it, and print what MSE, SSIM and LPIPS-lite answer.

    python -m examples.which_is_closer

One copy is turned by one degree, which nobody minds, but which moves almost every pixel to where another one was. The
other is blurred: each pixel is still nearly what it was, and the fur is gone. Pictures of this kind are the first
figure of Zhang et al.: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from skimage.filters import gaussian
from skimage.transform import rotate
from torch import Tensor

from examples.pictures import GALLERY, photo, print_table
from lpips_lite import LPIPS, l2, ssim

TOP, LEFT, SIDE = 32, 116, 228  # of what is shown, in pixels
ANGLE, SIGMA = 1.0, 2.5  # degrees, pixels
EDGE, GAP, HEAD, LABEL, ROW = 12, 46, 52, 34, 40  # pixels
FINE = 4  # factor by which the picture is drawn larger, before it is shrunk
INK, PALE, PILL = "#1f2328", "#8b949e", "#1a7f37"
BEST: dict[str, Callable[[Sequence[float]], float]] = {"MSE ↓": min, "SSIM ↑": max, "LPIPS-lite ↓": min}


def copies() -> tuple[Tensor, Tensor, Tensor]:
    """Return a photograph, a copy turned and a copy blurred, each (1, 3, SIDE, SIDE) in [0, 1], multiples of 1/255."""
    whole = photo("chelsea")[0].permute(1, 2, 0).numpy()
    centre = LEFT + SIDE / 2, TOP + SIDE / 2
    turned = rotate(whole, ANGLE, center=centre, order=3)  # type: ignore[no-untyped-call]
    blurred = gaussian(whole, SIGMA, channel_axis=2)  # type: ignore[no-untyped-call]
    shown = np.stack([image[TOP : TOP + SIDE, LEFT : LEFT + SIDE] for image in (whole, turned, blurred)]).clip(0, 1)
    batch = torch.from_numpy(shown).permute(0, 3, 1, 2).float().mul(255).round().div(255)
    return batch[0:1], batch[1:2], batch[2:3]


def answers(original: Tensor, *others: Tensor) -> dict[str, tuple[float, ...]]:
    """Return what each metric says of each copy."""
    metrics: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "MSE ↓": l2,
        "SSIM ↑": ssim,
        "LPIPS-lite ↓": LPIPS("lite"),
    }
    return {name: tuple(metric(other, original).item() for other in others) for name, metric in metrics.items()}


def draw(original: Tensor, left: Tensor, right: Tensor, found: Mapping[str, Sequence[float]]) -> Image.Image:
    """Return the picture: the copies left and right of the original, below them the metrics' answers."""
    table = HEAD + SIDE + LABEL  # top of the answers
    width, height = 3 * SIDE + 2 * (GAP + EDGE), table + ROW * len(found) + EDGE
    canvas = Image.new("RGB", (FINE * width, FINE * height), "white")
    pen = ImageDraw.Draw(canvas)

    def write(text: str, x: float, y: float, size: int, color: str = INK) -> None:
        pen.text((FINE * x, FINE * y), text, color, ImageFont.load_default(FINE * size), anchor="mm")

    lefts = [EDGE + place * (SIDE + GAP) for place in range(3)]
    middles = [start + SIDE / 2 for start in lefts]
    write("Which is closer to the one in the middle?", width / 2, HEAD / 2, 26)
    for x, caption in zip(middles, (f"turned by {ANGLE:.0f}°", "photograph", "blurred"), strict=True):
        write(caption, x, HEAD + SIDE + LABEL / 2, 17)
    for row, (name, values) in enumerate(found.items()):
        y = table + (row + 0.5) * ROW
        write(name.rstrip(" ↓↑"), middles[1], y, 20)
        for x, value in zip(middles[::2], values, strict=True):
            closer = value == BEST[name](values)
            if closer:
                corners = x - 0.4 * SIDE, y - 0.4 * ROW, x + 0.4 * SIDE, y + 0.4 * ROW
                pen.rounded_rectangle([FINE * at for at in corners], FINE * ROW, PILL)
            write(f"{value:.4f}" + "  closer" * closer, x, y, 18, "white" if closer else PALE)
    canvas = canvas.reduce(FINE)
    for image, start in zip((left, original, right), lefts, strict=True):
        pixels = image[0].mul(255).round().byte().permute(1, 2, 0).numpy()
        canvas.paste(Image.fromarray(pixels), (start, HEAD))
    return canvas


@click.command(context_settings={"show_default": True})
@click.option("--out", type=click.Path(path_type=Path), default=GALLERY / "which_is_closer.png")
def main(out: Path) -> None:
    """Print what the metrics say; save the picture."""
    original, turned, blurred = copies()
    found = answers(original, turned, blurred)
    print_table({name: dict(zip(("turned", "blurred"), values, strict=True)) for name, values in found.items()}, 4)
    draw(original, turned, blurred, found).save(out, optimize=True)
    click.echo(f"wrote {out}")


if __name__ == "__main__":
    main()
