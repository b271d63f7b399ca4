"""Pairs shared out among the processes that `torchrun` starts, and their rows brought together again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from torch import distributed as dist

T = TypeVar("T")

ROUND = 64  # rows of each process that are exchanged at once


@dataclass(frozen=True)
class Shard:
    """This process's place: every `count`-th item from the `index`-th on is its own."""

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.index == 0

    @classmethod
    @contextmanager
    def join(cls) -> Iterator[Shard]:
        """Join the other processes if `torchrun` started this one."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            yield cls()
            return
        dist.init_process_group("gloo")
        try:
            yield cls(dist.get_rank(), dist.get_world_size())
        finally:
            dist.destroy_process_group()

    def own(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items that this process works on."""
        return items[self.index :: self.count]

    def gather(self, results: Iterable[T]) -> Iterator[T]:
        """Yield all processes' results in the order of their items, in the first process; nothing in the others."""
        if self.count == 1:
            yield from results
            return
        own = iter(results)
        while True:
            part = list(islice(own, ROUND))
            parts: list[list[T]] = [[]] * self.count
            dist.gather_object(part, parts if self.first else None)
            longest = len(parts[0]) if self.first else 0
            for position in range(longest):
                yield from (share[position] for share in parts if position < len(share))
            if self._all(len(part) < ROUND):
                return

    def _all(self, done: bool) -> bool:
        answers: list[bool] = [False] * self.count
        dist.all_gather_object(answers, done)
        return all(answers)
