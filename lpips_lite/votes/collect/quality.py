"""The people who voted: whether they looked, agree with themselves and with others, and whom `--screen` leaves out.

The rules of `--screen` depend only on trials with a known answer, repeats, sides and times. Agreement with others is
shown but leaves nobody out, since people may differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from lpips_lite.votes.collect.study import Vote

LEAST_CATCHES, LEAST_REPEATS, LEAST_SIDES, LEAST_VOTES = 4, 8, 20, 10  # numbers below which a rule does not apply
RULES = {
    "catch": f"passed fewer than 80 % of their catch trials, of at least {LEAST_CATCHES}",
    "repeats": f"gave the same answer again to fewer than a third of at least {LEAST_REPEATS} repeats",
    "side": f"chose one side in more than 90 % of at least {LEAST_SIDES} trials",
    "time": f"took less than 0.3 s for half of at least {LEAST_VOTES} trials",
}


@dataclass(frozen=True)
class Rater:
    """A summary of one person's votes; shares are `None` if there are no votes to compute them from.

    Attributes:
        name: Their name in the store.
        votes: Number of judgments, without repeats, catch trials and practice.
        catches: Number of catch trials.
        passed: Number of catch trials with the right answer.
        repeats: Number of repeated trials.
        consistent: Number of repeated trials with the same answer.
        seconds: Median time of an answer.
        left: Share of the left image among choices between left and right.
        agreement: Share of their judgments that agree with the majority of the others; ½ if the others are divided.
        left_out: Rules by which they are left out.
    """

    name: str
    votes: int
    catches: int
    passed: int
    repeats: int
    consistent: int
    seconds: float | None
    left: float | None
    agreement: float | None
    left_out: tuple[str, ...]


def look(votes: Iterable[Vote]) -> list[Rater]:
    """Summarise the votes of each person."""
    by_rater: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_rater[vote.rater].append(vote)
    said: dict[int, dict[str, str]] = defaultdict(dict)  # item -> rater -> choice
    for vote in (vote for own in by_rater.values() for vote in own if vote.kind == "judged"):
        said[vote.number][vote.rater] = vote.choice
    return [_rater(name, own, said) for name, own in by_rater.items()]


def _rater(name: str, votes: Sequence[Vote], said: dict[int, dict[str, str]]) -> Rater:
    catches = [vote for vote in votes if vote.kind == "catch"]
    judged = {vote.number: vote.choice for vote in votes if vote.kind == "judged"}
    again = [vote.choice == judged[vote.number] for vote in votes if vote.kind == "repeat" and vote.number in judged]
    sides = [(vote.choice == "p0") != vote.flipped for vote in votes if vote.choice in ("p0", "p1")]
    times = [vote.milliseconds / 1000 for vote in votes if vote.kind != "practice"]
    agreeing = [share for number, choice in judged.items() if (share := _share(name, choice, said[number])) is not None]
    passed, consistent = sum(bool(vote.passed) for vote in catches), sum(again)
    broken = {
        "catch": len(catches) >= LEAST_CATCHES and passed < 0.8 * len(catches),
        "repeats": len(again) >= LEAST_REPEATS and 3 * consistent < len(again),
        "side": len(sides) >= LEAST_SIDES and max(sum(sides), len(sides) - sum(sides)) > 0.9 * len(sides),
        "time": len(times) >= LEAST_VOTES and median(times) < 0.3,
    }
    return Rater(
        name=name,
        votes=len(judged),
        catches=len(catches),
        passed=passed,
        repeats=len(again),
        consistent=consistent,
        seconds=median(times) if times else None,
        left=sum(sides) / len(sides) if sides else None,
        agreement=sum(agreeing) / len(agreeing) if agreeing else None,
        left_out=tuple(rule for rule, yes in broken.items() if yes),
    )


def _share(rater: str, choice: str, said: dict[str, str]) -> float | None:
    """Return 1 if the majority of the others chose the same, 0 if not, and ½ if they are divided."""
    others = [other for name, other in said.items() if name != rater and other != "tie"]
    if choice == "tie" or not others:
        return None
    same = sum(other == choice for other in others)
    return 0.5 if 2 * same == len(others) else float(2 * same > len(others))
