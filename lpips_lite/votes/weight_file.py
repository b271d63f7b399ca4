"""The weight file of a fit: what `LPIPS(channel_weights=...)` loads, and what is to be known of it later."""

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
    """Write fitted weights in the scale of those they started from, which a head that was held keeps by itself.

    The metadata has `slope` only if votes determine one, and `uncertain`, the reasons why not everything can be relied
    on, only if there are some.

    Args:
        path: File to write.
        start: The metric that was fitted, with the weights that it started from.
        features: What it was fitted with.
        votes: Likewise.
        fitted: The result.
        digests: Of the references, which go on the list of what the weights have learnt from.
        settings: More metadata.
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
