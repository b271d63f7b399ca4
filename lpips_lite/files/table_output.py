"""The sink that makes the grouped table after the last row: it prints it, writes it, and adds it to the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpips_lite.files import curve_output, table_formats, table_records
from lpips_lite.files.group_table import AFTER, GroupTable, TableSettings, group_table, items_of
from lpips_lite.files.names import printable
from lpips_lite.files.rate_distance import CurveSettings, curves_of
from lpips_lite.files.results import Row, write_text
from lpips_lite.files.table_cells import Grid, to_grids

if TYPE_CHECKING:
    from lpips_lite.files.decoding import Decoded

SUFFIXES = (".md", ".tex", ".csv", ".json")


def check_table_file(path: Path, said: str) -> None:
    """Raise a ValueError if this is not the name of a table."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{said} {printable(path)}: expected a name that ends with {', '.join(SUFFIXES)}")


class GroupTables:
    """The sink of `--by`.

    Args:
        settings: Settings of the table.
        signatures: The signature of each metric.
        pairs: Number of rows of a complete run.
        path: File to write the table to; `None`: none.
        curves: Settings of rate-distance curves of the first column of `settings.by`, and the start of their file
            names; `None`: no curves.
        show: Called with the table as plain text; `None`: it is not shown.

    Attributes:
        grids: The tables, when finished.
        picture: The curves as SVG, when finished; empty if there are none.
    """

    def __init__(
        self,
        settings: TableSettings,
        signatures: Mapping[str, str],
        *,
        pairs: int,
        path: Path | None,
        curves: tuple[CurveSettings, Path] | None,
        show: Callable[[str], object] | None,
    ) -> None:
        self.settings, self.signatures, self.pairs, self.path, self.show = settings, signatures, pairs, path, show
        self.curves = curves
        self.grids: list[Grid] = []
        self.picture = b""
        self._rows: list[Row] = []

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Keep a row."""
        self._rows.append(row)

    def finish(self) -> None:
        """Compute the table, show it and write it; do nothing if there are no rows.

        Raises:
            OSError: If it cannot be written.
        """
        if not self._rows:
            return
        cut = [f"of {len(self._rows)} of {self.pairs} pairs"] if len(self._rows) < self.pairs else []
        try:
            table = group_table(self._rows, self.settings, self.signatures, cut)
        except ValueError as error:  # because an interrupt has left out pairs
            if not cut:
                raise
            alone = replace(self.settings, against=None)
            table = group_table(self._rows, alone, self.signatures, [*cut, f"no differences: {error}"])
        if self.curves is not None:  # points of a curve are not rivals
            table = replace(table, groups=replace(table.groups, compared=()))
        self.grids = to_grids(table)
        more = self._draw_curves(table)
        if self.show is not None:
            self.show("\n".join(map(table_formats.to_text, self.grids)))
        if self.path is not None:
            write_text(self.path, as_text(self.path.suffix.lower(), table, self.grids, more))

    def _draw_curves(self, table: GroupTable) -> dict[str, Any]:
        """Compare and draw the curves, and return them for the JSON document."""
        if self.curves is None:
            return {}
        settings, stem = self.curves
        items = items_of(self._rows, self.signatures)
        found = curves_of(self._rows, items, table.settings.by[0], settings)
        self.grids.append(curve_output.to_grid(found, self.signatures))
        self.picture = curve_output.write_curves(stem, found, self.signatures)
        return {"curves": curve_output.to_json(found, self.signatures)}


def as_text(suffix: str, table: GroupTable, grids: Sequence[Grid], more: Mapping[str, Any]) -> str:
    """Return the table in the format of a file with this suffix.

    Args:
        suffix: One of `SUFFIXES`.
        table: The table for programs.
        grids: The tables for people.
        more: Additional keys of the JSON document.
    """
    if suffix == ".csv":
        return table_records.to_csv([*table.settings.by, *AFTER], table_records.records(table))
    if suffix == ".json":
        return table_records.to_json(table, more)
    write = table_formats.to_markdown if suffix == ".md" else table_formats.to_latex
    return "\n".join(map(write, grids))
