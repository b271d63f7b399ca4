"""The people who voted: whether they looked, agree with themselves and with others; and whom `--screen` leaves out.

The rules of `--screen` look only at trials with a known answer, at repeats, sides and time. Agreement with others is
told and leaves nobody out: people may differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from lpips_lite.votes.collect.study import Vote

LEAST_CATCHES, LEAST_REPEATS, LEAST_SIDES, LEAST_VOTES = 4, 8, 20, 10  # below which a rule does not apply
RULES = {
    "catch": f"passed fewer than 80 % of their catch trials, of at least {LEAST_CATCHES}",
    "repeats": f"gave the same answer again to fewer than a third of at least {LEAST_REPEATS} repeats",
    "side": f"chose one side in more than 90 % of at least {LEAST_SIDES} trials",
    "time": f"took less than 0.3 s for half of at least {LEAST_VOTES} trials",
}


@dataclass(frozen=True)
class Rater:
    """What is known of one person's votes; shares are `None` where there is nothing to judge by.

    Attributes:
        name: Their name in the store.
        votes: Judgments, without repeats, catch trials and practice.
        catches: Catch trials.
        passed: How many of them got the right answer.
        repeats: Trials that were asked again.
        consistent: How many of them got the same answer.
        seconds: Median time of an answer.
        left: Share of the left image among choices between left and right.
        agreement: Share of their judgments that the majority of the others gave, too; ½ where these are divided.
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
    """Look at each person's votes."""
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
    """Return whether the majority of the others chose the same: 1, 0, or ½ where they are divided."""
    others = [other for name, other in said.items() if name != rater and other != "tie"]
    if choice == "tie" or not others:
        return None
    same = sum(other == choice for other in others)
    return 0.5 if 2 * same == len(others) else float(2 * same > len(others))
