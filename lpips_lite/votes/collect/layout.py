"""The layout of a store and how to read it: tables of items, people and trials, and texts about the study."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lpips_lite.files.names import printable
from lpips_lite.votes.collect.study import Item, Settings, Vote, as_text

APPLICATION, VERSION = 0x6C706970, 1  # in the header of the file, to recognise it
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE files (path TEXT PRIMARY KEY, digest TEXT NOT NULL);
CREATE TABLE items (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, ref TEXT NOT NULL, p0 TEXT NOT NULL, p1 TEXT,
    method0 TEXT, method1 TEXT, distortion TEXT, votes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE raters (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, token TEXT UNIQUE NOT NULL, joined TEXT);
CREATE TABLE trials (
    key TEXT PRIMARY KEY, rater TEXT NOT NULL REFERENCES raters (name), position INTEGER NOT NULL, kind TEXT NOT NULL,
    item INTEGER REFERENCES items (id), flipped INTEGER NOT NULL, repeats INTEGER, dealt REAL,
    choice TEXT CHECK (choice IN ('p0', 'p1', 'tie', 'same', 'different')),
    milliseconds INTEGER, voted TEXT, screen TEXT, page TEXT, UNIQUE (rater, position));
CREATE INDEX open_trials ON trials (item) WHERE choice IS NULL;
"""
ITEM_COLUMNS = ("ref", "p0", "p1", "method0", "method1", "kind", "distortion")


@contextmanager
def errors_told(path: Path) -> Iterator[None]:
    """Turn errors of SQLite (a full disk, no permission, a broken file) into an OSError that names the file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise OSError(f"{printable(path)}: {error}") from error


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open a store, or make an empty file for it; a commit returns when it is on the disk.

    Raises:
        OSError: If it cannot be opened or written.
        ValueError: If the file is something else.
    """
    with errors_told(path):
        base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        base.row_factory = sqlite3.Row
        _check_known(base, path, empty=True)
        with errors_told(path):
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
                base.execute(f"PRAGMA {pragma}")
    except BaseException:
        base.close()
        raise
    return base


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a store for reading, whether a server writes to it or not.

    Raises:
        OSError: If it cannot be read.
        ValueError: If the file is something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{printable(path)}: no such file")
    log = path.with_name(f"{path.name}-wal")
    options = "mode=ro" if log.exists() else "mode=ro&immutable=1"  # works also if the folder is read-only
    with errors_told(path):
        base = sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, isolation_level=None)
    try:
        base.row_factory = sqlite3.Row
        _check_known(base, path, empty=False)
    except BaseException:
        base.close()
        raise
    return base


def _check_known(base: sqlite3.Connection, path: Path, *, empty: bool) -> None:
    try:
        application, version = (
            base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        tables = base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.OperationalError as error:
        raise OSError(f"{printable(path)}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{printable(path)}: is not a store of votes ({error}); expected another path") from error
    if empty and not tables:
        return
    if application != APPLICATION:
        raise ValueError(f"{printable(path)}: is not a store of votes, but another database; expected another path")
    if version != VERSION:
        raise ValueError(f"{printable(path)}: is a store of version {version}; expected version {VERSION}")


def create(
    base: sqlite3.Connection, path: Path, items: Sequence[Item], settings: Settings, digests: Mapping[Path, str]
) -> None:
    """Fill an empty store, or check that a store belongs to the same study.

    Args:
        base: The store, open for writing.
        path: Its file, for messages.
        items: The items to judge.
        settings: New settings, which replace those in the store; the mode cannot change.
        digests: Digest of each image.

    Raises:
        ValueError: If the store belongs to another study, or an image has changed.
    """
    with errors_told(path):
        if not base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            base.executescript(f"BEGIN IMMEDIATE; {SCHEMA}")
            try:
                _fill(base, items, settings, digests)
                base.execute("COMMIT")
            except BaseException:
                base.execute("ROLLBACK")
                raise
            return
        known, mode = list(items_of(base).values()), json.loads(meta_of(base)["settings"])["mode"]
        contents = dict(base.execute("SELECT path, digest FROM files").fetchall())
    if mode != settings.mode:
        raise ValueError(f"{printable(path)}: its mode is {mode}, not {settings.mode}; expected the mode of the store")
    if known != list(items):
        raise ValueError(
            f"{printable(path)}: holds votes on {_count(known)}, which differ from these {_count(items)}; "
            "expected the same images and options, or another store"
        )
    changed = [image for image, digest in digests.items() if contents.get(str(image)) != digest]
    if changed:
        raise ValueError(f"{printable(changed[0])}: has changed since votes on it were collected in {printable(path)}")
    with errors_told(path):
        base.execute("UPDATE meta SET value = ? WHERE key = 'settings'", (as_text(settings),))


def _count(items: Sequence[Item]) -> str:
    return f"{sum(item.kind == 'judged' for item in items)} items"


def _fill(base: sqlite3.Connection, items: Sequence[Item], settings: Settings, digests: Mapping[Path, str]) -> None:
    rows = [
        (str(i.ref), str(i.p0), None if i.p1 is None else str(i.p1), i.method0, i.method1, i.kind, i.distortion)
        for i in items
    ]
    base.executemany(f"INSERT INTO items ({', '.join(ITEM_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    base.executemany("INSERT INTO files VALUES (?, ?)", [(str(path), digest) for path, digest in digests.items()])
    words = {"settings": as_text(settings), "secret": secrets.token_urlsafe(16), "watch": secrets.token_urlsafe(16)}
    base.executemany("INSERT INTO meta VALUES (?, ?)", words.items())
    base.execute(f"PRAGMA application_id = {APPLICATION}")
    base.execute(f"PRAGMA user_version = {VERSION}")


def meta_of(base: sqlite3.Connection) -> dict[str, str]:
    """Return the texts about the study."""
    return dict(base.execute("SELECT key, value FROM meta").fetchall())


def items_of(base: sqlite3.Connection) -> dict[int, Item]:
    """Return all items by number."""
    found = {}
    for row in base.execute("SELECT * FROM items ORDER BY id"):
        cells = {name: row[name] for name in ITEM_COLUMNS}
        paths = {name: None if cells[name] is None else Path(cells[name]) for name in ("ref", "p0", "p1")}
        found[row["id"]] = Item(**(cells | paths))
    return found


def votes_of(base: sqlite3.Connection, items: Mapping[int, Item]) -> list[Vote]:
    """Return all votes, person by person, in the order of their trials."""
    query = """SELECT trials.* FROM trials JOIN raters ON raters.name = trials.rater
               WHERE choice IS NOT NULL ORDER BY raters.number, position"""
    return [
        Vote(
            rater=row["rater"],
            position=row["position"],
            kind=row["kind"],
            number=row["item"],
            item=items[row["item"]],
            flipped=bool(row["flipped"]),
            choice=row["choice"],
            milliseconds=row["milliseconds"],
            time=row["voted"],
            screen=json.loads(row["screen"]),
            page=row["page"],
        )
        for row in base.execute(query)
    ]
