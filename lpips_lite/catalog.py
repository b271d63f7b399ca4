"""The list of metrics that the command, benchmarks and reports share, and the grammar of their names.

    NAME[:OPTION[=VALUE]]…    lite · ssim:matlab · l2:lab · alex:weights=mine.safetensors · vgg:tower=random:0

In names and options, case, `-` and `_` do not matter; values are kept as they are. A path may contain colons and
commas: the text after one belongs to the path unless it is an option or, after a comma, a metric. Needs no torch.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lpips_lite.entries import (
    CHANGES_PARTS,
    MAX_MEMORY,
    Load,
    LoadedMetric as LoadedMetric,
    MetricEntry as MetricEntry,
    Option,
    content,
    crn,
    did_you_mean,
    dists,
    function,
    gram,
    lpips,
    one_of,
    region,
    share,
    whole_number,
)
from lpips_lite.file_measures import FILE_MEASURES


def _ssim(channels: str) -> Load:
    return function("baselines.structural.ssim", {"variant": "variant=wang2004", "space": channels})


_ZHANG = "Zhang et al., CVPR 2018, https://arxiv.org/abs/1801.03924"
_WANG = "Wang et al., IEEE TIP 2004, https://doi.org/10.1109/TIP.2003.819861"
_ASILOMAR = "Wang et al., Asilomar 2003, https://doi.org/10.1109/ACSSC.2003.1292216"
_FSIM = "Zhang et al., IEEE TIP 2011, https://doi.org/10.1109/TIP.2011.2109730"
_JOHNSON = "Johnson et al., ECCV 2016, https://arxiv.org/abs/1603.08155"
_CHEN = "Chen & Koltun, ICCV 2017, https://arxiv.org/abs/1707.09405"
_DING = "Ding et al., IEEE TPAMI 2020, https://arxiv.org/abs/2004.07728"
_KOTSARENKO = "Kotsarenko & Ramos, Programación Matemática y Software 2, 2010"
_LEWIS = "Lewis, Vision Interface 1995"

# The options that may follow a name, one per line.
_TOWER = {"tower": Option("tower_weights", words=r"random:\d+")}
_OVER_MAP = {"max": Option("over_map", "max"), "p99": Option("over_map", "p99")}
_LPIPS = {"weights": Option("channel_weights", words=r"uniform|calibrated|v\d+\.\d+"), **_TOWER, **_OVER_MAP}
_UNSCALED = "feeds images in [0, 1] to a network that expects [-1, 1]; only to compare with numbers made the same way"
_PUBLISHED = {**_LPIPS, "unscaled": Option("unscaled", True, mistake=_UNSCALED)}
_LUMA = {"y": Option("space", "y"), "crop": Option("crop", read=whole_number)}
_LAB = {"lab": Option("space", "lab", changes={"range": "[0, ∞)", "decimals": 4}), **_LUMA}
_PSNR = {"lab": Option("space", "lab", changes={"range": "(-∞, ∞]"}), **_LUMA}
_SSIM = {
    "wang2004": Option("variant", "wang2004"),
    "matlab": Option("variant", "matlab", changes={"load": _ssim("channels=luma")}),
    "skimage": Option("variant", "skimage"),
    "torchmetrics": Option("variant", "torchmetrics"),
    "3dgs": Option("variant", "3dgs"),
    **_LUMA,
}
_MS_SSIM = {"negative": Option("negative", read=one_of("relu", "raise")), **_LUMA}
_CHROMATIC = {"chromatic": Option("chromatic", True)}
_GRAM = {
    "normalization": Option("normalization", read=one_of("johnson", "gatys")),
    "centered": Option("centered", True),
    **_TOWER,
}
_CRN = {"resolution": Option("resolution", read=one_of("256p", "512p", "gta")), **_TOWER}
_CHANGES = {"threshold": Option("threshold", read=share), "shift": Option("ignore", "shift")}
_DISTS = {"weights": Option("weights", words=""), **_TOWER}

_SCALES_PARTS = {"negative": "negative=relu", "space": "channels=rgb"}

# fmt: off
METRICS: Mapping[str, MetricEntry] = {
    "lite": MetricEntry("LPIPS, embedded lite tower", lpips("lite"),
                        "[0, ∞)", "lower", 2026, "this project", 4, _LPIPS, has_map=True, takes_mask=True),
    "alex": MetricEntry("LPIPS, AlexNet", lpips("alex"),
                        "[0, ∞)", "lower", 2018, _ZHANG, 4, _PUBLISHED, has_map=True, takes_mask=True),
    "vgg": MetricEntry("LPIPS, VGG-16", lpips("vgg"),
                       "[0, ∞)", "lower", 2018, _ZHANG, 4, _PUBLISHED, has_map=True, takes_mask=True),
    "squeeze": MetricEntry("LPIPS, SqueezeNet 1.1", lpips("squeeze"),
                           "[0, ∞)", "lower", 2018, _ZHANG, 4, _PUBLISHED, has_map=True, takes_mask=True),
    "l1": MetricEntry("Mean absolute error", function("baselines.pixel.l1", {"space": "range=[0,1]"}),
                      "[0, 1]", "lower", 1757, "Boscovich", 6, _LAB, takes_mask=True),
    "l2": MetricEntry("Mean squared error", function("baselines.pixel.l2", {"space": "range=[0,1]"}),
                      "[0, 1]", "lower", 1809, "Gauss, Theoria motus", 6, _LAB, takes_mask=True),
    "l2-lab": MetricEntry("Mean squared error in CIE L*a*b*", function("baselines.pixel.l2", {}),
                          "[0, ∞)", "lower", 1976, "CIE 15", arguments={"space": "lab"}, takes_mask=True),
    "ssd": MetricEntry("Sum of squared differences", function("baselines.template.ssd", {}),
                       "[0, ∞)", "lower", 1809, "Gauss, Theoria motus", takes_mask=True),
    "psnr": MetricEntry("Peak signal-to-noise ratio, dB", function("baselines.pixel.psnr", {"space": "peak=1"}),
                        "[0, ∞]", "higher", 2010, "ITU-T J.340", 2, _PSNR, takes_mask=True),
    "ssim": MetricEntry("Structural similarity", _ssim("channels=rgb"),
                        "[-1, 1]", "higher", 2004, _WANG, 4, _SSIM, takes_mask=True),
    "ms-ssim": MetricEntry("Multi-scale structural similarity", function("baselines.structural.ms_ssim", _SCALES_PARTS),
                           "[0, 1]", "higher", 2003, _ASILOMAR, 4, _MS_SSIM),
    "fsim": MetricEntry("Feature similarity", function("baselines.phase.fsim", {}, MAX_MEMORY),
                        "[0, 1]", "higher", 2011, _FSIM, 4, _CHROMATIC),
    "fsimc": MetricEntry("Feature similarity with colour", function("baselines.phase.fsim", {}, MAX_MEMORY),
                         "[0, 1]", "higher", 2011, _FSIM, arguments={"chromatic": True}),
    "ncc": MetricEntry("Normalised cross-correlation", function("baselines.template.ncc", {}),
                       "[0, 1]", "higher", 1995, _LEWIS),
    "zncc": MetricEntry("Zero-mean normalised cross-correlation", function("baselines.template.zncc", {}),
                        "[-1, 1]", "higher", 1995, _LEWIS),
    "gram": MetricEntry("Style distance, VGG-16", gram("vgg"), "[0, ∞)", "lower", 2016, _JOHNSON, 6, _GRAM),
    "gram-lite": MetricEntry("Style distance, lite tower", gram("lite"), "[0, ∞)", "lower", 2016, _JOHNSON, 6, _GRAM),
    "content": MetricEntry("Content distance, VGG-16 relu3_3", content, "[0, ∞)", "lower", 2016, _JOHNSON, 4, _TOWER),
    "crn": MetricEntry("Cascaded refinement loss, VGG-19", crn, "[0, ∞)", "lower", 2017, _CHEN, 2, _CRN),
    "dists": MetricEntry("Deep image structure and texture similarity, VGG-16", dists,
                         "[0, 2]", "lower", 2020, _DING, 4, _DISTS),
    "pixels": MetricEntry("Pixels that differ visibly", function("baselines.changes.changed_pixels", CHANGES_PARTS),
                          "[0, ∞)", "lower", 2010, _KOTSARENKO, 0, _CHANGES, takes_mask=True),
    "region": MetricEntry("Pixels of the largest area that differs visibly", region,
                          "[0, ∞)", "lower", 2010, _KOTSARENKO, 0, _CHANGES, takes_mask=True, has_box=True),
}
# fmt: on
MEASURES: Mapping[str, MetricEntry] = {**METRICS, **FILE_MEASURES}  # all that the grammar names

# -- the grammar -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MetricSpec:
    """A metric with its options.

    Attributes:
        text: The metric in the catalog's spelling, used as its name in columns, JSON and rules.
        name: Its key in `MEASURES`.
        options: Name and value of each option, in the order typed; the value of a flag is `None`.
    """

    text: str
    name: str
    options: tuple[tuple[str, str | None], ...] = ()

    def load(self, device: str = "cpu") -> LoadedMetric:
        """Load the metric onto a device.

        Raises:
            ValueError: If a weight file is wrong.
            FileNotFoundError: If weights are neither on disk nor downloadable.
        """
        entry = entry_of(self.text)
        return entry.load(device, {**entry.arguments, **self.arguments()})

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that the options set, by name."""
        options = [(MEASURES[self.name].options[name], value) for name, value in self.options]
        return {option.argument: option.flag if value is None else option.read(value) for option, value in options}

    def files(self) -> list[Path]:
        """Return the weight files that options name."""
        options = MEASURES[self.name].options
        valued = [(options[name].words, value) for name, value in self.options if value is not None]
        return [Path(value) for words, value in valued if words is not None and not re.fullmatch(words, value)]

    def mistakes(self) -> list[str]:
        """Return warnings about options that reproduce a known mistake."""
        known = MEASURES[self.name].options
        return [f"{self.text}: {name} {known[name].mistake}" for name, _ in self.options if known[name].mistake]


