"""`compare`: what the command line does, for Python; files in, a table out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lpips_lite.catalog import METRICS
from lpips_lite.files.measuring import Settings, build_measures, measure_pairs
from lpips_lite.files.pairs import find_pairs, read_pairs, shown

if TYPE_CHECKING:
    import pandas as pd

File = str | os.PathLike[str]


def compare(
    reference: File,
    images: File | Sequence[File] | None = None,
    *,
    metrics: Sequence[str] = ("lite",),
    resize: Literal["no", "ref"] | tuple[int, int] = "no",
    device: str = "cpu",
    precision: Literal["fp32", "bf16"] = "fp32",
    batch_size: int = 8,
    workers: int = 2,
    allow_unmatched: bool = False,
) -> pd.DataFrame:
    """Compare image files, as `compare-images` does.

    Args:
        reference: An image · a folder · a CSV with the columns `reference` and `image`.
        images: The image or images to compare with it, patterns like "out/*.png" too · for a folder, the other folder,
            paired by relative name · for a CSV, `None`.
        metrics: Names in `METRICS`.
        resize: "no" · "ref": images to their reference's size · (height, width): both.
        device: Where to compute.
        precision: "fp32" · "bf16", under autocast.
        batch_size: Pairs at once, at most.
        workers: Threads that decode.
        allow_unmatched: Leave out images that only one folder has.

    Returns:
        One row a pair, in order: `reference`, `image`, one number a metric (see `METRICS` for range and direction),
        `identical`, and `error`, the reason why there are no numbers. `attrs["signatures"]` says what made them.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If a metric or device is unknown, there is nothing to compare, or names are unmatched.
        ImportError: If pandas is not installed.

    Example:
        >>> table = compare("examples/images/scene.png", "examples/images/scene_*.png", metrics=["lite", "psnr"])
        >>> table.psnr.round(2).tolist()
        [31.62, 29.03, 26.87, 25.15]
    """
    import pandas as pd

    unknown = [name for name in metrics if name not in METRICS]
    if unknown or isinstance(metrics, str):
        raise ValueError(f"metrics={metrics!r}: expected a list of names among {', '.join(METRICS)}")
    if images is None:
        pairing = read_pairs(Path(reference))
    else:
        listed = [images] if isinstance(images, (str, os.PathLike)) else images
        pairing = find_pairs(Path(reference), [Path(image) for image in listed])
    if pairing.unmatched and not allow_unmatched:
        count, first = len(pairing.unmatched), shown(pairing.unmatched[0])
        raise ValueError(f"{count} images have no partner in the other folder, like {first}; or allow_unmatched=True")
    settings = Settings(resize, device, batch_size, workers, precision)
    measures = build_measures(metrics, settings)
    rows = [row for _, row in measure_pairs(pairing.pairs, measures, settings)]
    table = pd.DataFrame(rows, columns=["reference", "image", *measures, "identical", "error"])
    table.attrs["signatures"] = {name: measure.signature for name, measure in measures.items()}
    return table
