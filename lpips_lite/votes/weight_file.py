"""The weight file of a fit: what `LPIPS(channel_weights=...)` loads, and what is to be known of it later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lpips_lite import LPIPS
from lpips_lite.tensor_files import save_tensors
from lpips_lite.votes.features import Features
from lpips_lite.votes.fit import Fitted
from lpips_lite.votes.objectives import Votes
from lpips_lite.votes.provenance import trained_on
from lpips_lite.votes.scale import keep_scale
from lpips_lite.weights import number_layers

Floats = NDArray[np.float64]


def start_weights(metric: LPIPS) -> Floats:
    """Return a metric's channel weights one after the other, (ΣC,)."""
    return torch.cat(list(metric.tensors.values())).cpu().double().numpy()


def write_weights(
    path: Path,
    start: LPIPS,
    features: Features,
    votes: Votes,
    fitted: Fitted,
    digests: Iterable[str],
    settings: Mapping[str, str],
) -> None:
    """Write fitted weights in the scale of those they started from.

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
    weights, slope = keep_scale(fitted.weights, fitted.slope, start_weights(start), start)
    layers = np.split(weights.astype(np.float32), np.cumsum(features.channels)[:-1])
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
    save_tensors(path, number_layers(torch.from_numpy(layer.copy()) for layer in layers), metadata)
