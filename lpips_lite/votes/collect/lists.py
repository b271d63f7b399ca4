"""Items from a table: triplets with `ref,p0,p1`, or pairs with `ref,p0`, and their methods if known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lpips_lite.files.names import printable
from lpips_lite.votes.checking import look_at_images
from lpips_lite.votes.collect.study import Item, Mode
from lpips_lite.votes.csv_rows import Cells, read_table
from lpips_lite.votes.judgment_tables import METHODS
from lpips_lite.votes.progress import Progress, silently
from lpips_lite.votes.records import Finding, Row

COLUMNS = {"closer": ("ref", "p0", "p1"), "same": ("ref", "p0")}


def read_list(path: Path, mode: Mode = "closer") -> list[Item]:
    """Read a table of triplets, or of pairs in mode "same"; columns of votes are ignored.

    Raises:
        ValueError: If any row has a problem; the message names file and line.
    """
    kind = "triplets" if mode == "closer" else "pairs"
    table = read_table(path, {kind: COLUMNS[mode]})
    problems, items = list(table.problems), list[Item]()
    methods = [column for column in METHODS[: len(COLUMNS[mode]) - 1] if column in table.columns]
    for line, values in table.rows:
        cells = Cells(path.parent, values)
        paths = [cells.path(column).resolve() for column in COLUMNS[mode]]
        if not cells.problems and len({*paths}) < len(paths):
            cells.problems.append("names a file twice; expected different images")
        made = [cells.text(column) for column in methods] + [None] * (2 - len(methods))
        problems += [Finding(path, line, what) for what in cells.problems]
        if not cells.problems:
            items.append(Item(paths[0], paths[1], paths[2] if mode == "closer" else None, made[0], made[1]))
    if problems:
        raise ValueError(f"{problems[0]} ({len(problems) - 1} more)" if len(problems) > 1 else str(problems[0]))
    return items


def check_items(items: Sequence[Item], progress: Progress = silently) -> tuple[list[Item], list[str]]:
    """Decode all images as they will be shown.

    Returns:
        The items without those whose two images have the same bytes, and notes.

    Raises:
        ValueError: If an image cannot be read, images of an item differ in size, an item is listed twice, or there are
            no items.
    """
    rows = [Row(item.ref, number, item.images()) for number, item in enumerate(items)]
    for path in {path for item in items for path in item.images().values()}:
        if not str(path).isprintable():
            raise ValueError(f"{printable(path)}: a name that is not plain text; expected another name")
    problems, notes = look_at_images(rows, progress)
    if problems:
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ValueError(f"{problems[0].what}{more}")
    seen: set[tuple[Path, frozenset[Path | None]]] = set()
    kept, alike = [], 0
    for item in items:
        key = (item.ref, frozenset({item.p0, item.p1}))
        if key in seen:
            raise ValueError(f"{printable(item.p0)}: its item is listed twice; expected each item once")
        seen.add(key)
        if item.p1 is not None and item.p0.read_bytes() == item.p1.read_bytes():
            alike += 1
        else:
            kept.append(item)
    if not kept:
        raise ValueError("items: none that can be judged; expected at least one")
    told = [str(note) for note in notes if "have the same bytes" not in note.what]
    if alike:
        told.append(f"{alike} triplets whose p0 and p1 have the same bytes are not asked about")
    return kept, told
