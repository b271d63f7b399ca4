"""The grouped table for programs, as CSV and JSON: one record per group and measure, with all digits."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lpips_lite.files.group_table import DIFFERENCES, NUMBERS, Difference, GroupTable, Number

Record = dict[str, Any]

_NO_DIFFERENCE = Difference(math.nan, math.nan, math.nan, 0, math.nan, math.nan, 0)


def records(table: GroupTable) -> list[Record]:
    """Return one record per group and measure; missing values are NaN."""
    found = []
    for key, numbers in table.numbers.items():
        differences = table.differences.get(key, [_NO_DIFFERENCE] * len(numbers))
        for measure, number, difference in zip(table.measures, numbers, differences, strict=True):
            signature = table.signatures[measure.metric]
            record = {**dict(zip(table.settings.by, key, strict=True)), "measure": measure.name}
            record |= {"statistic": measure.statistic, **_of_number(number)}
            against = table.settings.against if key in table.differences else None
            found.append({**record, "against": against, **_of_difference(difference), "signature": signature})
    return found


def _of_number(number: Number) -> Record:
    return {name: getattr(number, name) for name in NUMBERS}


def _of_difference(found: Difference) -> Record:
    values = found.value, found.low, found.high, found.n, found.wins, found.ties
    return dict(zip(DIFFERENCES[1:], values, strict=True))


def to_csv(columns: Sequence[str], found: Sequence[Record]) -> str:
    """Return records as CSV; missing values are empty, and infinity is inf."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["" if _is_absent(record[name]) else record[name] for name in columns] for record in found)
    return text.getvalue()


def to_json(table: GroupTable, more: Mapping[str, Any]) -> str:
    """Return the table as one JSON document; missing values and infinity are null, and infinite numbers are counted.

    Args:
        table: The table to write.
        more: Additional keys of the document.
    """
    settings = table.settings
    document = {
        "by": list(settings.by),
        "compared": list(table.groups.compared),
        "statistic": settings.statistic,
        "against": settings.against,
        "signatures": dict(table.signatures),
        "groups": [json_record(record) for record in records(table)],
        "notes": list(table.notes),
        **more,
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def json_record(record: Mapping[str, Any]) -> Record:
    """Return a record for JSON."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in record.items()
    }


def _is_absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
