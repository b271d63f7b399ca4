"""Conventions of programs and papers, by name: the metrics of the catalog that give their numbers. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lpips_lite.entries import find_named


class Convention(NamedTuple):
    """The metrics that a program computes.

    Attributes:
        program: The program or the papers.
        metrics: Names in the grammar of the catalog, in the program's order.
    """

    program: str
    metrics: tuple[str, ...]


def _basicsr(scale: int) -> Convention:
    return Convention(
        f"BasicSR and papers on super-resolution by {scale}: luma, {scale} pixels cropped at each border",
        (f"psnr:y:crop={scale}", f"ssim:y:crop={scale}"),
    )


CONVENTIONS: Mapping[str, Convention] = {
    "3dgs": Convention("metrics.py of 3D Gaussian Splatting", ("psnr", "ssim:3dgs", "vgg:unscaled")),
    "nerfstudio": Convention(
        "ns-eval of nerfstudio for nerfacto, but its SSIM takes the images' range for 1",
        ("psnr", "ssim:torchmetrics", "alex"),
    ),
    **{f"basicsr-y{scale}": _basicsr(scale) for scale in (2, 3, 4)},
}


def find_convention(name: str, said: str) -> Convention:
    """Return the convention with this name; see `entries.find_named`."""
    return find_named(CONVENTIONS, name, said, "convention")
