"""What metrics say of judged images: folders and tables of judgments in, one table of distances per metric out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from lpips_lite.catalog import LoadedMetric, MetricSpec
from lpips_lite.files.measuring import load_metrics
from lpips_lite.votes.distance_tables import COLUMNS, read_distances
from lpips_lite.votes.distances import Measuring, contents, measure
from lpips_lite.votes.progress import Progress, silently
from lpips_lite.votes.triplets import JndPair, Triplet, distinct_pairs, load_judgments as load_whole

PAIR_COLUMNS = ("family", "ref", "same", "votes", "d")


def _no_rows(columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({column: [] for column in columns})


@dataclass(frozen=True)
class Judged:
    """What one metric says of the data.

    Attributes:
        signature: What made the distances, if that is known.
        slope: See `LPIPS.preference`; `None` if the metric has none.
        triplets: `family, ref, judgement, votes, d0, d1` of each triplet; votes are NaN where unknown.
        pairs: `family, ref, same, votes, d` of each pair of a JND set.
    """

    signature: str | None = None
    slope: float | None = None
    triplets: pd.DataFrame = field(default_factory=lambda: _no_rows(COLUMNS))
    pairs: pd.DataFrame = field(default_factory=lambda: _no_rows(PAIR_COLUMNS))


@dataclass(frozen=True)
class Judgments:
    """Judgments of both kinds: which of two images is closer, and whether two images look the same."""

    triplets: list[Triplet]
    pairs: list[JndPair]

    def files(self) -> list[Path]:
        """Return all images."""
        compared = [path for t in self.triplets for path in (t.ref, t.p0, t.p1)]
        return list(dict.fromkeys([*compared, *(path for pair in self.pairs for path in (pair.p0, pair.p1))]))


def load_judgments(paths: Iterable[Path]) -> Judgments:
    """Read data that must be whole: triplets as `triplets.load` does, and JND folders with `p0/ p1/ same/`.

    Data sets of one name from two paths are told apart by their paths.

    Raises:
        OSError: If something cannot be read.
        ValueError: If anything is wrong with any row, a path comes twice, or there is nothing at all in one.
    """
    triplets: list[Triplet] = []
    pairs: list[JndPair] = []
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise ValueError(f"{path}: named twice; expected each data set once")
        seen.add(path.resolve())
        found = load_whole([path])
        taken = {t.family for t in triplets} | {pair.family for pair in pairs}
        triplets += [replace(t, family=f"{t.family} ({path})") if t.family in taken else t for t in found.triplets]
        pairs += [replace(p, family=f"{p.family} ({path})") if p.family in taken else p for p in found.jnd]
    return Judgments(triplets, pairs)


def gather(
    data: Sequence[Path],
    metrics: Iterable[MetricSpec],
    distances: Mapping[str, Path],
    measuring: Measuring,
    progress: Progress = silently,
) -> dict[str, Judged]:
    """Measure data with metrics of the catalog, and read the distances of others, by name.

    Args:
        data: See `load_judgments`; there may be none.
        metrics: To measure it with.
        distances: Names of other metrics, and tables of their distances; see `distance_tables.read_distances`.
        measuring: How to measure.
        progress: Goes through what takes long.

    Raises:
        OSError: If something cannot be read or written.
        ValueError: If something is wrong with data, tables or metrics, or two metrics have one name.
    """
    specs = list(metrics) if data else []
    twice = [spec.text for spec in specs if spec.text in distances]
    if twice:
        raise ValueError(f"distances {twice[0]}: also the name of a metric; expected another one")
    given = {name: Judged(triplets=read_distances(path)) for name, path in distances.items()}
    loaded = load_metrics(specs, measuring.settings)
    return (judge(load_judgments(data), loaded, measuring, progress) if data else {}) | given


def judge(
    data: Judgments,
    metrics: Mapping[str, LoadedMetric],
    measuring: Measuring,
    progress: Progress = silently,
) -> dict[str, Judged]:
    """Measure all that was judged with each metric; see `distances.measure` for errors.

    References of the same content are one, whatever their files are called.
    """
    digests = contents(data.files(), progress)
    first: dict[str, Path] = {}
    for path, digest in digests.items():
        first.setdefault(digest, path)
    compared, index = distinct_pairs(data.triplets) if data.triplets else ([], None)
    same = [(pair.p0, pair.p1) for pair in data.pairs]
    triplets = [
        (t.family, str(first[digests[t.ref]]), t.judgement, t.votes if t.counted else math.nan) for t in data.triplets
    ]
    pairs = [
        (pair.family, str(first[digests[pair.p0]]), pair.same, pair.votes if pair.counted else math.nan)
        for pair in data.pairs
    ]
    judged = {}
    for text, metric in metrics.items():
        d = measure([*compared, *same], text, metric, digests, measuring, progress)
        parts = Judged(metric.signature, metric.slope)
        if index is not None:
            table = pd.DataFrame(triplets, columns=list(COLUMNS[:4]))
            parts = replace(parts, triplets=table.assign(d0=d[index[:, 0]], d1=d[index[:, 1]]))
        if pairs:
            parts = replace(parts, pairs=pd.DataFrame(pairs, columns=list(PAIR_COLUMNS[:4])).assign(d=d[-len(pairs) :]))
        judged[text] = parts
    return judged
