"""The report: results, verdicts and pictures of pairs in; one HTML file out that needs nothing else.

The sink of `--report`. Which pairs are shown is known when all rows have come; they are read once more, one at a time,
and only small pictures of them are kept (`gallery.py`). `report_page.py` writes the page.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lpips_lite.files.decoding import Decoded
from lpips_lite.files.gallery import Gallery
from lpips_lite.files.heatmap import DrawMap
from lpips_lite.files.lists import MASK
from lpips_lite.files.names import PATHS, first_line, path_text, printable
from lpips_lite.files.pairing import Pair
from lpips_lite.files.report_groups import GroupCounts
from lpips_lite.files.report_page import Page, encode, render
from lpips_lite.files.results import Row, write_text
from lpips_lite.files.summary import Summary
from lpips_lite.files.table_output import GroupTables
from lpips_lite.files.verdicts import ALONE, ERROR, FAILED, NEW, Verdict, Verdicts, judge

MOST_LISTED = 2000  # pairs, and images without a partner, that the page lists without pictures

Progress = Callable[[Iterable[Decoded], str], Iterable[Decoded]]


def is_page_file(path: Path) -> bool:
    """Return whether a page can be written to a path: its suffix is .html or .htm, or it has none, like /dev/stdout."""
    return path.suffix.lower() in (".html", ".htm", "")


class Report:
    """The sink that writes a page about verdicts, failed pairs and the worst pairs.

    Args:
        path: Path of the page; links, pipes and devices are written through.
        count: Largest number of pairs to show: those that failed, then the worst.
        draw: Returns a metric's name and its map of a decoded pair; `None` if no metric has maps.
        decode: Reads pairs.
        pairs: All pairs that are compared.
        signatures: Signature of each metric.
        summary: Another sink, which takes rows before this one finishes.
        verdicts: Another sink, likewise.
        progress: Passes pairs on and shows how many are done.
        notes: Lines about how the numbers were made.
        tell: Called with a line about each pair that should have pictures but has none.
        groups: Another sink, whose tables and curves are put on the page; it finishes before this one.
    """

    def __init__(
        self,
        path: Path,
        *,
        count: int,
        draw: DrawMap | None,
        decode: Callable[[Sequence[Pair]], Iterable[Decoded]],
        pairs: Sequence[Pair],
        signatures: Mapping[str, str],
        summary: Summary,
        verdicts: Verdicts,
        progress: Progress,
        notes: Sequence[str],
        tell: Callable[[str], None],
        groups: GroupTables | None = None,
    ) -> None:
        self.path, self.count, self.draw, self.decode, self.pairs = path, count, draw, decode, pairs
        self.signatures, self.summary, self.verdicts = signatures, summary, verdicts
        self.progress, self.notes, self.tell, self.groups = progress, notes, tell, groups
        self._counts = GroupCounts(next(iter(signatures)), list(pairs[0].columns) if pairs else [])

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Count a row in its groups; which pairs are shown is known at the end."""
        self._counts.take(row, self._verdict(row).state)

    def finish(self) -> None:
        """Read the pairs to be shown once more and write the page.

        Raises:
            OSError: If the page cannot be written.
        """
        bad = {state: [row for row, _ in rows] for state, rows in self.verdicts.bad.items()}
        candidates = _once([*self.summary.worst(self.count), *bad[FAILED]])
        shown = sorted(candidates, key=lambda row: self._verdict(row).state != FAILED)[: self.count]
        gallery = Gallery(len(shown))
        pictures, problems = self._pictures(shown, gallery)
        listed = _once([*shown, *bad[FAILED], *bad[ERROR]])
        groups = self._counts.tables()
        entries = [self._entry(row, problems.get(id(row)), groups) | pictures.get(id(row), {}) for row in listed]
        entries += [
            _entry_without_partner(state, path) for state, paths in self.verdicts.alone.items() for path in paths
        ]
        entries.sort(key=lambda entry: "image" not in entry)  # those with pictures first
        page = Page(
            entries=entries[: len(pictures) + MOST_LISTED],
            pictures=gallery.pictures,
            peak=gallery.peak,
            groups=groups,
            notes=self.notes,
        )
        write_text(self.path, render(page, self.signatures, self.summary, self.verdicts, self.groups))

    def _verdict(self, row: Row) -> Verdict:
        return judge(row, self.verdicts.rules)

    def _pictures(self, shown: Sequence[Row], gallery: Gallery) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
        """Return the pictures of rows, and why some have none, each by the row's identity."""
        wanted: dict[tuple[str, ...], list[Row]] = {}
        for row in shown:
            wanted.setdefault((row["reference"], row["image"], row.get(MASK, "")), []).append(row)
        keyed = {_key(pair): pair for pair in self.pairs}
        pictures: dict[int, dict[str, Any]] = {}
        problems: dict[int, str] = {}
        for decoded in self.progress(self.decode([pair for key, pair in keyed.items() if key in wanted]), "report"):
            for row in wanted[_key(decoded.pair)]:
                problem = decoded.error or _change(row, decoded)
                try:
                    if problem is None:
                        pictures[id(row)] = gallery.add(row, decoded, self.draw)
                except (ValueError, RuntimeError, MemoryError) as error:  # no memory for a map, say
                    problem = f"{printable(decoded.pair.image)}: no pictures ({first_line(error)})"
                if problem is not None:
                    problems[id(row)] = problem
                    self.tell(f"{problem}; {printable(self.path)} has no pictures of it")
        return pictures, problems

    def _entry(self, row: Row, problem: str | None, groups: Container[str]) -> dict[str, Any]:
        """Return what the page says about a pair, with its values in these columns, but without its pictures."""
        verdict = self._verdict(row)
        return {
            "names": {side: printable(row[side]) for side in PATHS},
            "numbers": [encode(row[name]) for name in self.signatures],
            "state": verdict.state,
            "reasons": [*map(str, verdict.crossed), *map(printable, filter(None, [verdict.error, problem]))],
            "groups": {column: value for column, value in self._counts.of(row).items() if column in groups},
        }


def _key(pair: Pair) -> tuple[str, ...]:
    """Return what tells a pair from others: its files, and its mask if that is from a list."""
    return path_text(pair.reference), path_text(pair.image), pair.columns.get(MASK, "")


def _once(rows: Sequence[Row]) -> list[Row]:
    """Return rows in order, none twice; two pairs of the same files are two rows."""
    return list({id(row): row for row in rows}.values())


def _entry_without_partner(state: str, path: Path) -> dict[str, Any]:
    """Return what the page says about an image without a reference, or a reference without an image."""
    names = dict.fromkeys(PATHS, "") | {"image" if state == NEW else "reference": printable(path)}
    return {"names": names, "numbers": [], "state": state, "reasons": [ALONE[state]], "groups": {}}


def _change(row: Row, decoded: Decoded) -> str | None:
    """Return what to say if the files are not those that were measured."""
    if decoded.content is not None and decoded.content == row["content"]:
        return None
    reference, image, *mask = decoded.pair.files
    return f"{' or '.join(map(printable, (image, reference, *mask)))}: has changed since it was measured"
