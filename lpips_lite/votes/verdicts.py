"""Measure judged images with metrics: from folders and tables of judgments to a table of distances per metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from lpips_lite.catalog import LoadedMetric, MetricSpec
from lpips_lite.files.measuring import load_metrics
from lpips_lite.votes.distance_tables import COLUMNS, read_distances
from lpips_lite.votes.distances import Measuring, contents, measure
from lpips_lite.votes.progress import Progress, silently
from lpips_lite.votes.provenance import reference_digests
from lpips_lite.votes.records import Answer, Judgments
from lpips_lite.votes.triplets import distinct_pairs, load_judgments

PAIR_COLUMNS = ("family", "ref", "same", "votes", "d")


def _no_rows(columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({column: [] for column in columns})


@dataclass(frozen=True)
class Verdicts:
    """The distances of one metric.

    Attributes:
        signature: The metric's signature, if it is known.
        slope: See `LPIPS.preference`; `None` if the metric has none.
        triplets: `family, ref, judgement, votes, d0, d1` of each triplet; unknown votes are NaN.
        pairs: `family, ref, same, votes, d` of each pair of a JND set.
    """

    signature: str | None = None
    slope: float | None = None
    triplets: pd.DataFrame = field(default_factory=lambda: _no_rows(COLUMNS))
    pairs: pd.DataFrame = field(default_factory=lambda: _no_rows(PAIR_COLUMNS))


def load_all(paths: Iterable[Path], votes_per_judgement: int | None = None) -> Judgments:
    """Read data that must have no problems; see `triplets.load_judgments`.

    Data sets with the same name get their paths as names.

    Raises:
        OSError: If something cannot be read.
        ValueError: If any row has a problem, or a path is given twice.
    """
    parts, seen = Judgments(""), set[Path]()
    for path in paths:
        if path.resolve() in seen:
            raise ValueError(f"{path}: named twice; expected each data set once")
        seen.add(path.resolve())
        found = load_judgments([path], votes_per_judgement=votes_per_judgement)
        taken = {t.family for t in parts.triplets}
        found.triplets = [replace(t, family=f"{t.family} ({path})") if t.family in taken else t for t in found.triplets]
        taken = {pair.family for pair in parts.jnd}
        found.jnd = [
            replace(pair, family=f"{pair.family} ({path})") if pair.family in taken else pair for pair in found.jnd
        ]
        taken = {answer.family for answer in parts.answers}
        found.answers = [replace(a, family=f"{a.family} ({path})") if a.family in taken else a for a in found.answers]
        parts.add([found])
    return parts


def gather(
    data: Sequence[Path],
    metrics: Iterable[MetricSpec],
    distances: Mapping[str, Path],
    measuring: Measuring,
    progress: Progress = silently,
    votes_per_judgement: int | None = None,
) -> tuple[dict[str, Verdicts], list[str], list[Answer]]:
    """Measure data with metrics of the catalog, and read the distances of others.

    Args:
        data: See `load_all`; may be empty.
        metrics: Metrics to measure the data with.
        distances: Names of other metrics, and tables of their distances; see `distance_tables.read_distances`.
        measuring: Settings for measuring.
        progress: Iterates over slow steps and shows progress.
        votes_per_judgement: See `triplets.read`.

    Returns:
        The distances of each metric by its name, notes on the data, and answers of single observers, if it has them.

    Raises:
        OSError: If something cannot be read or written.
        ValueError: If something is wrong with data, tables or metrics, or two metrics have the same name.
    """
    specs = list(metrics) if data else []
    twice = [spec.text for spec in specs if spec.text in distances]
    if twice:
        raise ValueError(f"distances {twice[0]}: also the name of a metric; expected another name")
    given = {name: Verdicts(triplets=read_distances(path)) for name, path in distances.items()}
    loaded = load_metrics(specs, measuring.settings)
    found = load_all(data, votes_per_judgement)
    notes = [*map(str, found.notes), *_seen(found, loaded, progress)]
    return (judge(found, loaded, measuring, progress) if data else {}) | given, notes, found.answers


def _seen(data: Judgments, metrics: Mapping[str, LoadedMetric], progress: Progress) -> Iterator[str]:
    """Yield warnings about metrics that were trained on people's judgments of the references they are judged on."""
    if not any(metric.trained_on for metric in metrics.values()):
        return
    digests = reference_digests(data.triplets, progress).values()
    for text, metric in metrics.items():
        seen = sum(digest in metric.trained_on for digest in digests)
        if seen:
            yield (
                f"{text} was trained on people's judgments of {seen} of these {len(digests)} references: "
                f"its numbers on them say nothing about others"
            )


def judge(
    data: Judgments,
    metrics: Mapping[str, LoadedMetric],
    measuring: Measuring,
    progress: Progress = silently,
) -> dict[str, Verdicts]:
    """Measure all judged images with each metric; see `distances.measure` for errors.

    References with the same content count as one, whatever the files are called.
    """
    compared, index = distinct_pairs(data.triplets) if data.triplets else ([], None)
    same = [(pair.p0, pair.p1) for pair in data.jnd]
    digests = contents((path for pair in (*compared, *same) for path in pair), progress)
    first: dict[str, Path] = {}
    for path, digest in digests.items():
        first.setdefault(digest, path)

    def row(family: str, ref: Path, said: float, votes: float, counted: bool) -> tuple[str, str, float, float]:
        return family, str(first[digests[ref]]), said, votes if counted else math.nan

    triplets = [row(t.family, t.ref, t.judgement, t.votes, t.counted) for t in data.triplets]
    pairs = [row(pair.family, pair.p0, pair.same, pair.votes, pair.counted) for pair in data.jnd]
    verdicts = {}
    for text, metric in metrics.items():
        d = measure([*compared, *same], text, metric, digests, measuring, progress)
        parts = Verdicts(metric.signature, metric.slope)
        if index is not None:
            table = pd.DataFrame(triplets, columns=list(COLUMNS[:4]))
            parts = replace(parts, triplets=table.assign(d0=d[index[:, 0]], d1=d[index[:, 1]]))
        if pairs:
            table = pd.DataFrame(pairs, columns=list(PAIR_COLUMNS[:4]))
            parts = replace(parts, pairs=table.assign(d=d[-len(pairs) :]))
        verdicts[text] = parts
    return verdicts
