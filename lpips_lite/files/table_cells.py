"""Tables for people: turn numbers into cells with the right digits and marks; `table_formats.py` writes them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lpips_lite.catalog import entry_of
from lpips_lite.files.group_table import MEAN_MSE, Difference, GroupTable, Measure, Number
from lpips_lite.files.grouping import Key
from lpips_lite.files.names import printable
from lpips_lite.files.numbers import INFINITE, NO_NUMBER
from lpips_lite.files.resampling import RESAMPLES

BEST, SECOND = 1, 2
NO_VALUE = "(none)"
FINER = 2  # most digits that an interval may add to the usual ones


@dataclass(frozen=True)
class Heading:
    """The heading of a column.

    Attributes:
        text: The name of the column.
        lower_is_closer: The direction of its numbers; `None` if they have none.
        is_number: Whether the column contains numbers.
    """

    text: str
    lower_is_closer: bool | None = None
    is_number: bool = True


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, its mark (`BEST`, `SECOND` or 0), and the small text after it."""

    text: str
    rank: int = 0
    small: str = ""


@dataclass(frozen=True)
class Grid:
    """A table for people.

    Attributes:
        title: Its title; may be empty.
        headings: Headings of its columns.
        rows: Rows of cells.
        breaks: Rows before which a line is drawn.
        legend: The meaning of marks, if there are any.
        under: Lines below the table: what the numbers are, signatures, notes.
    """

    title: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]
    breaks: frozenset[int] = frozenset()
    legend: str = ""
    under: Sequence[str] = field(default=())


def to_grids(table: GroupTable) -> list[Grid]:
    """Lay out a grouped table, and a second one with the differences from a group if there are any.

    Both have one row per group and one column per measure.
    """
    columns = [_number_cells(table, place) for place in range(len(table.measures))]
    counts = {key: len(positions) for key, positions in table.groups.members.items()}
    grids = [_grid("", table, counts, columns, _legend(table), _about_numbers(table))]
    if table.settings.against is not None and table.differences:
        columns = [_difference_cells(table, place) for place in range(len(table.measures))]
        what = f"difference of the {table.settings.statistic} from {printable(table.settings.against)}"
        title = f"{what}, over the images that both have"
        both = {key: max(found.n + found.left_out for found in own) for key, own in table.differences.items()}
        grids.append(_grid(title, table, both, columns, "", _about_differences(table)))
    return grids


def _grid(
    title: str,
    table: GroupTable,
    counts: dict[Key, int],
    columns: Sequence[dict[Key, Cell]],
    legend: str,
    about: list[str],
) -> Grid:
    keys = list(counts)
    headings = [Heading(printable(name), is_number=False) for name in table.settings.by] + [Heading("n")]
    headings += [Heading(printable(measure.name), measure.is_lower_closer) for measure in table.measures]
    rows = []
    for key in keys:
        names = [Cell(printable(value) or NO_VALUE) for value in key]
        rows.append([*names, Cell(str(counts[key])), *(column[key] for column in columns)])
    signatures = [f"{printable(name)}: {printable(signature)}" for name, signature in table.signatures.items()]
    return Grid(title, headings, rows, _breaks(keys), legend, [*about, *signatures])


