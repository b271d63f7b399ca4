"""The trials of one person: what comes when, and on which side, before it is known which items they will judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lpips_lite.votes.collect.study import Settings, TrialKind

GAP = 5  # judgments between a trial and its repeat, where there are as many


@dataclass(frozen=True)
class Slot:
    """A trial to come.

    Attributes:
        kind: What it is for.
        flipped: Whether the sides are exchanged.
        item: Number of the item; `None` where it is chosen when its time comes.
        repeats: Position of the trial that this one repeats.
    """

    kind: TrialKind
    flipped: bool
    item: int | None = None
    repeats: int | None = None


def plan(settings: Settings, judged: int, catches: Sequence[int], random: Random) -> list[Slot]:
    """Plan a person's trials: practice first, then judgments with catch trials and repeats among them.

    Half of the judgments have their sides exchanged; a repeat has the other sides than its first time.

    Args:
        settings: How many there are of each kind.
        judged: Number of items that can be judged; nobody judges one twice but by a repeat.
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
    """Draw sides, each as often as the other."""
    sides = [bool(n % 2) for n in range(count)]
    random.shuffle(sides)
    return sides


def _draw(items: Sequence[int], count: int, random: Random) -> list[int]:
    """Draw items, none once more before all have come."""
    drawn: list[int] = []
    while items and len(drawn) < count:
        drawn += random.sample(items, min(len(items), count - len(drawn)))
    return drawn
