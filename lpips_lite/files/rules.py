"""Rules for results, like "lite>0.2", for every pair, or "p95(lite)>0.1", for all pairs together.

A statistic over the pixels of a pair is a metric of its own, like "lite:p99".
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass

from lpips_lite.catalog import entry_of, parse_metric, value_range
from lpips_lite.entries import did_you_mean
from lpips_lite.files.summary import STATISTICS

COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Rule:
    """A limit that no value may cross.

    Attributes:
        metric: The metric in the catalog's spelling.
        comparison: ">" · ">=" · "<" · "<="; a value for which it is true crosses the rule.
        threshold: The number to compare with.
        statistic: The statistic of all pairs, a key of `STATISTICS`; `None`: the value of each pair is compared.
    """

    metric: str
    comparison: str
    threshold: float
    statistic: str | None = None

    @property
    def bound(self) -> str:
        """The comparison and the threshold: "> 0.2"."""
        return f"{self.comparison} {self.threshold:.15g}"

    @property
    def subject(self) -> str:
        """The value that is compared: "lite", "p95(lite)"."""
        return f"{self.statistic}({self.metric})" if self.statistic else self.metric

    def __str__(self) -> str:
        return f"{self.subject} {self.bound}"

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
