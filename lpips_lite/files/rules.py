"""Rules that results must keep: "lite>0.2", for every pair, or "p95(lite)>0.1", for all of them together."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpips_lite.catalog import entry_of, parse_metric, value_range
from lpips_lite.entries import did_you_mean
from lpips_lite.files.names import printable
from lpips_lite.files.results import Row
from lpips_lite.files.summary import STATISTICS, Summary, has_number

if TYPE_CHECKING:
    from lpips_lite.files.decoding import Decoded

COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
MENTIONED = 20  # pairs that cross a rule told one by one; the rest are counted
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Rule:
    """What no value may cross.

    Attributes:
        metric: In the catalog's spelling.
        comparison: ">" · ">=" · "<" · "<="; a value that it holds for crosses the rule.
        threshold: With what.
        statistic: Of all pairs, a key of `STATISTICS`; `None`: each pair's own value is compared.
    """

    metric: str
    comparison: str
    threshold: float
    statistic: str | None = None

    @property
    def bound(self) -> str:
        """Comparison and threshold."""
        return f"{self.comparison} {self.threshold:.15g}"

    def __str__(self) -> str:
        return f"{self.statistic}({self.metric}) {self.bound}" if self.statistic else f"{self.metric} {self.bound}"

    def crossed_by(self, value: float) -> bool:
        """Return whether a value crosses the rule."""
        return bool(COMPARISONS[self.comparison](value, self.threshold))


def parse_rule(text: str) -> Rule:
    """Parse METRIC>NUMBER or STATISTIC(METRIC)>NUMBER, with > >= < or <=.

    Raises:
        ValueError: If it is neither, names no metric, statistic or finite decimal number, or can never be crossed.
    """
    parts = re.fullmatch(r"(.*)(>=|<=|>|<)([^<>]*)", text, re.DOTALL)  # the last comparison: paths may hold others
    if not parts:
        raise ValueError(f"{text!r}: expected METRIC>NUMBER or METRIC<NUMBER, like lite>0.2, or like p95(lite)>0.1")
    subject, comparison, number = parts[1].strip(), parts[2], parts[3].strip()
    of_all = re.fullmatch(r"([^():]*)\((.*)\)", subject, re.DOTALL)
    statistic = of_all[1].strip().lower() if of_all else None
    if statistic is not None and statistic not in STATISTICS:
        near = did_you_mean(statistic, STATISTICS)
        raise ValueError(f"{text!r}: unknown statistic {statistic!r}; expected one of {', '.join(STATISTICS)}{near}")
    try:
        metric = parse_metric(of_all[2] if of_all else subject).text
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if not _NUMBER.fullmatch(number) or not math.isfinite(float(number)):
        raise ValueError(f"{text!r}: {number!r} is no finite decimal number; expected one like 0.2, 30 or 1e-3")
    rule = Rule(metric, comparison, float(number), statistic)
    least, most = value_range(metric)
    if not rule.crossed_by(most if comparison.startswith(">") else least):
        raise ValueError(f"{text!r}: can never be crossed; values of {metric} lie in {entry_of(metric).range}")
    return rule


class Rules:
    """The sink that says which rules are crossed, and by what.

    Args:
        rules: Those to be kept; the same one counts once.
        say: Is given each line for people.
        summary: A sink that has taken the same rows; its statistics are judged.

    Attributes:
        crossed: How often a rule was crossed, by a pair or by all together.
        unjudged: How many rules had nothing to judge, when finished.

    Raises:
        ValueError: If a rule's metric is not measured.
    """

    def __init__(self, rules: Iterable[Rule], say: Callable[[str], None], summary: Summary) -> None:
        self.rules, self.summary = list(dict.fromkeys(rules)), summary
        self.crossed = self.unjudged = 0
        self._say = say
        for rule in self.rules:
            if rule.metric not in summary.metrics:
                measured = ", ".join(summary.metrics)
                raise ValueError(f"rule {rule}: {rule.metric} is not measured; expected one of {measured}")

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Judge a row by the rules for every pair; a metric that has no number here has an error instead."""
        for rule in self.rules:
            if rule.statistic is None and has_number(row, rule.metric) and rule.crossed_by(row[rule.metric]):
                self.crossed += 1
                if self.crossed <= MENTIONED:
                    where = f"{printable(row['image'])}: {printable(rule.metric)}"
                    self._say(f"failed: {where} = {row[rule.metric]:.7g} {rule.bound}")

    def finish(self) -> None:
        """Judge the rules for all pairs together, and say how many pairs were not mentioned."""
        if self.crossed > MENTIONED:
            self._say(f"… and {self.crossed - MENTIONED} more failures")
        found = self.summary.statistics()
        for rule in self.rules:
            if rule.metric not in found:
                self.unjudged += 1
                self._say(f"not judged: {printable(str(rule))}: no pair has a number")
            elif rule.statistic is not None and rule.crossed_by(found[rule.metric][rule.statistic]):
                self.crossed += 1
                self._say(f"failed: {printable(str(rule))}: it is {found[rule.metric][rule.statistic]:.7g}")
