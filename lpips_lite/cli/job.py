"""One call of `compare-images`: carry out a request, write files and return the exit status.

Pairs are found, checked against the files to write, read and measured. Each row goes to the sinks: results, summary,
verdicts, problems, heatmaps, JUnit, report, table. A sink has `take(row, decoded)` and `finish()`.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from lpips_lite.cli.messages import Announced, Notes, Problems, Sink
from lpips_lite.cli.request import Request, check
from lpips_lite.cli.tables import JsonOutput, TableOutput
from lpips_lite.cli.terminal import CROSSED, FAILED, INTERRUPTED, interrupts_raise
from lpips_lite.conventions import CONVENTIONS
from lpips_lite.files.contents import is_stream
from lpips_lite.files.curve_output import curve_files
from lpips_lite.files.decoding import decode
from lpips_lite.files.heatmap import Heatmaps
from lpips_lite.files.junit import JUnit
from lpips_lite.files.measuring import Metrics, load_metrics, map_of, measure_pairs
from lpips_lite.files.names import first_line, printable
from lpips_lite.files.pairing import Pair, Pairing, remarks
from lpips_lite.files.processes import Processes
from lpips_lite.files.reading import Reader
from lpips_lite.files.report import MOST_LISTED, Report
from lpips_lite.files.resizing import resize_notes
from lpips_lite.files.results import ResultsFile, Row, RowFormat, add_error
from lpips_lite.files.resume import kept_rows
from lpips_lite.files.settings import Settings
from lpips_lite.files.summary import Summary
from lpips_lite.files.table_output import GroupTables
from lpips_lite.files.verdicts import ALONE, Verdicts
from lpips_lite.terminal import progress, say

Result = tuple[Row, tuple[str, ...], bool]  # with notes from reading the pair, and whether a picture was resized


def run(request: Request) -> int:
    """Carry out a request and return the exit status."""
    interrupts_raise()
    with Processes.join() as processes:
        pairing = processes.once(lambda: _find(request, processes.count))  # others might see a changed folder
        notes = Notes()
        if processes.first:
            for mistake in dict.fromkeys(text for spec in request.metrics for text in spec.mistakes()):
                say(f"warning: {mistake}")
            if request.convention is not None:
                program, texts = CONVENTIONS[request.convention]
                notes.add([f"--convention {request.convention} is {','.join(texts)}: {program}"])
            notes.add([*filter(None, [processes.note]), *remarks(pairing, request.allow_unmatched)])
        device = processes.device(request.settings.device)
        settings = replace(request.settings, device=device, masks=pairing.masks)
        metrics = load_metrics(request.metrics, settings)
        reader = Reader(settings.background, settings.max_pixels, settings.spell)
        job = Job(request, pairing, settings, metrics, reader, processes, notes)
        return processes.share(job.run())


def _find(request: Request, count: int) -> Pairing:
    """Find the pairs, and check them against the files to write."""
    pairing = request.find()
    check(request, pairing)
    paths = (path for pair in pairing.pairs for path in pair.files)
    stream = next(filter(is_stream, paths), None) if count > 1 else None
    if stream is not None:
        raise ValueError(f"{printable(stream)}: can be read by one process only; expected files under torchrun")
    return pairing


class Job:
    """The pipeline of one call, after everything is loaded and checked."""

    def __init__(
        self,
        request: Request,
        pairing: Pairing,
        settings: Settings,
        metrics: Metrics,
        reader: Reader,
        processes: Processes,
        notes: Notes,
    ) -> None:
        self.request, self.pairing, self.settings, self.metrics = request, pairing, settings, metrics
        self.reader, self.processes, self.notes = reader, processes, notes
        self.signatures = {name: metric.signature for name, metric in metrics.items()}
        self.problems = Problems()
        shown = request.report_pairs if request.report else 0
        self.summary = Summary(list(metrics), max(request.worst, shown))
        listed = MOST_LISTED if request.report else 0
        self.verdicts = Verdicts(
            request.rules, say, self.summary, missing=pairing.missing, new=pairing.new, keep=listed
        )
        mapped = any(metric.distance_map for metric in metrics.values())
        self.draw = partial(map_of, metrics=metrics, settings=settings) if mapped else None
        self.heatmaps = self._heatmaps()
        self.groups = self._group_tables()

    def run(self) -> int:
        """Measure the pairs, write the outputs, and return the exit status, which is decided only here."""
        kept = self.processes.once(self._kept)
        sinks = self._sinks(list(kept.values())) if self.processes.first else []
        interrupted = False
        with ExitStack() as finishing:  # whatever happens, the rows measured so far are written
            for finish in reversed([*(sink.finish for sink in sinks), self.notes.finish]):
                finishing.callback(finish)
            try:
                with closing(self._merged(kept, self.processes.gather(self._measured(kept)))) as results:
                    self._pass_on(results, sinks)
            except KeyboardInterrupt:
                interrupted = True
                if self.processes.first:
                    say(f"interrupted: {self.summary.pairs} of {len(self.pairing.pairs)} pairs done")
        if interrupted:
            return INTERRUPTED
        if self.problems.count or self.verdicts.unjudged:
            return FAILED
        return CROSSED if self.verdicts.crossed else 0

    def _sinks(self, kept: Sequence[Row]) -> list[Sink]:
        """Return the sinks for rows, in the order in which they are finished."""
        request = self.request
        sinks: list[Sink] = [self.summary, self.verdicts]
        if request.shows_pairs:
            sinks.append(Announced(self._output(kept), *filter(None, [request.output])))
        if self.groups is not None:
            curves = curve_files(request.curves[1]) if request.curves else []
            sinks.append(Announced(self.groups, *filter(None, [request.table, *curves])))
        if request.junit is not None:
            sinks.append(Announced(self._junit(request.junit), request.junit))
        if request.report is not None:
            sinks.append(Announced(self._report(request.report), request.report))
        return [*sinks, self.problems]

    def _output(self, kept: Sequence[Row]) -> Sink:
        """Return the sink that writes the rows of pairs."""
        request = self.request
        if request.rows_format:
            return ResultsFile(request.output or sys.stdout, self._row_format(), kept)
        if request.output_format == "json":
            return JsonOutput(request.output, self.signatures, self.summary, self.verdicts)
        return TableOutput(request.output, self.signatures, self.summary, self.verdicts, request.worst)

    def _group_tables(self) -> GroupTables | None:
        request = self.request
        if request.groups is None:
            return None
        show = sys.stdout.write if request.shows_groups else None
        return GroupTables(
            request.groups,
            self.signatures,
            pairs=len(self.pairing.pairs),
            path=request.table,
            curves=request.curves,
            show=show,
        )

    def _heatmaps(self) -> Heatmaps | None:
        files = self.request.heatmap_files
        if files is None or self.draw is None:
            return None
        return Heatmaps(files, self.draw, self.request.overlay, self.signatures)

    def _junit(self, path: Path) -> JUnit:
        return JUnit(
            path,
            pairs=self.pairing.pairs,
            signatures=self.signatures,
            verdicts=self.verdicts,
            allowed=self.request.allow_unmatched,
            heatmaps=self.heatmaps,
        )

    def _report(self, path: Path) -> Report:
        return Report(
            path,
            count=self.request.report_pairs,
            draw=self.draw,
            decode=lambda pairs: decode(pairs, self.settings, self.reader),
            pairs=self.pairing.pairs,
            signatures=self.signatures,
            summary=self.summary,
            verdicts=self.verdicts,
            progress=progress,
            notes=[f"device {self.settings.device}"],
            tell=self.problems.add,
            groups=self.groups,
        )

    def _row_format(self) -> RowFormat:
        carried = tuple(self.pairing.pairs[0].columns)
        return RowFormat("csv" if self.request.rows_format == "csv" else "jsonl", self.signatures, carried)

    def _kept(self) -> dict[int, Row]:
        """Return the valid rows of an earlier run, by position."""
        if not (self.request.resume and self.request.output):
            return {}

        def is_complete(pair: Pair, content: str) -> bool:
            return self.heatmaps is None or self.heatmaps.has(pair, content)

        return kept_rows(
            self.request.output, self._row_format(), self.pairing.pairs, self.reader, self.settings, is_complete
        )

    def _measured(self, kept: Mapping[int, Row]) -> Generator[Result, None, None]:
        """Measure this process's share of the remaining pairs, and draw heatmaps before rows are written."""
        own = self.processes.own([p for p in range(len(self.pairing.pairs)) if p not in kept])
        todo = [self.pairing.pairs[position] for position in own]
        for decoded, row in measure_pairs(todo, self.metrics, self.settings, self.reader, own):
            if self.heatmaps is not None:
                try:
                    self.heatmaps.take(row, decoded)
                except (ValueError, RuntimeError, MemoryError) as error:  # for example, no memory for a map
                    add_error(row, f"{printable(decoded.pair.image)}: no heatmap ({first_line(error)})")
            yield row, decoded.notes, decoded.resized

    def _merged(
        self, kept: Mapping[int, Row], measured: Generator[Result, None, None]
    ) -> Generator[Result, None, None]:
        """Yield kept and measured rows in the order of the pairs, in the first process only."""
        with closing(measured):
            for position in range(len(self.pairing.pairs)) if self.processes.first else ():
                result = (kept[position], (), False) if position in kept else next(measured, None)
                if result is not None:
                    yield result
            yield from measured

    def _pass_on(self, results: Iterable[Result], sinks: Sequence[Sink]) -> None:
        """Give each row to every sink."""
        if self.processes.first and not self.request.allow_unmatched:
            for state, paths in self.verdicts.alone.items():
                for path in paths:
                    self.problems.add(f"{printable(path)}: {ALONE[state]}")
        total = len(self.pairing.pairs) if self.processes.first else 0
        changed = 0
        for row, notes, resized in progress(results, "comparing", total):
            self.notes.add(notes)
            changed += resized
            for sink in sinks:
                sink.take(row, None)
            if self.request.strict and row["error"]:
                break
        self.notes.add(resize_notes(self.settings, changed, total))
