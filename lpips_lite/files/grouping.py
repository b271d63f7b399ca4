"""Group rows by the values of columns, and note what is missing or uneven.

Rows with the same reference belong to the same image. Columns with several values for one reference, such as methods,
are compared; the others, such as scenes, belong to the images.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from lpips_lite.files.names import printable
from lpips_lite.files.settings import Spelling, python_spelling

NAMED = 3  # missing references that are named; the rest are counted

Key = tuple[str, ...]  # one value per column of `by`


class Item(NamedTuple):
    """A row before it is measured: its reference, and its columns."""

    reference: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Groups:
    """Rows by the values of some columns.

    Attributes:
        by: The columns.
        members: Values of the columns -> positions of the rows that have them, in the order of the groups.
        references: The reference of each row.
        compared: The columns of `by` that have several values for one reference; best and second are marked among them.
        notes: Notes on what is missing, uneven, or counted several times.
    """

    by: tuple[str, ...]
    members: Mapping[Key, Sequence[int]]
    references: Sequence[str]
    compared: tuple[str, ...]
    notes: tuple[str, ...]

    def said(self, key: Key) -> str:
        """Return the name of a group for messages: "method=A, scene=garden"."""
        return ", ".join(f"{column}={printable(value)}" for column, value in zip(self.by, key, strict=True))

    def rivals(self, key: Key) -> Key:
        """Return the values that a group shares with those it is compared with: columns that belong to the images."""
        return tuple(value for column, value in zip(self.by, key, strict=True) if column not in self.compared)


def group(items: Sequence[Item], by: Sequence[str], *, spell: Spelling = python_spelling) -> Groups:
    """Group rows by columns.

    Args:
        items: One item per row.
        by: Names of columns; groups are in the order of their values: numbers by size, others as they come.
        spell: Argument and value -> how messages write them.

    Raises:
        ValueError: If there is no such column, or a column is named twice.
    """
    columns = list(items[0].columns) if items else []
    said = spell("by", ",".join(by))
    if not by or len(set(by)) < len(by):
        raise ValueError(f"{said}: expected names of columns, each once")
    for name in by:
        if name not in columns:
            known = f"expected some of {', '.join(map(printable, columns))}" if columns else "the pairs have no columns"
            how = "; fields of patterns and columns of a list are columns"
            raise ValueError(f"{said}: no column {name!r}; {known}{how}")
    members: dict[Key, list[int]] = defaultdict(list)
    for position, item in enumerate(items):
        members[tuple(item.columns[name] for name in by)].append(position)
    ranks = [
        {value: place for place, value in enumerate(distinct_in_order(item.columns[name] for item in items))}
        for name in by
    ]
    order = sorted(members, key=lambda key: [rank[value] for rank, value in zip(ranks, key, strict=True)])
    ordered = {key: members[key] for key in order}
    compared = tuple(varying(items, by))
    found = Groups(tuple(by), ordered, [item.reference for item in items], compared, ())
    notes = [*_absent(found), *_uneven(found), *_alike(items)]
    return Groups(found.by, ordered, found.references, compared, tuple(notes))


def distinct_in_order(values: Iterable[str]) -> list[str]:
    """Return each value once: by size if all are numbers, else in the order in which they come."""
    distinct = list(dict.fromkeys(values))
    with suppress(ValueError):
        distinct = sorted(distinct, key=float)
    return distinct


def varying(items: Iterable[Item], names: Sequence[str]) -> list[str]:
    """Return the columns that have several values for one reference."""
    first: dict[tuple[str, str], str] = {}
    found = {
        name
        for item in items
        for name in names
        if first.setdefault((name, item.reference), item.columns[name]) != item.columns[name]
    }
    return [name for name in names if name in found]


def _absent(groups: Groups) -> list[str]:
    """Return notes on groups that lack images which the groups they are compared with have."""
    expected: dict[Key, dict[str, None]] = defaultdict(dict)  # shared values -> references of all groups
    rivals: dict[Key, None] = {}  # values of the compared columns
    for key, positions in groups.members.items():
        expected[groups.rivals(key)].update(dict.fromkeys(groups.references[position] for position in positions))
        rivals[_compared(groups, key)] = None
    notes = []
    for shared, references in expected.items():
        for values in rivals:
            key = _joined(groups, values, shared)
            own = {groups.references[position] for position in groups.members.get(key, ())}
            missing = [reference for reference in references if reference not in own]
            if missing:
                what = f"{len(missing)} of {len(references)}" if own else f"any of {len(references)}"
                empty = "" if own else "empty group, "
                notes.append(f"{groups.said(key)}: {empty}no image for {what} references: {_some(missing)}")
    return notes


def _compared(groups: Groups, key: Key) -> Key:
    return tuple(value for column, value in zip(groups.by, key, strict=True) if column in groups.compared)


def _joined(groups: Groups, values: Key, shared: Key) -> Key:
    """Return the key with `values` in the compared columns and `shared` in the others."""
    own, others = iter(values), iter(shared)
    return tuple(next(own if column in groups.compared else others) for column in groups.by)


def _uneven(groups: Groups) -> list[str]:
    """Return notes on groups in which some references count more often than others."""
    notes = []
    for key, positions in groups.members.items():
        counts = Counter(groups.references[position] for position in positions)
        least, most = min(counts.values()), max(counts.values())
        if least != most:
            few = [reference for reference, count in counts.items() if count == least]
            notes.append(f"{groups.said(key)}: {least} to {most} images for a reference; fewest for {_some(few)}")
    return notes


def _alike(items: Sequence[Item]) -> list[str]:
    """Return a note on rows that no column distinguishes, so that an image counts several times."""
    counts = Counter((item.reference, *item.columns.values()) for item in items)
    alike = [key[0] for key, count in counts.items() if count > 1]
    return [f"several images that no column tells apart, all counted: of {_some(alike)}"] if alike else []


def _some(references: Sequence[str]) -> str:
    more = f" and {len(references) - NAMED} more" if len(references) > NAMED else ""
    return ", ".join(map(printable, references[:NAMED])) + more