def decimals(usual: int, halves: Iterable[float]) -> int:
    """Return the number of decimals: enough for two digits of half a typical interval, else the usual number."""
    known = sorted(half for half in halves if math.isfinite(half) and half > 0)
    if not known:
        return usual
    return min(max(0, 1 - math.floor(math.log10(known[len(known) // 2]))), usual + FINER)


def number_text(value: float, digits: int, sign: bool = False) -> str:
    """Return a number for people, with a true minus."""
    if math.isnan(value):
        return NO_NUMBER
    if math.isinf(value):
        return INFINITE if value > 0 else f"−{INFINITE}"
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def interval_text(low: float, high: float, digits: int, sign: bool = False) -> str:
    """Return an interval for people, or an empty string if there is none."""
    if math.isnan(low):
        return ""
    return f"[{number_text(low, digits, sign)}, {number_text(high, digits, sign)}]"


# -- columns -----------------------------------------------------------------------------------------------------------


def _number_cells(table: GroupTable, place: int) -> dict[Key, Cell]:
    measure, numbers = table.measures[place], {key: own[place] for key, own in table.numbers.items()}
    digits = decimals(entry_of(measure.metric).decimals, (_half(number) for number in numbers.values()))
    ranks = _ranks(table, measure, {key: number.value for key, number in numbers.items()}, digits)
    return {
        key: Cell(number_text(found.value, digits), ranks.get(key, 0), interval_text(found.low, found.high, digits))
        for key, found in numbers.items()
    }


def _difference_cells(table: GroupTable, place: int) -> dict[Key, Cell]:
    measure = table.measures[place]
    found = {key: own[place] for key, own in table.differences.items()}
    digits = decimals(entry_of(measure.metric).decimals, map(_half, found.values()))
    cells = {}
    for key, difference in found.items():
        bounds = interval_text(difference.low, difference.high, digits, sign=True)
        wins = "" if math.isnan(difference.wins) else f"{100 * difference.wins:.0f} %"
        text = number_text(difference.value, digits, sign=True)
        cells[key] = Cell(text, small=", ".join(filter(None, [bounds, wins])))
    return cells


def _half(found: Number | Difference) -> float:
    return (found.high - found.low) / 2


def _ranks(table: GroupTable, measure: Measure, values: dict[Key, float], digits: int) -> dict[Key, int]:
    """Return the marks of the best and second groups among those that are compared, by their numbers as shown."""
    if not table.groups.compared:
        return {}
    rivals: dict[Key, dict[Key, float]] = defaultdict(dict)
    for key, value in values.items():
        if not math.isnan(value):
            rivals[table.groups.rivals(key)][key] = round(value, digits) if math.isfinite(value) else value
    ranks: dict[Key, int] = {}
    for own in rivals.values():
        if len(own) > 1:
            order = sorted(set(own.values()), reverse=not measure.is_lower_closer)
            ranks |= {key: order.index(value) + 1 for key, value in own.items() if order.index(value) < SECOND}
    return ranks


# -- around the cells --------------------------------------------------------------------------------------------------


def _breaks(keys: Sequence[Key]) -> frozenset[int]:
    """Return the rows before which a line is drawn: those where the first of several columns changes."""
    if len(keys[0] if keys else ()) < 2:
        return frozenset()
    return frozenset(place for place in range(1, len(keys)) if keys[place][0] != keys[place - 1][0])


def _legend(table: GroupTable) -> str:
    if not table.groups.compared:
        return ""
    shared = [printable(name) for name in table.settings.by if name not in table.groups.compared]
    return "bold: best, underlined: second" + (f", for the same {' and '.join(shared)}" if shared else "")


def _about_numbers(table: GroupTable) -> list[str]:
    settings = table.settings
    counted = f"{settings.statistic} over n images"
    if settings.interval:
        counted += f", with 95 % interval by bootstrap over images ({RESAMPLES} resamples)"
    lines = [counted]
    if settings.psnr_of_mean_mse:
        lines.append("psnr of mean MSE: of the mean of the images' squared errors; not the mean of their PSNRs")
    return [*lines, *(f"note: {note}" for note in table.notes)]


def _about_differences(table: GroupTable) -> list[str]:
    interval = f"95 % interval by bootstrap over images ({RESAMPLES} resamples)"
    lines = [f"with {interval}, and the share of images that are strictly better"]
    left_out = [
        f"note: {table.groups.said(key)}: {found.left_out} images with infinite {printable(measure.name)} left out"
        for key, own in table.differences.items()
        for measure, found in zip(table.measures, own, strict=True)
        if found.left_out and measure.statistic != MEAN_MSE
    ]
    return [*lines, *left_out]
