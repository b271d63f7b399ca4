"""The parts of a study: items to judge, settings for trials, and votes."""

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
SCREEN = {  # facts about the window that the page sends with each vote
    "width": "width of the window, in CSS pixels",
    "height": "height of the window, in CSS pixels",
    "pixel_ratio": "pixels of the screen per CSS pixel",
    "fits": "whether the images of the trial fitted into the window",
    "zoomed": "whether the page was enlarged or reduced",
    "flips": "how often the reference was shown in place of the images",
    "touch": "whether the answer was given by touch",
}


@dataclass(frozen=True)
class Item:
    """An item to judge.

    In mode "closer", people say which of p0 and p1 is closer to ref; in mode "same", whether p0 looks the same as ref.
    A catch item has a right answer: its p0 is the reference itself, and its last image is a distorted reference.

    Attributes:
        ref: The reference image.
        p0: The first image.
        p1: The second image; `None` in mode "same".
        method0: The method that made p0, if known.
        method1: The method that made p1, if known.
        kind: Whether it asks for a judgment, or checks whether people look.
        distortion: For a catch item, a name in `votes.distort`; `None` if its last image is the unchanged reference.
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
        """The right answer of a catch item, or `None`."""
        if self.kind == "judged":
            return None
        if self.p1 is not None:
            return "p0"
        return "same" if self.distortion is None else "different"

    def images(self) -> dict[str, Path]:
        """Return the files of the item by column."""
        return {"ref": self.ref, "p0": self.p0} | ({} if self.p1 is None else {"p1": self.p1})


@dataclass(frozen=True)
class Settings:
    """How trials are planned and shown.

    Attributes:
        mode: "closer": which of two is closer to the reference; "same": whether two look the same.
        view: "middle": the reference is between the two; "flip": it is shown in their place on request.
        ties: Whether "no difference" is an answer in mode "closer".
        trials: Largest number of judgments per person; there may be fewer items.
        repeats: Number of judgments that are asked again, with sides exchanged.
        catches: Number of trials with a known answer.
        practice: Number of trials before the first one, whose right answer is shown.
        seed: Seed of all random choices.

    Raises:
        ValueError: If a number is out of range, or an option is unknown.
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
        """Return the answers that the page may send, in terms of left and right."""
        if self.mode == "same":
            return ("same", "different")
        return ("left", "right", "tie") if self.ties else ("left", "right")


@dataclass(frozen=True)
class Vote:
    """One answer.

    Attributes:
        rater: The random name of the person.
        position: Number of the trial among those of the person, from 0.
        kind: The purpose of the trial.
        number: Number of the item in the store.
        item: The item.
        flipped: Whether p0 was shown on the right; in mode "same", whether ref was.
        choice: The answer.
        milliseconds: Time from when the images were shown to the answer.
        time: When it was saved, ISO 8601 in UTC.
        screen: Facts about the window.
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
        """Whether the answer is right, or `None` if there is no right answer."""
        return None if self.item.right is None else self.choice == self.item.right


def as_text(settings: Settings) -> str:
    """Return settings as JSON, as they are stored."""
    return json.dumps(asdict(settings))


def from_text(text: str) -> Settings:
    """Read settings from the output of `as_text`."""
    return Settings(**json.loads(text))
