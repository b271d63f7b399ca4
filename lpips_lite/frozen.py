"""Tensors that a training loop cannot reach: the base of `towers.py` and `metric.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def ordinary_tensors() -> Iterator[None]:
    """Make tensors on the CPU that gradients can pass, whatever the default device or inference mode is."""
    with torch.inference_mode(False), torch.device("cpu"):
        yield


class Frozen(nn.Module):
    """A module whose tensors nothing in a training loop can reach.

    They are in a plain dictionary, not in `parameters()`, `buffers()` or `state_dict()`. So no optimiser, checkpoint,
    EMA copy, DDP broadcast or `requires_grad_()` touches them. They follow `.to(device)`, deepcopy and pickle. Their
    dtype stays float32 even if `.half()` or `.double()` is called on a parent: computing follows the input's dtype.
    Like parameters, they are made on the default device, or on the CPU if that is "meta", which holds no values. After
    `.to("meta")` the values are kept aside; `.to(device)` or `.to_empty(device=device)` restores them.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        wanted = torch.get_default_device()
        device = torch.device("cpu") if wanted.type == "meta" else wanted
        with ordinary_tensors():
            self._tensors = {name: tensor.detach().float().clone() for name, tensor in tensors.items()}
            if device.type != "cpu":
                self._tensors = {name: tensor.to(device) for name, tensor in self._tensors.items()}
        self._values = self._tensors  # the same, except on the device "meta"

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The frozen tensors by name, float32."""
        return self._tensors

    @property
    def device(self) -> torch.device:
        """The device of the tensors, where inputs must be, too."""
        return next(iter(self._tensors.values())).device

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        try:
            device = fn(torch.empty(0, device=self.device)).device
        except NotImplementedError:  # `.to` cannot leave "meta"; the kept values can
            device = fn(torch.empty(0, device=next(iter(self._values.values())).device)).device
        with ordinary_tensors():
            self._tensors = {name: tensor.to(device) for name, tensor in self._values.items()}
        if device.type != "meta":
            self._values = self._tensors
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copied or pickled module; tensors made under inference mode become ordinary ones."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        with ordinary_tensors():
            kept = {name: t.clone() if t.is_inference() else t for name, t in self._values.items()}
            self._tensors = self._tensors if self.device.type == "meta" else kept
        self._values = kept

    def _follow(self, device: torch.device) -> None:
        """Move to the device of an input, if this is a replica that `nn.DataParallel` made for one forward pass."""
        if getattr(self, "_is_replica", False) and device != self.device:
            self._tensors = {name: tensor.to(device) for name, tensor in self._tensors.items()}
