"""The published implementation with the same weights as ours, for comparison."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lpips_lite import TOWERS


def upstream(net: str, tower: Mapping[str, Tensor], *, spatial: bool = False, version: str = "0.1") -> Any:
    """Return `lpips.LPIPS` (0.1.4) with its own channel weights and copies of the tensors of `tower`."""
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision's and torch.load's old interfaces
        peer = lpips.LPIPS(net=net, version=version, pnet_rand=True, spatial=spatial, verbose=False)
    copy_tower(peer.net, tower)
    return peer.eval()


def copy_tower(slices: nn.Module, tower: Mapping[str, Tensor]) -> None:
    """Copy `features.N…` tensors into a peer's slices (slice1.0, slices.1.3), which keep torchvision's numbers."""
    copied = 0
    for name, parameter in slices.named_parameters():
        key = re.sub(r"^slices?\.?\d+\.", "features.", name)
        if key in tower:
            parameter.data.copy_(tower[key])
            copied += 1
    assert copied == len(tower), f"{copied} tensors copied of {len(tower)}"


def random_tower(net: str, seed: int = 0) -> dict[str, Tensor]:
    """Return random tensors for a tower, by torchvision's keys."""
    from lpips_lite.weights import load_tower

    return load_tower(net, f"random:{seed}", TOWERS[net].shapes()).tensors


def random_channels(net: str, seed: int = 0) -> list[Tensor]:
    """Return random non-negative channel weights of a tower."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(tap.channels, generator=generator) for tap in TOWERS[net].find_taps()]


def two_headed_file(path: Path, **changes: Tensor | None) -> Path:
    """Write a random lite tower and weights of two heads; `changes` replace tensors, or leave them out if `None`."""
    from lpips_lite.channel_weights import number_layers
    from lpips_lite.tensor_files import save_tensors

    far, near = random_channels("lite", 1), random_channels("lite", 2)
    weights = number_layers(far, near, torch.tensor(0.5))
    tensors = {**random_tower("lite"), **weights, **changes}
    save_tensors(path, {key: tensor for key, tensor in tensors.items() if tensor is not None}, {})
    return path
