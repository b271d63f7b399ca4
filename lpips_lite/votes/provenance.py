"""What weights were trained on: digests of the judged references, kept in the weight file.

A metric must be judged, or fitted further, on references that it has not seen. The metadata of a weight file have a
list, `trained_on`, of digests of pixels, so that a reference is recognised under any name and in any lossless format.
The same photograph at another size or in another crop is not recognised.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lpips_lite import LPIPS, read_image
from lpips_lite.files.outputs import replace_file
from lpips_lite.tensor_files import spell_digests
from lpips_lite.votes.progress import Progress, silently
from lpips_lite.votes.triplets import Triplet


def reference_digest(path: Path) -> str:
    """Return 16 hex digits of the sha256 of an image's size and 8-bit RGB pixels, as `read_image` reads them."""
    pixels = (read_image(path) * 255).round().byte().numpy()  # (3, H, W)
    size = f"{pixels.shape[2]}x{pixels.shape[1]} "
    return hashlib.sha256(size.encode() + np.ascontiguousarray(pixels.transpose(1, 2, 0)).tobytes()).hexdigest()[:16]


def reference_digests(triplets: Sequence[Triplet], progress: Progress = silently) -> dict[Path, str]:
    """Return the digest of every reference of the triplets."""
    references = list(dict.fromkeys(t.ref for t in triplets))
    return {path: reference_digest(path) for path in progress(references, "references")}


def trained_on(metric: LPIPS, digests: Iterable[str]) -> str:
    """Return the list `trained_on` for weights that were fitted to these references, starting from `metric`."""
    return spell_digests({*metric.trained_on, *digests})


def check_unseen(metric: LPIPS, digests: Mapping[Path, str]) -> None:
    """Check that a metric was not trained on the references that it is to be judged on.

    Args:
        metric: The metric, with the lists in the files of its tower and of its channel weights.
        digests: Digests of the references; see `reference_digests`.

    Raises:
        ValueError: If it was trained on one of them. No option skips this check.
    """
    seen = [path for path, digest in digests.items() if digest in metric.trained_on]
    if seen:
        raise ValueError(
            f"{metric.signature!r} was trained on people's judgments of {len(seen)} of these {len(digests)} "
            f"references, the first {seen[0]}: its score on them says nothing about others. Name weights that have not "
            f"seen them: instead of those of lite, the distilled ones (in a clone calibration/results/"
            f"lite-0.4-distilled.safetensors, as tower and as weights); instead of fitted ones, those they started from"
        )


def rewrite_metadata(path: Path, changes: Mapping[str, str]) -> None:
    """Change entries in the metadata of a safetensors file without changing its tensors.

    The header is sorted, so that the same tensors and metadata give the same bytes. This made the list of the embedded
    lite weights: `rewrite_metadata(FILE, {"trained_on": trained_on(LPIPS(), reference_digests(load(DATA)).values())})`.
    """
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = {**header.pop("__metadata__", {}), **changes}
    header = {"__metadata__": dict(sorted(metadata.items())), **dict(sorted(header.items()))}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    replace_file(path, len(text).to_bytes(8, "little") + text + data[end:])
