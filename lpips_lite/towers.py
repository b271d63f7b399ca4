"""Feature towers: frozen convolutional networks read out at several taps; image batches in, features out.

A tower is a table of layers (`TowerSpec`) plus one dictionary of tensors with torchvision's `features.N…` keys.
Between `images.py` (which delivers batches in [0, 1]) and `distance.py` (which compares two sets of features).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as rerun

from lpips_lite.frozen import Frozen, ordinary_tensors
from lpips_lite.layers import Conv, Fire, Layer, Pool, Pooling, Weights
from lpips_lite.weights import load_tower

# Mean and standard deviation of ImageNet's RGB values in [0, 1], as every tower here was trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Tap:
    """A place where features are read out: its name, layer index in torchvision's `features`, channels, stride."""

    name: str
    index: int
    channels: int
    stride: int


@dataclass(frozen=True)
class TowerSpec:
    """The table a tower is built from.

    Attributes:
        name: The `net` argument that selects it.
        layers: Layers in order; only those up to the last tap are run.
        taps: Names of the layers whose output is compared, in order.
        min_side: Smallest image side in pixels.
        paper: The network's source.
    """

    name: str
    layers: tuple[Layer, ...]
    taps: tuple[str, ...]
    min_side: int
    paper: str

    def find_taps(self, names: Sequence[str] | None = None) -> tuple[Tap, ...]:
        """Return the taps called `names` (default: the tower's own) in layer order.

        Raises:
            ValueError: If a name is not one of the tower's layers.
        """
        known, stride = {}, 1
        for layer in self.layers:
            stride *= layer.stride
            if not isinstance(layer, Pool):
                known[layer.name] = Tap(layer.name, layer.tap_index, layer.channels, stride)
        names = self.taps if names is None else tuple(names)
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise ValueError(f"taps={names!r}: tower {self.name!r} has the taps {', '.join(known)}")
        return tuple(tap for tap in known.values() if tap.name in names)

    def receptive_fields(self, taps: Sequence[Tap], pooling: Pooling = "max") -> list[tuple[int, int, int]]:
        """Return stride, and pixels seen before and after its place, of the features at each tap.

        Feature j of a row sees the pixels from stride · j − before to stride · j + after.
        """
        stride, before, after, fields = 1, 0, 0, []
        for stage in self.stages(taps):
            for layer in stage:
                kernel, padding = layer.window(pooling) if isinstance(layer, Pool) else (layer.kernel, layer.padding)
                before += padding * stride
                after += (kernel - 1 - padding) * stride
                stride *= layer.stride
            fields.append((stride, before, after))
        return fields

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every weight, by torchvision's key."""
        return {key: shape for layer in self.layers for key, shape in layer.shapes().items()}

    def stages(self, taps: Sequence[Tap]) -> list[tuple[Layer, ...]]:
        """Cut the layers after each tap; those after the last one are left out."""
        ends = {tap.name for tap in taps}
        stages: list[tuple[Layer, ...]] = []
        stage: list[Layer] = []
        for layer in self.layers:
            stage.append(layer)
            if not isinstance(layer, Pool) and layer.name in ends:
                stages.append(tuple(stage))
                stage = []
        return stages

    def run(
        self,
        x: Tensor,
        weights: Weights,
        taps: Sequence[Tap],
        pooling: Pooling = "max",
        checkpoint: bool = False,
    ) -> Iterator[Tensor]:
        """Yield the features at `taps`, one after the other, of already normalised images (N, 3, H, W).

        With `checkpoint`, what lies between the taps is not kept for the backward pass but computed again.
        """

        def apply(x: Tensor, stage: tuple[Layer, ...]) -> Tensor:
            for layer in stage:
                x = layer(x, weights, pooling)
            return x

        for stage in self.stages(taps):
            x = rerun(apply, x, stage, use_reentrant=False) if checkpoint else apply(x, stage)
            yield x


