"""Output on stderr during work: lines and a progress bar.

For commands, benchmarks, calibration and examples; the library itself prints nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sized
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], title: str, total: int | None = None) -> Iterable[T]:
    """Iterate over items with a progress bar on stderr, if stderr is a terminal and there is more than one item."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    total = len(items) if total is None and isinstance(items, Sized) else total
    idle = (total is not None and total < 2) or not console.is_terminal
    return track(items, title, total=total, console=console, transient=True, disable=idle)


def say(line: str) -> None:
    """Print a line on stderr; do nothing if stderr is closed."""
    try:
        if sys.stderr is not None:  # None if the file descriptor was closed
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for all later output
