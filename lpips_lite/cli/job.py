"""One call of `compare-images`: what was asked for in, files and exit status out.

A pipeline: pairs are found, checked against what will be written, read and measured, and each row goes to the sinks:
results, summary, rules, problems, heatmaps, report, table. A sink has `take(row, decoded)` and `finish()`.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from lpips_lite.catalog import MetricSpec
from lpips_lite.cli.tables import JsonOutput, TableOutput
from lpips_lite.cli.terminal import CROSSED, FAILED, INTERRUPTED, interrupts_raise
from lpips_lite.files.decoding import Decoded, decode
from lpips_lite.files.heatmap import Heatmaps, is_picture_file
from lpips_lite.files.measuring import Metrics, load_metrics, map_of, measure_pairs
from lpips_lite.files.names import printable
from lpips_lite.files.outputs import check_folder, check_outputs, check_outside
from lpips_lite.files.pairs import Pair, Pairing, find_all_pairs, find_pairs, match_patterns, read_pairs
from lpips_lite.files.processes import Processes
from lpips_lite.files.reading import Reader
from lpips_lite.files.report import Report, is_page_file
from lpips_lite.files.results import ResultsFile, Row, RowFormat, check_columns
from lpips_lite.files.resume import kept_rows
from lpips_lite.files.rules import Rule, Rules
from lpips_lite.files.settings import Settings
from lpips_lite.files.summary import Summary
from lpips_lite.terminal import progress, say

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".txt": "table", "": "table"}
MENTIONED = 20  # problems or notes told one by one; the rest are counted


class Sink(Protocol):
    """Where rows go."""

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Take the next row, with the pair's pictures if it was measured in this process."""

    def finish(self) -> None:
        """Do what needs all rows."""


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
    format: str | None
    output: Path | None
    resume: bool
    heatmap: str | None
    overlay: bool
    report: Path | None
    report_pairs: int
    rules: list[Rule]
    worst: int
    settings: Settings
    allow_unmatched: bool
    strict: bool

    def find(self) -> Pairing:
        """Return the pairs that were asked for."""
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
            ValueError: If the suffix belongs to no format, or to another one; ".txt" does for any.
        """
        suffix = self.output.suffix.lower() if self.output else ""
        expected = f"expected {', '.join(filter(None, SUFFIXES))}" + (f", or as {self.format}" if self.format else "")
        if suffix not in SUFFIXES:
            raise ValueError(f"--output {printable(self.output or '')}: {expected}")
        if self.format and suffix not in ("", ".txt") and SUFFIXES[suffix] != self.format:
            raise ValueError(f"--output {printable(self.output or '')}: --format {self.format} says otherwise")
        return self.format or SUFFIXES[suffix]

    @property
    def rows_format(self) -> str | None:
        return self.output_format if self.output_format in ("csv", "jsonl") else None


def check(request: Request, pairing: Pairing, heatmaps: Heatmaps | None) -> None:
    """Check options against each other, and what will be written against what will be read.

    Raises:
        ValueError, FileNotFoundError, IsADirectoryError: If they do not go together.
    """
    texts = [spec.text for spec in request.metrics]
    for rule in request.rules:
        if rule.metric not in texts:
            raise ValueError(f"--fail names {rule.metric}, which is not measured: add it to --metric {','.join(texts)}")
    if request.overlay and request.heatmap is None:
        raise ValueError("--overlay: expected --heatmap with it")
    if request.resume and (request.output is None or request.rows_format is None):
        raise ValueError("--resume: expected --output FILE.csv or FILE.jsonl with it")
    if request.output is None and not sys.stdout.writable():
        raise OSError("standard output is closed; expected --output FILE")
    if request.report is not None and not is_page_file(request.report):
        raise ValueError(f"--report {printable(request.report)}: expected a file like page.html")
    check_columns(pairing.pairs[0].columns if pairing.pairs else (), texts)
    outputs = [(option, path) for option, path in (("--output", request.output), ("--report", request.report)) if path]
    for option, path in outputs:
        check_folder(option, path)
    if heatmaps is not None:
        if heatmaps.is_folder:
            check_outside("--heatmap", heatmaps.target, pairing.folders)
        outputs += [("--heatmap", path) for path in heatmaps.paths(pairing.pairs)]
    check_outputs(outputs, _inputs(request, pairing))
    if heatmaps is not None:
        heatmaps.check(pairing.pairs)


def _inputs(request: Request, pairing: Pairing) -> Iterator[tuple[str, Path]]:
    for pair in pairing.pairs:
        yield "a compared image", pair.reference
        yield "a compared image", pair.image
    yield from (("a compared image", path) for path in pairing.unmatched)
    yield from (("the list of pairs", path) for path in pairing.sources)
    yield from (("a weight file", path) for spec in request.metrics for path in spec.files())


def run(request: Request) -> int:
    """Compare what was asked for and return the exit status."""
    pairing = request.find()
    with Processes.join() as processes:
        settings = replace(request.settings, device=processes.device(request.settings.device))
        metrics = load_metrics(request.metrics, settings)
        reader = Reader(settings.background, settings.max_pixels, settings.spell)
        heatmaps = _heatmaps(request, metrics, settings)
        check(request, pairing, heatmaps)
        if processes.first:
            _say_first([*filter(None, [processes.note]), *pairing.notes], pairing.ignored)
        job = Job(request, pairing, settings, metrics, reader, processes)
        return processes.share(job.run(heatmaps))


def _heatmaps(request: Request, metrics: Metrics, settings: Settings) -> Heatmaps | None:
    if request.heatmap is None:
        return None
    if not any(metric.distance_map for metric in metrics.values()):
        raise ValueError(f"--heatmap: {','.join(metrics)} has no map; add lite, alex, vgg or squeeze to --metric")
    signatures = {name: metric.signature for name, metric in metrics.items()}
    target, is_folder = Path(request.heatmap), not is_picture_file(request.heatmap)
    return Heatmaps(target, is_folder, partial(map_of, metrics=metrics, settings=settings), request.overlay, signatures)


def _say_first(notes: Sequence[str], ignored: Sequence[Path]) -> None:
    for note in notes:
        say(f"note: {note}")
    if ignored:
        say(f"note: left out {len(ignored)} files that are not images, like {printable(ignored[0])}")


class Notes:
    """The sink that says what was handled while reading, each thing once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Say what is new."""
        for note in decoded.notes if decoded else ():
            if note not in self._said:
                self._said.add(note)
                if len(self._said) <= MENTIONED:
                    say(f"note: {note}")

    def finish(self) -> None:
        """Say how many there were in all."""
        if len(self._said) > MENTIONED:
            say(f"… and {len(self._said) - MENTIONED} more notes")


class Problems:
    """The sink that says why pairs have no numbers, or not all."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Say what is wrong with a row."""
        if row["error"]:
            self.add(row["error"])

    def add(self, problem: str) -> None:
        """Say one more thing that is wrong."""
        self.count += 1
        if self.count <= MENTIONED:
            say(f"error: {printable(problem)}")

    def finish(self) -> None:
        """Say how many there were in all."""
        if self.count > MENTIONED:
            say(f"… and {self.count - MENTIONED} more errors")


