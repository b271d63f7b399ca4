"""Memory divided among threads that read ahead: how many bytes they may hold, in the order of the pairs.

Used by `decoding.py`.
"""

from __future__ import annotations

import threading


class Budget:
    """Bytes that may be held at once, granted in the order of the pairs, so that none waits for a later one.

    A pair that needs more than the limit gets it when nothing else is held. Files that have been read and wait for
    their turn may hold a quarter of the limit besides.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: dict[int, int] = {}  # turn -> bytes
        self._waiting: dict[int, int] = {}  # turn -> bytes of files
        self._next, self._closed = 0, False
        self._changed = threading.Condition()

    def enter(self, turn: int, wanted: int) -> None:
        """Wait until files of `wanted` bytes may be read; the next turn always may."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or turn <= self._next or self._may_enter(wanted))
            self._waiting[turn] = wanted

    def _may_enter(self, wanted: int) -> bool:
        return sum(self._waiting.values()) + wanted <= self.limit // 4

    def take(self, turn: int, wanted: int) -> None:
        """Wait until every earlier turn has been granted its bytes and there is room for `wanted` more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or turn < self._next or self._may_take(turn, wanted))
            if turn == self._next:
                self._held[turn] = wanted
                self._waiting.pop(turn, None)
                self._next += 1
                self._changed.notify_all()

    def _may_take(self, turn: int, wanted: int) -> bool:
        held = sum(self._held.values())
        return turn == self._next and (held == 0 or held + wanted <= self.limit)

    def settle(self, turn: int, held: int) -> None:
        """Set how many bytes a turn goes on holding."""
        with self._changed:
            self._held[turn] = held
            self._changed.notify_all()

    def give_back(self, turn: int) -> None:
        """Give back what a turn held."""
        with self._changed:
            self._held.pop(turn, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Let all threads go on; what they read is no longer wanted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
