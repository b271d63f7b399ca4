"""Rows of the catalog: facts about a metric, its options, and how to load it. Torch is imported only on loading."""

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

MAX_MEMORY = "1GiB"  # limit above which a metric with a tower compares images in tiles

Direction = Literal["lower", "higher"]
Known = TypeVar("Known")
Arguments = Mapping[str, Any]
Parts = Mapping[str, str]  # parts of a signature, each by the name of the argument that replaces it


class LoadedMetric(NamedTuple):
    """A metric ready for use.

    Attributes:
        compute: Turns two batches (N, 3, H, W) in [0, 1] into one number per pair, (N,). Metrics that can be
            measured under a mask take `mask=`, (N, 1, H, W), bool.
        signature: The text that identifies the metric and its settings.
        distance_map: Turns two batches, and a mask, into (N, 1, H, W), if it can show where images differ; else `None`.
        encode: Turns a batch into an encoding, if the metric can keep one of a reference; else `None`.
        distance: Turns two encodings into (N,).
        slope: Slope for `LPIPS.preference`, for weights fitted to votes; else `None`.
        trained_on: Digests of the references whose judgments the weights were trained on.
        located: Turns two batches into (N, 5), the number and the box of where it is (left, top, width, height), if the
            metric has a box; else `None`.
        of_file: Turns the bytes of the compared file and the pixels of its reference into the number, for measures of
            files instead of pixels; else `None`.
    """

    compute: Callable[..., Tensor]
    signature: str
    distance_map: Callable[..., Tensor] | None = None
    encode: Callable[[Tensor], Encoding] | None = None
    distance: Callable[[Encoding, Encoding], Tensor] | None = None
    slope: float | None = None
    trained_on: frozenset[str] = frozenset()
    of_file: Callable[[int, int], float] | None = None
    located: Callable[..., Tensor] | None = None


CHANGES_PARTS: Parts = {"threshold": "threshold=0.1", "ignore": "ignore=antialiasing"}
Load = Callable[[str, Arguments], LoadedMetric]  # from a device and the arguments that options set


