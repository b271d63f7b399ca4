"""Ready-made patterns by name, for the folders that programs write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lpips_lite.entries import find_named


class Layout(NamedTuple):
    """Where a program puts references and images, relative to the compared folders.

    Attributes:
        program: The program that writes the files.
        ref_pattern: Pattern of references.
        image_pattern: Pattern of images.
    """

    program: str
    ref_pattern: str
    image_pattern: str


LAYOUTS: Mapping[str, Layout] = {
    "3dgs": Layout(
        "render.py of 3D Gaussian Splatting, a folder for each scene",
        "{scene}/test/*/gt/{name}.png",
        "{scene}/test/{method}/renders/{name}.*",
    ),
    "nerfstudio": Layout(
        "ns-render dataset of nerfstudio, with --output-path SCENE/METHOD",
        "{scene}/*/test/gt-rgb/{name}.*",
        "{scene}/{method}/test/rgb/{name}.*",
    ),
    "basicsr": Layout(
        "test.py of BasicSR, in its own folder",
        "datasets/{dataset}/GTmod*/{name}.png",
        "results/{method}/visualization/{dataset}/{name}_{method}.png",
    ),
    "codec": Layout(
        "originals, and what codecs made of them at several qualities",
        "{name}.*",
        "{codec}/q{quality}/{name}.{ext}",
    ),
}


def find_layout(name: str, said: str) -> Layout:
    """Return the layout with this name; see `entries.find_named`."""
    return find_named(LAYOUTS, name, said, "layout")
