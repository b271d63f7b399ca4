"""A comparison of metrics as a picture: bars with intervals, and the reliability of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lpips_lite.files.outputs import errors_named
from lpips_lite.votes.comparison import Comparison, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".pdf", ".svg")


def check_picture(path: Path) -> None:
    """Raise a ValueError if this is not the name of a picture."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: not the name of a picture; expected one that ends with {', '.join(SUFFIXES)}")


def draw(comparison: Comparison, title: str, path: Path) -> None:
    """Draw agreement, JND average precision and reliability, as far as there are any, side by side.

    Raises:
        ValueError: If the file does not have the suffix of a picture.
        OSError: If it cannot be written.
    """
    check_picture(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bars = [
        (lines, label)
        for lines, label in (
            ([*comparison.ceilings, *comparison.agreement], f"agreement with people, % of {comparison.count}"),
            (comparison.precision, "JND average precision, %"),
        )
        if lines
    ]
    widths = [max(5.0, 2 + 0.3 * len(lines)) for lines, _ in bars] + [4.5] * bool(comparison.reliability)
    figure = Figure(figsize=(sum(widths) + 2.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    for axes, (lines, label) in zip(panels, bars, strict=False):
        _draw_bars(axes, lines, label)
    if comparison.reliability:
        _draw_reliability(panels[-1], comparison)
    figure.suptitle(title, fontsize="medium")
    with errors_named(path):
        figure.savefig(path, dpi=120)


def _draw_bars(axes: Axes, lines: Sequence[Line], label: str) -> None:
    """Draw a group of bars per family, with one bar per name."""
    from matplotlib import colormaps

    families, names = list(dict.fromkeys(x.family for x in lines)), list(dict.fromkeys(x.name for x in lines))
    for position, name in enumerate(names):
        own = [line for line in lines if line.name == name]
        x = np.array([families.index(line.family) for line in own]) + (position - (len(names) - 1) / 2) * 0.8 / len(
            names
        )
        value, low, high = (np.array(values) for values in zip(*((v.value, v.low, v.high) for v in own), strict=True))
        color = colormaps["viridis"](position / max(1, len(names) - 1))
        error = np.maximum([value - low, high - value], 0)
        axes.bar(x, value, 0.75 / len(names), yerr=error, label=name, color=color, capsize=2)
    lowest, highest = min(line.value for line in lines), max(line.value for line in lines)
    axes.axhline(50, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(np.arange(len(families)), families)
    axes.set_ylim(max(0, min(45, lowest - 8)), min(100, highest + 8))
    axes.set_ylabel(label)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))


def _draw_reliability(axes: Axes, comparison: Comparison) -> None:
    """Plot actual over predicted shares; the size of a point shows the number of votes."""
    axes.plot([0, 100], [0, 100], color="black", linewidth=0.8, linestyle=":")
    for (name, family), bins in comparison.reliability.items():
        held = [part for part in bins if part.votes]
        most = max(part.votes for part in held)
        x, y = [100 * part.predicted for part in held], [100 * part.actual for part in held]
        (line,) = axes.plot(x, y, linewidth=1, label=f"{name}, {family}")
        axes.scatter(x, y, [8 + 60 * part.votes / most for part in held], color=line.get_color())
    axes.set_xlabel("predicted share of votes for p1, %")
    axes.set_ylabel("actual share, %")
    axes.legend(fontsize="small")
