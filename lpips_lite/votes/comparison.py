"""Compare how well metrics agree with people: turn distances and judgments into the numbers of all tables, in percent.

Each data set ("family") is treated separately: its ceilings are given if its votes allow it, whatever the others have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from lpips_lite.votes.agreement import (
    Interval,
    bootstrap,
    human_agreement,
    interval_of,
    jnd_average_precision,
    leave_one_out_agreement,
    oracle_agreement,
    triplet_agreement,
)
from lpips_lite.votes.jnd import resampled_precisions
from lpips_lite.votes.observers import Alpha, alphas
from lpips_lite.votes.records import Answer
from lpips_lite.votes.reliability import Bin, reliability
from lpips_lite.votes.verdicts import Verdicts

Count = Literal["triplets", "votes"]
SEVERAL = 3  # least number of votes per triplet for p² + (1−p)²


@dataclass(frozen=True)
class Line:
    """The result of a metric or a ceiling on a family, in percent, with bounds and p-value (NaN if there are none)."""

    name: str
    family: str
    value: float
    low: float = np.nan
    high: float = np.nan
    p_value: float = np.nan

    @classmethod
    def of(cls, name: str, family: str, interval: Interval) -> Line:
        """Return an interval as a line."""
        return cls(name, family, 100 * interval.value, 100 * interval.low, 100 * interval.high, interval.p_value)


@dataclass(frozen=True)
class DataSet:
    """Counts of a family.

    Attributes:
        family: Its name.
        kind: Whether triplets or pairs were judged.
        rows: Number of triplets or pairs.
        votes: Number of votes, NaN if it is unknown.
        references: Number of distinct references.
        ties: For each metric, the number of triplets with equal distances of p0 and p1.
    """

    family: str
    kind: Literal["triplets", "pairs"]
    rows: int
    votes: float
    references: int
    ties: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """All tables of a comparison.

    Attributes:
        count: What counts once in `agreement`, `ceilings` and `differences`: each triplet or each vote.
        against: The metric that the others are compared with.
        signatures: The signature of each metric, `None` if its distances came from a table.
        data: Counts of each family.
        ceilings: What people reach, by the rule.
        agreement: 2AFC agreement of each metric.
        differences: Paired differences of `agreement`.
        precision: JND average precision of each metric.
        precision_differences: Paired differences of `precision`.
        reliability: For metrics with a slope, by metric and family, ten bins.
        notes: Warnings and remarks.
        alphas: How far people agree with each other, for families with single answers.
    """

    count: Count
    against: str
    signatures: Mapping[str, str | None]
    data: Sequence[DataSet]
    ceilings: Sequence[Line]
    agreement: Sequence[Line]
    differences: Sequence[Line]
    precision: Sequence[Line]
    precision_differences: Sequence[Line]
    reliability: Mapping[tuple[str, str], Sequence[Bin]]
    notes: Sequence[str]
    alphas: Sequence[Alpha] = ()


def compare(
    verdicts: Mapping[str, Verdicts],
    against: str | None = None,
    count: Count = "triplets",
    order: Sequence[str] = (),
    notes: Sequence[str] = (),
    answers: Sequence[Answer] = (),
) -> Comparison:
    """Compare metrics.

    Args:
        verdicts: The distances of each metric, by name; a metric need not have every family.
        against: The metric that the others are compared with; by default the first.
        count: What counts once: each triplet, or each vote.
        order: Families that come first, in this order; the others follow in the order of the data.
        notes: Notes on the data; others may be added.
        answers: Answers of single observers, if the data has them.

    Raises:
        ValueError: If there is no such metric, if the triplets of a family differ between metrics, or if votes are to
            be counted but their number is unknown.
    """
    if against is not None and against not in verdicts:
        raise ValueError(f"against {against!r}: expected one of the metrics {', '.join(verdicts)}")
    base = against or next(iter(verdicts))
    triplets = _by_family({name: of.triplets for name, of in verdicts.items()}, order)
    pairs = _by_family({name: of.pairs for name, of in verdicts.items()}, order)
    for family, tables in triplets.items():
        _check_same(family, tables)
        unknown = [name for name, table in tables.items() if table["votes"].isna().any()]
        if count == "votes" and unknown:
            why = f"the number of votes of {family} is unknown"
            raise ValueError(f"{unknown[0]}: {why}; expected a known number, or count triplets")
    data = [_data_set(family, "triplets", tables) for family, tables in triplets.items()]
    data += [_data_set(family, "pairs", tables) for family, tables in pairs.items()]
    said = [*notes, *(f"{part.family}: one reference, so no interval" for part in data if part.references == 1)]
    return Comparison(
        count,
        base,
        {name: of.signature for name, of in verdicts.items()},
        data,
        _ceilings({family: next(iter(tables.values())) for family, tables in triplets.items()}, count),
        [Line.of(name, family, _agreement(t, count)) for family, ts in triplets.items() for name, t in ts.items()],
        [line for family, tables in triplets.items() for line in _differences(family, tables, base, count, said)],
        *_precisions(pairs, base),
        _reliabilities(verdicts, triplets),
        said,
        alphas(answers),
    )


Tables = dict[str, pd.DataFrame]  # tables of one family, by metric


def _by_family(tables: Mapping[str, pd.DataFrame], order: Sequence[str]) -> dict[str, Tables]:
    """Return family -> metric -> rows, for the metrics that have the family."""
    found = dict.fromkeys(family for table in tables.values() for family in table["family"])
    names = [*(family for family in order if family in found), *(family for family in found if family not in order)]
    parts = {name: dict(iter(table.groupby("family", sort=False))) for name, table in tables.items()}
    return {family: {name: part[family] for name, part in parts.items() if family in part} for family in names}


def _check_same(family: str, tables: Tables) -> None:
    """Raise a ValueError if metrics were measured on different triplets; their order does not matter."""
    (first, expected), *others = tables.items()
    for name, table in others:
        if len(table) != len(expected):
            raise ValueError(f"{name}: {len(table)} triplets in {family}; expected {len(expected)}, as {first} has")
        if not np.allclose(np.sort(table["judgement"]), np.sort(expected["judgement"]), atol=1e-4):
            raise ValueError(f"{name}: its judgements in {family} are not those of {first}; expected the same triplets")


def _data_set(family: str, kind: Literal["triplets", "pairs"], tables: Tables) -> DataSet:
    first = next(iter(tables.values()))
    votes, references = float(first["votes"].sum(skipna=False)), min(t["ref"].nunique() for t in tables.values())
    ties = {name: int((t["d0"] == t["d1"]).sum()) for name, t in tables.items()} if kind == "triplets" else {}
    return DataSet(family, kind, len(first), votes, references, ties)


# -- 2AFC ------------------------------------------------------------------------------------------------------------


def _weights(table: pd.DataFrame, count: Count) -> pd.Series | None:
    return table["votes"] if count == "votes" else None


def _scores(table: pd.DataFrame) -> np.ndarray:
    return triplet_agreement(table["d0"], table["d1"], table["judgement"])


def _agreement(table: pd.DataFrame, count: Count) -> Interval:
    interval = bootstrap(_scores(table), table["ref"], _weights(table, count))
    return replace(interval, p_value=np.nan)  # nobody asks whether it is zero


def _differences(family: str, tables: Tables, base: str, count: Count, notes: list[str]) -> list[Line]:
    """Return the difference of each metric from the base, paired by triplet."""
    lines: list[Line] = []
    for name, table in tables.items():
        if name == base or base not in tables:
            continue
        if not _in_step(table, tables[base]):
            notes.append(f"{name}: {family} is in another order than for {base}, so there is no paired difference")
            continue
        coarser = min((table, tables[base]), key=lambda t: t["ref"].nunique())  # a table may lack references
        interval = bootstrap(_scores(table) - _scores(tables[base]), coarser["ref"], _weights(coarser, count))
        lines.append(Line.of(name, family, interval))
    return lines


def _in_step(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Return whether rows are the same triplets in the same order, as far as judgments and references show."""
    told = all(t["ref"].nunique() < len(t) for t in (a, b))
    same_references = not told or np.array_equal(pd.factorize(a["ref"])[0], pd.factorize(b["ref"])[0])
    return same_references and bool(np.allclose(a["judgement"], b["judgement"], atol=1e-4))


