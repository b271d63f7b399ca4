"""Feature towers: frozen convolutional networks that turn image batches into features at several taps.

A tower is a table of layers (`TowerSpec`) and a dictionary of tensors with torchvision's `features.N…` keys.
`images.py` checks its input, and `distance.py` compares its features.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lpips_lite.frozen import Frozen, ordinary_tensors
from lpips_lite.images import gradients_wanted
from lpips_lite.layers import Conv, Fire, Layer, Pool, Pooling, TowerSpec, Weights
from lpips_lite.weights import load_tower

# Mean and standard deviation of ImageNet's RGB values in [0, 1], with which every tower here was trained.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _vgg(name: str, convs_per_block: tuple[int, ...], taps: tuple[str, ...]) -> TowerSpec:
    """Return the table of a VGG: blocks of 3×3 convolutions (64 to 512 channels) with 2×2 pooling between them."""
    layers: list[Layer] = []
    index, inputs = 0, 3
    for block, convs in enumerate(convs_per_block, start=1):
        channels = min(64 * 2 ** (block - 1), 512)
        for position in range(1, convs + 1):
            layers.append(Conv(f"relu{block}_{position}", index, inputs, channels, 3, padding=1))
            index, inputs = index + 2, channels  # a convolution and its ReLU
        layers.append(Pool(2, 2))
        index += 1
    return TowerSpec(name, (tuple(layers[:-1]),), taps, 16, "Simonyan & Zisserman, ICLR 2015")


_ALEX = TowerSpec(
    "alex",
    (
        (
            Conv("relu1", 0, 3, 64, 11, stride=4, padding=2),
            Pool(3, 2),
            Conv("relu2", 3, 64, 192, 5, padding=2),
            Pool(3, 2),
            Conv("relu3", 6, 192, 384, 3, padding=1),
            Conv("relu4", 8, 384, 256, 3, padding=1),
            Conv("relu5", 10, 256, 256, 3, padding=1),
        ),
    ),
    taps=("relu1", "relu2", "relu3", "relu4", "relu5"),
    min_side=31,
    paper="Krizhevsky, arXiv:1404.5997 (2014)",
)

_SQUEEZE = TowerSpec(
    "squeeze",
    (
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
    ),
    taps=("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9"),
    min_side=17,
    paper="Iandola et al., arXiv:1602.07360 (2016)",
)


def _lite(*channels: int, name: str = "relu", start: int = 0) -> TowerSpec:
    """Return a network with AlexNet's strides and fewer channels. All windows are padded, so small images work, too.

    Args:
        channels: Channels of its five layers.
        name: Of its layers, before their number.
        start: Index of its first convolution.
    """
    one, two, three, four, five = channels
    layers = (
        Conv(f"{name}1", start, 3, one, 7, stride=4, padding=2),
        Pool(3, 2, padding=1),
        Conv(f"{name}2", start + 3, one, two, 3, padding=1),
        Pool(3, 2, padding=1),
        Conv(f"{name}3", start + 6, two, three, 3, padding=1),
        Conv(f"{name}4", start + 8, three, four, 3, padding=1),
        Conv(f"{name}5", start + 10, four, five, 3, padding=1),
    )
    return TowerSpec("lite", (layers,), tuple(f"{name}{number}" for number in range(1, 6)), 16, "this project")


# the two networks of lite: that of the near head, which learns from people's judgments, and that of the far head
NEAR, FAR = _lite(40, 80, 112, 96, 96), _lite(24, 48, 64, 48, 48, name="far", start=13)

TOWERS: Mapping[str, TowerSpec] = {
    spec.name: spec
    for spec in (
        replace(NEAR, networks=NEAR.networks + FAR.networks, taps=NEAR.taps + FAR.taps),
        _ALEX,
        _vgg("vgg", (2, 2, 3, 3, 3), ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")),
        _vgg("vgg19", (2, 2, 4, 4, 4), ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")),
        _SQUEEZE,
    )
}

# older tables, whose files can be loaded by path
OTHERS: Mapping[str, Sequence[TowerSpec]] = {"lite": [NEAR]}  # up to version 0.3


def find_spec(net: str, tensors: Weights | None = None) -> TowerSpec:
    """Return `TOWERS[net]`, or the older table of this net that the tensors fit.

    Raises:
        ValueError: If there is no such net; the message lists the valid names.
    """
    if net not in TOWERS:
        raise ValueError(f"net={net!r}: expected one of {', '.join(map(repr, TOWERS))}")
    found = {key: tuple(tensor.shape) for key, tensor in (tensors or {}).items()}
    known = (TOWERS[net], *OTHERS.get(net, ()))
    return next((spec for spec in known if spec.shapes().items() <= found.items()), TOWERS[net])


def normalize(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Normalise images (N, 3, H, W) in [0, 1] for `TowerSpec.run`; mean and std are (3, 1, 1)."""
    x = (x - mean.to(x.dtype)).div_(std.to(x.dtype))
    if not torch.compiler.is_compiling():  # a compiler chooses the memory format itself
        # channels_last, which makes all later steps faster; vmap does not support that format by its name
        x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return x


