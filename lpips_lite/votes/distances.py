"""Distances of judged images from their references, under any metric of the catalog; computed values are kept.

Values are kept by the content of the two files and the signature of the metric. So neither the order of the data nor
file names matter, and a killed run continues where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpips_lite.catalog import LoadedMetric, entry_of, may_be_infinite
from lpips_lite.files.outputs import errors_named
from lpips_lite.files.reading import read_image
from lpips_lite.files.settings import Settings
from lpips_lite.votes.features import check_sizes
from lpips_lite.votes.progress import Progress, silently

Pair = tuple[Path, Path]  # a reference, and an image compared with it


def contents(paths: Iterable[Path], progress: Progress = silently) -> dict[Path, str]:
    """Return a digest of the bytes of each file.

    Raises:
        OSError: If one cannot be read.
    """
    found = {}
    for path in progress(list(dict.fromkeys(paths)), "hashing"):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file")
        found[path] = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    return found


class Known:
    """Values known from earlier runs, by the contents of reference and image: one JSON array per line.

    An unfinished line from a killed run is ignored.

    Args:
        folder: Folder for the values; it is made if necessary.
        metric: The metric's name, for messages.
        signature: The metric's signature.

    Raises:
        OSError: If the file cannot be read or written.
    """

    def __init__(self, folder: Path, metric: str, signature: str) -> None:
        self.path = folder / f"{metric}-{hashlib.sha256(signature.encode()).hexdigest()[:16]}.jsonl"
        self.values: dict[tuple[str, str], float] = {}
        with errors_named(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+", encoding="utf-8", errors="replace") as file:
                file.seek(0)
                for line in file:
                    self._take(line)

    def _take(self, line: str) -> None:
        try:
            ref, image, value = json.loads(line)
            self.values[str(ref), str(image)] = float(value)
        except (ValueError, TypeError):
            return

    def add(self, keys: Sequence[tuple[str, str]], values: Sequence[float]) -> None:
        """Keep values, first in the file and then in memory."""
        lines = [json.dumps([*key, value]) for key, value in zip(keys, values, strict=True)]
        with errors_named(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + "\n".join(lines) + "\n")  # an unfinished line of a killed run stays separate
        self.values.update(zip(keys, values, strict=True))


@dataclass(frozen=True)
class Measuring:
    """Settings for measuring: the folder of known values, the device, images per batch, and decoding threads."""

    cache: Path
    settings: Settings


def measure(
    pairs: Sequence[Pair],
    text: str,
    metric: LoadedMetric,
    digests: Mapping[Path, str],
    measuring: Measuring,
    progress: Progress = silently,
) -> NDArray[np.float64]:
    """Return the distance of each image from its reference, lower = closer; similarities are negated.

    Args:
        pairs: References and images; pairs with the same contents are measured once.
        text: The metric in the catalog's spelling.
        metric: The loaded metric.
        digests: Digests of all files; see `contents`.
        measuring: Settings.
        progress: Iterates over the batches and shows progress.

    Raises:
        OSError: If an image cannot be read, or the cache cannot be written.
        ValueError: If an image cannot be decoded or differs in size from its reference, or the metric gives no number;
            the message names both files.
    """
    known = Known(measuring.cache, text.partition(":")[0], metric.signature)
    keys = [(digests[ref], digests[image]) for ref, image in pairs]
    missing: dict[tuple[str, str], Pair] = {}
    for key, pair in zip(keys, pairs, strict=True):
        if key not in known.values:
            missing.setdefault(key, pair)
    settings = measuring.settings
    with ThreadPoolExecutor(settings.workers) as pool:
        for batch in progress(_batches(missing.values(), settings.batch_size), text):
            ref, *images = pool.map(read_image, [batch[0][0], *(image for _, image in batch)])
            values = _values(text, metric, batch, ref, images, settings.device)
            known.add([(digests[r], digests[image]) for r, image in batch], values)
    sign = -1.0 if entry_of(text).direction == "higher" else 1.0
    return sign * np.array([known.values[key] for key in keys], dtype=np.float64)


def _batches(pairs: Iterable[Pair], most: int) -> list[list[Pair]]:
    """Group neighbouring pairs with the same reference, since their images have the same size."""
    batches: list[list[Pair]] = []
    for pair in pairs:
        if batches and len(batches[-1]) < most and batches[-1][0][0] == pair[0]:
            batches[-1].append(pair)
        else:
            batches.append([pair])
    return batches


def _values(
    text: str, metric: LoadedMetric, batch: Sequence[Pair], ref: Tensor, images: Sequence[Tensor], device: str
) -> list[float]:
    """Return one number per pair of a batch with one reference."""
    check_sizes([path for _, path in batch], images, batch[0][0], ref)
    x, y = torch.stack(list(images)).to(device), ref.expand(len(images), *ref.shape).to(device)
    try:
        with torch.inference_mode():
            values: list[float] = metric.compute(x, y.contiguous()).double().cpu().tolist()
    except ValueError as error:  # for example, too small for the metric
        raise ValueError(f"{batch[0][1]}: {text}: {error}") from error
    for (path, image_path), value in zip(batch, values, strict=True):
        if math.isnan(value) or (math.isinf(value) and not may_be_infinite(text)):
            raise ValueError(f"{image_path}: {text} gave {value} against {path}, which is not a distance")
    return values