def _vgg(name: str, convs_per_block: tuple[int, ...], taps: tuple[str, ...]) -> TowerSpec:
    """Lay out a VGG: blocks of 3×3 convolutions (64, 128, 256, 512, 512 channels) with 2×2 pooling between them."""
    layers: list[Layer] = []
    index, inputs = 0, 3
    for block, convs in enumerate(convs_per_block, start=1):
        channels = min(64 * 2 ** (block - 1), 512)
        for position in range(1, convs + 1):
            layers.append(Conv(f"relu{block}_{position}", index, inputs, channels, 3, padding=1))
            index, inputs = index + 2, channels  # a convolution and its ReLU
        layers.append(Pool(2, 2))
        index += 1
    return TowerSpec(name, tuple(layers[:-1]), taps, 16, "Simonyan & Zisserman, ICLR 2015")


_ALEX = TowerSpec(
    "alex",
    (
        Conv("relu1", 0, 3, 64, 11, stride=4, padding=2),
        Pool(3, 2),
        Conv("relu2", 3, 64, 192, 5, padding=2),
        Pool(3, 2),
        Conv("relu3", 6, 192, 384, 3, padding=1),
        Conv("relu4", 8, 384, 256, 3, padding=1),
        Conv("relu5", 10, 256, 256, 3, padding=1),
    ),
    taps=("relu1", "relu2", "relu3", "relu4", "relu5"),
    min_side=31,
    paper="Krizhevsky, arXiv:1404.5997 (2014)",
)

_SQUEEZE = TowerSpec(
    "squeeze",
    (
        Conv("relu1", 0, 3, 64, 3, stride=2),
        Pool(3, 2, ceil_mode=True),
        Fire("fire2", 3, 64, 16, 64),
        Fire("fire3", 4, 128, 16, 64),
        Pool(3, 2, ceil_mode=True),
        Fire("fire4", 6, 128, 32, 128),
        Fire("fire5", 7, 256, 32, 128),
        Pool(3, 2, ceil_mode=True),
        Fire("fire6", 9, 256, 48, 192),
        Fire("fire7", 10, 384, 48, 192),
        Fire("fire8", 11, 384, 64, 256),
        Fire("fire9", 12, 512, 64, 256),
    ),
    taps=("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9"),
    min_side=17,
    paper="Iandola et al., arXiv:1602.07360 (2016)",
)

# AlexNet's strides with an eighth of its parameters. Every window is padded, so small images keep a feature map.
_LITE = TowerSpec(
    "lite",
    (
        Conv("relu1", 0, 3, 40, 7, stride=4, padding=2),
        Pool(3, 2, padding=1),
        Conv("relu2", 3, 40, 80, 3, padding=1),
        Pool(3, 2, padding=1),
        Conv("relu3", 6, 80, 112, 3, padding=1),
        Conv("relu4", 8, 112, 96, 3, padding=1),
        Conv("relu5", 10, 96, 96, 3, padding=1),
    ),
    taps=("relu1", "relu2", "relu3", "relu4", "relu5"),
    min_side=16,
    paper="this project",
)

