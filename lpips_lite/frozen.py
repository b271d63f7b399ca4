"""Tensors that a training loop cannot reach: the base of `towers.py` and `metric.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


class Frozen(nn.Module):
    """A module whose tensors nothing in a training loop can reach.

    They lie in a plain dictionary: in no `parameters()`, `buffers()` or `state_dict()`, so no optimiser, checkpoint,
    EMA copy, DDP broadcast or `requires_grad_()` touches them. They follow `.to(device)`, deepcopy and pickle. Their
    dtype stays float32, whatever `.half()` or `.double()` is called on a parent: computing follows the input's dtype.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._tensors = {name: tensor.detach().float().clone() for name, tensor in tensors.items()}

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The frozen tensors by name, float32."""
        return self._tensors

    @property
    def device(self) -> torch.device:
        """The device they lie on, where inputs must be too."""
        return next(iter(self._tensors.values())).device

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        device = fn(torch.empty(0, device=self.device)).device
        self._tensors = {name: tensor.to(device) for name, tensor in self._tensors.items()}
        return self
