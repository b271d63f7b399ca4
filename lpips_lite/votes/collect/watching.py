"""Numbers for the experimenter's page: progress, votes per condition, and the people who vote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from lpips_lite.votes.collect.quality import RULES, Rater, look
from lpips_lite.votes.collect.study import Item, Vote

UNKNOWN = "unknown"


def overview(items: Mapping[int, Item], votes: Iterable[Vote], joined: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that the page shows.

    Args:
        items: Items by number.
        votes: All votes.
        joined: Everybody's name, and when they joined.
    """
    votes = list(votes)
    counts = {number: 0 for number, item in items.items() if item.kind == "judged"}
    for vote in votes:
        if vote.kind == "judged":
            counts[vote.number] += 1
    raters = {rater.name: rater for rater in look(votes)}
    return {
        "items": len(counts),
        "judgments": sum(counts.values()),
        "least": min(counts.values()),
        "most": max(counts.values()),
        "answers": len(votes),
        "condition": "method" if items[min(counts)].p1 is None else "p0 – p1",
        "conditions": _conditions(items, votes),
        "raters": [(name, time, _cells(raters.get(name))) for name, time in joined.items()],
        "rules": RULES,
    }


def _conditions(items: Mapping[int, Item], votes: Iterable[Vote]) -> list[dict[str, Any]]:
    """Return numbers of items, judgments and answers per pair of methods, or per method in mode "same"."""
    judged: dict[str, set[int]] = defaultdict(set)
    said: dict[str, list[str]] = defaultdict(list)
    for number, item in items.items():
        if item.kind == "judged":
            judged[_condition(item)].add(number)
    for vote in votes:
        if vote.kind == "judged":
            said[_condition(vote.item)].append(vote.choice)
    rows = []
    for name, numbers in sorted(judged.items()):
        answers = {choice: said[name].count(choice) for choice in ("p0", "p1", "tie", "same", "different")}
        words = [f"{choice} {count}" for choice, count in answers.items() if count]
        rows.append({"name": name, "items": len(numbers), "votes": len(said[name]), "answers": ", ".join(words)})
    return rows


def _condition(item: Item) -> str:
    first = item.method0 or UNKNOWN
    return first if item.p1 is None else f"{first} – {item.method1 or UNKNOWN}"


def _cells(rater: Rater | None) -> dict[str, str]:
    """Return the row of a person, which is empty if they have not answered yet."""
    if rater is None:
        return {}

    def share(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.0f} %"

    return {
        "judgments": str(rater.votes),
        "catch trials": f"{rater.passed} of {rater.catches}",
        "same again": f"{rater.consistent} of {rater.repeats}",
        "median time": "–" if rater.seconds is None else f"{rater.seconds:.1f} s",
        "left": share(rater.left),
        "agrees with others": share(rater.agreement),
        "--screen": ", ".join(rater.left_out) or "keeps",
    }


COLUMNS = ("judgments", "catch trials", "same again", "median time", "left", "agrees with others", "--screen")