TOWERS: Mapping[str, TowerSpec] = {
    spec.name: spec
    for spec in (
        _LITE,
        _ALEX,
        _vgg("vgg", (2, 2, 3, 3, 3), ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")),
        _vgg("vgg19", (2, 2, 4, 4, 4), ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")),
        _SQUEEZE,
    )
}


def find_spec(net: str) -> TowerSpec:
    """Return `TOWERS[net]`, or raise a ValueError that lists the valid names."""
    if net not in TOWERS:
        raise ValueError(f"net={net!r}: expected one of {', '.join(map(repr, TOWERS))}")
    return TOWERS[net]


def normalize(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return images (N, 3, H, W) in [0, 1] as `TowerSpec.run` takes them; mean and std are (3, 1, 1)."""
    x = (x - mean.to(x.dtype)).div_(std.to(x.dtype))
    if not torch.compiler.is_compiling():  # a compiler chooses by itself
        # channels_last, in which all that follows is faster; vmap does not know that format by its name
        x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return x


class FeatureTower(Frozen):
    """Read the features of image batches at a tower's taps.

    Args:
        net: A name in `TOWERS`: "lite", "alex", "vgg", "vgg19" or "squeeze".
        taps: Names of the layers to read (see `TowerSpec.layers`); default: the tower's own.
        pooling: "max" as trained, "average" (Gatys et al. 2016 and Chen & Koltun 2017 use it for synthesis), or "l2"
            (Ding et al. 2020).
        weights: `None` (embedded for "lite"; else cache, then download) · a path to a torchvision checkpoint or
            conv-only file · "random:SEED" · a mapping of tensors with `features.N…` keys.
        mean: Subtracted from each RGB channel of images in [0, 1].
        std: Divides each channel after that.
        checkpoint: Keep only the features at the taps for the backward pass and compute the rest again.

    Attributes:
        taps: The `Tap`s read, in order.
        fingerprint: Content hash of the weights, eight hex digits.
        label: The fingerprint as signatures have it, with `custom-` before it unless the weights are the published
            ones of this tower.
        trained_on: Digests of the references that it has learnt people's judgments of, if its file lists them.

    Raises:
        ValueError: If `net`, a tap or `pooling` is unknown, or a weight file is wrong (see `weights.load_tower`).
        FileNotFoundError: If weights are neither on disk nor downloadable.

    Example:
        >>> import torch
        >>> tower = FeatureTower("lite")
        >>> [tuple(f.shape) for f in tower(torch.rand(1, 3, 64, 64))][:2]
        [(1, 40, 16, 16), (1, 80, 8, 8)]
    """

    def __init__(
        self,
        net: str = "lite",
        *,
        taps: Sequence[str] | None = None,
        pooling: Pooling = "max",
        weights: str | os.PathLike[str] | Weights | None = None,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        checkpoint: bool = False,
    ) -> None:
        spec = find_spec(net)
        if pooling not in ("max", "average", "l2"):
            raise ValueError(f"pooling={pooling!r}: expected 'max', 'average' or 'l2'")
        with ordinary_tensors():
            loaded = load_tower(net, weights, spec.shapes())
            scaling = {"mean": torch.tensor(mean).view(3, 1, 1), "std": torch.tensor(std).view(3, 1, 1)}
        super().__init__({**loaded.tensors, **scaling})
        self.spec, self.taps, self.pooling, self.checkpoint = spec, spec.find_taps(taps), pooling, checkpoint
        self.fingerprint, self.label = loaded.content[:8], loaded.label
        self.trained_on = loaded.trained_on

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return one feature map per tap.

        Args:
            x: Images, (N, 3, H, W), float in [0, 1].

        Returns:
            Features ≥ 0 in tap order, L × (N, C_l, H_l, W_l).
        """
        return tuple(self.stream(x))

    def stream(self, x: Tensor) -> Iterator[Tensor]:
        """Yield what `forward` returns, each tap's features when they are ready, so that none need be kept."""
        self._follow(x.device)
        if x.device != self.device:
            raise ValueError(f"images are on {x.device}; expected the tower's device {self.device}")
        x = normalize(x, self._tensors["mean"], self._tensors["std"])
        return self.spec.run(x, self._tensors, self.taps, self.pooling, self.checkpoint and x.requires_grad)

    def stream_pair(self, x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Yield each tap's features of two batches of one shape.

        Both pass in one batch, or, if only one needs gradients, each alone: the other then saves nothing.
        """
        if x.dtype != y.dtype or (torch.is_grad_enabled() and x.requires_grad != y.requires_grad):
            return zip(self.stream(x), self.stream(y), strict=True)
        batch = x.shape[0]  # chunk(2) would fix it in what is exported
        both = self.stream(torch.cat([x, y]))
        return (feature.split([batch, batch]) for feature in both)  # type: ignore[no-untyped-call]

    def extra_repr(self) -> str:
        return f"net={self.spec.name!r}, taps={[tap.name for tap in self.taps]}, pooling={self.pooling!r}"