class Announced:
    """A sink that says which file it has written."""

    def __init__(self, sink: Sink, path: Path | None) -> None:
        self.sink, self.path = sink, path
        self.take = sink.take

    def finish(self) -> None:
        """Finish, and say so."""
        self.sink.finish()
        if self.path is not None:
            say(f"wrote {printable(self.path)}")


class Job:
    """The pipeline of one call, when everything is loaded and checked."""

    def __init__(
        self,
        request: Request,
        pairing: Pairing,
        settings: Settings,
        metrics: Metrics,
        reader: Reader,
        processes: Processes,
    ) -> None:
        self.request, self.pairing, self.settings, self.metrics = request, pairing, settings, metrics
        self.reader, self.processes = reader, processes
        self.signatures = {name: metric.signature for name, metric in metrics.items()}
        self.problems = Problems()
        self.summary = Summary(list(metrics), max(request.worst, request.report_pairs if request.report else 0))
        self.rules = Rules(request.rules, say, self.summary)

    def run(self, heatmaps: Heatmaps | None) -> int:
        """Measure the pairs, write what was asked for, and return the exit status: the one place that decides it."""
        first, pairs = self.processes.first, self.pairing.pairs
        kept = self.processes.share(self._kept(heatmaps) if first else {})
        local: list[Sink] = [Notes(), *([heatmaps] if heatmaps else [])]  # where the pictures are
        sinks = self._sinks(list(kept.values())) if first else []
        interrupts_raise()
        interrupted = False
        rows = self._merged(kept if first else {}, self.processes.gather(self._measured(kept, local)))
        try:
            with closing(rows):
                self._pass_on(rows, sinks)
        except KeyboardInterrupt:
            interrupted = True
            say(f"interrupted: {self.summary.pairs} of {len(pairs)} pairs done")
        for path in self.pairing.unmatched if first and not self.request.allow_unmatched else ():
            self.problems.add(f"{printable(path)}: no image of this name in the other folder")
        for sink in (*local, *sinks):
            sink.finish()
        return INTERRUPTED if interrupted else FAILED if self.problems.count else CROSSED if self.rules.crossed else 0

    def _sinks(self, kept: Sequence[Row]) -> list[Sink]:
        """Return where rows go, in the order in which each is finished."""
        request = self.request
        output: Sink
        if request.rows_format:
            output = ResultsFile(request.output or sys.stdout, self._row_format(), kept)
        elif request.output_format == "json":
            output = JsonOutput(request.output, self.signatures, self.summary)
        else:
            output = TableOutput(request.output, self.signatures, self.summary, request.worst)
        sinks: list[Sink] = [self.summary, self.rules, Announced(output, request.output)]
        if request.report is not None:
            sinks.append(Announced(self._report(request.report), request.report))
        return [*sinks, self.problems]

    def _report(self, path: Path) -> Report:
        mapped = any(metric.distance_map for metric in self.metrics.values())
        return Report(
            path,
            self.request.report_pairs,
            partial(map_of, metrics=self.metrics, settings=self.settings) if mapped else None,
            lambda pairs: decode(pairs, self.settings, self.reader),
            self.pairing.pairs,
            self.signatures,
            self.summary,
            progress,
            [f"device {self.settings.device}"],
            self.problems.add,
        )

    def _row_format(self) -> RowFormat:
        carried = tuple(self.pairing.pairs[0].columns) if self.pairing.pairs else ()
        return RowFormat("csv" if self.request.rows_format == "csv" else "jsonl", self.signatures, carried)

    def _kept(self, heatmaps: Heatmaps | None) -> dict[int, Row]:
        """Return the rows of an earlier run that hold, by position."""
        if not (self.request.resume and self.request.output):
            return {}

        def is_complete(pair: Pair, content: str) -> bool:
            return heatmaps is None or heatmaps.has(pair, content)

        return kept_rows(
            self.request.output, self._row_format(), self.pairing.pairs, self.reader, self.settings, is_complete
        )

    def _measured(self, kept: Mapping[int, Row], local: Sequence[Sink]) -> Generator[Row, None, None]:
        """Measure this process's share of what is left, and yield its rows."""
        todo = [pair for position, pair in enumerate(self.pairing.pairs) if position not in kept]
        for decoded, row in measure_pairs(self.processes.own(todo), self.metrics, self.settings, self.reader):
            for sink in local:  # before the row is written: what comes with a row is there when the row is
                sink.take(row, decoded)
            yield row

    def _merged(self, kept: Mapping[int, Row], measured: Generator[Row, None, None]) -> Generator[Row, None, None]:
        """Yield kept and measured rows in the order of the pairs."""
        with closing(measured):
            for position in range(len(self.pairing.pairs)):
                row = kept.get(position) or next(measured, None)
                if row is not None:
                    yield row
            yield from measured

    def _pass_on(self, rows: Iterable[Row], sinks: Sequence[Sink]) -> None:
        """Give each row to every sink."""
        for row in progress(rows, "comparing", len(self.pairing.pairs)):
            for sink in sinks:
                sink.take(row, None)
            if self.request.strict and row["error"]:
                return
