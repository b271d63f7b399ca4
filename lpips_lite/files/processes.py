"""Work shared out among the processes that `torchrun` starts, and its results brought together in the first of them.

Work is shared when torchrun's own variables are there, all of them. `WORLD_SIZE` alone, which clusters and training
scripts leave to every child process, changes nothing. Processes talk through torchrun's store, under keys of their own;
every wait is a loop of short steps, which interrupts and the failures of others end.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import secrets
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import torch

from lpips_lite.files.names import first_line

T = TypeVar("T")

PARTNER_SECONDS = 60  # to wait for the others at the start
POLL_SECONDS = 0.02
PIECE_BYTES = 2**22  # of a value in the store, which takes 8 MiB at most
END, INTERRUPTED = b"", b"interrupted"  # last parts of a stream; a result is a pickle
NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")


@dataclass(frozen=True)
class Processes:
    """This process's place among those that share the work, which all call `share` and `gather` in the same order.

    Attributes:
        index: Of this process.
        count: Of all.
        local: Index among those on this machine.
        note: What to say of a variable that was ignored.
    """

    index: int = 0
    count: int = 1
    local: int = 0
    note: str | None = None
    _store: Any = None  # a torch.distributed.Store where there are others
    _calls: Iterator[int] = field(default_factory=count)

    @property
    def first(self) -> bool:
        """Whether this is the process that has the results."""
        return self.index == 0

    @classmethod
    @contextmanager
    def join(cls, environment: Mapping[str, str] = os.environ) -> Iterator[Processes]:
        """Join the other processes if torchrun started this one, and leave when all of them do.

        Raises:
            ValueError: If torchrun's variables are not complete, or do not agree.
            TimeoutError: If another process does not come within a minute.
            ConnectionError: If torchrun's store is out of reach; in the block, if an exception has left another's.
            KeyboardInterrupt: In the block, if another process was interrupted.
        """
        if "TORCHELASTIC_RUN_ID" not in environment:
            yield cls(note=_ignored(environment))
            return
        rank, size, local, port = _numbers(environment)
        if size == 1:
            yield cls()
            return
        processes = cls(rank, size, local, _store=_meet(environment["MASTER_ADDR"], port, rank, size, environment))
        try:
            yield processes
        except BaseException as error:
            processes._fail(error)
            raise
        finally:
            processes._leave()

    def device(self, name: str) -> str:
        """Return this process's own device: "cuda" is another one for each on a machine."""
        if self.count == 1 or name != "cuda":
            return name
        return f"cuda:{self.local % max(1, torch.cuda.device_count())}"

    def own(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items that this process works on: every `count`-th from the `index`-th on."""
        return items[self.index :: self.count]

    def share(self, value: T) -> T:
        """Return the first process's value in all of them."""
        if self._store is None:
            return value
        topic = f"share/{next(self._calls)}"
        if not self.first:
            shared: T = pickle.loads(b"".join(self._stream(f"{topic}/{self.index}")))
            return shared
        data = pickle.dumps(value)
        pieces = [data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]
        for rank in range(1, self.count):
            for number, piece in enumerate([*pieces, END]):
                self._store.set(f"{topic}/{rank}/{number}", piece)
        return value

    def gather(self, results: Generator[T, None, None]) -> Generator[T, None, None]:
        """Return all processes' results of their `own` items, in the items' order; in the first process, else nothing.

        When the first process closes what is returned, the others stop after the result that they are at. One that is
        interrupted stops, too, and interrupts the first.
        """
        if self._store is None:
            return results
        topic = f"gather/{next(self._calls)}"
        return self._receive(topic, results) if self.first else self._send(topic, results)

    def _receive(self, topic: str, results: Generator[T, None, None]) -> Generator[T, None, None]:
        others = (map(pickle.loads, self._stream(f"{topic}/{rank}")) for rank in range(1, self.count))
        streams, ended = [results, *others], object()
        try:
            while streams:
                for stream in tuple(streams):
                    result = next(stream, ended)
                    if result is ended:
                        streams.remove(stream)
                    else:
                        yield result
        finally:
            self._store.set(f"{topic}/closed", "")
            results.close()

    def _send(self, topic: str, results: Generator[T, None, None]) -> Generator[T, None, None]:
        number, last = 0, END
        with closing(results):
            try:
                for result in results:
                    self._raise_failure()
                    if self._store.check([f"{topic}/closed"]):
                        return
                    self._store.set(f"{topic}/{self.index}/{number}", pickle.dumps(result))
                    number += 1
            except KeyboardInterrupt:
                last = INTERRUPTED
            self._store.set(f"{topic}/{self.index}/{number}", last)
        yield from ()

    def _stream(self, topic: str) -> Iterator[bytes]:
        """Yield what another process puts there until it puts an end."""
        for number in count():
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
        """Tell the others that this process has failed, unless one has told so before."""
        reason = (
            "" if isinstance(error, KeyboardInterrupt) else f"process {self.index}: {error or type(error).__name__}"
        )
        with suppress(RuntimeError):  # without a store there are no others
            if not self._store.check(["failed"]):
                self._store.set("failed", reason)

    def _raise_failure(self, awaited: str | None = None) -> None:
        """Raise what another process has failed with, unless what is waited for came first."""
        if self._store.check(["failed"]) and not (awaited and self._store.check([awaited])):
            reason = self._store.get("failed").decode()
            raise ConnectionAbortedError(reason) if reason else KeyboardInterrupt

    def _leave(self) -> None:
        """Wait until all are ready: torchrun terminates the others when one has left with another status than 0."""
        terminated = threading.Event()
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGTERM, lambda *_: terminated.set())
        with suppress(RuntimeError):  # without a store there are no others
            self._store.set(f"ready/{self.index}", "")
            while not self._store.check([f"ready/{rank}" for rank in range(self.count)]):
                if terminated.wait(POLL_SECONDS):
                    return