class Option(NamedTuple):
    """An option that may follow a metric's name.

    Attributes:
        argument: The argument that it sets.
        flag: The value that it sets, if it is written without one; `None` if a value follows after `=`.
        read: Turns the text after `=` into the value; raises a ValueError that says what was expected.
        words: Pattern of the values that are not paths, if other values are; `None` if no value is a path.
        changes: Fields of the metric's entry that it changes.
        mistake: What is wrong with it, if it exists to reproduce numbers that were made by mistake.
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
        load: Turns a device and arguments into a `LoadedMetric`.
        range: Range of its values, with "∞]" if infinity is one of them.
        direction: Whether lower or higher values mean closer.
        year: Year of publication.
        paper: The paper that defines it.
        decimals: Number of decimals to print.
        options: Its options by name.
        arguments: Arguments for loading, unless an option replaces them.
        has_map: Whether it can show where images differ.
        takes_mask: Whether it can be measured under a mask.
        has_box: Whether a column of its own has the box of where they differ.
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
    takes_mask: bool = False
    has_box: bool = False


# -- how metrics are loaded --------------------------------------------------------------------------------------------


def function(path: str, parts: Parts, max_memory: str | None = None) -> Load:
    """Return a loader for a function without weights, given its path in the package, like "baselines.pixel.l1"."""
    module, _, name = path.rpartition(".")

    def load(device: str, arguments: Arguments) -> LoadedMetric:
        compute = getattr(import_module(f"lpips_lite.{module}"), name)
        return _loaded(name, partial(compute, max_memory=max_memory) if max_memory else compute, parts, arguments)

    return load


def lpips(net: str) -> Load:
    """Return a loader for LPIPS on a tower.

    With `unscaled`, images in [0, 1] are fed as if they were in [-1, 1]. With `over_map`, the number is the maximum or
    the 99th percentile of the distance map instead of the distance.
    """

    def load(device: str, arguments: Arguments) -> LoadedMetric:
        from lpips_lite.metric import LPIPS

        own = {key: value for key, value in arguments.items() if key not in ("unscaled", "over_map")}
        metric = LPIPS(net, reduction="none", max_memory=MAX_MEMORY, **own).to(device)
        doors = metric.distance_map, metric.encode, metric.distance
        found = LoadedMetric(metric, metric.signature, *doors, metric.slope, metric.trained_on)
        if "unscaled" in arguments:
            found = _unscaled(found)
        return _over_map(found, arguments["over_map"]) if "over_map" in arguments else found

    return load


def _unscaled(metric: LoadedMetric) -> LoadedMetric:
    from lpips_lite.images import to_float

    def as_declared(images: Tensor) -> Tensor:
        return (to_float(images) + 1) / 2

    distance_map = _map_of(metric)
    return LoadedMetric(
        lambda x, y, mask=None: metric.compute(as_declared(x), as_declared(y), mask),
        f"{metric.signature} unscaled=mistake",
        lambda x, y, mask=None: distance_map(as_declared(x), as_declared(y), mask),
    )


def _over_map(metric: LoadedMetric, statistic: str) -> LoadedMetric:
    from lpips_lite.map_statistics import over_map

    compute = partial(over_map, _map_of(metric), statistic=statistic)
    signature = f"{metric.signature} map={statistic}"
    return LoadedMetric(compute, signature, metric.distance_map, trained_on=metric.trained_on)


def _map_of(metric: LoadedMetric) -> Callable[..., Tensor]:
    assert metric.distance_map is not None
    return metric.distance_map


def region(device: str, arguments: Arguments) -> LoadedMetric:
    """Load the size and box of the largest area that differs visibly."""
    try:
        import scipy.ndimage  # noqa: F401
    except ImportError as error:
        raise ImportError('region needs scipy: pip install "lpips_lite[regression]"') from error
    from lpips_lite.baselines.changes import largest_region

    loaded = _loaded("region", largest_region, CHANGES_PARTS, arguments)
    located = loaded.compute

    def compute(x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        return located(x, y, mask=mask)[:, 0]

    return loaded._replace(compute=compute, located=located)


def gram(net: str) -> Load:
    """Return a loader for the style distance on a tower."""

    def load(device: str, arguments: Arguments) -> LoadedMetric:
        from lpips_lite.baselines.style import JOHNSON_TAPS, gram_distance
        from lpips_lite.towers import NEAR, FeatureTower

        taps = {"vgg": JOHNSON_TAPS, "lite": NEAR.taps}[net]
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
    """Load DISTS with weights from a file, or with equal weights."""
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
    """Return a function with arguments, which replace the parts of its signature with their names, or add parts."""
    from lpips_lite.metric import DEFINITION

    changed = {key: key if value is True else f"{key}={value}" for key, value in arguments.items()}
    signature = " ".join([DEFINITION, name, *{**parts, **changed}.values()])
    return LoadedMetric(partial(compute, **arguments), signature)


# -- how options are read ----------------------------------------------------------------------------------------------


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader for a value that must be one of a few words."""

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


def share(value: str) -> float:
    """Read a number in [0, 1]."""
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError("expected a number in [0, 1]")
    return number


def find_named(known: Mapping[str, Known], name: str, said: str, what: str) -> Known:
    """Return the item with a given name.

    Args:
        known: All items by name.
        name: The name to look up.
        said: The argument as messages write it.
        what: The word for such an item in messages.

    Raises:
        ValueError: If the name is unknown; the message lists the known ones.
    """
    if name not in known:
        near = did_you_mean(name, known)
        raise ValueError(f"{said}: unknown {what}; expected one of {', '.join(known)}{near}")
    return known[name]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" if a word is similar to a known one, else an empty string."""
    near = difflib.get_close_matches(word.lower(), list(known))
    return f"; did you mean {', '.join(near)}?" if near else ""
