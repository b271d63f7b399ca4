"""`summarize`: the command's `--by` for Python. It takes rows of pairs and returns the grouped table."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lpips_lite.catalog import may_be_infinite, parse_metric
from lpips_lite.files.group_table import AFTER, TableSettings, group_table
from lpips_lite.files.names import PATHS, RESULT_COLUMNS
from lpips_lite.files.results import Row
from lpips_lite.files.table_records import records

if TYPE_CHECKING:
    import pandas as pd


def summarize(
    rows: pd.DataFrame,
    *,
    by: str | Sequence[str],
    statistic: str = "mean",
    interval: bool = False,
    against: str | None = None,
    psnr_of_mean_mse: bool = False,
) -> pd.DataFrame:
    """Return statistics of groups of pairs, as `compare-images --by` prints them.

    Args:
        rows: The result of `compare`, or a CSV or JSON lines written by `compare-images --output`, read by pandas.
        by: A column, or several, whose values make groups, like "method" or ["method", "scene"].
        statistic: Statistic of the numbers of each group: "mean" · "median" · "p5" · "p95" · "min" · "max". The mean
            leaves out infinite PSNR of identical images.
        interval: Whether to compute `low` and `high`, a 95 % interval by bootstrap over images; else they are NaN.
        against: The value of one of the columns, like the name of a method. Other groups are compared with its group,
            over the images of both, which are those with the same reference.
        psnr_of_mean_mse: Whether to add, for each PSNR, the PSNR of the mean of the squared errors.

    Returns:
        One row per group and measure: the columns of `by`, `measure`, `statistic`, `value`, `n` (images with a number),
        `infinite`, `low`, `high`; `against`, `difference`, `difference_low`, `difference_high` (its 95 % interval),
        `difference_n`, `wins` and `ties`, shares of images; and `signature`. `attrs["notes"]` says what is missing,
        uneven or counted several times.

    Raises:
        TypeError: If `rows` is not a DataFrame.
        ValueError: If there is no such column, statistic or value, if a column of `by` is also a column of the result,
            if signatures are missing, or if the numbers of a metric have different signatures.
        ImportError: If pandas is not installed.

    Examples:
        >>> from lpips_lite import compare
        >>> patterns = "examples/images/{name}.png", "examples/images/{name}_{kind}.png"
        >>> rows = compare(ref_pattern=patterns[0], image_pattern=patterns[1], metrics=["psnr"])
        >>> summarize(rows, by="kind").value.round(2).tolist()
        [31.62, 29.03, 26.87, 25.15]
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError('summarize() needs pandas: pip install "lpips_lite[tables]"') from error
    if not isinstance(rows, pd.DataFrame):
        raise TypeError(f"rows: expected a DataFrame, as compare() returns it, got {type(rows).__name__}")
    missing = [name for name in PATHS if name not in rows]
    if missing or not len(rows):
        problem = f"no column {missing[0]!r}" if missing else "no rows"
        raise ValueError(f"rows: {problem}; expected the result of compare(), or the output of compare-images --output")
    names = (by,) if isinstance(by, str) else tuple(by)
    settings = TableSettings(names, statistic, interval, against, psnr_of_mean_mse)
    signatures = _signatures(rows)
    table = group_table(_rows(rows, signatures), settings, signatures)
    found = pd.DataFrame(records(table), columns=[*names, *AFTER])
    found.attrs["notes"] = list(table.notes)
    return found


def _rows(rows: pd.DataFrame, signatures: Mapping[str, str]) -> list[Row]:
    """Return rows with numbers as floats, `None` for missing ones, and all other columns as text."""
    absent = [name for name in signatures if name not in rows]
    if absent:
        raise ValueError(f"rows: no column {absent[0]!r}, which has a signature")
    columns: dict[str, list[Any]] = {}
    for label in rows:
        name, values = str(label), rows[label].tolist()
        if name in signatures:
            columns[name] = [None if _is_absent(value) else float(value) for value in values]
            if may_be_infinite(name) and "error" in rows:  # JSON has no infinity: it is null, and there is no error
                errors = map(_is_absent, rows["error"].tolist())
                both = zip(columns[name], errors, strict=True)
                columns[name] = [math.inf if value is None and fine else value for value, fine in both]
        elif name in PATHS or name not in RESULT_COLUMNS:
            columns[name] = ["" if _is_absent(value) else str(value) for value in values]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _signatures(rows: pd.DataFrame) -> dict[str, str]:
    """Return the signature of each metric, as given by `compare` or in the files of results."""
    if "signatures" in rows.attrs:
        return dict(rows.attrs["signatures"])
    if "signature" not in rows:
        expected = "expected rows of compare(), or the column that compare-images --output writes"
        raise ValueError(f"rows: nothing says what made the numbers; {expected}")
    found = {str(value): value for value in rows["signature"]}
    if len(found) != 1:
        several = " and ".join(sorted(found)[:2])
        raise ValueError(f"rows: numbers that do not compare, made by {several}; expected one signature")
    ((text, value),) = found.items()
    signatures = value if isinstance(value, Mapping) else _parse(text, list(rows.columns))
    return {name: str(signature) for name, signature in signatures.items()}


def _parse(text: str, columns: Sequence[object]) -> Mapping[str, str]:
    """Parse signatures like "lite: lpips-lite/1.0 …; psnr: …" of the metrics in `columns`, or a mapping as text."""
    if text.startswith("{"):
        try:
            return dict(ast.literal_eval(text))
        except (ValueError, SyntaxError):
            raise ValueError(f"rows: {text!r} is not a signature of metrics") from None
    places = {}
    for name in map(str, columns):
        place = 0 if text.startswith(f"{name}: ") else text.find(f"; {name}: ")
        if place >= 0 and _is_metric(name):
            places[place] = name
    ends = [*sorted(places)[1:], len(text)]
    starts = sorted(places)
    if not starts or starts[0] != 0:
        raise ValueError(f"rows: {text!r} is not a signature of the metrics among the columns")
    parts = {places[start]: text[start:end] for start, end in zip(starts, ends, strict=True)}
    return {name: part.removeprefix("; ").removeprefix(f"{name}: ") for name, part in parts.items()}


def _is_metric(name: str) -> bool:
    try:
        return parse_metric(name).text == name
    except ValueError:
        return False


def _is_absent(value: object) -> bool:
    """Return whether a value is missing in pandas: None, NaN, NA or NaT, but not a text like these."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (not isinstance(value, str) and str(value) in ("<NA>", "NaT"))