def parse_metrics(texts: Iterable[str]) -> list[MetricSpec]:
    """Parse strings like "lite,ssim:matlab"; metrics that are the same are returned once.

    A comma separates metrics, also within an entry of a list. If no metric name follows it, it belongs to a path.

    Raises:
        TypeError: If an entry is not a string.
        ValueError: If an entry does not follow the grammar, or there is none.
    """
    specs = dict.fromkeys(parse_metric(piece) for text in texts for piece in _split(text))
    if not specs:
        raise ValueError(f"no metric is named; expected one or more of {', '.join(MEASURES)}")
    return list(specs)


@lru_cache(1024)
def parse_metric(text: str) -> MetricSpec:
    """Parse one metric like "alex:weights=mine.safetensors".

    Raises:
        ValueError: If a metric, option or value is unknown; the message lists the known ones.
    """
    if re.search("[\ud800-\udfff]", text):  # how Python represents bytes that are not text
        raise ValueError(f"{text!r}: expected valid text, since it is written into results; rename the file")
    first, *rest = text.strip().split(":")
    name = _same(first, MEASURES)
    if name is None:
        raise ValueError(f"unknown metric {first.strip()!r}; expected one of {', '.join(MEASURES)}{_similar(first)}")
    known, found = MEASURES[name].options, list[tuple[str, str | None]]()
    for token in rest:
        word, equals, value = token.partition("=")
        option = _same(word, known)
        if option is not None:
            found.append((option, value if equals else None))
        elif found and found[-1][1] is not None and known[found[-1][0]].words is not None:  # part of a path
            found[-1] = found[-1][0], f"{found[-1][1]}:{token}"
        else:
            expected = f"expected {', '.join(known)}{did_you_mean(word, known)}" if known else f"{name} has no options"
            raise ValueError(f"{text!r}: unknown option {word!r}; {expected}")
    _check_options(text, known, found)
    spelled = (option if value is None else f"{option}={value}" for option, value in found)
    return MetricSpec(":".join([name, *spelled]), name, tuple(found))


