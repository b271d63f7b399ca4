"""A comparison of metrics as CSV and JSON, for programs, with all digits."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lpips_lite.votes.comparison import Comparison, DataSet, Line
from lpips_lite.votes.observers import Alpha

HUMAN = "human judgments"
MEASURES = {"triplets": "agreement", "pairs": "average_precision"}
COLUMNS = ("metric", "family", *MEASURES.values(), "low", "high", "difference", "difference_low", "difference_high")
COLUMNS += ("p_value", "rows", "votes", "references", "ties")


def to_csv(comparison: Comparison) -> str:
    """Return one row per metric or ceiling and family: its number, interval and difference, and counts.

    The mean over families has the family "mean"; JND sets have `average_precision` instead of `agreement`.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    data: dict[tuple[str, str], DataSet] = {(part.kind, part.family): part for part in comparison.data}
    for kind, lines, differences in (
        ("triplets", [*comparison.ceilings, *comparison.agreement], comparison.differences),
        ("pairs", comparison.precision, comparison.precision_differences),
    ):
        paired = {(line.name, line.family): line for line in differences}
        for line in lines:
            part, row = data[kind, line.family], {MEASURES[kind]: line.value, "low": line.low, "high": line.high}
            if (other := paired.get((line.name, line.family))) is not None:
                row |= {"difference": other.value, "p_value": other.p_value}
                row |= {"difference_low": other.low, "difference_high": other.high}
            row |= {"rows": part.rows, "votes": part.votes, "references": part.references}
            row["ties"] = part.ties.get(line.name, math.nan)
            known = {key: value for key, value in row.items() if not math.isnan(value)}
            writer.writerow({"metric": line.name, "family": line.family, **known})
        for name, value in means(lines).items():
            writer.writerow({"metric": name, "family": "mean", MEASURES[kind]: value})
    return text.getvalue()


def means(lines: Sequence[Line]) -> dict[str, float]:
    """Return the mean over families for each name that has all families, if there are several."""
    families = {line.family for line in lines}
    values: dict[str, list[float]] = {}
    for line in lines:
        values.setdefault(line.name, []).append(line.value)
    return {name: float(np.mean(own)) for name, own in values.items() if len(own) == len(families) > 1}


def to_json(comparison: Comparison, source: str = HUMAN) -> str:
    """Return all tables as one JSON document; docs/agreement.md lists its keys. Unknown values are null."""
    results = {"triplets": comparison.agreement, "pairs": comparison.precision}
    differences = {"triplets": comparison.differences, "pairs": comparison.precision_differences}
    document = {
        "source": source,
        "counts": comparison.count,
        "against": comparison.against,
        "signatures": dict(comparison.signatures),
        "data": [_data(part) for part in comparison.data],
        "ceilings": [{"ceiling": x.name, "family": x.family, "agreement": x.value} for x in comparison.ceilings],
        "results": [_line(x, MEASURES[kind]) for kind, lines in results.items() for x in lines],
        "differences": [
            {**_line(x, MEASURES[kind]), "p_value": _number(x.p_value)}
            for kind, lines in differences.items()
            for x in lines
        ],
        "alpha": [_alpha(alpha) for alpha in comparison.alphas],
        "reliability": _bins(comparison),
        "notes": list(comparison.notes),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _line(line: Line, measure: str) -> dict[str, Any]:
    bounds = {"low": _number(line.low), "high": _number(line.high)}
    return {"metric": line.name, "family": line.family, measure: line.value, **bounds}


def _data(part: DataSet) -> dict[str, Any]:
    counts = {"rows": part.rows, "votes": _number(part.votes), "references": part.references}
    return {"family": part.family, "kind": part.kind, **counts, "ties": dict(part.ties)}


def _alpha(alpha: Alpha) -> dict[str, Any]:
    numbers = {name: _number(getattr(alpha, name)) for name in ("value", "low", "high")}
    return {"family": alpha.family, "raters": alpha.raters, "answers": alpha.answers, **numbers}


def _bins(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {"metric": name, "family": family, "from": 100 * part.low, "to": 100 * part.high, "votes": part.votes}
        | {"predicted": _number(100 * part.predicted), "actual": _number(100 * part.actual)}
        for (name, family), bins in comparison.reliability.items()
        for part in bins
    ]
