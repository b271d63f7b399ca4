"""The page of a report: entries, pictures and statistics in; one HTML file out.

After `report.py`, which gathers them. The template is filled with the style and the scripts that lie beside it. In the
file, entries come before pictures, so that the page is shown while its pictures are still loading.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from lpips_lite import __version__
from lpips_lite.catalog import entry_of
from lpips_lite.files.drawing import SMOOTHING, UNKNOWN, palette
from lpips_lite.files.names import printable
from lpips_lite.files.numbers import format_number
from lpips_lite.files.report_groups import GroupLine
from lpips_lite.files.summary import Summary
from lpips_lite.files.table_formats import to_html
from lpips_lite.files.table_output import GroupTables
from lpips_lite.files.verdicts import ERROR, FAILED, MISSING, NEW, STATES, Verdicts

BINS = 32
SCRIPTS = ("report.js", "report_list.js", "report_viewer.js", "report_start.js")
NAMED = 20  # problems at the top of the page; all are in its list


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        entries: Pairs, and images without a partner, those with pictures first.
        pictures: WebP files in base64; entries refer to them by position.
        peak: The largest value of all maps.
        groups: Column -> its groups.
        notes: Lines about how the numbers were made.
    """

    entries: Sequence[Mapping[str, Any]]
    pictures: Sequence[str]
    peak: float
    groups: Mapping[str, Sequence[GroupLine]]
    notes: Sequence[str]


def render(
    page: Page, signatures: Mapping[str, str], summary: Summary, verdicts: Verdicts, tables: GroupTables | None
) -> str:
    """Return the page as HTML."""
    import jinja2

    statistics = summary.statistics()
    metrics = [
        {**_describe(name, signature), "statistics": statistics.get(name, {})} for name, signature in signatures.items()
    ]
    shown = ("name", "title", "direction", "decimals")
    data = {
        "metrics": [
            {key: metric[key] for key in shown} | {"histogram": histogram(np.asarray(summary.values[name]))}
            for name, metric in zip(signatures, metrics, strict=True)
        ],
        "columns": list(page.groups),
        "entries": page.entries,
        "peak": page.peak,
        "palette": palette()[:256].tobytes().hex(),
        "unknown": UNKNOWN,
    }
    problems = [entry for entry in page.entries if entry["state"] in (ERROR, NEW, MISSING)]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"printable": printable, "number": format_number}
    return environment.from_string(
        _read("report.html.j2")
    ).render(
        style=_read("report.css"),
        script="\n".join(map(_read, SCRIPTS)),
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),  # nothing in it ends the script
        page=page,
        places=_places(page.entries),
        verdict=_verdict(verdicts),
        states={state: verdicts.counts[state] for state in STATES},
        rules=verdicts.of_rules(),
        problems=problems[:NAMED],
        more_problems=len(problems[NAMED:]),
        unlisted=_unlisted(page, verdicts),
        metrics=metrics,
        columns=list(dict.fromkeys(key for found in statistics.values() for key in found)),
        summary=summary,
        tables=[to_html(grid) for grid in tables.grids] if tables else [],
        curves=base64.b64encode(tables.picture).decode() if tables else "",
        smoothing=SMOOTHING,
        version=__version__,
        shown=sum("image" in entry for entry in page.entries),
    )


def _places(entries: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the places of all pictures in the order in which the page's list needs them."""
    kinds = ("thumb", "reference", "image", "map")
    return list(
        dict.fromkeys(
            place
            for entry in entries
            for place in (
                *(entry[kind] for kind in kinds if kind in entry),
                *(crop["picture"] for crop in entry.get("crops", ())),
            )
        )
    )


def _read(name: str) -> str:
    return (files("lpips_lite.files") / name).read_text(encoding="utf-8")


def _verdict(verdicts: Verdicts) -> tuple[str, str]:
    """Return the state and the text of the verdict at the top; both are empty if there is nothing to judge."""
    states = {found.state for found in verdicts.of_rules()}
    if FAILED in states:
        return FAILED, "failed"
    if verdicts.counts[ERROR] or states - {"passed"}:
        return ERROR, "errors"
    if verdicts.counts[NEW] or verdicts.counts[MISSING]:
        return NEW, "incomplete"
    return ("passed", "passed") if states else ("", "")


def _unlisted(page: Page, verdicts: Verdicts) -> dict[str, int]:
    """Return state -> how many pairs or files in it are not in the page's list."""
    counts = dict(verdicts.counts)
    for entry in page.entries:
        counts[entry["state"]] -= 1
    return {state: count for state, count in counts.items() if count > 0}


def histogram(values: np.ndarray) -> dict[str, Any]:
    """Return counts of the finite values in equal bins from the smallest to the largest; one bin if all are equal."""
    values = values[np.isfinite(values)]
    if not len(values):
        return {"counts": [], "low": 0, "high": 0}
    low, high = float(values.min()), float(values.max())
    if low == high:
        return {"counts": [len(values)], "low": low, "high": high}
    places = ((values - low) / (high - low) * BINS).astype(int).clip(max=BINS - 1)
    return {"counts": np.bincount(places, minlength=BINS).tolist(), "low": low, "high": high}


def encode(value: float | None) -> float | str | None:
    """Return a number that JSON can hold; an infinite one, like the PSNR of equal images, becomes text, not null."""
    return value if value is None or math.isfinite(value) else str(float(value))


def _describe(name: str, signature: str) -> dict[str, Any]:
    entry = entry_of(name)
    return {
        "name": printable(name),
        "title": printable(entry.title),
        "direction": entry.direction,
        "decimals": entry.decimals,
        "signature": printable(signature),
    }
