"""The perceptual distance: a class that holds a tower and channel weights and calls the steps in order.

`images.py` checks the pair, `towers.py` computes features, and `heads.py` compares them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from lpips_lite import distance as maths
from lpips_lite.all_pairs import MEMORY, compare_all, compare_rows
from lpips_lite.encoding import Encoding, check_encodings
from lpips_lite.frozen import Frozen, ordinary_tensors
from lpips_lite.heads import Heads
from lpips_lite.images import (
    Checked,
    RangeCheck,
    check_image,
    check_mask,
    check_pair,
    check_values_of_pair,
    to_float,
    values_wanted,
)
from lpips_lite.memory import parse_memory
from lpips_lite.tensor_files import content_hash
from lpips_lite.tiling import bytes_per_pixel, check_no_gradients, fits, tiled_layer_maps
from lpips_lite.towers import FeatureTower
from lpips_lite.weights import load_channel_weights, published_version

Reduction = Literal["mean", "sum", "none"]

NETS = ("lite", "alex", "vgg", "squeeze")
DEFINITION = "lpips-lite/1.0"  # changes when, and only when, the arithmetic of a signature's distance changes


class LPIPS(Frozen):
    """Learned perceptual image patch similarity, a distance: 0 = identical, lower = closer.

        d = Σ_l mean_hw Σ_c w_lc (f̂_x − f̂_y)²,   f̂ = f / (‖f‖_c + 1e-10)

    With two heads, there are two such sums, F (far) and N (near), and a limit C: d = F + C (1 − exp(−N / C)).

    It can be used as a loss directly. It has no trainable parameters, adds nothing to `parameters()`, `buffers()` or
    `state_dict()`, is the same in train and eval mode, and computes in the dtype of its input (but compares features in
    at least float32, also under autocast). Gradients flow to `x`, `y` or both.

    Args:
        net: "lite" (embedded, no download) · "alex" · "vgg" · "squeeze".
        channel_weights: "calibrated" (the weights made for lite; for others the published v0.1) · "v0.1" · "v0.0" (as
            published, without input scaling) · "uniform" (all ones) · a path to a file with channel weights.
        tower_weights: `None` (embedded for "lite"; else cache, then download) · a path to a torchvision checkpoint or
            a conv-only file · "random:SEED" · a mapping of tensors with `features.N…` keys.
        reduction: Over the batch: "mean" · "sum" · "none".
        check_range: When to check the range of values. "auto": at every eager call on the CPU; on an accelerator, where
            reading waits for the device, at the first call of each shape and dtype. "always": at every eager call.
            "never". Compiled or exported code never checks values. Shape and dtype are always checked.
        max_memory: Bytes, or a string like "2GiB"; no limit by default. If no gradients are needed, larger images are
            computed tile by tile with the same result. `encode` and `pairwise` take a few images at a time instead.
        checkpoint: Keep only the features for the backward pass and compute the rest again. With "vgg" this takes a
            sixth less memory and a third more time.

    Raises:
        ValueError: If an argument has an unknown value, or a weight file is wrong (see `weights.load_tower`).
        FileNotFoundError: If weights are neither on disk nor downloadable; "lite" never needs to.

    References:
        Zhang, Isola, Efros, Shechtman, Wang: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric,
        CVPR 2018, https://arxiv.org/abs/1801.03924

    Examples:
        >>> import torch
        >>> metric = LPIPS("lite")
        >>> x = torch.rand(4, 3, 64, 64)
        >>> metric(x, x)
        tensor(0.)
        >>> metric.layer_distances(x, x.flip(-1)).shape
        torch.Size([4, 10])
    """

    def __init__(
        self,
        net: str = "lite",
        *,
        channel_weights: str | os.PathLike[str] = "calibrated",
        tower_weights: str | os.PathLike[str] | Mapping[str, Tensor] | None = None,
        reduction: Reduction = "mean",
        check_range: RangeCheck = "auto",
        max_memory: str | int | None = None,
        checkpoint: bool = False,
    ) -> None:
        _check_choice("net", net, NETS)
        _check_choice("reduction", reduction, ("mean", "sum", "none"))
        _check_choice("check_range", check_range, ("auto", "always", "never"))
        published_version(net, channel_weights)  # raises an error before a tower is searched for
        tower = FeatureTower(net, weights=tower_weights, checkpoint=checkpoint)
        with ordinary_tensors():
            channel = load_channel_weights(net, channel_weights, [tap.channels for tap in tower.taps])
        if not channel.scaled:
            half = (0.5, 0.5, 0.5)
            tower = FeatureTower(net, weights=tower_weights, mean=half, std=half, checkpoint=checkpoint)
        fitted_on_it = channel.tower in (None, tower.fingerprint)
        if not fitted_on_it and channel_weights != "calibrated":
            raise ValueError(
                f"channel_weights={str(channel_weights)!r} were fitted on tower {channel.tower}; "
                f"expected this tower's {tower.fingerprint}"
            )
        super().__init__(channel.named())
        self.tower, self.slope = tower, channel.slope if fitted_on_it else None
        self.scaled = channel.scaled  # whether images are normalised for the tower
        self.trained_on = tower.trained_on | channel.trained_on  # digests of references: lpips_lite.votes.provenance
        self.reduction, self.check_range = reduction, check_range
        self.max_memory = None if max_memory is None else parse_memory(max_memory)
        self.signature = f"{DEFINITION} net={net} tower={tower.label} weights={channel.label}"
        self.signature += f"-{content_hash(self.tensors)}" + (" heads=2" if channel.near else "")
        self._checked: Checked = set()

    # -- distances ---------------------------------------------------------------------------------------------------

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None, *, erode: bool = False) -> Tensor:
        """Return the distance of each pair, reduced over the batch.

        Args:
            x: Images, (N, 3, H, W), float in [0, 1] or uint8. May overshoot by 0.5, since optimisers do.
            y: The images to compare with, same shape.
            mask: Where to compare: (N, 1, H, W), values ≥ 0 that weigh the pixels.
            erode: Whether to leave out features that see anything outside the mask. With a small mask, nothing may be
                left of the deeper layers, which then count 0.

        Returns:
            () for reduction "mean" and "sum", (N,) for "none"; ≥ 0, lower = closer; at least float32.

        Raises:
            TypeError: If an image is not a tensor, or its dtype is neither floating nor uint8.
            ValueError: If the shape, size, device, range or mask is not as described.
        """
        distances = self._distances(x, y, mask, erode)
        if self.reduction == "none":
            return distances
        return distances.mean() if self.reduction == "mean" else distances.sum()

    def layer_distances(self, x: Tensor, y: Tensor, mask: Tensor | None = None, *, erode: bool = False) -> Tensor:
        """Return each layer's share of the distance, (N, L); rows sum to the distance. See `forward`."""
        layers = self._layers(x, y, mask, erode)  # first, since in a replica the weights follow the images
        return torch.stack(self._heads.shares(layers), dim=1)

    def distance_map(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return where the images differ, (N, 1, H, W): the layers' maps, enlarged bilinearly and summed.

        Its mean (under the mask) is close to the distance but not equal to it, since enlarging weights border positions
        differently. See `forward` for arguments and errors.
        """
        self._check_pair(x, y, mask)
        maps = self._layer_maps(x, y)
        shares = self._heads.shares(maps, maths.pool_layers(maps, mask, None))
        return torch.stack([maths.pool_map(share, (x.shape[2], x.shape[3])) for share in shares]).sum(dim=0)

    def preference(self, ref: Tensor, p0: Tensor, p1: Tensor) -> Tensor:
        """Return the probability that people choose `p1` as closer to `ref`: σ(slope · (d0 − d1)).

        It holds for images like those that the slope was fitted on. The slope of lite is 137.85, fitted to 9,425 votes
        on 6,537 triplets of high-quality JPEG images (mucped23), with distances from folds that were not trained on
        their photographs. Above 0.9 it is too high even there (see the model card), and for stronger distortions or
        very different images it is too extreme everywhere.

        Args:
            ref: Images, (N, 3, H, W), float in [0, 1] or uint8.
            p0: The first distorted images, same shape.
            p1: The second distorted images, same shape.

        Returns:
            (N,), in [0, 1]; ½ if both have the same distance.

        Raises:
            TypeError, ValueError: Same as `forward`; also ValueError if the channel weights carry no fitted slope
                (`lpips-votes fit` writes one).
        """
        if self.slope is None:
            raise ValueError(f"preference: the weights of {self.signature!r} carry no slope fitted to votes")
        d0, d1 = (self._distances(image, ref) for image in (p0, p1))
        return torch.sigmoid(self.slope * (d0 - d1))

    # -- encodings ---------------------------------------------------------------------------------------------------

    def encode(self, x: Tensor) -> Encoding:
        """Compute the features of images once, to compare them with many others.

        Args:
            x: Images, (N, 3, H, W), float in [0, 1] or uint8.

        Returns:
            An `Encoding` of N images. Gradients flow through it to `x`.

        Raises:
            TypeError, ValueError: Same as `forward`.
        """
        return self._encode(x, "x", self.max_memory)

    def distance(self, encoding_x: Encoding, encoding_y: Encoding) -> Tensor:
        """Return the distance of each pair of encoded images, (N,), lower = closer; one image may be paired with all.

        Raises:
            ValueError: If an encoding was made by another metric, or the batches or image sizes differ.
        """
        check_encodings(encoding_x, encoding_y, self.signature)
        count_x, count_y = len(encoding_x), len(encoding_y)
        if count_x != count_y:
            if 1 in (count_x, count_y):
                return self.pairwise(encoding_x, encoding_y).flatten()
            expected = f"expected encoding_x's {count_x} (all pairs: LPIPS.pairwise)"
            raise ValueError(f"encoding_y has {count_y} images; {expected}")
        features_x, features_y = (encoding.to(self.device).features for encoding in (encoding_x, encoding_y))
        return compare_rows(features_x, features_y, self._heads)

    def pairwise(self, x: Tensor | Encoding, y: Tensor | Encoding | None = None) -> Tensor:
        """Return the distance of every image of `x` to every image of `y`, running each once through the tower.

        Differences are computed directly; expanding the square would lose digits for close images. The features of all
        images and the table are kept. The rest is computed in chunks of at least one image, in at most `max_memory`, by
        default 256 MiB. Encodings may be on another device or in another dtype: their chunks are moved to the metric's
        device, one after the other, in at least float32.

        Args:
            x: Images, (N, 3, H, W), float in [0, 1] or uint8, or their encoding.
            y: Images of the same size, (M, 3, H, W), or their encoding; default: `x` itself.

        Returns:
            (N, M), lower = closer. Gradients flow through it; the backward pass computes again what it needs.

        Raises:
            TypeError, ValueError: Same as `forward`, except that N and M may differ.
        """
        memory = self.max_memory or MEMORY
        encoded_x = x if isinstance(x, Encoding) else self._encode(x, "x", memory)
        encoded_y = encoded_x if y is None else y if isinstance(y, Encoding) else self._encode(y, "y", memory)
        check_encodings(encoded_x, encoded_y, self.signature)
        return compare_all(encoded_x.features, encoded_y.features, self._heads, memory)

    def _encode(self, x: Tensor, name: str, max_memory: int | None) -> Encoding:
        """Check and encode images, as many at a time as the memory allows, at least one."""
        check_image(x, name, self.tower.spec.min_side)
        self._check_device(x)
        check_values_of_pair({name: x}, self.check_range, self._checked)
        size = (x.shape[2], x.shape[3])
        one = size[0] * size[1] * bytes_per_pixel(self.tower, x.dtype)
        count = len(x) if max_memory is None else max(1, int(max_memory / one))
        parts = (Encoding(self.tower(to_float(part)), size, self.signature) for part in torch.split(x, count))
        return Encoding.cat(parts)

    # -- inside ------------------------------------------------------------------------------------------------------

    @property
    def _heads(self) -> Heads:
        return Heads.of(self.tensors)

    def _distances(self, x: Tensor, y: Tensor, mask: Tensor | None = None, erode: bool = False) -> Tensor:
        """Check images and return the distance of each pair, (N,)."""
        layers = self._layers(x, y, mask, erode)
        return self._heads.distance(torch.stack(layers, dim=-1).sum(dim=-1))

    def _layers(self, x: Tensor, y: Tensor, mask: Tensor | None, erode: bool) -> list[Tensor]:
        """Check images and pool the map of each layer: L × (N,), or with two heads L × (N, 2)."""
        self._check_pair(x, y, mask)
        if erode and mask is None:
            raise ValueError("erode=True: expected a mask with it")
        fields = self.tower.spec.receptive_fields(self.tower.taps) if erode else None
        return maths.pool_layers(self._layer_maps(x, y), mask, fields)

    def _layer_maps(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """Compare checked images: L × (N, H_l, W_l), or with two heads L × (N, 2, H_l, W_l)."""
        if self.max_memory is not None and not fits(self.tower, x, self.max_memory):
            check_no_gradients(x, y, self.max_memory)
            return tiled_layer_maps(self.tower, self._heads, x, y, self.max_memory)
        return self._heads.layer_maps(self.tower.stream_pair(to_float(x), to_float(y)))

    def _check_pair(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> None:
        check_pair(x, y, self.tower.spec.min_side)
        self._check_device(x)
        check_values_of_pair({"x": x, "y": y}, self.check_range, self._checked)
        if mask is not None:
            check_mask(mask, x, self.check_range, self._checked)

    def _check_device(self, x: Tensor) -> None:
        self._follow(x.device)
        if x.device != self.device:
            raise ValueError(f"x is on {x.device}; expected the metric's device {self.device}: use .to('{x.device}')")

    def _values_wanted(self, x: Tensor) -> bool:
        return values_wanted(self.check_range, x, self._checked)

    def _note_checked(self, x: Tensor) -> None:
        self._checked.add((x.shape, x.dtype, 1.0))

    def extra_repr(self) -> str:
        return f"{self.signature!r}, reduction={self.reduction!r}"


def lpips(x: Tensor, y: Tensor, metric: LPIPS) -> Tensor:
    """Return the distance of each pair under `metric`, (N,), whatever its reduction. See `LPIPS.forward`."""
    return metric._distances(x, y)


def _check_choice(argument: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{argument}={value!r}: expected one of {', '.join(map(repr, choices))}")
