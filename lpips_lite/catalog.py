"""The one list of metrics that the command line, benchmarks and reports share. Importing it does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from lpips_lite.encoding import Encoding

MAX_MEMORY = "2GiB"  # beyond which an image is compared by tiles

Direction = Literal["lower", "higher"]


class Measure(NamedTuple):
    """A metric ready for use.

    Attributes:
        compute: Two batches (N, 3, H, W) in [0, 1] -> one number a pair, (N,).
        signature: What made the numbers.
        distance_map: The same two batches -> (N, 1, H, W), for metrics that can say where; else `None`.
        encode: A batch -> what `distance` compares, for metrics that can keep a reference; else `None`.
        distance: Two encodings -> (N,).
    """

    compute: Callable[[Tensor, Tensor], Tensor]
    signature: str
    distance_map: Callable[[Tensor, Tensor], Tensor] | None = None
    encode: Callable[[Tensor], Encoding] | None = None
    distance: Callable[[Encoding, Encoding], Tensor] | None = None


@dataclass(frozen=True)
class Metric:
    """One row of the catalog.

    Attributes:
        title: Full name.
        build: Device name -> `Measure`; loads weights.
        range: Of its values.
        direction: Which values mean closer.
        year: Of publication.
        paper: Where it is defined.
        decimals: Worth printing.
    """

    title: str
    build: Callable[[str], Measure]
    range: str
    direction: Direction
    year: int
    paper: str
    decimals: int = 4


def _lpips(net: str) -> Callable[[str], Measure]:
    def build(device: str) -> Measure:
        from lpips_lite.metric import LPIPS

        metric = LPIPS(net, reduction="none", max_memory=MAX_MEMORY).to(device)
        return Measure(metric, metric.signature, metric.distance_map, metric.encode, metric.distance)

    return build


def _baseline(name: str, settings: str, **options: object) -> Callable[[str], Measure]:
    def build(device: str) -> Measure:
        import lpips_lite
        from lpips_lite.metric import DEFINITION

        function = partial(getattr(lpips_lite, name), **options)
        return Measure(function, " ".join(part for part in (DEFINITION, name, settings) if part))

    return build


def _gram(net: str) -> Callable[[str], Measure]:
    def build(device: str) -> Measure:
        from lpips_lite.baselines.style import JOHNSON_TAPS, gram_distance
        from lpips_lite.metric import DEFINITION
        from lpips_lite.towers import FeatureTower

        tower = FeatureTower(net, taps=JOHNSON_TAPS if net == "vgg" else None).to(device)
        taps = ",".join(tap.name for tap in tower.taps)
        signature = f"{DEFINITION} gram normalization=johnson net={net} taps={taps} tower={tower.fingerprint}"
        return Measure(lambda x, y: gram_distance(x, y, tower), signature)

    return build


def _content(device: str) -> Measure:
    from lpips_lite.baselines.content import content_distance
    from lpips_lite.metric import DEFINITION
    from lpips_lite.towers import FeatureTower

    tower = FeatureTower("vgg", taps=["relu3_3"]).to(device)
    signature = f"{DEFINITION} content net=vgg taps=relu3_3 tower={tower.fingerprint}"
    return Measure(lambda x, y: content_distance(x, y, tower), signature)


def _crn(device: str) -> Measure:
    from lpips_lite.baselines.content import crn_distance, crn_tower
    from lpips_lite.metric import DEFINITION

    tower = crn_tower().to(device)
    signature = f"{DEFINITION} crn net=vgg19 resolution=256p tower={tower.fingerprint}"
    return Measure(lambda x, y: crn_distance(x, y, tower), signature)


_ZHANG = "Zhang et al., CVPR 2018, https://arxiv.org/abs/1801.03924"
_FSIM = "Zhang et al., IEEE TIP 2011, https://doi.org/10.1109/TIP.2011.2109730"
_JOHNSON = "Johnson et al., ECCV 2016, https://arxiv.org/abs/1603.08155"

METRICS: Mapping[str, Metric] = {
    "lite": Metric("LPIPS, embedded lite tower", _lpips("lite"), "[0, ∞)", "lower", 2026, "this project"),
    "alex": Metric("LPIPS, AlexNet", _lpips("alex"), "[0, ∞)", "lower", 2018, _ZHANG),
    "vgg": Metric("LPIPS, VGG-16", _lpips("vgg"), "[0, ∞)", "lower", 2018, _ZHANG),
    "squeeze": Metric("LPIPS, SqueezeNet 1.1", _lpips("squeeze"), "[0, ∞)", "lower", 2018, _ZHANG),
    "l1": Metric("Mean absolute error", _baseline("l1", "range=[0,1]"), "[0, 1]", "lower", 1757, "Boscovich", 6),
    "l2": Metric(
        "Mean squared error", _baseline("l2", "range=[0,1]"), "[0, 1]", "lower", 1809, "Gauss, Theoria motus", 6
    ),
    "l2-lab": Metric(
        "Mean squared error in CIE L*a*b*",
        _baseline("l2", "space=lab", space="lab"),
        "[0, ∞)",
        "lower",
        1976,
        "CIE 15",
        4,
    ),
    "psnr": Metric(
        "Peak signal-to-noise ratio, dB", _baseline("psnr", "peak=1"), "[0, ∞]", "higher", 2010, "ITU-T J.340", 2
    ),
    "ssim": Metric(
        "Structural similarity",
        _baseline("ssim", "variant=wang2004 channels=rgb"),
        "[-1, 1]",
        "higher",
        2004,
        "Wang et al., IEEE TIP 2004, https://doi.org/10.1109/TIP.2003.819861",
    ),
    "ms-ssim": Metric(
        "Multi-scale structural similarity",
        _baseline("ms_ssim", "negative=relu channels=rgb"),
        "[0, 1]",
        "higher",
        2003,
        "Wang et al., Asilomar 2003, https://doi.org/10.1109/ACSSC.2003.1292216",
    ),
    "fsim": Metric("Feature similarity", _baseline("fsim", ""), "[0, 1]", "higher", 2011, _FSIM),
    "fsimc": Metric(
        "Feature similarity with colour",
        _baseline("fsim", "chromatic", chromatic=True),
        "[0, 1]",
        "higher",
        2011,
        _FSIM,
    ),
    "zncc": Metric(
        "Zero-mean normalised cross-correlation",
        _baseline("zncc", ""),
        "[-1, 1]",
        "higher",
        1995,
        "Lewis, Vision Interface 1995",
    ),
    "gram": Metric("Style distance, VGG-16", _gram("vgg"), "[0, ∞)", "lower", 2016, _JOHNSON, 6),
    "gram-lite": Metric("Style distance, lite tower", _gram("lite"), "[0, ∞)", "lower", 2016, _JOHNSON, 6),
    "content": Metric("Content distance, VGG-16 relu3_3", _content, "[0, ∞)", "lower", 2016, _JOHNSON),
    "crn": Metric(
        "Cascaded refinement loss, VGG-19",
        _crn,
        "[0, ∞)",
        "lower",
        2017,
        "Chen & Koltun, ICCV 2017, https://arxiv.org/abs/1707.09405",
        2,
    ),
}


def parse_metrics(texts: Iterable[str]) -> list[str]:
    """Split texts like "lite,psnr" into names that exist, each once.

    Raises:
        ValueError: If a name is not in `METRICS`, or there is none.
    """
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise ValueError(f"{', '.join(unknown) or 'nothing'}; expected names among {', '.join(METRICS)}")
    return list(dict.fromkeys(names))
