"""Sinks that print messages: notes from reading, problems, and the files that were written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from lpips_lite.files.decoding import Decoded
from lpips_lite.files.names import printable
from lpips_lite.files.results import Row
from lpips_lite.terminal import say

MENTIONED = 20  # problems or notes printed one by one; the rest are counted


class Sink(Protocol):
    """A receiver of rows."""

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Take the next row, with the pictures of the pair if it was measured in this process."""

    def finish(self) -> None:
        """Do the work that needs all rows."""


class Notes:
    """Notes from reading, each printed once."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def add(self, notes: Iterable[str]) -> None:
        """Print new notes."""
        for note in notes:
            if note not in self._known:
                self._known.add(note)
                if len(self._known) <= MENTIONED:
                    say(f"note: {note}")

    def finish(self) -> None:
        """Print how many more there were."""
        if len(self._known) > MENTIONED:
            say(f"… and {len(self._known) - MENTIONED} more notes")


class Problems:
    """The sink that prints why pairs lack some or all numbers."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Print the error of a row."""
        if row["error"]:
            self.add(row["error"])

    def add(self, problem: str) -> None:
        """Print one more problem."""
        self.count += 1
        if self.count <= MENTIONED:
            say(f"error: {printable(problem)}")

    def finish(self) -> None:
        """Print how many more there were."""
        if self.count > MENTIONED:
            say(f"… and {self.count - MENTIONED} more errors")


class Announced:
    """A sink that prints which files it has written, if it had something to write and nothing went wrong."""

    def __init__(self, sink: Sink, *paths: Path) -> None:
        self.sink, self.paths = sink, paths
        self.has_rows = False

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Pass a row on."""
        self.has_rows = True
        try:
            self.sink.take(row, decoded)
        except Exception:
            self.paths = ()
            raise

    def finish(self) -> None:
        """Finish, and print the names of the files."""
        self.sink.finish()
        if self.paths and self.has_rows:
            say(f"wrote {', '.join(map(printable, self.paths))}")
