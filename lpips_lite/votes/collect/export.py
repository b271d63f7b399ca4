"""Tables of a study: votes for `lpips-votes check`, `fit` and `agree`, and all answers, one per row."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lpips_lite.votes.collect.layout import errors_told, items_of, meta_of, open_to_read, votes_of
from lpips_lite.votes.collect.quality import RULES, Rater, look
from lpips_lite.votes.collect.study import SCREEN, Item, Settings, Vote, from_text

Ties = Literal["leave-out", "half"]
RAW_COLUMNS = (
    *("rater", "trial", "kind", "ref", "p0", "p1", "method_p0", "method_p1", "distortion", "left", "choice", "right"),
    *("milliseconds", "time", *SCREEN, "page", "left_out"),
)


@dataclass(frozen=True)
class Study:
    """The contents of a store.

    Attributes:
        settings: Settings of the latest run.
        items: Items by number.
        votes: All votes.
        raters: The people who voted.
    """

    settings: Settings
    items: dict[int, Item]
    votes: list[Vote]
    raters: list[Rater]


def read_store(path: Path) -> Study:
    """Read a store; this also works while a server writes to it.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not a store.
    """
    base = open_to_read(path)
    try:
        with errors_told(path):
            base.execute("BEGIN")
            items = items_of(base)
            votes, settings = votes_of(base, items), from_text(meta_of(base)["settings"])
    finally:
        base.close()
    return Study(settings, items, votes, look(votes))


def votes_csv(study: Study, folder: Path, *, screen: bool = False, ties: Ties = "leave-out") -> tuple[str, list[str]]:
    """Return a table of votes, one row per item that has any; repeats, catch trials and practice do not count.

    Args:
        study: The contents of a store.
        folder: Folder of the table; its paths are relative to it.
        screen: Whether to leave out people by the rules in `quality.RULES`.
        ties: "leave-out", or "half": half a vote for each image.

    Returns:
        The table, and notes on who was left out and why.

    Raises:
        ValueError: If nothing is left.
    """
    left_out = {rater.name: rater.left_out for rater in study.raters if screen and rater.left_out}
    notes = [f"left out {name}: {'; '.join(RULES[rule] for rule in rules)}" for name, rules in left_out.items()]
    same = study.settings.mode == "same"
    choices = ("same", "different") if same else ("p0", "p1")
    counts: dict[int, list[float]] = {}
    tied = 0
    for vote in study.votes:
        if vote.kind != "judged" or vote.rater in left_out:
            continue
        if vote.choice == "tie":
            tied += 1
            if ties == "leave-out":
                continue
        own = counts.setdefault(vote.number, [0, 0])
        for place, choice in enumerate(choices):
            own[place] += 0.5 if vote.choice == "tie" else vote.choice == choice
    if tied:
        how = "are left out" if ties == "leave-out" else "count as half a vote for either image"
        notes.append(f"{tied} votes for no difference {how}")
    if not counts:
        raise ValueError("votes: none to export; expected at least one judgment")
    parts = ("ref", "p0") if same else ("ref", "p0", "p1")
    named = [("p1", "method0")] if same else [("p0", "method0"), ("p1", "method1")]  # column of the table, of the item
    known = all(getattr(study.items[number], field) for number in counts for _, field in named)
    header = [*(("p0", "p1") if same else parts), *(f"votes_{choice}" for choice in choices)]
    rows: list[Sequence[object]] = [header + [f"method_{part}" for part, _ in named if known]]
    for number in sorted(counts):
        item = study.items[number]
        paths = [relative(getattr(item, part), folder) for part in parts]
        methods = [getattr(item, field) for _, field in named if known]
        rows.append([*paths, *(f"{count:g}" for count in counts[number]), *methods])
    return _csv(rows), notes


def raw_csv(study: Study, folder: Path, *, screen: bool = False) -> str:
    """Return a table of all answers, with the image on the left; `left_out` has the rules that the person breaks."""
    left_out = {rater.name: " ".join(rater.left_out) if screen else "" for rater in study.raters}
    return _csv([RAW_COLUMNS, *(_raw_row(vote, folder, left_out[vote.rater]) for vote in study.votes)])


def _raw_row(vote: Vote, folder: Path, left_out: str) -> list[object]:
    item, screen = vote.item, vote.screen
    p1 = "" if item.p1 is None else relative(item.p1, folder)
    shown = ("ref", "p0") if item.p1 is None else ("p0", "p1")
    return [
        *(vote.rater, vote.position + 1, vote.kind, relative(item.ref, folder), relative(item.p0, folder), p1),
        *(item.method0, item.method1, item.distortion, shown[vote.flipped], vote.choice, item.right),
        *(vote.milliseconds, vote.time, *(screen.get(name) for name in SCREEN), vote.page, left_out),
    ]


def relative(path: Path, folder: Path) -> str:
    """Return a path relative to the folder of a table."""
    return Path(os.path.relpath(path, folder.resolve())).as_posix()


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def told(raters: Sequence[Rater]) -> str:
    """Say how many people voted, and how many of them break a rule."""
    doubtful = sum(bool(rater.left_out) for rater in raters)
    people = "1 person" if len(raters) == 1 else f"{len(raters)} people"
    return f"{people}, {doubtful} of whom break a rule of --screen"
