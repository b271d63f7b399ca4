"""Photographs that nobody judged: read a tar or a folder, and cut random squares."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

HOLD_OUT_EVERY = 14


def read_photos(path: Path) -> Tensor:
    """Decode a tar file or folder of photographs of the same size: (P, 3, H, W) uint8, sorted by name."""
    if path.is_dir():
        files = [(p.name, p.read_bytes()) for p in path.iterdir() if p.is_file()]
    else:
        with tarfile.open(path) as tar:
            files = [(m.name, tar.extractfile(m).read()) for m in tar if m.isfile()]  # type: ignore[union-attr]
    photos = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for _, data in sorted(files)]
    return torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).contiguous()


def split_photos(photos: Tensor) -> tuple[Tensor, Tensor]:
    """Return the photographs to learn from, and the held-out ones, every 14th."""
    held_out = torch.arange(len(photos)) % HOLD_OUT_EVERY == 0
    return photos[~held_out], photos[held_out]


def crop(photos: Tensor, count: int, side: int, generator: Generator) -> Tensor:
    """Cut random squares from random photographs, half of them mirrored: (count, 3, side, side) in [0, 1]."""
    height, width = photos.shape[-2:]
    chosen = torch.randint(len(photos), (count,), generator=generator).tolist()
    tops = torch.randint(height - side + 1, (count,), generator=generator).tolist()
    lefts = torch.randint(width - side + 1, (count,), generator=generator).tolist()
    crops = torch.stack([photos[p, :, t : t + side, s : s + side] for p, t, s in zip(chosen, tops, lefts, strict=True)])
    mirrored = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored, crops.flip(-1), crops).float() / 255
