"""Sinks that talk: what was handled while reading, what went wrong, which files were written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from lpips_lite.files.decoding import Decoded
from lpips_lite.files.names import printable
from lpips_lite.files.results import Row
from lpips_lite.terminal import say

MENTIONED = 20  # problems or notes told one by one; the rest are counted


class Sink(Protocol):
    """Where rows go."""

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Take the next row, with the pair's pictures if it was measured in this process."""

    def finish(self) -> None:
        """Do what needs all rows."""


class Notes:
    """What was handled while reading, each thing said once."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def add(self, notes: Iterable[str]) -> None:
        """Say what is new."""
        for note in notes:
            if note not in self._known:
                self._known.add(note)
                if len(self._known) <= MENTIONED:
                    say(f"note: {note}")

    def finish(self) -> None:
        """Say how many there were in all."""
        if len(self._known) > MENTIONED:
            say(f"… and {len(self._known) - MENTIONED} more notes")


class Problems:
    """The sink that says why pairs have no numbers, or not all."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Say what is wrong with a row."""
        if row["error"]:
            self.add(row["error"])

    def add(self, problem: str) -> None:
        """Say one more thing that is wrong."""
        self.count += 1
        if self.count <= MENTIONED:
            say(f"error: {printable(problem)}")

    def finish(self) -> None:
        """Say how many there were in all."""
        if self.count > MENTIONED:
            say(f"… and {self.count - MENTIONED} more errors")


class Announced:
    """A sink that says which files it has written, if nothing went wrong and there was something to write."""

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
        """Finish, and say so."""
        self.sink.finish()
        if self.paths and self.has_rows:
            say(f"wrote {', '.join(map(printable, self.paths))}")
