"""What weights have learnt from: digests of the references that people judged, kept in the weight file.

Whoever judges a metric, or fits it further, must do so on references that it has not seen. A file's metadata has a
list, `trained_on`, of digests of pixels, so that a reference is known under any name and in any lossless format. The
same photograph at another size or in another crop is not known again.
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
    """Return the digest of every reference of some triplets."""
    references = list(dict.fromkeys(t.ref for t in triplets))
    return {path: reference_digest(path) for path in progress(references, "references")}


def trained_on(metric: LPIPS, digests: Iterable[str]) -> str:
    """Return what to write as `trained_on` into weights that `metric` learnt from references with these digests."""
    return spell_digests({*metric.trained_on, *digests})


def check_unseen(metric: LPIPS, digests: Mapping[Path, str]) -> None:
    """Check that a metric has learnt nothing from the references that it is to be judged on.

    Args:
        metric: Which knows what the files of its tower and of its channel weights list.
        digests: Of the references, see `reference_digests`.

    Raises:
        ValueError: If it has, if only from one; there is no way around it.
    """
    seen = [path for path, digest in digests.items() if digest in metric.trained_on]
    if seen:
        raise ValueError(
            f"{metric.signature!r} has learnt people's judgments of {len(seen)} of these {len(digests)} references, "
            f"the first {seen[0]}: what it scores on them says nothing about others. Name weights that have not seen "
            f"them: instead of lite's own, distilled ones without judgments (in a clone calibration/results/"
            f"lite-0.4-distilled.safetensors, as tower and as weights), instead of fitted ones, those they started from"
        )


def rewrite_metadata(path: Path, changes: Mapping[str, str]) -> None:
    """Change entries of a safetensors file's metadata, and not a bit of its tensors.

    The header is sorted, so that the same tensors and metadata are the same bytes. The embedded lite weights got their
    list so: `rewrite_metadata(FILE, {"trained_on": trained_on(LPIPS(), reference_digests(load(DATA)).values())})`.
    """
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = {**header.pop("__metadata__", {}), **changes}
    header = {"__metadata__": dict(sorted(metadata.items())), **dict(sorted(header.items()))}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    replace_file(path, len(text).to_bytes(8, "little") + text + data[end:])
