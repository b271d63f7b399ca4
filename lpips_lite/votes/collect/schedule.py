"""The plan for one person: the order of trials and their sides; the items to judge are chosen later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lpips_lite.votes.collect.study import Settings, TrialKind

GAP = 5  # judgments between a trial and its repeat, if there are enough


@dataclass(frozen=True)
class Slot:
    """A planned trial.

    Attributes:
        kind: The purpose of the trial.
        flipped: Whether the sides are exchanged.
        item: Number of the item; `None` if it is chosen later.
        repeats: Position of the trial that this one repeats.
    """

    kind: TrialKind
    flipped: bool
    item: int | None = None
    repeats: int | None = None


def plan(settings: Settings, judged: int, catches: Sequence[int], random: Random) -> list[Slot]:
    """Plan a person's trials: practice first, then judgments with catch trials and repeats among them.

    Half of the judgments have their sides exchanged. A repeat has the sides opposite to the first time.

    Args:
        settings: Numbers of trials of each kind.
        judged: Number of items to judge; nobody judges an item twice except in a repeat.
        catches: Numbers of the catch items.
        random: Source of all randomness.
    """
    count = min(settings.trials, judged)
    sides = _sides(count, random)
    timed: list[tuple[float, TrialKind, int]] = [(float(n), "judged", n) for n in range(count)]
    first = random.sample(range(max(1, count - GAP)), min(settings.repeats, max(0, count - GAP)))
    timed += [(random.uniform(n + GAP, count), "repeat", n) for n in first]
    drawn = _draw(catches, settings.catches, random)
    timed += [(random.uniform(0, count), "catch", item) for item in drawn]
    practice = _draw(catches, settings.practice, random)
    slots = [
        Slot("practice", bool(side), item) for item, side in zip(practice, _sides(len(practice), random), strict=True)
    ]
    catch_sides = iter(_sides(len(drawn), random))
    position: dict[int, int] = {}
    for _, kind, number in sorted(timed):
        if kind == "judged":
            position[number] = len(slots)
            slots.append(Slot("judged", sides[number]))
        elif kind == "repeat":
            slots.append(Slot("repeat", not sides[number], repeats=position[number]))
        else:
            slots.append(Slot("catch", next(catch_sides), number))
    return slots


def _sides(count: int, random: Random) -> list[bool]:
    """Draw sides, both equally often."""
    sides = [bool(n % 2) for n in range(count)]
    random.shuffle(sides)
    return sides


def _draw(items: Sequence[int], count: int, random: Random) -> list[int]:
    """Draw items, none of them again before all were drawn."""
    drawn: list[int] = []
    while items and len(drawn) < count:
        drawn += random.sample(items, min(len(items), count - len(drawn)))
    return drawn
