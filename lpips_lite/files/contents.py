"""The bytes of a file, read once; the contents of a pipe are kept, since it cannot be read again."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import BinaryIO

import psutil

from lpips_lite.files.names import printable

_STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_PIECE = 2**20  # bytes read from a pipe at a time
SMALL = 2**26  # bytes up to which the free memory is not checked


class Contents:
    """Reads files, and keeps the contents of pipes; several threads may use it at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}  # one per pipe, since one may wait for another
        self._pipes: dict[Hashable, bytes | OSError | MemoryError] = {}

    def read(self, path: Path) -> bytes:
        """Return all bytes of a file; `-` and /dev/stdin are standard input.

        Raises:
            FileNotFoundError: If there is no such file, or it is a folder.
            OSError: If it cannot be read.
            ValueError: If it is a device, or larger than half of the free memory.
        """
        name = printable(path)
        try:
            if str(path) in _STANDARD_INPUT:
                return self._once("standard input", _standard_input)
            status = _status(path)
            if stat.S_ISFIFO(status.st_mode):
                return self._once((status.st_dev, status.st_ino), lambda: _pipe(path))
            if stat.S_ISREG(status.st_mode):
                _check_bytes(status.st_size)
                return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{name}: no such file") from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise type(error)(f"{name}: cannot be read ({reason})") from error
        except MemoryError as error:
            raise ValueError(f"{name}: {error or 'needs more memory than there is'}") from error
        if stat.S_ISDIR(status.st_mode):
            raise FileNotFoundError(f"{name}: is a folder, not an image")
        raise ValueError(f"{name}: is a device, not an image")

    def _once(self, pipe: Hashable, read: Callable[[], bytes]) -> bytes:
        with self._lock:
            lock = self._locks.setdefault(pipe, threading.Lock())
        with lock:
            if pipe not in self._pipes:
                try:
                    self._pipes[pipe] = read()
                except (OSError, MemoryError) as error:  # the rest of the pipe must not be taken for a file
                    self._pipes[pipe] = error
            found = self._pipes[pipe]
        if isinstance(found, bytes):
            return found
        raise found


def is_stream(path: Path) -> bool:
    """Return whether a path is standard input or a pipe, which can be read only once and may have to be waited for."""
    try:
        return str(path) in _STANDARD_INPUT or stat.S_ISFIFO(_status(path).st_mode)
    except OSError:
        return False


def bytes_on_disk(path: Path) -> int:
    """Return the size of a file in bytes as far as it is known before reading: 0 if it is not a regular file."""
    try:
        status = _status(path)
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except ValueError as error:  # a zero byte, or a character that file names on this system cannot have
        raise FileNotFoundError from error


def _standard_input() -> bytes:
    # sys.stdin, not the descriptor 0, which is some other file if standard input is closed
    stream: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    if stream is None or stream.closed:
        raise OSError("standard input is closed")
    if stream.isatty():
        raise OSError("standard input is a terminal; pipe an image into it")
    return _to_the_end(stream)


def _pipe(path: Path) -> bytes:
    with path.open("rb") as stream:
        return _to_the_end(stream)


def _to_the_end(stream: BinaryIO) -> bytes:
    data = bytearray()
    while piece := stream.read(_PIECE):
        data += piece
        _check_bytes(len(data))
    return bytes(data)


def _check_bytes(count: int) -> None:
    if count > SMALL and count > (most := psutil.virtual_memory().available // 2):
        raise MemoryError(f"has {count} bytes or more; half of the free memory is {most}")