@lru_cache(1024)
def entry_of(text: str) -> MetricEntry:
    """Return the title, range, direction and decimals of a metric with its options.

    Raises:
        ValueError: Same as `parse_metric`.
    """
    spec = parse_metric(text)
    entry = MEASURES[spec.name]
    for option, value in spec.options:
        title = f"{entry.title}, {option}" + ("" if value is None else f"={value}")
        entry = replace(entry, title=title, **entry.options[option].changes)
    return entry


def value_range(text: str) -> tuple[float, float]:
    """Return the smallest and the largest value of a metric; infinity also if it is only approached."""
    least, _, most = entry_of(text).range.strip("[()]").replace("∞", "inf").partition(", ")
    return float(least), float(most)


def columns_of(metrics: Iterable[str]) -> list[str]:
    """Return the columns that metrics fill: of each its number, and after it its box, if it tells one."""
    return [column for name in metrics for column in (name, box_column(name)) if column]


def box_column(metric: str) -> str | None:
    """Return the column of a metric's box, a text "left,top,width,height"; `None` if it tells none."""
    return f"{metric}:box" if entry_of(metric).has_box else None


def may_be_infinite(text: str) -> bool:
    """Return whether a metric can be infinite, as PSNR is for equal images."""
    return entry_of(text).range.endswith("∞]")


