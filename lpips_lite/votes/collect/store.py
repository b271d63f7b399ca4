"""The SQLite file in which trials and votes are kept; only one server at a time can write to it.

The rows of a person's trials are made when they join. A vote is written into its row once; sending it again changes
nothing. `vote` returns when the vote is on the disk (write-ahead log, `synchronous=FULL`), so that a kill at any moment
loses no vote that was confirmed to the page.
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

AHEAD = 3  # trials assigned at a time: the one on the page, and those it loads in advance
ABANDONED = 3600.0  # seconds after which an assigned trial without a vote no longer counts


class NotShownError(ValueError):
    """A vote on a trial that is not the person's current one."""


class VotedError(ValueError):
    """A vote on a trial that already has another answer."""


@dataclass(frozen=True)
class Trial:
    """An assigned trial; the page knows it only by its `key`."""

    key: str
    kind: TrialKind
    number: int
    flipped: bool


@dataclass(frozen=True)
class Ahead:
    """The next trials of a person, starting with the one on the page, and the number of finished ones."""

    trials: list[Trial]
    done: int
    total: int


class Store:
    """The file of a study, open for writing.

    Args:
        path: The file; it is made if necessary.
        items: Items to judge, and catch items.
        settings: Settings for people who join from now on.
        digests: Digest of each image, to recognise changed images.

    Raises:
        OSError: If the file cannot be written, or another server writes to it.
        ValueError: If it is not a store, or belongs to another study.
    """

    def __init__(
        self, path: Path, items: Sequence[Item], settings: Settings, digests: Mapping[Path, str] | None = None
    ) -> None:
        self.path, self.settings, self.items = path, settings, dict(enumerate(items, start=1))
        self._lock, self._random = Lock(), Random(settings.seed)
        check_folder("store", path)
        self._file_lock = FileLock(f"{path.resolve()}.lock", timeout=0)  # so that a link to the file is the same store
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
        """Run a transaction; when it ends, it is on the disk."""
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
        """Add a person and plan their trials; return their name, and the token that identifies them."""
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
        """Return everybody's name and the time when they joined."""
        with self._reading() as base:
            return dict(base.execute("SELECT name, joined FROM raters ORDER BY number"))

    def forget(self, rater: str) -> bool:
        """Delete a person and all their answers; return whether there was such a person."""
        with self._writing() as base:
            base.execute("DELETE FROM trials WHERE rater = ?", (rater,))
            found = base.execute("DELETE FROM raters WHERE name = ?", (rater,)).rowcount > 0
            _count_again(base)
        with self._reading() as base:
            base.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that deleted answers do not stay in the log
        return found

    # -- trials ------------------------------------------------------------------------------------------------------

    def ahead(self, rater: str) -> Ahead:
        """Assign a person's next trials, if necessary, and return them."""
        with self._reading() as base:
            rows = _next_rows(base, rater)
            if all(row["dealt"] is not None for row in rows):
                return self._ahead(base, rater)
        with self._writing() as base:
            self._deal(base, rater)
            return self._ahead(base, rater)

    def _deal(self, base: sqlite3.Connection, rater: str) -> None:
        """Choose items for the next trials: those with the fewest votes first, at random among equals."""
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
        """Return a trial that was assigned to a person.

        Raises:
            KeyError: If they have no such trial.
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
        """Save a vote and assign the next trials; sending the same vote again changes nothing.

        Raises:
            KeyError: If they have no such trial.
            NotShownError: If another trial is the current one.
            VotedError: If the trial has another answer.
            OSError: If it cannot be written; then nothing was saved.
        """
        with self._writing() as base:
            row = base.execute("SELECT * FROM trials WHERE key = ? AND rater = ?", (key, rater)).fetchone()
            if row is None:
                raise KeyError(key)
            if row["choice"] is None:
                first = _next_rows(base, rater)[0]
                if first["key"] != key or first["dealt"] is None:
                    raise NotShownError("trial: not the one that is shown")
                base.execute(
                    "UPDATE trials SET choice = ?, milliseconds = ?, voted = ?, screen = ?, page = ? WHERE key = ?",
                    (choice, milliseconds, _now(), json.dumps(screen), page, key),
                )
                if row["kind"] == "judged":
                    base.execute("UPDATE items SET votes = votes + 1 WHERE id = ?", (row["item"],))
            elif row["choice"] != choice:
                raise VotedError("trial: already has another answer, which is kept")
            self._deal(base, rater)
            return self._ahead(base, rater)

    def votes(self) -> list[Vote]:
        """Return all votes, person by person, in the order in which they were given."""
        with self._reading() as base:
            return votes_of(base, items_of(base))

    def meta(self) -> dict[str, str]:
        """Return the settings of the study and the secrets of its addresses."""
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
    """Return the hash of a token, which is stored so that nobody who reads the file can vote for others."""
    return hashlib.sha256(token.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