def _ceilings(families: Mapping[str, pd.DataFrame], count: Count) -> list[Line]:
    """Return what people reach (another observer, a random one, the majority) for families whose votes allow it."""
    several = sum(int((table["votes"] >= 2).sum()) for table in families.values())
    rules: dict[str, tuple[Callable[[pd.DataFrame], bool], Callable[[pd.DataFrame], float]]] = {
        f"people, leave-one-out ({several} triplets)": (
            lambda t: bool((t["votes"] >= 2).any()),
            lambda t: leave_one_out_agreement(t["judgement"], t["votes"].fillna(0), _weights(t, count)),
        ),
        "people, p² + (1−p)²": (
            lambda t: bool((t["votes"] >= SEVERAL).all()),
            lambda t: human_agreement(t["judgement"], _weights(t, count)),
        ),
        "majority of people": (lambda t: True, lambda t: oracle_agreement(t["judgement"], _weights(t, count))),
    }
    return [
        Line(name, family, 100 * rule(table))
        for name, (allowed, rule) in rules.items()
        for family, table in families.items()
        if allowed(table)
    ]


def _reliabilities(
    verdicts: Mapping[str, Verdicts], triplets: Mapping[str, Tables]
) -> dict[tuple[str, str], Sequence[Bin]]:
    """Return the bins of each metric with a slope, for each family with a known number of votes."""
    return {
        (name, family): reliability(t["d0"], t["d1"], t["judgement"], t["votes"], slope)
        for name, of in verdicts.items()
        if (slope := of.slope) is not None
        for family, tables in triplets.items()
        if (t := tables.get(name)) is not None and t["votes"].notna().all()
    }


# -- JND -------------------------------------------------------------------------------------------------------------


def _precisions(pairs: Mapping[str, Tables], base: str) -> tuple[list[Line], list[Line]]:
    """Return the average precision of each metric, and its difference from the base in the same resamples."""
    lines, differences = list[Line](), list[Line]()
    for family, tables in pairs.items():
        if not next(iter(tables.values()))["same"].any():
            raise ValueError(f"{family}: nobody called any pair the same; expected at least one such pair")
        values = {name: jnd_average_precision(t["d"], t["same"]) for name, t in tables.items()}
        resamples = {name: resampled_precisions(t["d"], t["same"], t["ref"]) for name, t in tables.items()}
        for name, value in values.items():
            count = tables[name]["ref"].nunique()
            interval = interval_of(value, resamples[name], count)
            lines.append(Line.of(name, family, Interval(value, interval.low, interval.high, np.nan)))
            if name != base and base in tables:
                difference = interval_of(value - values[base], resamples[name] - resamples[base], count)
                differences.append(Line.of(name, family, difference))
    return lines, differences
