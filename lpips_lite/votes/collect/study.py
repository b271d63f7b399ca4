"""What a study is made of: items to judge, settings by which trials are planned, and the votes that come in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

Mode = Literal["closer", "same"]
View = Literal["middle", "flip"]
Kind = Literal["judged", "catch"]  # of an item
TrialKind = Literal["practice", "judged", "repeat", "catch"]
Choice = Literal["p0", "p1", "tie", "same", "different"]

MODES, VIEWS, CHOICES = get_args(Mode), get_args(View), get_args(Choice)
SCREEN = {  # what the page tells of its window with each vote
    "width": "of the window, in CSS pixels",
    "height": "likewise",
    "pixel_ratio": "pixels of the screen for each CSS pixel",
    "fits": "whether the images of the trial fitted into it",
    "zoomed": "whether the page was enlarged or reduced",
    "flips": "how often the reference was shown in the place of the images",
    "touch": "whether the answer was given by touch",
}


@dataclass(frozen=True)
class Item:
    """Something to judge.

    In mode "closer": which of p0 and p1 is closer to ref. In mode "same": whether p0 looks the same as ref. A catch
    item has a right answer: its p0 is the reference itself, and its last image the reference after a distortion.

    Attributes:
        ref: The reference image.
        p0: An image.
        p1: Another one; `None` in mode "same".
        method0: What made p0, if known.
        method1: What made p1.
        kind: Whether people are asked for their judgment, or whether they look.
        distortion: Of a catch item, a name in `votes.distort`; `None` where its last image is the reference as it is.
    """

    ref: Path
    p0: Path
    p1: Path | None = None
    method0: str | None = None
    method1: str | None = None
    kind: Kind = "judged"
    distortion: str | None = None

    @property
    def right(self) -> Choice | None:
        """The right answer, of a catch item."""
        if self.kind == "judged":
            return None
        if self.p1 is not None:
            return "p0"
        return "same" if self.distortion is None else "different"

    def images(self) -> dict[str, Path]:
        """Return its files by column."""
        return {"ref": self.ref, "p0": self.p0} | ({} if self.p1 is None else {"p1": self.p1})


@dataclass(frozen=True)
class Settings:
    """How trials are planned and shown.

    Attributes:
        mode: "closer": which of two is closer to the reference; "same": whether two look the same.
        view: "middle": the reference between the two; "flip": it takes their place when asked for.
        ties: Whether "no difference" is an answer in mode "closer".
        trials: Judgments of each person, at most; there may be fewer items.
        repeats: How many of these are asked once more, with sides exchanged.
        catches: Trials with a known answer.
        practice: Trials before the first one, with a known answer that is told.
        seed: Of all random choices.

    Raises:
        ValueError: If a number is out of its range, or an option unknown.
    """

    mode: Mode = "closer"
    view: View = "middle"
    ties: bool = False
    trials: int = 60
    repeats: int = 8
    catches: int = 8
    practice: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, options in (("mode", MODES), ("view", VIEWS)):
            if getattr(self, name) not in options:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(options)}")
        for name, least in (("trials", 1), ("repeats", 0), ("catches", 0), ("practice", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a whole number ≥ {least}")
        if self.ties and self.mode == "same":
            raise ValueError('ties is True, mode is "same"; expected ties in mode "closer" only')

    def answers(self) -> tuple[str, ...]:
        """Return the answers that the page may send, in the terms of who sits before it."""
        if self.mode == "same":
            return ("same", "different")
        return ("left", "right", "tie") if self.ties else ("left", "right")


@dataclass(frozen=True)
class Vote:
    """One answer, as it was given.

    Attributes:
        rater: Who gave it: a name drawn when they came.
        position: Which of their trials, from 0.
        kind: What the trial was for.
        number: Of the item, in the store.
        item: What was judged.
        flipped: Whether p0 was shown on the right; in mode "same", whether ref was.
        choice: The answer.
        milliseconds: From the images being there to the answer.
        time: When it was written down, ISO 8601 in UTC.
        screen: What the page told of its window.
        page: Version of the page.
    """

    rater: str
    position: int
    kind: TrialKind
    number: int
    item: Item
    flipped: bool
    choice: Choice
    milliseconds: int
    time: str
    screen: dict[str, Any]
    page: str

    @property
    def passed(self) -> bool | None:
        """Whether a trial with a right answer got it."""
        return None if self.item.right is None else self.choice == self.item.right


def as_text(settings: Settings) -> str:
    """Write settings as JSON, as the store keeps them."""
    return json.dumps(asdict(settings))


def from_text(text: str) -> Settings:
    """Read what `as_text` wrote."""
    return Settings(**json.loads(text))
