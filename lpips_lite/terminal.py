"""What is said on stderr while work goes on: lines and a progress bar.

For commands, benchmarks, calibration and examples; the library itself says nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sized
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], title: str, total: int | None = None) -> Iterable[T]:
    """Go through items with a progress bar on stderr, if that is a terminal and there is something to wait for."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    total = len(items) if total is None and isinstance(items, Sized) else total
    idle = (total is not None and total < 2) or not console.is_terminal
    return track(items, title, total=total, console=console, transient=True, disable=idle)


def say(line: str) -> None:
    """Talk on stderr; where nobody can hear it, that is no reason to fail."""
    try:
        if sys.stderr is not None:  # as it is where the file descriptor was closed
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for all that is said from now on
