"""The request of one call of `compare-images`, and a check that its options fit together."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lpips_lite.catalog import MetricSpec, entry_of
from lpips_lite.files.curve_output import curve_files
from lpips_lite.files.curve_picture import require_curve_packages
from lpips_lite.files.group_table import TableSettings
from lpips_lite.files.grouping import Item
from lpips_lite.files.heatmap import HeatmapFiles
from lpips_lite.files.junit import check_junit
from lpips_lite.files.masks import check_masked, give_masks
from lpips_lite.files.names import STANDARD_INPUT, path_text, printable
from lpips_lite.files.outputs import check_folder, check_outputs, check_outside
from lpips_lite.files.pairing import Pairing, require_pairs
from lpips_lite.files.pairs import find_all_pairs, find_pairs, match_patterns, read_pairs
from lpips_lite.files.rate_distance import CurveSettings
from lpips_lite.files.report import is_page_file
from lpips_lite.files.results import check_columns
from lpips_lite.files.rules import Rule
from lpips_lite.files.settings import Settings
from lpips_lite.files.table_output import check_table_file

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".txt": "table", "": "table"}


@dataclass(frozen=True)
class Request:
    """The options of the command, as `compare-images --help` describes them."""

    ref: Path | None
    images: tuple[Path, ...]
    pairs: Path | None
    all_pairs: Path | None
    ref_pattern: str | None
    image_pattern: str | None
    metrics: list[MetricSpec]
    convention: str | None
    mask: Path | None
    format: str | None
    output: Path | None
    resume: bool
    heatmap: str | None
    overlay: bool
    report: Path | None
    report_pairs: int
    groups: TableSettings | None
    curves: tuple[CurveSettings, Path] | None
    table: Path | None
    rules: list[Rule]
    junit: Path | None
    worst: int
    settings: Settings
    allow_unmatched: bool
    strict: bool

    def find(self) -> Pairing:
        """Return the requested pairs, with their masks."""
        return give_masks(self._pairs(), self.mask, self.allow_unmatched, spell=self.settings.spell)

    def _pairs(self) -> Pairing:
        spell = self.settings.spell
        if self.ref_pattern is not None and self.image_pattern is not None:
            folders = (self.ref, self.images[0]) if self.ref else (None, None)
            return match_patterns(self.ref_pattern, self.image_pattern, *folders, spell=spell)
        if self.pairs is not None:
            return read_pairs(self.pairs)
        if self.all_pairs is not None:
            return find_all_pairs(self.all_pairs, spell=spell)
        return find_pairs(self.ref or Path(), self.images, spell=spell)

    @property
    def output_format(self) -> str:
        """The format of the output, by its suffix if it is not given.

        Raises:
            ValueError: If the suffix belongs to no format, or to another one; ".txt" fits any format.
        """
        suffix = self.output.suffix.lower() if self.output else ""
        expected = f"expected {', '.join(filter(None, SUFFIXES))}" + (f", or as {self.format}" if self.format else "")
        if suffix not in SUFFIXES:
            raise ValueError(f"--output {printable(self.output or '')}: {expected}")
        if self.format and suffix not in ("", ".txt") and SUFFIXES[suffix] != self.format:
            raise ValueError(f"--output {printable(self.output or '')}: --format {self.format} contradicts the suffix")
        return self.format or SUFFIXES[suffix]

    @property
    def heatmap_files(self) -> HeatmapFiles | None:
        """The files for heatmaps, if any are requested."""
        return None if self.heatmap is None else HeatmapFiles(self.heatmap)

    @property
    def rows_format(self) -> str | None:
        return self.output_format if self.output_format in ("csv", "jsonl") else None

    @property
    def shows_pairs(self) -> bool:
        """Whether rows of pairs are written; without --output and --format, a table of groups replaces them."""
        return self.groups is None or self.output is not None or self.format is not None

    @property
    def shows_groups(self) -> bool:
        """Whether the table of groups is printed to stdout; not if rows for programs are."""
        taken = self.shows_pairs and self.output is None and self.output_format != "table"
        return self.groups is not None and not taken


def check(request: Request, pairing: Pairing) -> None:
    """Check options against each other, and files to write against files to read.

    Raises:
        ValueError, OSError: If they do not fit together.
    """
    spell, rows_format = request.settings.spell, request.rows_format
    require_pairs(pairing, request.allow_unmatched or not request.strict, spell=spell)
    texts = [spec.text for spec in request.metrics]
    for rule in request.rules:
        if rule.metric not in texts:
            raise ValueError(f"--fail names {rule.metric}, which is not measured: add it to --metric {','.join(texts)}")
    if request.heatmap is not None and not any(entry_of(text).has_map for text in texts):
        raise ValueError(f"--heatmap: {','.join(texts)} has no map; add lite, alex, vgg or squeeze to --metric")
    if request.overlay and request.heatmap is None:
        raise ValueError("--overlay: expected --heatmap with it")
    if request.resume and (request.output is None or rows_format is None):
        raise ValueError("--resume: expected --output FILE.csv or FILE.jsonl with it")
    if request.output is None and not sys.stdout.writable():
        raise OSError("standard output is closed; expected --output FILE")
    if request.report is not None and (not is_page_file(request.report) or request.report == Path("-")):
        raise ValueError(f"--report {printable(request.report)}: expected a file like page.html")
    if request.junit is not None:
        check_junit(request.junit, "--junit")
    check_columns(pairing.pairs[0].columns, texts)
    check_masked(texts, request.mask, pairing, request.settings)
    if request.groups is not None:
        _check_groups(request, request.groups, pairing, texts)
    outputs = [
        (f"--{name}", path) for name in ("output", "table", "report", "junit") if (path := getattr(request, name))
    ]
    outputs += [("--curve-files", path) for path in (curve_files(request.curves[1]) if request.curves else ())]
    for option, path in outputs:
        check_folder(option, path)
    heatmaps = request.heatmap_files
    if heatmaps is not None:
        heatmaps.check(pairing.pairs, spell=spell)
        masks = [request.mask] if request.mask is not None and request.mask.is_dir() else []
        check_outside("--heatmap", heatmaps.target, [*_image_folders(pairing), *masks])
        if heatmaps.is_folder:
            outputs.append(("--heatmap", heatmaps.target))
        outputs += [("--heatmap", heatmaps.path(pair)) for pair in pairing.pairs]
    check_outputs(outputs, _inputs(request, pairing))


def _check_groups(request: Request, groups: TableSettings, pairing: Pairing, metrics: list[str]) -> None:
    """Check the table of groups as far as possible before anything is measured."""
    if request.table is None and not request.shows_groups:
        expected = "expected --output FILE or --table FILE with it"
        raise ValueError(f"--by: standard output is taken by --format {request.output_format}; {expected}")
    if request.table is not None:
        check_table_file(request.table, "--table")
    groups.measures(metrics)
    items = [Item(path_text(pair.reference), pair.columns) for pair in pairing.pairs]
    groups.groups(items)
    if request.curves is not None:
        require_curve_packages("--curve")
        request.curves[0].check(items, groups.by[0], metrics)


def _image_folders(pairing: Pairing) -> set[Path]:
    """Return the folders that were searched, and the targets of links in them."""
    found = {path.parent for pair in pairing.pairs for path in (pair.reference, pair.image)}
    return {*pairing.folders, *found} if pairing.folders else set()


def _inputs(request: Request, pairing: Pairing) -> Iterator[tuple[str, Path]]:
    for pair in pairing.pairs:
        for path in (pair.reference, pair.image):
            yield "a compared image", Path("/dev/stdin") if path == STANDARD_INPUT else path
        if pair.mask is not None:
            yield "a mask", pair.mask
    yield from (("a compared image", path) for path in pairing.unmatched)
    yield from (("the list of pairs", path) for path in pairing.sources)
    yield from (("a weight file", path) for spec in request.metrics for path in spec.files())
