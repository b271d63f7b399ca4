"""The bytes of a file, read once; what comes through a pipe is remembered, since it cannot be read again."""

from __future__ import annotations

import stat
import sys
import threading
from collections.abc import Callable, Hashable
from pathlib import Path

from lpips_lite.files.names import printable

_STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


class Contents:
    """Reads files, and keeps what pipes have given; several threads may ask at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}  # one per pipe: one may have to wait for another to be read
        self._pipes: dict[Hashable, bytes] = {}

    def read(self, path: Path) -> bytes:
        """Return all bytes of a file; `-` and /dev/stdin are standard input.

        Raises:
            FileNotFoundError: If there is no such file, or it is a folder.
            OSError: If it cannot be read.
            ValueError: If it is a device.
        """
        name = printable(path)
        if "\0" in str(path):
            raise FileNotFoundError(f"{name}: no such file")
        try:
            if str(path) in _STANDARD_INPUT:
                return self._once("standard input", _standard_input)
            status = path.stat()
            if stat.S_ISFIFO(status.st_mode):
                return self._once((status.st_dev, status.st_ino), path.read_bytes)
            if stat.S_ISREG(status.st_mode):
                return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{name}: no such file") from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise type(error)(f"{name}: cannot be read ({reason})") from error
        if stat.S_ISDIR(status.st_mode):
            raise FileNotFoundError(f"{name}: is a folder, not an image")
        raise ValueError(f"{name}: is a device, not an image")

    def _once(self, pipe: Hashable, read: Callable[[], bytes]) -> bytes:
        with self._lock:
            lock = self._locks.setdefault(pipe, threading.Lock())
        with lock:
            if pipe not in self._pipes:
                self._pipes[pipe] = read()
            return self._pipes[pipe]


def _standard_input() -> bytes:
    # sys.stdin, not the descriptor 0: where standard input is closed, that is some other file
    if sys.stdin is None or sys.stdin.closed:
        raise OSError("standard input is closed")
    if sys.stdin.isatty():
        raise OSError("standard input is a terminal; pipe an image into it")
    return sys.stdin.buffer.read()
