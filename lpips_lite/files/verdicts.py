"""Judge rows by rules: the state of each pair, the number of pairs in each state, and the verdict of each rule.

Results are judged only here. The exit status, the summaries, the report and `--junit` all use this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpips_lite.files.names import path_text, printable
from lpips_lite.files.results import Row, json_safe
from lpips_lite.files.rules import Rule
from lpips_lite.files.summary import Summary, has_number

if TYPE_CHECKING:
    from lpips_lite.files.decoding import Decoded

PASSED, FAILED, ERROR = "passed", "failed", "error"  # states of pairs; rules have the first two
NEW, MISSING = "new", "missing"  # states of images and references that are in no pair
ALONE = {NEW: "no reference for this image", MISSING: "no image for this reference"}
STATES = (PASSED, FAILED, ERROR, NEW, MISSING)
UNJUDGED = "not judged"  # state of a rule: no pair has a number
MENTIONED = 20  # crossed rules that are listed; more are counted


@dataclass(frozen=True)
class Crossing:
    """A rule that a number crosses.

    Attributes:
        rule: The rule.
        value: The number of the pair, or of all pairs together.
    """

    rule: Rule
    value: float

    def __str__(self) -> str:
        """Return the number and the limit that it crosses: "lite = 0.25 > 0.2"."""
        return f"{printable(self.rule.subject)} = {self.value:.7g} {self.rule.bound}"


@dataclass(frozen=True)
class Verdict:
    """The verdict on one pair.

    Attributes:
        state: "error": it could not be compared, or not by every metric; else "failed": it crosses a rule for every
            pair; else "passed".
        crossed: The rules that it crosses, in their order; also of a pair with an error.
        error: What the row says of the error, or `None`.
    """

    state: str
    crossed: tuple[Crossing, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class RuleVerdict:
    """The verdict on one rule.

    Attributes:
        rule: The rule.
        state: "passed" · "failed" · "not judged": no pair has a number, which counts as an error.
        value: The statistic of all pairs; `None` for a rule for every pair, or without any number.
        pairs: How many pairs cross it; `None` for a rule for all pairs together.
    """

    rule: Rule
    state: str
    value: float | None = None
    pairs: int | None = None


def judge(row: Row, rules: Iterable[Rule]) -> Verdict:
    """Judge a row by the rules for every pair; a metric without a number has an error instead."""
    crossed = tuple(
        Crossing(rule, row[rule.metric])
        for rule in rules
        if rule.statistic is None and has_number(row, rule.metric) and rule.crossed_by(row[rule.metric])
    )
    return Verdict(ERROR if row["error"] else FAILED if crossed else PASSED, crossed, row["error"])


class Verdicts:
    """The sink that judges rows, counts states, and says which rules are crossed, and by what.

    Args:
        rules: The rules; the same one counts once.
        say: Function that shows a line to people.
        summary: A sink that has taken the same rows; its statistics are judged.
        new: Images without a reference.
        missing: References without an image.
        keep: Largest number of rows in `bad` for each of its two states.

    Attributes:
        counts: State -> number of pairs, images or references in this state so far.
        alone: "new" and "missing" -> the files in that state.
        crossed: Number of times that a pair, or a statistic of all pairs, crossed a rule.
        unjudged: Number of rules without any number to judge, after `finish`.
        bad: "failed" and "error" -> the first rows in that state, each with its verdict.

    Raises:
        ValueError: If a rule's metric is not measured.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        say: Callable[[str], None],
        summary: Summary,
        *,
        new: Sequence[Path] = (),
        missing: Sequence[Path] = (),
        keep: int = 0,
    ) -> None:
        self.rules, self.summary, self.keep = list(dict.fromkeys(rules)), summary, keep
        self.alone = {NEW: list(new), MISSING: list(missing)}
        self.counts = {state: len(self.alone.get(state, ())) for state in STATES}
        self.crossed = self.unjudged = 0
        self.bad: dict[str, list[tuple[Row, Verdict]]] = {FAILED: [], ERROR: []}
        self._pairs: Counter[Rule] = Counter()
        self._say = say
        for rule in self.rules:
            if rule.metric not in summary.metrics:
                measured = ", ".join(summary.metrics)
                raise ValueError(f"rule {rule}: {rule.metric} is not measured; expected one of {measured}")

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Judge a row."""
        verdict = judge(row, self.rules)
        self.counts[verdict.state] += 1
        if verdict.state in self.bad and len(self.bad[verdict.state]) < self.keep:
            self.bad[verdict.state].append((row, verdict))
        for crossing in verdict.crossed:
            self._pairs[crossing.rule] += 1
            self.crossed += 1
            if self.crossed <= MENTIONED:
                self._say(f"failed: {printable(row['image'])}: {crossing}")

    def finish(self) -> None:
        """Judge the rules for all pairs together, and say how many pairs were not mentioned."""
        if self.crossed > MENTIONED:
            self._say(f"… and {self.crossed - MENTIONED} more failures")
        for found in self.of_rules():
            text = printable(str(found.rule))
            if found.state == UNJUDGED:
                self.unjudged += 1
                self._say(f"{UNJUDGED}: {text}: no pair has a number")
            elif found.state == FAILED and found.value is not None:
                self.crossed += 1
                self._say(f"failed: {text}: it is {found.value:.7g}")

    def of_rules(self) -> list[RuleVerdict]:
        """Return the verdict on each rule for the rows so far, in the order of the rules."""
        found = self.summary.statistics()
        return [self._of_rule(rule, found.get(rule.metric)) for rule in self.rules]

    def _of_rule(self, rule: Rule, statistics: dict[str, float] | None) -> RuleVerdict:
        if statistics is None:
            return RuleVerdict(rule, UNJUDGED)
        if rule.statistic is None:
            pairs = self._pairs[rule]
            return RuleVerdict(rule, FAILED if pairs else PASSED, pairs=pairs)
        value = statistics[rule.statistic]
        return RuleVerdict(rule, FAILED if rule.crossed_by(value) else PASSED, value)

    def as_json(self) -> dict[str, Any]:
        """Return everything for programs: counts of states, new and missing files, and the verdicts on rules."""
        rules = [
            {"rule": str(found.rule), "state": found.state, "value": found.value, "pairs": found.pairs}
            for found in self.of_rules()
        ]
        return {
            "states": dict(self.counts),
            **{state: list(map(path_text, paths)) for state, paths in self.alone.items()},
            "rules": list(map(json_safe, rules)),
        }
