"""Pairs shared out among the processes that `torchrun` starts, and their rows brought together again.

Work is shared when torchrun's own variables are all there and agree. `WORLD_SIZE` alone, which clusters and training
scripts leave to every child process, changes nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TypeVar

import torch
from torch import distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore, Store

T = TypeVar("T")

ROUND = 64  # rows of each process that are exchanged at once
PARTNER_SECONDS = 60  # to wait for the others at the start
ROUND_TIME = timedelta(hours=12)  # one may measure slowly
NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")


@dataclass(frozen=True)
class Processes:
    """This process's place among those that share the work: every `count`-th item from the `index`-th on is its own.

    Attributes:
        index: Of this process.
        count: Of all.
        local: Index among those on this machine.
        note: What to say of variables that were ignored.
    """

    index: int = 0
    count: int = 1
    local: int = 0
    note: str | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.index == 0

    @classmethod
    @contextmanager
    def join(cls, environment: Mapping[str, str] = os.environ) -> Iterator[Processes]:
        """Join the other processes if torchrun started this one, and leave together with them.

        Raises:
            ValueError: If torchrun's variables do not agree.
            TimeoutError: If another process does not come within a minute.
        """
        if "TORCHELASTIC_RUN_ID" not in environment:
            yield cls(note=_ignored(environment))
            return
        rank, count, local, port = _numbers(environment)
        if count == 1:
            yield cls()
            return
        _rendezvous(environment, rank, count, port)
        try:
            yield cls(rank, count, local)
            with suppress(ValueError):  # not the main thread
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it when the first one has left
            dist.barrier()
        finally:
            dist.destroy_process_group()

    def device(self, name: str) -> str:
        """Return this process's own device: "cuda" is another one for each on a machine."""
        if self.count == 1 or name != "cuda":
            return name
        return f"cuda:{self.local % max(1, torch.cuda.device_count())}"

    def own(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items that this process works on."""
        return items[self.index :: self.count]

    def share(self, value: T) -> T:
        """Return the first process's value in all of them."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, 0)
        return values[0]

    def gather(self, results: Iterable[T]) -> Generator[T, None, None]:
        """Yield all processes' results in the order of their items, in the first process; nothing in the others.

        If the first process stops early, or one fails, all stop after the round.

        Raises:
            RuntimeError: In each process, if another one has failed.
        """
        if self.count == 1:
            yield from results
            return
        own, stopping = iter(results), True
        try:
            while True:
                part, failure = _next_round(own)
                rounds: list[tuple[list[T], str | None, bool]] = [([], None, False)] * self.count
                dist.all_gather_object(rounds, (part if not self.first else [], failure, False))
                shares = [part if self.first else [], *(found for found, _, _ in rounds[1:])]
                if any(stop for _, _, stop in rounds):
                    stopping = False
                    return
                if self.first:
                    for position in range(len(part)):
                        yield from (share[position] for share in shares if position < len(share))
                failures = [f"process {rank}: {reason}" for rank, (_, reason, _) in enumerate(rounds) if reason]
                if failures:
                    stopping = False
                    raise RuntimeError("; ".join(failures))
                if self._all(len(part) < ROUND):
                    stopping = False
                    return
        except KeyboardInterrupt:
            stopping = False
            raise
        finally:
            if stopping and self.first and not self._all(True):  # closed early: the others learn it in their next round
                dist.all_gather_object([([], None, False)] * self.count, ([], None, True))

    def _all(self, done: bool) -> bool:
        answers: list[bool] = [False] * self.count
        dist.all_gather_object(answers, done)
        return all(answers)


def _next_round(own: Iterator[T]) -> tuple[list[T], str | None]:
    part: list[T] = []
    try:
        part.extend(islice(own, ROUND))
    except Exception as error:  # whatever it is, the others must not wait
        return part, f"{type(error).__name__}: {error}"
    return part, None


def _ignored(environment: Mapping[str, str]) -> str | None:
    size = environment.get("WORLD_SIZE", "")
    if size in ("", "1"):
        return None
    return (
        f"WORLD_SIZE={size} is ignored: torchrun did not start this process; start it with torchrun to share the work"
    )


def _numbers(environment: Mapping[str, str]) -> list[int]:
    """Return RANK, WORLD_SIZE, LOCAL_RANK and MASTER_PORT."""
    for name in (*NUMBERS, "MASTER_ADDR"):
        value = environment.get(name, "")
        if not value or (name in NUMBERS and not value.isdecimal()):
            raise ValueError(f"{name}={value!r}: expected what torchrun sets, as TORCHELASTIC_RUN_ID is there")
    numbers = [int(environment[name]) for name in NUMBERS]
    if not numbers[0] < numbers[1]:
        raise ValueError(f"RANK={numbers[0]}: expected less than WORLD_SIZE={numbers[1]}")
    return numbers


def _rendezvous(environment: Mapping[str, str], rank: int, count: int, port: int) -> None:
    """Meet the others in a corner of our own of torchrun's store, so that a training run there is not disturbed."""
    address, wait = environment["MASTER_ADDR"], timedelta(seconds=PARTNER_SECONDS)
    hosts = rank == 0 and environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        store: Store = TCPStore(address, port, is_master=hosts, timeout=wait, wait_for_workers=False)
        prefix = f"lpips_lite/{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        store = PrefixStore(prefix, store)
        store.set(f"here/{rank}", "1")
        store.wait([f"here/{other}" for other in range(count)], wait)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=ROUND_TIME)
    except RuntimeError as error:  # of which torch's own errors are kinds
        raise TimeoutError(
            f"WORLD_SIZE={count}: not all processes came to {address}:{port} within {PARTNER_SECONDS} s; "
            f"this is RANK={rank}; start with torchrun, or unset TORCHELASTIC_RUN_ID to work alone"
        ) from error
