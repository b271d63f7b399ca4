"""Features for calibration: the distance per channel of every judged image from its reference.

A head of a metric is linear in its channel weights, Σ_c w_c · mean_hw (f̂_x − f̂_y)²_c. With these numbers on disk,
fitting never runs the tower again. They are in a memory-mapped matrix, with one row per distinct (reference, image). A
killed run continues where it stopped. Under `torchrun` the references are divided among the processes.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpips_lite import LPIPS, read_image
from lpips_lite.distance import channel_differences, unit_normalize
from lpips_lite.files.processes import Processes
from lpips_lite.metric import DEFINITION
from lpips_lite.votes.head_vectors import HeadVectors
from lpips_lite.votes.progress import Progress, silently
from lpips_lite.votes.triplets import Triplet, distinct_pairs

MATRICES = "differences.npy", "done.npy"


@dataclass(frozen=True)
class Features:
    """Distances per channel for a set of triplets.

    Attributes:
        differences: mean_hw (f̂_x − f̂_y)² of each distinct pair, (P, ΣC) float32.
        rows: The rows of p0 and of p1 in `differences`, (T, 2).
        channels: Number of channels of each layer; their sum is ΣC.
        net: The tower's name.
        tower: The tower's fingerprint.
        data: The `fingerprint` of images, judgments and rows.
    """

    differences: NDArray[np.float32]
    rows: NDArray[np.int64]
    channels: tuple[int, ...]
    net: str
    tower: str
    data: str

    def distances(self, heads: HeadVectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return d0 and d1 of every triplet."""
        d = heads.distances(self.differences)
        return d[self.rows[:, 0]], d[self.rows[:, 1]]


def fingerprint(triplets: Sequence[Triplet]) -> str:
    """Hash images, judgments and the rows that `distinct_pairs` assigns, but not the paths of files.

    The hash includes the bytes of every image, the judgments, and which triplets share a row: images with the same
    bytes but two names have two rows. So data with the same hash has the same numbers in the same rows.
    """
    contents = {
        path: hashlib.sha256(path.read_bytes()).digest()
        for path in dict.fromkeys(p for t in triplets for p in (t.ref, t.p0, t.p1))
    }
    digest = hashlib.sha256()
    for t, rows in zip(triplets, distinct_pairs(triplets)[1].tolist(), strict=True):
        judged = f"{float(t.judgement)!r} {float(t.votes)!r} {rows}"
        digest.update(contents[t.ref] + contents[t.p0] + contents[t.p1] + judged.encode())
    return digest.hexdigest()[:16]


def extract(
    triplets: Sequence[Triplet],
    metric: LPIPS,
    cache: Path,
    batch_size: int = 8,
    processes: Processes | None = None,
    progress: Progress = silently,
) -> Features:
    """Compute the features of triplets, or read them from the cache.

    Each reference passes through the tower once, and each distinct image once per reference that it belongs to.

    Args:
        triplets: The triplets to compute features for.
        metric: The metric whose tower is used; its channel weights are not used.
        cache: Folder for the matrices; each combination of data, tower and arithmetic has its own matrix.
        batch_size: Number of images in the tower at a time.
        processes: Processes among which references are divided; the first one returns when all are done.
        progress: Iterates over the references and shows progress.

    Raises:
        ValueError: If there are no triplets, an image differs in size from its reference, or `metric` takes unscaled
            images (v0.0).
        OSError: If an image cannot be read.
    """
    if not triplets:
        raise ValueError("the data has no triplets; expected at least one")
    if not metric.scaled:
        raise ValueError(f"{metric.signature!r} does not scale images for its tower; expected other channel weights")
    data = fingerprint(triplets)
    pairs, index = distinct_pairs(triplets)
    channels = tuple(tap.channels for tap in metric.tower.taps)
    net, tower = metric.tower.spec.name, metric.tower.fingerprint
    folder = cache / f"{data}-{net}-{tower}-{DEFINITION.replace('/', '-')}"
    by_reference: dict[Path, list[int]] = defaultdict(list)
    for row, (ref, _) in enumerate(pairs):
        by_reference[ref].append(row)
    processes = processes or Processes()
    if processes.first:
        _create(folder, len(pairs), sum(channels))
    processes.share(None)  # the other processes wait for it
    differences, done = (np.lib.format.open_memmap(folder / name, "r+") for name in MATRICES)

    def fill() -> Generator[Path, None, None]:
        for ref in processes.own(list(by_reference)):
            rows = [row for row in by_reference[ref] if not done[row]]
            for start in range(0, len(rows), batch_size):
                batch = rows[start : start + batch_size]
                differences[batch] = _differences(metric, ref, [pairs[row][1] for row in batch])
                differences.flush()  # before it is marked as done
                done[batch] = True
                done.flush()
            yield ref

    for _ in progress(processes.gather(fill()), f"features of {net}", len(by_reference) if processes.first else 0):
        pass
    return Features(differences, index, channels, net, tower, data)


def _create(folder: Path, pairs: int, columns: int) -> None:
    """Make the matrix and the marks of finished rows, unless they exist."""
    differences, done = (folder / name for name in MATRICES)
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    np.lib.format.open_memmap(differences, "w+", np.float32, (pairs, columns)).flush()
    partial = folder / "done.partial.npy"
    np.lib.format.open_memmap(partial, "w+", np.bool_, (pairs,)).flush()
    partial.replace(done)  # only now is the folder complete


def _differences(metric: LPIPS, ref: Path, images: Sequence[Path]) -> NDArray[np.float32]:
    """Return `channel_distances` of some image files of one reference."""
    reference = read_image(ref)
    read = [read_image(path) for path in images]
    check_sizes(images, read, ref, reference)
    return channel_distances(metric, reference[None], torch.stack(read))


def check_sizes(paths: Sequence[Path], images: Sequence[Tensor], ref: Path, reference: Tensor) -> None:
    """Raise a ValueError that names both files unless images (3, H, W) have the size of their reference."""
    for path, image in zip(paths, images, strict=True):
        if image.shape != reference.shape:
            sizes = tuple(image.shape[1:]), tuple(reference.shape[1:])
            raise ValueError(f"{path}: size {sizes[0]} differs from {sizes[1]} of {ref}")


@torch.inference_mode()
def channel_distances(metric: LPIPS, ref: Tensor, images: Tensor) -> NDArray[np.float32]:
    """Return mean_hw (f̂_x − f̂_ref)² of images (N, 3, H, W) and one reference (1, 3, H, W): (N, ΣC)."""
    features_ref = metric.encode(ref.to(metric.device)).features
    features = metric.encode(images.to(metric.device)).features
    layers = [
        channel_differences(unit_normalize(a), unit_normalize(b)).mean(dim=(2, 3))
        for a, b in zip(features, features_ref, strict=True)
    ]
    return torch.cat(layers, dim=1).cpu().numpy()