def _ignored(environment: Mapping[str, str]) -> str | None:
    size = environment.get("WORLD_SIZE", "")
    if size in ("", "1"):
        return None
    return f"WORLD_SIZE={size} is ignored, as torchrun did not start this process; torchrun shares the work out"


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


def _meet(address: str, port: int, rank: int, size: int, environment: Mapping[str, str]) -> Any:
    """Meet the processes that were started with the same arguments; return a store for them alone.

    The first one names a meeting, the others come to it, and it begins when all are there. So nothing that an earlier
    run has left in torchrun's store is taken for a part of it.
    """
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # some builds lack them

    end, alone = (
        time.monotonic() + PARTNER_SECONDS,
        "start all with torchrun, or unset TORCHELASTIC_RUN_ID to work alone",
    )

    def wait() -> None:
        if time.monotonic() > end:
            raise TimeoutError(
                f"RANK={rank}: not all of WORLD_SIZE={size} processes came to {address}:{port} with the same arguments "
                f"within {PARTNER_SECONDS} s; {alone}"
            )
        time.sleep(POLL_SECONDS)

    hosts = rank == 0 and environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    asked = hashlib.sha256(repr(sys.argv[1:]).encode()).hexdigest()[:16]
    try:
        store = TCPStore(address, port, None, hosts, timedelta(seconds=PARTNER_SECONDS), wait_for_workers=False)
        store = PrefixStore(f"lpips_lite/{asked}", store)
        if rank == 0:
            meeting = secrets.token_hex(8)
            store.set("meeting", meeting)
            while not store.check([f"{meeting}/here/{other}" for other in range(1, size)]):
                wait()
            store.set("meeting", "")
            store.set(f"{meeting}/begun", "")
        else:
            meeting = ""
            while not (meeting and store.check([f"{meeting}/begun"])):
                wait()
                if store.check(["meeting"]):
                    meeting = store.get("meeting").decode() or meeting
                    store.set(f"{meeting}/here/{rank}", "")
    except RuntimeError as error:
        raise ConnectionError(f"MASTER_ADDR={address}, MASTER_PORT={port}: {first_line(error)}; {alone}") from error
    return PrefixStore(meeting, store)
