"""How long work takes is for commands to show: what goes through items, and how to do so silently."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Goes through items and shows how far it is; `lpips_lite.terminal.progress` is one."""

    def __call__(self, items: Iterable[T], title: str, total: int | None = None) -> Iterable[T]: ...


def silently(items: Iterable[T], title: str, total: int | None = None) -> Iterable[T]:
    """Go through items and show nothing."""
    return items
