"""Rows of the catalog: what is known of a metric, what may follow its name, how it is loaded. No torch until then."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from lpips_lite.encoding import Encoding
    from lpips_lite.towers import FeatureTower

MAX_MEMORY = "1GiB"  # beyond which a metric with a tower compares images by tiles

Direction = Literal["lower", "higher"]
Known = TypeVar("Known")
Arguments = Mapping[str, Any]
Parts = Mapping[str, str]  # of a signature, each by the argument that replaces it


class LoadedMetric(NamedTuple):
    """A metric ready for use.

    Attributes:
        compute: Two batches (N, 3, H, W) in [0, 1] -> one number per pair, (N,).
        signature: What made the numbers.
        distance_map: The same two batches -> (N, 1, H, W), for metrics that can say where; else `None`.
        encode: A batch -> what `distance` compares, for metrics that can keep a reference; else `None`.
        distance: Two encodings -> (N,).
        slope: Of `LPIPS.preference`, for weights fitted to votes; else `None`.
        trained_on: Digests of the references whose judgments its weights have learnt.
        of_file: Bytes of the compared file and pixels of its reference -> the number, for what is measured of files and
            not of pixels; else `None`.
    """

    compute: Callable[[Tensor, Tensor], Tensor]
    signature: str
    distance_map: Callable[[Tensor, Tensor], Tensor] | None = None
    encode: Callable[[Tensor], Encoding] | None = None
    distance: Callable[[Encoding, Encoding], Tensor] | None = None
    slope: float | None = None
    trained_on: frozenset[str] = frozenset()
    of_file: Callable[[int, int], float] | None = None


Load = Callable[[str, Arguments], LoadedMetric]  # onto a device, with the arguments that options set


class Option(NamedTuple):
    """What may follow a metric's name.

    Attributes:
        argument: What it sets.
        flag: To what, without a value; `None`: there is one, after `=`.
        read: The value from its text; raises a ValueError that says what was expected.
        words: Pattern of the values that are no paths, where others are; `None`: none is a path.
        changes: Fields of the metric's entry that it changes.
        mistake: What is wrong with it, where it is there to reproduce numbers that were made by mistake.
    """

    argument: str
    flag: str | bool | None = None
    read: Callable[[str], object] = str
    words: str | None = None
    changes: Arguments = MappingProxyType({})
    mistake: str | None = None


@dataclass(frozen=True)
class MetricEntry:
    """One row of the catalog.

    Attributes:
        title: Full name.
        load: Device and arguments -> `LoadedMetric`.
        range: Of its values; "∞]" if infinity is one of them.
        direction: Which values mean closer.
        year: Of publication.
        paper: Where it is defined.
        decimals: Worth printing.
        options: By name.
        arguments: What is loaded if no option says otherwise.
        has_map: Whether it can say where images differ.
    """

    title: str
    load: Load
    range: str
    direction: Direction
    year: int
    paper: str
    decimals: int = 4
    options: Mapping[str, Option] = field(default_factory=dict)
    arguments: Arguments = field(default_factory=dict)
    has_map: bool = False


# -- how metrics are loaded --------------------------------------------------------------------------------------------


def function(path: str, parts: Parts, max_memory: str | None = None) -> Load:
    """Return how to load a function that needs no weights, at a path in the package like "baselines.pixel.l1"."""
    module, _, name = path.rpartition(".")

    def load(device: str, arguments: Arguments) -> LoadedMetric:
        compute = getattr(import_module(f"lpips_lite.{module}"), name)
        return _loaded(name, partial(compute, max_memory=max_memory) if max_memory else compute, parts, arguments)

    return load


def lpips(net: str) -> Load:
    """Return how to load LPIPS on a tower; with `unscaled`, fed [0, 1] where the network expects [-1, 1]."""

    def load(device: str, arguments: Arguments) -> LoadedMetric:
        from lpips_lite.images import to_float
        from lpips_lite.metric import LPIPS

        own = {key: value for key, value in arguments.items() if key != "unscaled"}
        metric = LPIPS(net, reduction="none", max_memory=MAX_MEMORY, **own).to(device)
        if "unscaled" not in arguments:
            doors = metric.distance_map, metric.encode, metric.distance
            return LoadedMetric(metric, metric.signature, *doors, metric.slope, metric.trained_on)

        def as_declared(images: Tensor) -> Tensor:
            return (to_float(images) + 1) / 2

        return LoadedMetric(
            lambda x, y: metric(as_declared(x), as_declared(y)),
            f"{metric.signature} unscaled=mistake",
            lambda x, y: metric.distance_map(as_declared(x), as_declared(y)),
        )

    return load


def gram(net: str) -> Load:
    """Return how to load the style distance on a tower."""

    def load(device: str, arguments: Arguments) -> LoadedMetric:
        from lpips_lite.baselines.style import JOHNSON_TAPS, gram_distance
        from lpips_lite.towers import FeatureTower

        taps = JOHNSON_TAPS if net == "vgg" else None
        tower = FeatureTower(net, taps=taps, weights=arguments.get("tower_weights")).to(device)
        read = ",".join(tap.name for tap in tower.taps)
        parts = {"normalization": "normalization=johnson", "net": f"net={net} taps={read}"}
        return _on_tower("gram", gram_distance, tower, parts, arguments)

    return load


def content(device: str, arguments: Arguments) -> LoadedMetric:
    """Load the content distance."""
    from lpips_lite.baselines.content import content_distance
    from lpips_lite.towers import FeatureTower

    tower = FeatureTower("vgg", taps=["relu3_3"], weights=arguments.get("tower_weights")).to(device)
    return _on_tower("content", content_distance, tower, {"net": "net=vgg taps=relu3_3"}, arguments)


def crn(device: str, arguments: Arguments) -> LoadedMetric:
    """Load the loss of cascaded refinement networks."""
    from lpips_lite.baselines.content import crn_distance, crn_tower

    tower = crn_tower(arguments.get("tower_weights")).to(device)
    parts = {"net": "net=vgg19", "resolution": "resolution=256p"}
    return _on_tower("crn", crn_distance, tower, parts, arguments)


def dists(device: str, arguments: Arguments) -> LoadedMetric:
    """Load DISTS, with the weights of a file or equal ones."""
    from lpips_lite.baselines import texture
    from lpips_lite.tensor_files import content_hash

    tower = texture.dists_tower(arguments.get("tower_weights")).to(device)
    weights, label = None, "uniform"
    if "weights" in arguments:
        weights = texture.read_dists_weights(arguments["weights"], tower)
        label = content_hash({"alpha": weights[0], "beta": weights[1]})
    parts = {"net": "net=vgg pooling=l2", "weights": f"weights={label}"}
    return _on_tower("dists", partial(texture.dists, weights=weights), tower, parts, {})


def _on_tower(
    name: str, compute: Callable[..., Tensor], tower: FeatureTower, parts: Parts, arguments: Arguments
) -> LoadedMetric:
    others = {key: value for key, value in arguments.items() if key != "tower_weights"}
    compute = partial(compute, tower=tower, max_memory=MAX_MEMORY)
    return _loaded(name, compute, {**parts, "tower": f"tower={tower.label}"}, others)


def _loaded(name: str, compute: Callable[..., Tensor], parts: Parts, arguments: Arguments) -> LoadedMetric:
    """Return a function with arguments; they replace the parts of its signature that go by their names, or add some."""
    from lpips_lite.metric import DEFINITION

    changed = {key: key if value is True else f"{key}={value}" for key, value in arguments.items()}
    signature = " ".join([DEFINITION, name, *{**parts, **changed}.values()])
    return LoadedMetric(partial(compute, **arguments), signature)


# -- how options are read ----------------------------------------------------------------------------------------------


def one_of(*choices: str) -> Callable[[str], str]:
    """Return how to read a value that is one of a few words."""

    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(f"expected {', '.join(choices)}{did_you_mean(value, choices)}")
        return value

    return read


def whole_number(value: str) -> int:
    """Read a number ≥ 0."""
    if not value.isdecimal():
        raise ValueError("expected a whole number ≥ 0")
    return int(value)


def find_named(known: Mapping[str, Known], name: str, said: str, what: str) -> Known:
    """Return what goes by a name.

    Args:
        known: All there are, by name.
        name: Which is wanted.
        said: How messages name the argument.
        what: What one of them is called there.

    Raises:
        ValueError: If there is none; it lists those that there are.
    """
    if name not in known:
        near = did_you_mean(name, known)
        raise ValueError(f"{said}: unknown {what}; expected one of {', '.join(known)}{near}")
    return known[name]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" if a word is nearly one that is known, else nothing."""
    near = difflib.get_close_matches(word.lower(), list(known))
    return f"; did you mean {', '.join(near)}?" if near else ""
