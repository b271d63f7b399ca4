"""The weight file of a fit, which `LPIPS(channel_weights=...)` loads, with metadata on how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from lpips_lite import LPIPS
from lpips_lite.tensor_files import save_tensors
from lpips_lite.votes.features import Features
from lpips_lite.votes.fit import Fitted
from lpips_lite.votes.head_vectors import HeadVectors
from lpips_lite.votes.objectives import Votes
from lpips_lite.votes.provenance import trained_on
from lpips_lite.votes.scale import keep_scale


def write_weights(
    path: Path,
    start: LPIPS,
    features: Features,
    votes: Votes,
    fitted: Fitted,
    digests: Iterable[str],
    settings: Mapping[str, str],
) -> None:
    """Write fitted weights in the scale of the starting ones; if a head was kept, they have this scale already.

    The metadata have `slope` only if votes determine one, and `uncertain`, the reasons why some results are not
    reliable, only if there are any.

    Args:
        path: File to write.
        start: The metric that was fitted, with the weights that it started from.
        features: The features that were used.
        votes: The votes that were used.
        fitted: The result.
        digests: Digests of the references, to be listed in `trained_on`.
        settings: Additional metadata.
    """
    heads, slope = fitted.weights, fitted.slope
    if heads.near is None:
        far, slope = keep_scale(heads.far, slope, HeadVectors.of(start).far, start)
        heads = HeadVectors(far)
    agreement = fitted.agreement
    metadata = {
        "net": features.net,
        "tower": features.tower,
        "start": start.signature,
        "penalty": f"{fitted.penalty:g}",
        "folds": f"{len(np.unique(fitted.fold))}",
        "data": features.data,
        "triplets": f"{len(features.rows)}",
        "votes": f"{votes.count.sum():g}",
        "references": f"{len(np.unique(votes.reference))}",
        "trained_on": trained_on(start, digests),
        **settings,
    }
    if slope is not None:
        metadata["slope"] = f"{slope:.6g}"
    if fitted.uncertain:
        metadata["uncertain"] = "; ".join(fitted.uncertain)
    if not np.isnan(agreement.value):
        metadata["cross_validated_agreement"] = f"{agreement.value:.4f}"
    if not np.isnan(agreement.low):
        metadata["cross_validated_interval"] = f"{agreement.low:.4f} {agreement.high:.4f}"
    save_tensors(path, heads.tensors(features.channels), metadata)
