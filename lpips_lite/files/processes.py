"""Divide work among the processes that `torchrun` starts, and collect the results in the first of them.

Work is divided only if all of torchrun's variables are set. `WORLD_SIZE` alone, which clusters and training scripts
pass to every child process, has no effect. Processes communicate through torchrun's store, under separate keys. Every
wait is a loop of short steps, so that interrupts and failures of other processes end it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch

from lpips_lite.files.names import first_line

T = TypeVar("T")

PARTNER_SECONDS = 60  # time to wait for the others at the start
POLL_SECONDS = 0.02
PIECE_BYTES = 2**22  # size of a value in the store, which takes at most 8 MiB
END, INTERRUPTED = b"", b"interrupted"  # last parts of a stream of pickles
NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")


@dataclass
class Processes:
    """The place of this process among those that share the work. All must call `share` and `gather` in the same order.

    Attributes:
        index: Index of this process.
        count: Number of processes.
        local: Index among the processes on this machine.
        note: Note on a variable that was ignored.
    """

    index: int = 0
    count: int = 1
    local: int = 0
    note: str | None = None
    _store: Any = None  # a torch.distributed.Store if there are others
    _calls: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the first process, which has the results."""
        return self.index == 0

    @classmethod
    @contextmanager
    def join(cls, environment: Mapping[str, str] = os.environ) -> Iterator[Processes]:
        """Join the other processes if torchrun started this one, and leave when all of them do.

        Raises:
            ValueError: If torchrun's variables are not complete, or do not agree.
            TimeoutError: If another process does not join within a minute.
            ConnectionError: If torchrun's store cannot be reached; in the block, also if another process has failed.
            KeyboardInterrupt: In the block, if another process was interrupted.
        """
        world = environment.get("WORLD_SIZE", "")
        if "TORCHELASTIC_RUN_ID" not in environment or world == "1":
            note = f"WORLD_SIZE={world} is ignored: this process was not started by torchrun, which shares the work out"
            yield cls(note=None if world in ("", "1") else note)
            return
        rank, size, local, port = _numbers(environment)
        hosts = rank == 0 and environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        processes = cls(rank, size, local, _store=_meet(rank, size, environment["MASTER_ADDR"], port, hosts))
        try:
            yield processes
        except BaseException as error:
            processes._fail(error)
            if isinstance(error, torch.distributed.DistNetworkError):
                raise ConnectionError("torchrun has ended, and with it the store of its processes") from error
            raise
        finally:
            processes._leave()

    def device(self, name: str) -> str:
        """Return the device of this process; each process on a machine gets another "cuda" device."""
        shared = self.count > 1 and name == "cuda"
        return f"cuda:{self.local % max(1, torch.cuda.device_count())}" if shared else name

    def own(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items of this process: every `count`-th, starting with the `index`-th."""
        return items[self.index :: self.count]

    def share(self, value: T) -> T:
        """Return the value of the first process in all processes."""
        self._calls += 1
        if not self.first:
            value = pickle.loads(b"".join(self._take(f"{self._calls}/{self.index}")))
        elif self.count > 1:
            data = pickle.dumps(value)
            pieces = [data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]
            for rank in range(1, self.count):
                self._put(f"{self._calls}/{rank}", pieces)
        return value

    def once(self, make: Callable[[], T]) -> T:
        """Call `make` in the first process only, and return the result in all processes."""
        return cast(T, self.share(make() if self.first else None))

    def gather(self, results: Generator[T, None, None]) -> Generator[T, None, None]:
        """Yield the results of all processes for their `own` items, in the order of the items, in the first process.

        If the first process closes this generator, the others stop after their current result. If another process is
        interrupted, it stops and interrupts the first.
        """
        self._calls += 1
        return (self._receive if self.first else self._send)(f"{self._calls}", results)

    def _receive(self, topic: str, results: Generator[T, None, None]) -> Generator[T, None, None]:
        others = (map(pickle.loads, self._take(f"{topic}/{rank}")) for rank in range(1, self.count))
        streams: list[Iterator[T]] = [results, *others]
        try:
            while streams:
                for stream in tuple(streams):
                    try:
                        yield next(stream)
                    except StopIteration:
                        streams.remove(stream)
        finally:
            if self.count > 1:
                with suppress(RuntimeError):  # the store cannot be reached, which is the error that led here
                    self._store.set(f"{topic}/closed", "")
            results.close()

    def _send(self, topic: str, results: Generator[T, None, None]) -> Generator[T, None, None]:
        wanted = itertools.takewhile(lambda _: not self._store.check([f"{topic}/closed"]), results)
        with closing(results), suppress(KeyboardInterrupt):
            self._put(f"{topic}/{self.index}", map(pickle.dumps, wanted))
        yield from ()

    def _put(self, topic: str, parts: Iterable[bytes]) -> None:
        """Put parts into the store for another process, and an end mark."""
        number = 0
        try:
            for part in parts:
                self._raise_failure()
                self._store.set(f"{topic}/{number}", part)
                number += 1
        except KeyboardInterrupt:
            self._store.set(f"{topic}/{number}", INTERRUPTED)
            raise
        self._store.set(f"{topic}/{number}", END)

    def _take(self, topic: str) -> Iterator[bytes]:
        """Yield the parts that another process puts into the store, until the end mark."""
        for number in itertools.count():
            key = f"{topic}/{number}"
            while not self._store.check([key]):
                self._raise_failure(key)
                time.sleep(POLL_SECONDS)
            part = self._store.get(key)
            self._store.delete_key(key)
            if part == INTERRUPTED:
                raise KeyboardInterrupt
            if part == END:
                return
            yield part

    def _fail(self, error: BaseException) -> None:
        """Tell the others which error ended this process, unless another process has failed before."""
        interrupted, reason = isinstance(error, KeyboardInterrupt), f"process {self.index} stopped: {first_line(error)}"
        with suppress(RuntimeError):  # without a store there are no others
            if not self._store.check(["failed"]):
                self._store.set("failed", "" if interrupted else reason)

    def _raise_failure(self, awaited: str | None = None) -> None:
        """Raise the error that ended another process, unless the awaited value came before it."""
        if self._store.check(["failed"]) and not (awaited and self._store.check([awaited])):
            reason = self._store.get("failed").decode()
            raise ConnectionAbortedError(reason) if reason else KeyboardInterrupt

    def _leave(self) -> None:
        """Wait until all are ready, since torchrun terminates the others if one exits with a status other than 0."""
        terminated = threading.Event()
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGTERM, lambda *_: terminated.set())
        with suppress(RuntimeError):  # without a store there are no others
            self._store.set(f"ready/{self.index}", "")
            while not self._store.check([f"ready/{n}" for n in range(self.count)]) and not terminated.wait(
                POLL_SECONDS
            ):
                pass
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # unlike a function, this works until the very end


def _numbers(environment: Mapping[str, str]) -> list[int]:
    """Return RANK, WORLD_SIZE, LOCAL_RANK and MASTER_PORT."""
    try:
        rank, size, local, port = numbers = [int(environment[name]) for name in NUMBERS]
        fine = 0 <= local <= rank < size and 0 < port < 2**16 and environment["MASTER_ADDR"] != ""
    except (KeyError, ValueError):
        fine = False
    if not fine:
        found = ", ".join(f"{name}={environment.get(name, '')}" for name in (*NUMBERS, "MASTER_ADDR"))
        raise ValueError(
            f"{found}: expected what torchrun sets, LOCAL_RANK <= RANK < WORLD_SIZE and an address with a port; "
            f"unset TORCHELASTIC_RUN_ID to work alone"
        )
    return numbers


def _meet(rank: int, size: int, address: str, port: int, hosts: bool) -> Any:
    """Meet the processes that were started with the same arguments, and return a store for these only.

    The first process chooses a new name, and work begins when all others have joined under it. So data that an earlier
    run has left in torchrun's store is not used.
    """
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # some builds lack them

    patience, end = timedelta(seconds=PARTNER_SECONDS), time.monotonic() + PARTNER_SECONDS
    asked = hashlib.sha256(repr(sys.argv[1:]).encode()).hexdigest()[:16]
    alone = "start all with torchrun; or, to work alone, unset TORCHELASTIC_RUN_ID"

    def pause() -> None:
        if time.monotonic() > end:
            raise TimeoutError(
                f"RANK={rank}: not all of WORLD_SIZE={size} processes came to {address}:{port} with the same arguments "
                f"within {PARTNER_SECONDS} s; {alone}"
            )
        time.sleep(POLL_SECONDS)

    try:
        store = TCPStore(address, port, is_master=hosts, timeout=patience, wait_for_workers=False)
        ours, meeting = PrefixStore(f"lpips_lite/{asked}", store), secrets.token_hex(8) if rank == 0 else ""
        if rank == 0:
            ours.set("meeting", meeting)
            while not ours.check([f"{meeting}/here/{other}" for other in range(1, size)]):
                pause()
            ours.set("meeting", "")
            ours.set(f"{meeting}/begun", "")
        else:
            while not (meeting and ours.check([f"{meeting}/begun"])):
                pause()
                if ours.check(["meeting"]):
                    meeting = ours.get("meeting").decode() or meeting
                    ours.set(f"{meeting}/here/{rank}", "")
    except RuntimeError as error:
        raise ConnectionError(f"MASTER_ADDR={address}, MASTER_PORT={port}: {first_line(error)}; {alone}") from error
    return PrefixStore(meeting, ours)
