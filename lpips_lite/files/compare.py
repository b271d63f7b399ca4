"""`compare`: the command as a function in Python. It takes files and returns a table."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lpips_lite.catalog import MetricSpec, columns_of, parse_metrics
from lpips_lite.conventions import find_convention
from lpips_lite.files.layouts import find_layout
from lpips_lite.files.masks import check_masked, give_masks
from lpips_lite.files.measuring import load_metrics, measure_pairs
from lpips_lite.files.names import PATHS, file_path
from lpips_lite.files.pairing import Pairing, remarks, require_pairs
from lpips_lite.files.pairs import find_pairs, match_patterns, read_pairs
from lpips_lite.files.reading import Reader
from lpips_lite.files.resizing import resize_notes
from lpips_lite.files.results import MADE, check_columns
from lpips_lite.files.settings import MAX_PIXELS, Box, Precision, Resize, Settings, python_spelling

if TYPE_CHECKING:
    import pandas as pd

File = str | os.PathLike[str]


def compare(
    reference: File | None = None,
    images: File | Sequence[File] | None = None,
    *,
    metrics: Sequence[str] | None = None,
    convention: str | None = None,
    ref_pattern: str | None = None,
    image_pattern: str | None = None,
    layout: str | None = None,
    mask: File | None = None,
    ignore_boxes: Sequence[Box] = (),
    resize: Resize = "no",
    background: str = "white",
    max_pixels: int = MAX_PIXELS,
    device: str = "cpu",
    precision: Precision = "fp32",
    batch_size: int = 8,
    workers: int = 2,
    allow_unmatched: bool = False,
) -> pd.DataFrame:
    """Compare image files, as `compare-images` does.

    Args:
        reference: An image · a folder · a CSV with the columns `reference` and `image`.
        images: The image or images to compare with it, patterns like "out/*.png" too · for a folder, the other folder,
            paired by relative name · for a CSV, `None`.
        metrics: Names in `METRICS`, with options like "ssim:matlab" or "alex:weights=mine.safetensors"; "bytes" and
            "bpp" of the image's file, too. `None`: those of `convention`, or else "lite".
        convention: The metrics of a program, before those of `metrics`: "3dgs" · "nerfstudio" · "basicsr-y4" and so on.
        ref_pattern: Pattern of references, like "gt/{name}.png", in the folder `reference` if that is given.
        image_pattern: Pattern of images, like "out/{method}/{name}x4.*", in the folder `images` if that is given. Files
            with equal fields in both patterns make a pair; all fields become columns.
        layout: Both patterns by name: "3dgs" · "nerfstudio" · "basicsr" · "codec", in the folders `reference` and
            `images`, which may be the same.
        mask: Where to compare: an image as large as each reference, white where to compare and black elsewhere · a
            folder of such images, each with the relative name of its reference without suffix. A list may have a
            column `mask`.
        ignore_boxes: Boxes (left, top, width, height) of the reference's pixels that are not compared.
        resize: "no" · "ref": images to their reference's size · "crop": both to the middle that they share · "pad":
            both to the larger width and height, with `background` on the right and at the bottom · (height, width).
        background: What transparent pixels are put on, like "white" or "#808080".
        max_pixels: Largest number of pixels of an image.
        device: Where to compute.
        precision: "fp32" · "bf16", under autocast.
        batch_size: Largest number of pairs in a batch.
        workers: Number of threads that decode.
        allow_unmatched: Leave out images that only one folder has, and compare references without a mask whole.

    Returns:
        One row per pair, in order: `reference`, `image`, other columns of the list or pattern, one number per metric
        (see `METRICS` for range and direction; "region" has a second column `region:box`, "left,top,width,height"),
        `identical`, `content` (a hash of the files' bytes) and `error`, the reason why there is no
        number. `attrs["signatures"]` says what made them, `attrs["notes"]` what was handled on the way. `summarize`
        makes groups of them.

    Warns:
        UserWarning: If a metric repeats a known mistake, like "vgg:unscaled".

    Raises:
        FileNotFoundError: If a path does not exist.
        OSError: If a folder or list cannot be read.
        ValueError: If an argument has a wrong value, there is nothing to compare, names are unmatched, or a metric has
            no meaning for some of the pixels.
        TypeError: If `metrics` is one text instead of a list.
        ImportError: If pandas is not installed, or scipy for "region".

    Examples:
        >>> table = compare("examples/images/scene.png", "examples/images/scene_*.png", metrics=["lite", "psnr"])
        >>> table.psnr.round(2).tolist()
        [31.62, 29.03, 26.87, 25.15]
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError('compare() needs pandas: pip install "lpips_lite[compare]"') from error

    specs = _specs(metrics, convention)
    settings = Settings(
        resize, background, max_pixels, device, precision, batch_size, workers, ignore_boxes=ignore_boxes
    )
    if layout is not None:
        if ref_pattern is not None or image_pattern is not None:
            raise ValueError(f"layout={layout!r} stands for ref_pattern and image_pattern; expected it without them")
        _, ref_pattern, image_pattern = find_layout(layout, python_spelling("layout", layout))
        images = reference if images is None else images
    pairing = _find(reference, images, ref_pattern, image_pattern)
    masks = None if mask is None else file_path(mask)
    pairing = give_masks(pairing, masks, allow_unmatched)
    require_pairs(pairing, allow_unmatched)
    carried, texts = list(pairing.pairs[0].columns), [spec.text for spec in specs]
    check_columns(carried, texts)
    check_masked(texts, masks, pairing, settings)
    settings = replace(settings, masks=pairing.masks)
    loaded = load_metrics(specs, settings)
    for mistake in [text for spec in specs for text in spec.mistakes()]:
        warnings.warn(mistake, stacklevel=2)
    rows, notes, resized = [], dict.fromkeys(remarks(pairing, allow_unmatched)), 0
    for decoded, row in measure_pairs(pairing.pairs, loaded, settings, Reader(background, max_pixels)):
        rows.append(row)
        notes |= dict.fromkeys(decoded.notes)
        resized += decoded.resized
    table = pd.DataFrame(rows, columns=[*PATHS, *carried, *columns_of(loaded), *MADE])
    table.attrs["signatures"] = {name: metric.signature for name, metric in loaded.items()}
    table.attrs["notes"] = [*notes, *resize_notes(settings, resized, len(rows))]
    return table


def _specs(metrics: Sequence[str] | None, convention: str | None) -> list[MetricSpec]:
    """Return the metrics that the arguments name: those of a convention first, each once."""
    if isinstance(metrics, str):
        raise TypeError(f"metrics={metrics!r}: expected a list, like [{metrics!r}]")
    if convention is None:
        return parse_metrics(("lite",) if metrics is None else metrics)
    own = find_convention(convention, python_spelling("convention", convention)).metrics
    return parse_metrics([*own, *(metrics or ())])


def _find(
    reference: File | None,
    images: File | Sequence[File] | None,
    ref_pattern: str | None,
    image_pattern: str | None,
) -> Pairing:
    """Return the pairs that the arguments name."""
    listed = [images] if isinstance(images, (str, os.PathLike)) else list([] if images is None else images)
    paths = [file_path(image) for image in listed]
    if ref_pattern is not None and image_pattern is not None:
        folders: list[Path | None] = [
            None if reference is None else file_path(reference),
            *paths,
            *([] if paths else [None]),
        ]
        if len(folders) != 2 or (folders[0] is None) != (folders[1] is None):
            raise ValueError(f"images={images!r}: expected with patterns two folders, or neither")
        return match_patterns(ref_pattern, image_pattern, folders[0], folders[1])
    if ref_pattern is not None or image_pattern is not None:
        raise ValueError("ref_pattern and image_pattern: expected both or neither")
    if reference is None:
        raise ValueError("reference=None: expected an image, a folder or a list, or ref_pattern and image_pattern")
    if images is None:
        return read_pairs(file_path(reference))
    if not paths:
        raise ValueError("images=[]: expected at least one image")
    return find_pairs(file_path(reference), paths)