def _check_options(text: str, known: Mapping[str, Option], found: Iterable[tuple[str, str | None]]) -> None:
    by_argument: dict[str, str] = {}
    for name, value in found:
        option = known[name]
        if option.argument in by_argument:
            raise ValueError(f"{text!r}: {by_argument[option.argument]} and {name}; expected just one of them")
        by_argument[option.argument] = name
        if option.flag is not None and value is not None:
            raise ValueError(f"{text!r}: {name} takes no value")
        if option.flag is None and not value:
            raise ValueError(f"{text!r}: {name} without a value; expected {name}=VALUE")
        if value is not None:
            try:
                option.read(value)
            except ValueError as error:
                raise ValueError(f"{text!r}: {name}={value}: {error}") from None


def _split(text: str) -> list[str]:
    """Split at commas, except those inside values."""
    if not isinstance(text, str):
        raise TypeError(f"metrics: expected strings like 'lite' or 'ssim:matlab', got {text!r}")
    pieces: list[str] = []
    for piece in text.split(","):
        if pieces and "=" in pieces[-1] and _same(piece.partition(":")[0], MEASURES) is None:
            pieces[-1] += f",{piece}"
        else:
            pieces.append(piece)
    return [stripped for piece in pieces if (stripped := piece.strip(", \t\r\n"))]


def _same(word: str, names: Iterable[str]) -> str | None:
    """Return the name that a word matches in any spelling, or `None`."""
    return next((name for name in names if plain_spelling(name) == plain_spelling(word)), None)


def plain_spelling(word: str) -> str:
    """Return a name in lower case without `-` and `_`, which do not matter."""
    return re.sub("[-_]", "", word.strip().lower())


def _similar(word: str) -> str:
    """Suggest metrics whose name is similar, or whose title has such a word or such initials."""
    word = plain_spelling(word)
    names: dict[str, list[str]] = {}
    for name, entry in MEASURES.items():
        title = re.findall(r"\w+", entry.title.lower())
        for key in {plain_spelling(name), *title, "".join(part[0] for part in title)}:
            names.setdefault(key, []).append(name)
    near = [word] if word in names else difflib.get_close_matches(word, names)
    similar = dict.fromkeys(name for key in near for name in names[key])
    return f"; did you mean {', '.join(similar)}?" if similar else ""
