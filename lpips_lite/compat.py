"""A drop-in for `lpips` 0.1.4: the same calls, [-1, 1] inputs, shapes and numbers, on this package's tower and weights.

    from lpips_lite import compat as lpips  # was: import lpips

It has `LPIPS`, `im2tensor`, `tensor2im`, `load_image`, `normalize_tensor`, `spatial_average` and `upsample`.

Tests cover every difference from the original. These are the main ones; `docs/migrating.md` has the whole list:

- Nothing is trainable, and nothing is in `state_dict()`; checkpoints with the old keys load.
- What the original silently computes wrongly is an error: integers, floats in 0…255, NaN, images of two sizes. Other
  values that do not look like [-1, 1] warn once. Any other range, such as from an untrained decoder, is computed.
- Half-precision inputs are compared in float32, and the tower runs in float32 unless autocast is on.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lpips_lite import distance as maths, metric
from lpips_lite.compat_inputs import batches, check_values
from lpips_lite.compat_parts import (
    Network,
    Scaling,
    im2tensor,
    linear_layers,
    load_image,
    normalize_tensor,
    spatial_average,
    tensor2im,
    upsample,
)
from lpips_lite.images import RangeCheck, to_common
from lpips_lite.tensor_files import content_hash

__all__ = [
    "LPIPS",
    "im2tensor",
    "load_image",
    "normalize_tensor",
    "spatial_average",
    "tensor2im",
    "upsample",
]

_UPSTREAM_KEYS = re.compile(r"(net|scaling_layer|lins?\d*)\.")


class LPIPS(nn.Module):
    """LPIPS with the call signature and conventions of `lpips==0.1.4`.

    Args:
        pretrained: Must be True unless `lpips` is False, since channel weights are never random here.
        net: "alex" · "vgg" · "squeeze"; "lite" works too.
        version: "0.1" or "0.0".
        lpips: Use the calibrated channel weights; False: uniform ones.
        spatial: Return a map (N, 1, H, W) instead of (N, 1, 1, 1).
        pnet_rand: Use a random tower, which is always the same.
        pnet_tune: Not supported: the tower is frozen.
        use_dropout: No effect, as in the original's eval mode.
        model_path: A file with channel weights, instead of those of `version`.
        eval_mode: No effect: there is only this mode.
        verbose: No effect: nothing is printed.
        tower_weights: As in `lpips_lite.LPIPS`.
        check_range: As in `lpips_lite.LPIPS`; "never" lets all values pass without an error or a warning.

    Attributes:
        net: Turns scaled images into the features of each layer, a named tuple. `net`, `lins` and `scaling_layer` are
            copies made on access; they have nothing to train, and changing them has no effect.
        lins: One callable per layer; the channel weights are `lins[k].model[-1].weight`. Raises a ValueError if the
            weights have two heads.
        scaling_layer: Turns images in [-1, 1] into the input of `net`.
        chns: Channels of each layer.
        L: Number of layers.

    Raises:
        ValueError: If an argument asks for something unsupported; otherwise same as `lpips_lite.LPIPS`.

    Examples:
        >>> import torch
        >>> loss = LPIPS(net="lite", verbose=False)
        >>> loss(torch.zeros(2, 3, 64, 64), torch.zeros(1, 3, 64, 64), normalize=True).shape
        torch.Size([2, 1, 1, 1])
    """

    def __init__(
        self,
        pretrained: bool = True,
        net: str = "alex",
        version: str = "0.1",
        lpips: bool = True,
        spatial: bool = False,
        pnet_rand: bool = False,
        pnet_tune: bool = False,
        use_dropout: bool = True,
        model_path: str | os.PathLike[str] | None = None,
        eval_mode: bool = True,
        verbose: bool = True,
        *,
        tower_weights: str | os.PathLike[str] | Mapping[str, Tensor] | None = None,
        check_range: RangeCheck = "auto",
    ) -> None:
        super().__init__()
        if pnet_tune:
            raise ValueError("pnet_tune=True: the tower is frozen; expected False")
        if lpips and not pretrained:
            raise ValueError("pretrained=False: channel weights would be random; expected True, or lpips=False")
        if version not in ("0.1", "0.0"):
            raise ValueError(f"version={version!r}: expected '0.1' or '0.0'")
        calibrated = "calibrated" if net == "lite" else f"v{version}"
        self.metric = metric.LPIPS(
            "vgg" if net == "vgg16" else net,
            channel_weights=(model_path or calibrated) if lpips else "uniform",
            tower_weights="random:0" if pnet_rand else tower_weights,
            check_range=check_range,
        )
        self.pnet_type, self.version, self.lpips, self.spatial = net, version, lpips, spatial
        self.chns = [tap.channels for tap in self.metric.tower.taps]
        self.L = len(self.chns)
        self._warned = False
        if self.metric.scaled == (version == "0.0"):
            raise ValueError(
                f"version={version!r}: expected the version whose channel weights are used, '0.0' or '0.1'"
            )

    @property
    def net(self) -> Network:
        return Network(self.metric.tower)

    @property
    def lins(self) -> nn.ModuleList:
        if self.metric._heads.limit is not None:  # not an AttributeError, whose message a Module would replace
            raise ValueError(
                f"lins: the weights of {self.metric.signature!r} have two heads, which linear layers cannot represent; "
                f"expected weights with one. Their numbers are in metric.tensors; each layer's share of the distance "
                f"comes from retPerLayer=True, a map of it with spatial=True"
            )
        return linear_layers(self.metric.tensors)

    @property
    def scaling_layer(self) -> Scaling:
        return Scaling(self.metric.device)

    def forward(self, in0: Tensor, in1: Tensor, retPerLayer: bool = False, normalize: bool = False) -> Any:  # noqa: N803
        """Return the distance of each pair.

        Args:
            in0: Images, (N, 3, H, W), floats in [-1, 1]. A single image may be (3, H, W); a batch of one is compared
                with all images of the other side; one channel is repeated to three.
            in1: The images to compare with, in the same form.
            retPerLayer: Return (distance, [distance of layer 1, …]) instead; with two heads, the shares of the layers.
            normalize: Inputs are in [0, 1].

        Returns:
            (N, 1, 1, 1), or (N, 1, H, W) if `spatial`; lower = closer.

        Raises:
            TypeError: If an image is not a tensor of floats, since the range of integers would be ambiguous.
            ValueError: If the shapes do not match, a value is NaN or infinite, or in0 or in1 is in 0…255.
        """
        x, y = batches(in0, in1, self.metric.tower.spec.min_side)
        self.metric._check_device(x)
        doubt = None
        if self.metric._values_wanted(x):
            doubt = check_values(x, y, normalize)
            self.metric._note_checked(x)
        if doubt and not self._warned:
            self._warned = True
            warnings.warn(doubt, stacklevel=4)  # points to the line that calls this module
        x, y = to_common(x, y)
        layers = self._layers(x, y) if normalize else self._layers((x + 1) / 2, (y + 1) / 2)
        total = torch.stack(layers).sum(dim=0)
        return (total, layers) if retPerLayer else total

    def _layers(self, x: Tensor, y: Tensor) -> list[Tensor]:
        size = (x.shape[2], x.shape[3])
        maps = self.metric._heads.shares(self._maps(x, y))
        return [maths.pool_map(m, size) if self.spatial else maths.pool_mean(m).view(-1, 1, 1, 1) for m in maps]

    def _maps(self, x: Tensor, y: Tensor) -> list[Tensor]:
        if len(x) == len(y):
            return self.metric._layer_maps(x, y)
        rows = max(len(x), len(y))  # the tower runs once on a single image, and its features are repeated
        streams = zip(*map(self.metric.tower.stream, (x, y)), strict=True)
        return self.metric._heads.layer_maps([f.expand(rows, -1, -1, -1) for f in pair] for pair in streams)

    def _has(self, stored: Mapping[str, Tensor]) -> bool:
        """Return whether weights under the names of `lpips` are those in use."""
        own = (*self.metric.tensors.values(), *self.metric.tower.tensors.values())
        named = (tensor for key, tensor in stored.items() if re.match(r"lin\d|net\.", key))
        return {_digest(tensor) for tensor in named} <= {_digest(tensor) for tensor in own}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Ignore the tower and weights of `lpips` in an old checkpoint, and warn if they differ from those in use."""
        keys = [k for k in state_dict if k.startswith(prefix) and _UPSTREAM_KEYS.match(k[len(prefix) :])]
        stored = {key[len(prefix) :]: state_dict.pop(key) for key in keys}
        if stored and not self._has(stored):
            warnings.warn(
                f"the checkpoint's weights under {prefix!r} differ from {self.metric.signature!r}, which stay in use; "
                f"to use its channel weights, save them and pass the file as model_path=",
                stacklevel=2,
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _digest(tensor: Tensor) -> str:
    return content_hash({"": tensor.flatten()})
