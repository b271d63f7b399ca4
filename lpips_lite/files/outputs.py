"""Outputs never overwrite inputs: paths to write are checked against paths to read before anything is computed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

from lpips_lite.files.names import printable

READER_SECONDS = 60  # time to wait for a reader of a pipe


def check_outputs(outputs: Iterable[tuple[str, Path]], inputs: Iterable[tuple[str, Path]]) -> None:
    """Check that no path to write is also a path to read or to write for something else, even through links.

    Args:
        outputs: Options as messages write them, with paths that will be written.
        inputs: Descriptions for messages, like "a compared image", with paths that will be read.

    Raises:
        ValueError: If two of them are the same file.
    """
    taken: dict[object, str] = {}
    for what, path in inputs:
        taken.update(dict.fromkeys(_keys(path), f"{what}, {printable(path)}"))
    for option, path in outputs:
        keys = _keys(path)
        for key in keys:
            if key in taken:
                raise ValueError(f"{option} {printable(path)}: would replace {taken[key]}; expected another path")
        taken.update(dict.fromkeys(keys, f"what {option} writes"))


def check_folder(option: str, path: Path) -> None:
    """Check that a file can be written at `path`: its folder exists, and it is not a folder itself.

    Raises:
        FileNotFoundError, IsADirectoryError: If not.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{option} {printable(path)}: is a folder; expected a file")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{option} {printable(path)}: no such folder: {printable(path.parent)}")


def check_outside(option: str, target: Path, folders: Iterable[Path]) -> None:
    """Check that a folder for outputs is not a folder whose images are compared, nor inside one.

    Raises:
        ValueError: If it is, since the next comparison would read the outputs as images.
    """
    resolved = target.resolve()
    for folder in folders:
        if resolved.is_relative_to(folder.resolve()):
            raise ValueError(
                f"{option} {printable(target)}: is in {printable(folder)}, whose images are compared; "
                f"expected a folder outside it"
            )


def open_output(path: Path, mode: Literal["w", "a"] = "w") -> TextIO:
    """Open a path for writing text; it may be a link, a device or a pipe, which must have a reader within a minute.

    Raises:
        OSError: If it cannot be opened, or nobody reads from the pipe.
    """
    descriptor = _descriptor(path)
    if descriptor is not None:  # used directly, since opening it again would truncate its file
        return open(os.dup(descriptor), "w", encoding="utf-8", newline="")  # noqa: PTH123 - a number, not a path
    if path.is_fifo():
        return open(_open_pipe(path), "w", encoding="utf-8", newline="")
    return path.open(mode, encoding="utf-8", newline="")


def _descriptor(path: Path) -> int | None:
    """Return the number of an open file from its path: 1 for /dev/stdout or /dev/fd/1."""
    numbered = re.fullmatch(r"/dev/fd/([0-9]+)|/proc/self/fd/([0-9]+)", str(path))
    if numbered:
        return int(numbered[1] or numbered[2])
    return {"/dev/stdout": 1, "/dev/stderr": 2}.get(str(path))


def replace_file(path: Path, data: bytes) -> None:
    """Write a file in one step, so that a kill leaves either the old file or the new one; links and permissions stay.

    Pipes and devices are written to directly.

    Raises:
        OSError: If it cannot be written.
    """
    real = Path(os.path.realpath(path))
    with errors_named(path):
        if real.is_fifo():
            with open(_open_pipe(real), "wb") as pipe:
                pipe.write(data)
            return
        if is_special(real):
            real.write_bytes(data)
            return
        partial = real.with_name(f".{hashlib.sha256(os.fsencode(real.name)).hexdigest()[:16]}.partial")
        try:
            partial.write_bytes(data)
            if real.exists():
                shutil.copymode(real, partial)
            partial.replace(real)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Add the path that was written to errors of the operating system, such as a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # one of ours, which has its own message
            raise
        raise OSError(error.errno, error.strerror, printable(path)) from error


def _open_pipe(path: Path) -> int:
    """Return a descriptor of a named pipe as soon as it has a reader."""
    end = time.monotonic() + READER_SECONDS
    while time.monotonic() < end:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:  # the error that means there is no reader
                raise
            time.sleep(0.05)
        else:
            os.set_blocking(descriptor, True)
            return descriptor
    raise TimeoutError(f"{printable(path)}: nobody reads from this pipe; expected a reader within {READER_SECONDS} s")


def is_special(path: Path) -> bool:
    """Return whether a path is a pipe or a device, which are written to and never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _keys(path: Path) -> list[object]:
    """Return keys that identify a regular file: its real path, and its place on the disk if it exists."""
    try:
        status = path.stat()
    except OSError:
        return [os.path.realpath(path)]
    if stat.S_ISDIR(status.st_mode):
        return [os.path.realpath(path)]
    if not stat.S_ISREG(status.st_mode):
        return []
    return [os.path.realpath(path), (status.st_dev, status.st_ino)]
