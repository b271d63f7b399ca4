"""A drop-in for `lpips.LPIPS`: the same call, [-1, 1] inputs and shapes, on this package's tower and weights.

    from lpips_lite.compat import LPIPS  # was: from lpips import LPIPS

What differs: nothing is trainable, nothing enters `state_dict()` (checkpoints that hold the old keys still load), and
input that was declared as [-1, 1] but has no negative value warns once.
"""

from __future__ import annotations

import os
import re
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from lpips_lite import distance as maths, metric
from lpips_lite.images import INPUT_SLACK, check_pair, check_values

_UPSTREAM_KEYS = re.compile(r"(net|scaling_layer|lins?\d*)\.")


class LPIPS(nn.Module):
    """LPIPS with the call signature and conventions of `lpips==0.1.4`.

    Args:
        pretrained: Must be True unless `lpips` is False: channel weights are never random here.
        net: "alex" · "vgg" · "squeeze"; "lite" works too.
        version: "0.1" or "0.0".
        lpips: Use the calibrated channel weights; False: uniform ones.
        spatial: Return a map (N, 1, H, W) instead of (N, 1, 1, 1).
        pnet_rand: Use a random tower.
        pnet_tune: Not supported: the tower is frozen.
        use_dropout: No effect, as in the original's eval mode.
        model_path: A file with channel weights, instead of `version`'s.
        eval_mode: No effect: there is no other mode.
        verbose: No effect: nothing is printed.
        tower_weights: As in `lpips_lite.LPIPS`.

    Raises:
        ValueError: If an argument asks for what is not supported; else as `lpips_lite.LPIPS`.

    Example:
        >>> import torch
        >>> loss = LPIPS(net="lite", verbose=False)
        >>> loss(torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 64, 64), normalize=True).shape
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
        tower_weights: str | os.PathLike[str] | None = None,
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
        )
        self.spatial = spatial
        self._warned = False

    def forward(self, in0: Tensor, in1: Tensor, retPerLayer: bool = False, normalize: bool = False) -> Any:  # noqa: N803
        """Return the distance of each pair.

        Args:
            in0: Images, (N, 3, H, W), float in [-1, 1].
            in1: Likewise.
            retPerLayer: Return (distance, [distance of layer 1, …]) instead.
            normalize: Inputs are in [0, 1].

        Returns:
            (N, 1, 1, 1), or (N, 1, H, W) if `spatial`; lower = closer.

        Raises:
            TypeError, ValueError: As `lpips_lite.LPIPS.forward`; values may overshoot the range by half its width.
        """
        x, y = (in0, in1) if normalize else ((in0 + 1) / 2, (in1 + 1) / 2)
        check_pair(x, y, self.metric.tower.spec.min_side)
        if self.metric._values_wanted(in0):
            self._check_values(in0, in1, normalize)
        layers = self._layers(x, y)
        total = torch.stack(layers).sum(dim=0)
        return (total, layers) if retPerLayer else total

    def _layers(self, x: Tensor, y: Tensor) -> list[Tensor]:
        size = (x.shape[2], x.shape[3])
        maps = self.metric._layer_maps(x, y)
        return [maths.pool_map(m, size) if self.spatial else maths.pool_mean(m).view(-1, 1, 1, 1) for m in maps]

    def _check_values(self, in0: Tensor, in1: Tensor, normalize: bool) -> None:
        low = 0.0 if normalize else -1.0
        for image, name in ((in0, "in0"), (in1, "in1")):
            check_values(image, name, INPUT_SLACK * (1 - low), low)
        if not normalize and not self._warned and min(in0.min(), in1.min()) >= 0:
            self._warned = True
            warnings.warn(
                "in0 and in1 have no negative value, but [-1, 1] is expected: are they in [0, 1]? Then pass "
                "normalize=True, or use lpips_lite.LPIPS, which takes [0, 1].",
                stacklevel=3,
            )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Pass over the tower and weights of `lpips` in an old checkpoint; there is nothing of ours to load."""
        for key in [k for k in state_dict if k.startswith(prefix) and _UPSTREAM_KEYS.match(k[len(prefix) :])]:
            del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
