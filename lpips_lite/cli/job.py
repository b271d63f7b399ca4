"""One call of `compare-images`: what was asked for in, files and exit status out.

Pairs stream through decoding and measuring; each row goes to the output, the summary and the rules as it comes.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import torch

from lpips_lite.catalog import Measure
from lpips_lite.cli.tables import render_json, render_table
from lpips_lite.files.decoding import Decoded, decode
from lpips_lite.files.heatmap import heatmap
from lpips_lite.files.measuring import Settings, build_measures, measure_pairs
from lpips_lite.files.pairs import Pair, Pairing, find_all_pairs, find_pairs, read_pairs, shown
from lpips_lite.files.processes import Shard
from lpips_lite.files.report import Page
from lpips_lite.files.results import Row, Stream, read_results
from lpips_lite.files.summary import Rule, Summary
from lpips_lite.images import to_float
from lpips_lite.terminal import progress, say

STREAMED = ("csv", "jsonl")
MENTIONED = 20  # problems told one by one; the rest are counted


@dataclass(frozen=True)
class Request:
    """The options of the command, as `compare-images --help` describes them."""

    ref: Path | None
    images: tuple[Path, ...]
    pairs: Path | None
    all_pairs: Path | None
    metrics: list[str]
    style: str | None
    output: Path | None
    resume: bool
    heatmap: Path | None
    overlay: bool
    report: Path | None
    report_pairs: int
    rules: list[Rule]
    worst: int
    resize: str | tuple[int, int]
    device: str
    precision: str
    batch_size: int
    workers: int
    allow_unmatched: bool
    strict: bool

    def find(self) -> Pairing:
        """Return the pairs that were asked for."""
        if self.pairs is not None:
            return read_pairs(self.pairs)
        return find_all_pairs(self.all_pairs) if self.all_pairs else find_pairs(self.ref or Path(), self.images)

    def format(self) -> str:
        """Return the format of the output, by its suffix if it is not given."""
        suffix = self.output.suffix.lstrip(".") if self.output else ""
        return self.style or (suffix if suffix in ("json", *STREAMED) else "table")

    def check(self, count: int) -> None:
        """Raise a ValueError if options contradict each other."""
        names = ",".join(self.metrics)
        for rule in self.rules:
            if rule.metric not in self.metrics:
                raise ValueError(f"--fail names {rule.metric}, which is not measured: add it to --metric {names}")
        if self.overlay and self.heatmap is None:
            raise ValueError("--overlay: expected --heatmap with it")
        if self.heatmap is not None and count > 1 and self.heatmap.suffix:
            raise ValueError(f"--heatmap {self.heatmap}: there are {count} pairs; expected a folder, not a file")
        if self.resume and (self.output is None or self.format() not in STREAMED):
            raise ValueError("--resume: expected --output FILE.csv or FILE.jsonl with it")
        for option, path in (("--output", self.output), ("--report", self.report)):
            if path is not None and not path.absolute().parent.is_dir():
                raise FileNotFoundError(f"{option} {path}: no such folder: {path.parent}")


def run(request: Request) -> int:
    """Compare what was asked for and return the exit status."""
    pairing = request.find()
    request.check(len(pairing.pairs))
    settings = Settings(request.resize, request.device, request.batch_size, request.workers, request.precision)
    measures = build_measures(request.metrics, settings)
    if request.heatmap is not None and not any(measure.distance_map for measure in measures.values()):
        names = ",".join(measures)
        raise ValueError(f"--heatmap: {names} has no map; add lite, alex, vgg or squeeze to --metric")
    with Shard.join() as shard:
        if shard.first and pairing.ignored:
            files = len(pairing.ignored)
            say(f"note: left out {files} files that are not images, like {shown(pairing.ignored[0])}")
        return Comparison(request, measures, settings, shard).run(pairing)


class Comparison:
    """The work on one request: what is known when the metrics are loaded, and what comes together row by row."""

    def __init__(self, request: Request, measures: Mapping[str, Measure], settings: Settings, shard: Shard) -> None:
        self.request, self.measures, self.settings, self.shard = request, measures, settings, shard
        self.signatures = {name: measure.signature for name, measure in measures.items()}
        self.summary = Summary(request.metrics, max(request.worst, request.report_pairs if request.report else 0))
        self.rows: list[Row] = []  # kept only for the formats that need all of them
        self.problems = self.crossed = 0

    def run(self, pairing: Pairing) -> int:
        """Measure the pairs, write what was asked for, and return the exit status."""
        interrupted = False
        kept = self._resume()
        todo = _without(pairing.pairs, kept)
        try:
            self._write(kept, self._measure(todo), len(todo))
        except KeyboardInterrupt:
            interrupted = True
        if not self.shard.first:
            return 0
        if interrupted:
            say(f"interrupted: {self.summary.pairs} of {len(pairing.pairs)} pairs done")
        if not self.request.allow_unmatched:
            for path in pairing.unmatched:
                self._problem(f"{shown(path)}: no image of this name in the other folder")
        self._finish(pairing.pairs)
        return 130 if interrupted else 2 if self.problems else 1 if self.crossed else 0

    # -- rows --------------------------------------------------------------------------------------------------------

    def _resume(self) -> list[Row]:
        """Return the rows that a run before this one has left."""
        request = self.request
        if not (request.resume and request.output and request.output.exists()):
            return []
        return read_results(request.output, self.signatures, request.format())

    def _measure(self, pairs: Sequence[Pair]) -> Iterator[Row]:
        """Measure this process's share and yield the rows of all, in order, where they are written."""
        measured = measure_pairs(self.shard.own(pairs), self.measures, self.settings)
        return self.shard.gather(self._with_heatmap(decoded, row) for decoded, row in measured)

    def _with_heatmap(self, decoded: Decoded, row: Row) -> Row:
        for note in decoded.notes:
            say(f"note: {note}")
        target = self.request.heatmap
        if target is not None and not row["error"]:
            path = target if target.suffix else target / f"{decoded.pair.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            name, values, image = self._map_of(decoded)
            caption = f"{decoded.pair.image.name}   {name} {row[name]:.4f}"
            heatmap(values, image, caption, overlay=self.request.overlay).save(path)
        return row

    def _map_of(self, decoded: Decoded) -> tuple[str, torch.Tensor, torch.Tensor]:
        """Return the first metric that has a map, its map (H, W), and the image (3, H, W) in [0, 1]."""
        assert decoded.image is not None
        assert decoded.reference is not None
        x, y = (to_float(side)[None].to(self.settings.device) for side in (decoded.image, decoded.reference))
        name, distance_map = next((n, m.distance_map) for n, m in self.measures.items() if m.distance_map)
        with torch.inference_mode():
            return name, distance_map(x, y)[0, 0], x[0]

    def _write(self, kept: Sequence[Row], rows: Iterable[Row], total: int) -> None:
        """Send rows to the output, the summary and the rules."""
        request, style = self.request, self.request.format()
        if not self.shard.first:
            deque(rows, maxlen=0)  # there are none; but the work is done on the way
            return
        for row in kept:
            self._take(row)
        with ExitStack() as stack:
            stream = None
            if style in STREAMED:
                target = request.output or sys.stdout
                stream = stack.enter_context(closing(Stream(target, self.signatures, style, kept)))
            for row in progress(rows, "comparing", total):
                if stream is not None:
                    stream.write(row)
                self._take(row)
                if request.strict and row["error"]:
                    break

    def _take(self, row: Row) -> None:
        self.summary.add(row)
        if self.request.format() not in STREAMED:
            self.rows.append(row)
        if row["error"]:
            self._problem(row["error"])
            return
        for rule in self.request.rules:
            if not rule.statistic and rule.crossed_by(row[rule.metric]):
                self.crossed += 1
                if self.crossed <= MENTIONED:
                    bound = f"{rule.comparison} {rule.threshold:g}"
                    say(f"failed: {row['image']}: {rule.metric} = {row[rule.metric]:.6g} {bound}")

    def _problem(self, text: str) -> None:
        self.problems += 1
        if self.problems <= MENTIONED:
            say(f"error: {text}")

    # -- the end -----------------------------------------------------------------------------------------------------

    def _finish(self, pairs: Sequence[Pair]) -> None:
        """Write what needs all rows, and say what there is to say of them."""
        request, style = self.request, self.request.format()
        for line in self.summary.crossed(request.rules):
            say(line)
            self.crossed += 1
        for count, what in ((self.problems, "errors"), (self.crossed, "failures")):
            if count > MENTIONED:
                say(f"… and {count - MENTIONED} more {what}")
        measured = self.summary.pairs > self.summary.errors
        if style not in STREAMED and (measured or not self.problems):
            if style == "json":
                text = render_json(self.rows, self.signatures, self.summary)
            else:
                text = render_table(self.rows, self.signatures, self.summary, request.worst)
            if request.output is None:
                sys.stdout.write(text)
            else:
                request.output.write_text(text, encoding="utf-8")
        if request.output is not None:
            say(f"wrote {request.output}")
        if request.report is not None and measured:
            self._report(request.report, pairs)

    def _report(self, path: Path, pairs: Sequence[Pair]) -> None:
        """Read the worst pairs once more and write the page."""
        wanted = {(row["reference"], row["image"]): row for row in self.summary.worst(self.request.report_pairs)}
        chosen = [pair for pair in pairs if (shown(pair.reference), shown(pair.image)) in wanted]
        page = Page(len(wanted))
        mapped = any(measure.distance_map for measure in self.measures.values())
        decoded_pairs = decode(chosen, self.settings.resize, self.settings.workers)
        for decoded in progress(decoded_pairs, "report", len(chosen)):
            row = wanted[shown(decoded.pair.reference), shown(decoded.pair.image)]
            if decoded.error is not None:
                self._problem(decoded.error)
                continue
            name, values, _ = self._map_of(decoded) if mapped else ("", None, None)
            page.add(row, decoded, (name, values.float().cpu().numpy()) if values is not None else None)
        page.write(path, self.signatures, self.summary, [f"device {self.settings.device}"])
        say(f"wrote {path}")


def _without(pairs: Sequence[Pair], kept: Sequence[Row]) -> Sequence[Pair]:
    """Return the pairs that have no row yet; a pair that is listed twice has two."""
    rows = Counter((row["reference"], row["image"]) for row in kept)
    todo = []
    for pair in pairs:
        key = shown(pair.reference), shown(pair.image)
        if rows[key]:
            rows[key] -= 1
        else:
            todo.append(pair)
    return todo
