"""The file in which trials and votes are kept, one SQLite data base; whoever serves a study writes to it alone.

A trial is a row from the moment a person comes, and its vote is written into that row, once: sending it again changes
nothing. `vote` returns when the vote is on the disk (write-ahead log, `synchronous=FULL`), so that a kill at any
moment loses no vote which the page was told of.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

from filelock import FileLock, Timeout

from lpips_lite.files.names import printable
from lpips_lite.files.outputs import check_folder
from lpips_lite.votes.collect.layout import create, errors_told, items_of, meta_of, open_to_write, votes_of
from lpips_lite.votes.collect.schedule import plan
from lpips_lite.votes.collect.study import Choice, Item, Settings, TrialKind, Vote

AHEAD = 3  # trials that are dealt at a time: the one on the page, and those it loads meanwhile
ABANDONED = 3600.0  # seconds after which a trial that was dealt counts for nothing


class NotShownError(ValueError):
    """A vote on a trial that is not the one before its person."""


class VotedError(ValueError):
    """A vote on a trial that has another answer already."""


@dataclass(frozen=True)
class Trial:
    """A trial that was dealt, as its person may know it; `key` is its name outside."""

    key: str
    kind: TrialKind
    number: int
    flipped: bool


@dataclass(frozen=True)
class Ahead:
    """What lies before a person: the next trials, the first of which is on the page, and how many are done."""

    trials: list[Trial]
    done: int
    total: int


class Store:
    """A study's file, open to be written.

    Args:
        path: The file; made if it is not there.
        items: What is judged, and what has a right answer.
        settings: How trials are planned for those who come from now on.
        digests: Of the content of each image, by which a changed one is known.

    Raises:
        OSError: If the file cannot be written, or another server writes to it.
        ValueError: If it is no store, or one of another study.
    """

    def __init__(
        self, path: Path, items: Sequence[Item], settings: Settings, digests: Mapping[Path, str] | None = None
    ) -> None:
        self.path, self.settings, self.items = path, settings, dict(enumerate(items, start=1))
        self._lock, self._random = Lock(), Random(settings.seed)
        check_folder("store", path)
        self._file_lock = FileLock(f"{path.resolve()}.lock", timeout=0)  # a link to it is the same store
        try:
            self._file_lock.acquire()
        except Timeout:
            raise OSError(f"{printable(path)}: another server is collecting votes in it") from None
        except OSError as error:
            raise OSError(f"{printable(path)}: cannot be written ({(error.strerror or str(error)).lower()})") from error
        try:
            self._base = open_to_write(path)
            create(self._base, path, items, settings, digests or {})
            self._kind = {number: item.kind for number, item in self.items.items()}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file and let others write to it."""
        if hasattr(self, "_base"):
            self._base.close()
        self._file_lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Do all of something, or nothing; when this ends, it is on the disk."""
        with self._lock, errors_told(self.path):
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, errors_told(self.path):
            yield self._base

    # -- people ------------------------------------------------------------------------------------------------------

    def join(self) -> tuple[str, str]:
        """Take a person in and plan their trials; return their name, and the token by which they are known again."""
        token, name = secrets.token_urlsafe(24), f"r{secrets.token_hex(4)}"
        with self._writing() as base:
            added = base.execute(
                "INSERT INTO raters (name, token, joined) VALUES (?, ?, ?)", (name, _digest(token), _now())
            )
            random = Random(f"{self.settings.seed}/{added.lastrowid}")
            judged = sum(kind == "judged" for kind in self._kind.values())
            catches = [number for number, kind in self._kind.items() if kind == "catch"]
            rows = [
                (secrets.token_urlsafe(16), name, position, slot.kind, slot.item, slot.flipped, slot.repeats)
                for position, slot in enumerate(plan(self.settings, judged, catches, random))
            ]
            base.executemany(
                "INSERT INTO trials (key, rater, position, kind, item, flipped, repeats) VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
        return name, token

    def rater(self, token: str) -> str | None:
        """Return the name of the person with a token, if there is one."""
        with self._reading() as base:
            row = base.execute("SELECT name FROM raters WHERE token = ?", (_digest(token),)).fetchone()
        return None if row is None else str(row[0])

    def raters(self) -> dict[str, str]:
        """Return everybody's name and when they came."""
        with self._reading() as base:
            return dict(base.execute("SELECT name, joined FROM raters ORDER BY number"))

    def forget(self, rater: str) -> bool:
        """Delete a person and all they said; return whether there was such a person."""
        with self._writing() as base:
            base.execute("DELETE FROM trials WHERE rater = ?", (rater,))
            found = base.execute("DELETE FROM raters WHERE name = ?", (rater,)).rowcount > 0
            _count_again(base)
        with self._reading() as base:
            base.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what was deleted stays in no log
        return found

    # -- trials ------------------------------------------------------------------------------------------------------

    def ahead(self, rater: str) -> Ahead:
        """Deal a person's next trials, unless they have them."""
        with self._reading() as base:
            rows = _next_rows(base, rater)
            if all(row["dealt"] is not None for row in rows):
                return self._ahead(base, rater)
        with self._writing() as base:
            self._deal(base, rater)
            return self._ahead(base, rater)

    def _deal(self, base: sqlite3.Connection, rater: str) -> None:
        """Choose items for the next trials: the fewest votes first, by lot among equals."""
        for row in _next_rows(base, rater):
            if row["dealt"] is not None:
                continue
            item = row["item"]
            if row["kind"] == "judged":
                item = self._fewest_judged(base, rater)
            elif row["kind"] == "repeat":
                where = (rater, row["repeats"])
                item = base.execute("SELECT item FROM trials WHERE rater = ? AND position = ?", where).fetchone()[0]
            base.execute("UPDATE trials SET item = ?, dealt = ? WHERE key = ?", (item, time.time(), row["key"]))

    def _fewest_judged(self, base: sqlite3.Connection, rater: str) -> int:
        rows = base.execute(
            """SELECT id, votes + (SELECT count(*) FROM trials WHERE item = items.id AND kind = 'judged'
                                   AND choice IS NULL AND dealt > ?) AS given
               FROM items WHERE kind = 'judged'
               AND id NOT IN (SELECT item FROM trials WHERE rater = ? AND kind = 'judged' AND item IS NOT NULL)""",
            (time.time() - ABANDONED, rater),
        ).fetchall()
        least = min(row["given"] for row in rows)
        return int(self._random.choice([row["id"] for row in rows if row["given"] == least]))

    def _ahead(self, base: sqlite3.Connection, rater: str) -> Ahead:
        counts = "SELECT count(*), count(choice) FROM trials WHERE rater = ?"
        total, done = base.execute(counts, (rater,)).fetchone()
        trials = [Trial(row["key"], row["kind"], row["item"], bool(row["flipped"])) for row in _next_rows(base, rater)]
        return Ahead(trials, done, total)

    def shown(self, rater: str, key: str) -> Trial:
        """Return a trial that was dealt to a person.

        Raises:
            KeyError: If there is no such trial of theirs.
        """
        with self._reading() as base:
            row = base.execute(
                "SELECT * FROM trials WHERE key = ? AND rater = ? AND dealt IS NOT NULL", (key, rater)
            ).fetchone()
        if row is None:
            raise KeyError(key)
        return Trial(row["key"], row["kind"], row["item"], bool(row["flipped"]))

    # -- votes -------------------------------------------------------------------------------------------------------

    def vote(self, rater: str, key: str, choice: Choice, milliseconds: int, screen: dict[str, Any], page: str) -> Ahead:
        """Write a vote down and deal what comes next; the same vote sent again changes nothing.

        Raises:
            KeyError: If there is no such trial of theirs.
            NotShownError: If another trial is before them.
            VotedError: If the trial has another answer.
            OSError: If it cannot be written; then it is not.
        """
        with self._writing() as base:
            row = base.execute("SELECT * FROM trials WHERE key = ? AND rater = ?", (key, rater)).fetchone()
            if row is None:
                raise KeyError(key)
            if row["choice"] is None:
                first = _next_rows(base, rater)[0]
                if first["key"] != key or first["dealt"] is None:
                    raise NotShownError("trial: is not the one that is shown")
                base.execute(
                    "UPDATE trials SET choice = ?, milliseconds = ?, voted = ?, screen = ?, page = ? WHERE key = ?",
                    (choice, milliseconds, _now(), json.dumps(screen), page, key),
                )
                if row["kind"] == "judged":
                    base.execute("UPDATE items SET votes = votes + 1 WHERE id = ?", (row["item"],))
            elif row["choice"] != choice:
                raise VotedError("trial: has another answer already, which stays")
            self._deal(base, rater)
            return self._ahead(base, rater)

    def votes(self) -> list[Vote]:
        """Return all votes, person by person, in the order in which they were given."""
        with self._reading() as base:
            return votes_of(base, items_of(base))

    def meta(self) -> dict[str, str]:
        """Return what is kept about the study itself: its settings and the secrets of its addresses."""
        with self._reading() as base:
            return meta_of(base)


def _next_rows(base: sqlite3.Connection, rater: str) -> list[sqlite3.Row]:
    query = "SELECT * FROM trials WHERE rater = ? AND choice IS NULL ORDER BY position LIMIT ?"
    return base.execute(query, (rater, AHEAD)).fetchall()


def _count_again(base: sqlite3.Connection) -> None:
    base.execute(
        """UPDATE items SET votes = (SELECT count(choice) FROM trials WHERE item = items.id AND kind = 'judged')
           WHERE kind = 'judged'"""
    )


def _digest(token: str) -> str:
    """Return what is kept of a token: who reads the file cannot vote for others."""
    return hashlib.sha256(token.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