class FeatureTower(Frozen):
    """Read the features of image batches at a tower's taps.

    Args:
        net: A name in `TOWERS`: "lite", "alex", "vgg", "vgg19" or "squeeze".
        taps: Names of the layers to read (see `TowerSpec.networks`); default: all taps of the tower.
        pooling: "max" as trained, "average" (Gatys et al. 2016 and Chen & Koltun 2017 use it for synthesis), or "l2"
            (Ding et al. 2020).
        weights: `None` (embedded for "lite"; else cache, then download) · a path to a torchvision checkpoint or
            conv-only file · "random:SEED" · a mapping of tensors with `features.N…` keys.
        mean: Subtracted from each RGB channel of images in [0, 1].
        std: Divides each channel after that.
        checkpoint: Keep only the features at the taps for the backward pass and compute the rest again.

    Attributes:
        spec: The table of layers that the weights fit.
        taps: The `Tap`s read, in order.
        fingerprint: Content hash of the weights, eight hex digits.
        label: The fingerprint in signatures, after `custom-` unless the weights are the published ones of this tower.
        trained_on: Digests of the references whose judgments the tower was trained on, if its file lists them.

    Raises:
        ValueError: If `net`, a tap or `pooling` is unknown, or a weight file is wrong (see `weights.load_tower`).
        FileNotFoundError: If weights are neither on disk nor downloadable.

    Examples:
        >>> import torch
        >>> tower = FeatureTower("lite", weights="random:0")
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
        shapes, *others = (spec.shapes() for spec in (find_spec(net), *OTHERS.get(net, ())))
        if pooling not in ("max", "average", "l2"):
            raise ValueError(f"pooling={pooling!r}: expected 'max', 'average' or 'l2'")
        with ordinary_tensors():
            loaded = load_tower(net, weights, shapes, others)
            scaling = {"mean": torch.tensor(mean).view(3, 1, 1), "std": torch.tensor(std).view(3, 1, 1)}
        super().__init__({**loaded.tensors, **scaling})
        self.spec = find_spec(net, loaded.tensors)
        self.taps, self.pooling, self.checkpoint = self.spec.find_taps(taps), pooling, checkpoint
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
        """Yield what `forward` returns, tap by tap as they are computed, so that features need not be kept."""
        self._follow(x.device)
        if x.device != self.device:
            raise ValueError(f"images are on {x.device}; expected the tower's device {self.device}")
        x = normalize(x, self._tensors["mean"], self._tensors["std"])
        return self.spec.run(x, self._tensors, self.taps, self.pooling, self.checkpoint and x.requires_grad)

    def stream_pair(self, x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Yield the features of two batches with the same shape, tap by tap.

        Both are computed in one batch. If only one of them needs gradients, they are computed separately, so that the
        other saves nothing.
        """
        if x.dtype != y.dtype or gradients_wanted(x) != gradients_wanted(y):
            return zip(self.stream(x), self.stream(y), strict=True)
        batch = x.shape[0]  # chunk(2) would fix the batch size in exported programs
        both = self.stream(torch.cat([x, y]))
        return (feature.split([batch, batch]) for feature in both)  # type: ignore[no-untyped-call]

    def extra_repr(self) -> str:
        return f"net={self.spec.name!r}, taps={[tap.name for tap in self.taps]}, pooling={self.pooling!r}"
