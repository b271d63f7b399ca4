"""Rate-distance curves as pictures: SVG for papers and pages, PNG for everything else."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from lpips_lite.catalog import MEASURES, parse_metric
from lpips_lite.files.names import printable
from lpips_lite.files.rate_distance import Curves, Points, lower_is_closer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS: tuple[Literal["svg", "png"], ...] = ("svg", "png")
FEW_CODECS = 8
# Colours of Okabe and Ito, which people with any colour vision can distinguish; yellow last, as it is faint on white.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#f0e442")
MARKERS = "osD^vPX*"
_UNITS = {"bpp": "bits per pixel", "bytes": "bytes"}


def require_curve_packages(said: str) -> None:
    """Raise an ImportError if packages that curves need are not installed.

    Args:
        said: The argument that asks for curves, as messages write it.
    """
    missing = [name for name in ("scipy", "matplotlib") if find_spec(name) is None]
    if missing:
        raise ImportError(f'{said} needs {" and ".join(missing)}: pip install "lpips_lite[tables]"')


def draw_curves(curves: Curves, signatures: Mapping[str, str]) -> dict[str, bytes]:
    """Return a picture of the curves in each of `FORMATS`: thin curves for single images, thick ones for means.

    Args:
        curves: The curves to draw.
        signatures: The signature of each metric, for the descriptions of the files.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    described = "; ".join(f"{name}: {signature}" for name, signature in signatures.items())
    title = f"{curves.settings.distance} over {curves.settings.rate}"
    pictures: dict[str, bytes] = {}
    with rc_context({"svg.hashsalt": "lpips_lite", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(5.2, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _draw(axes, curves)
        for form in FORMATS:
            known = {"Title": title, "Description": described, **({"Date": None} if form == "svg" else {})}
            file = io.BytesIO()
            figure.savefig(file, format=form, dpi=200, metadata=known)
            pictures[form] = file.getvalue()
    return pictures


def _draw(axes: Axes, curves: Curves) -> None:
    for place, (codec, by_image) in enumerate(curves.by_image.items()):
        color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
        means = curves.means.get(codec, ())
        for points in by_image.values():
            if points:
                width, alpha = (0.6, 0.35) if means else (1.0, 0.8)
                axes.plot(*_columns(points), color=color, linewidth=width, alpha=alpha)
        axes.plot(*_columns(means), color=color, linewidth=1.8, marker=marker, markersize=4.5, label=printable(codec))
    axes.set_xscale("log")
    _label_rates(axes, [rate for own in curves.by_image.values() for points in own.values() for rate, _ in points])
    rate, distance = curves.settings.rate, curves.settings.distance
    axes.set_xlabel(f"{_UNITS.get(_name(rate), printable(rate))} (log scale)")
    axes.set_ylabel(f"{printable(distance)}, {'lower' if lower_is_closer(curves.settings) else 'higher'} is closer")
    axes.grid(which="major", linewidth=0.4, alpha=0.5)
    axes.legend(title=printable(curves.column), frameon=False)
    if curves.means and any(len(own) > 1 for own in curves.by_image.values()):
        axes.set_title("thick: mean over images; thin: each image", fontsize="small", loc="left")


def _columns(points: Points) -> tuple[list[float], list[float]]:
    return [rate for rate, _ in points], [distance for _, distance in points]


def _label_rates(axes: Axes, rates: Iterable[float]) -> None:
    """Label the axis with plain numbers, at 1, 2 and 5 of each decade, since there are few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    known = list(rates)
    if known and max(known) < 1000 * min(known):
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _name(text: str) -> str:
    try:
        return parse_metric(text).name
    except ValueError:
        return text if text in MEASURES else ""
