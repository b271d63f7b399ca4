"""The streams of the commands, the spelling of their options, and the exit statuses of exceptions."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

import click

CROSSED, FAILED, INTERRUPTED = 1, 2, 130  # exit statuses; 0 is fine

_PLAIN = {"↓": "v", "↑": "^", "…": "...", "×": "x", "∞": "inf", "–": "-", "─": "-", "·": "-", "½": "1/2", "²": "2"}


def prepare_streams() -> None:
    """Make stdout and stderr accept any text: characters that their encoding lacks are written in ASCII.

    Writing to a closed stdout raises OSError.
    """
    codecs.register_error("lpips_lite.ascii", _to_ascii)
    if sys.stdout is None:
        sys.stdout = open(os.devnull)  # noqa: PTH123, SIM115 - takes the free descriptor, and refuses to be written to
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and not _is_unicode(stream):
            stream.reconfigure(errors="lpips_lite.ascii")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters is reported as a note or an error


def _is_unicode(stream: TextIO) -> bool:
    return codecs.lookup(stream.encoding or "ascii").name.startswith("utf")


def _to_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end]
    text = "".join(_PLAIN.get(c, c.encode("ascii", "backslashreplace").decode("ascii")) for c in wrong)
    return text, error.end


def to_stdout_text(text: str) -> str:
    """Return text that stdout can encode, for click, which would otherwise change the encoding of stdout."""
    if sys.stdout is None or _is_unicode(sys.stdout):
        return text
    return text.encode(sys.stdout.encoding or "ascii", "lpips_lite.ascii").decode(sys.stdout.encoding or "ascii")


def show(line: object) -> None:
    """Write a line to stdout in its encoding, which click.echo would ignore."""
    sys.stdout.write(f"{line}\n")


def spell_option(argument: str, value: object) -> str:
    """Write an argument as users of the command do, for messages: `--resize ref`."""
    if argument == "ignore_boxes" and isinstance(value, list):  # of a repeatable option, the first is enough
        argument, value = "ignore_box", ",".join(map(str, value[0]))
    if isinstance(value, tuple):
        value = "x".join(map(str, reversed(value)))  # a size, (height, width)
    option, text = f"--{argument.replace('_', '-')}", str(value)
    return option if value is True else f"{option} {repr(text) if set(text) & set(' *?{}') else text}"


@contextlib.contextmanager
def closed_pipes_named() -> Iterator[None]:
    """Raise a clear error if stdout or a pipe is no longer read; click would exit with status 1."""
    try:
        yield
    except (BrokenPipeError, io.UnsupportedOperation) as error:
        where = getattr(error, "filename", None) or "standard output"
        raise OSError(f"{where} was closed before everything was written") from error


def close_streams() -> None:
    """Flush stdout, so that the interpreter does not report an error at exit.

    Raises:
        OSError: If something could not be written.
    """
    try:
        with closed_pipes_named():
            if sys.stdout is not None and sys.stdout.writable():
                sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def interrupts_raise() -> None:
    """Make interrupts raise an exception from now on, so that measured rows are written first."""
    with contextlib.suppress(ValueError):  # not the main thread, as in some tests
        if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
            signal.signal(signal.SIGINT, signal.default_int_handler)


def status_and_message(error: BaseException) -> tuple[int, str]:
    """Return the exit status of an exception, and its message."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED, "interrupted"
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        return FAILED, str(error)
    if isinstance(error, click.UsageError):
        context = error.ctx
        usage = f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n\n" if context else ""
        return FAILED, f"{usage}error: {error.format_message()}"
    if isinstance(error, click.ClickException):
        return FAILED, f"error: {error.format_message()}"
    text = str(error).strip()
    exhausted = isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    if isinstance(error, MemoryError) or exhausted:
        return FAILED, f"error: out of memory: {text or 'the images need more memory than available'}"
    if isinstance(error, (OSError, ValueError, ImportError)):
        return FAILED, f"error: {text or type(error).__name__}"
    return FAILED, f"error: {type(error).__name__}: {text} (a fault of the program; --debug shows where)"
