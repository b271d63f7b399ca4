"""Progress is shown by commands: the interface of functions that show it, and one that shows nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Iterates over items and shows progress, like `lpips_lite.terminal.progress`."""

    def __call__(self, items: Iterable[T], title: str, total: int | None = None) -> Iterable[T]: ...


def silently(items: Iterable[T], title: str, total: int | None = None) -> Iterable[T]:
    """Iterate over items and show nothing."""
    return items
