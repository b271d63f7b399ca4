"""Work divided among processes: in threads that communicate through a real store, and under torchrun itself."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch.distributed import TCPStore

from lpips_lite.files import processes as module
from lpips_lite.files.processes import Processes
from tests.command import ENVIRONMENT, noise, run
from tests.conftest import free_port

SECONDS = 60  # after which a test has failed


def environment_of(rank, count, port):
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    return {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "127.0.0.1", **{key: str(n) for key, n in numbers.items()}}


@pytest.fixture(scope="module")
def store():
    """The store that torchrun would have; tests of this file leave data in it, like several runs in one training."""
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


@pytest.fixture
def together(store):
    """Return a function that runs work in several ranks at once and returns the result or exception of each."""

    def do(work, count=2, ranks=None):
        outcomes = {}

        def be(rank):
            environment = environment_of(rank, count, store.port) | {"TORCHELASTIC_USE_AGENT_STORE": "True"}
            try:
                with Processes.join(environment) as processes:
                    outcomes[rank] = work(processes)
            except BaseException as error:
                outcomes[rank] = error

        ranks = range(count) if ranks is None else ranks
        threads = [threading.Thread(target=be, args=(rank,), name=str(rank), daemon=True) for rank in ranks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert sorted(outcomes) == sorted(ranks), "some hang"
        return [outcomes[rank] for rank in ranks]

    return do


def squares(processes, count, broken=None, error=None):
    """Yield the squares of this process's numbers, until a broken one."""
    for number in processes.own(range(count)):
        if number == broken:
            raise error
        yield number**2


# -- who shares ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "noted"), [(None, False), ("", False), ("1", False), ("2", True), ("x", True)])
def test_without_torchrun_a_process_works_alone_whatever_it_inherited(size, noted):
    inherited = {key: text for key, text in environment_of(1, 2, 29500).items() if key != "TORCHELASTIC_RUN_ID"}
    environment = {**inherited, "WORLD_SIZE": size} if size is not None else {}
    with Processes.join(environment) as processes:
        assert (processes.index, processes.count, processes.device("cuda")) == (0, 1, "cuda")
        assert (f"WORLD_SIZE={size} is ignored" in (processes.note or "")) == noted
        assert list(processes.gather(squares(processes, 4))) == [0, 1, 4, 9]
        assert processes.share("x") == "x"


@pytest.mark.parametrize("rank", [0, 1])
def test_a_world_of_one_is_alone(rank):
    with Processes.join(environment_of(rank, 1, 29500)) as processes:
        assert (processes.count, processes.note) == (1, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("RANK", text) for text in (None, "", "x", "2", "-1")),
        *(("WORLD_SIZE", text) for text in (None, "two", "0")),
        *(("LOCAL_RANK", text) for text in (None, "2", "-1")),
        *(("MASTER_PORT", text) for text in (None, "0", "70000")),
        *(("MASTER_ADDR", text) for text in (None, "")),
    ],
)
def test_variables_that_torchrun_would_not_set_are_an_error(name, value):
    environment = environment_of(1, 2, 29500) | {name: value}
    environment = {key: text for key, text in environment.items() if text is not None}
    with (
        pytest.raises(ValueError, match=rf"{name}={value or ''}(,|:).*unset TORCHELASTIC_RUN_ID"),
        Processes.join(environment),
    ):
        pass


@pytest.mark.parametrize("rank", [0, 1])
def test_a_missing_partner_is_an_error_that_names_the_variable(together, monkeypatch, rank):
    monkeypatch.setattr(module, "PARTNER_SECONDS", 1)
    (error,) = together(lambda processes: None, ranks=[rank])
    assert isinstance(error, TimeoutError)
    assert re.search(rf"RANK={rank}: .*WORLD_SIZE=2.* within 1 s; .*unset TORCHELASTIC_RUN_ID", str(error))
    monkeypatch.undo()
    assert together(lambda processes: processes.share(processes.index)) == [0, 0]  # those that come later meet


def test_no_store_is_an_error_that_names_the_variable(monkeypatch):
    monkeypatch.setattr(module, "PARTNER_SECONDS", 1)
    with (
        pytest.raises(ConnectionError, match="MASTER_PORT=.*unset TORCHELASTIC_RUN_ID"),
        Processes.join(environment_of(1, 2, free_port())),
    ):
        pass


def test_processes_with_other_arguments_do_not_meet(together, monkeypatch):
    monkeypatch.setattr(module, "PARTNER_SECONDS", 1)
    monkeypatch.setattr(module, "repr", lambda _: threading.current_thread().name, raising=False)  # as its arguments
    assert [type(error) for error in together(lambda processes: None)] == [TimeoutError, TimeoutError]


def test_each_process_has_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    ranks = [Processes(rank, 3, rank) for rank in range(3)]
    assert [rank.device("cuda") for rank in ranks] == ["cuda:0", "cuda:1", "cuda:0"]
    assert {rank.device(name) for rank in ranks for name in ("cpu", "cuda:1")} == {"cpu", "cuda:1"}


# -- what they share -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("items", [0, 1, 7])
def test_results_come_in_the_order_of_the_items_in_the_first_process(together, count, items):
    first, *others = together(lambda processes: list(processes.gather(squares(processes, items))), count)
    assert first == [number**2 for number in range(items)]
    assert others == [[]] * (count - 1)


def test_the_first_value_is_shared_however_large(together):
    big = os.urandom(9 * 2**20)  # more than the store takes at once
    assert together(lambda processes: processes.share(big if processes.first else None)) == [big, big]


def test_without_a_store_of_torchrun_the_first_has_one_until_all_leave():
    port, found, ready, left = free_port(), {}, {}, {}

    def be(rank):
        with Processes.join(environment_of(rank, 2, port)) as processes:
            found[rank] = processes.share(rank)
            time.sleep(0.2 * rank)
            ready[rank] = time.monotonic()
        left[rank] = time.monotonic()

    threads = [threading.Thread(target=be, args=(rank,), daemon=True) for rank in (1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert found == {0: 0, 1: 0}
    assert min(left.values()) > max(ready.values())


def test_the_end_of_torchrun_ends_all(together):
    def work(processes):
        processes._store = SimpleNamespace(check=broken, set=broken)
        return processes.share(1)

    def broken(*_):
        raise torch.distributed.DistNetworkError("Broken pipe")

    assert [str(error) for error in together(work)] == [
        "torchrun has ended, and with it the store of its processes"
    ] * 2


def test_little_is_left_in_the_store(together, store):
    before = store.num_keys()
    together(lambda processes: (processes.share([1] * 1000), list(processes.gather(squares(processes, 50)))))
    assert store.num_keys() < before + 10


# -- how they end --------------------------------------------------------------------------------------------------


def test_when_the_first_stops_the_others_stop_and_all_agree(together):
    measured = []

    def work(processes):
        def endless():
            for number in processes.own(range(10**9)):
                measured.append(number)
                yield number
                time.sleep(0.001)

        with closing(processes.gather(endless())) as results:
            for result in results:
                if result == 5:
                    break
        return processes.share("stopped" if processes.first else "finished")

    assert together(work, 3) == ["stopped"] * 3
    assert len(measured) < 1000


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("broken", [6, 7])  # in the share of the first, or of the second
def test_an_exception_in_one_ends_all(together, count, broken):
    passed = []

    def work(processes):
        for result in processes.gather(squares(processes, 100, broken, ValueError(f"no {broken}\nat all"))):
            passed.append(result)
        return processes.share("fine")

    outcomes = together(work, count)
    culprit = broken % count
    assert isinstance(outcomes[culprit], ValueError)
    for rank in set(range(count)) - {culprit}:
        assert isinstance(outcomes[rank], ConnectionError)
        assert str(outcomes[rank]) == f"process {culprit} stopped: no {broken}"
    assert passed == [number**2 for number in range(len(passed))]
    assert count == 3 or len(passed) == broken  # nothing before it is lost, except what a third had not finished


@pytest.mark.parametrize("rank", [0, 1])
def test_an_exception_elsewhere_ends_those_at_work(together, rank):
    def work(processes):
        if processes.index == rank:
            raise MemoryError
        return list(processes.gather(squares(processes, 10**9)))

    outcomes = together(work)
    assert isinstance(outcomes[rank], MemoryError)
    assert str(outcomes[1 - rank]) == f"process {rank} stopped: MemoryError"


@pytest.mark.parametrize("interrupted", [(0,), (1,), (0, 1)])
def test_an_interrupt_of_any_interrupts_the_first_and_all_agree(together, interrupted):
    def work(processes):
        status, ends = 0, processes.index in interrupted
        number = 6 + processes.index if ends else None
        try:
            for _ in processes.gather(squares(processes, 10**9, number, KeyboardInterrupt())):
                pass
        except KeyboardInterrupt:
            status = 130
        return processes.share(status)

    assert together(work) == [130, 130]


def test_an_interrupt_before_the_work_interrupts_all(together):
    def work(processes):
        if processes.index == 1:
            raise KeyboardInterrupt
        return list(processes.gather(squares(processes, 10**9)))

    assert [type(outcome) for outcome in together(work)] == [KeyboardInterrupt, KeyboardInterrupt]


# -- under torchrun ------------------------------------------------------------------------------------------------

COMMAND = """
import os, sys
from pathlib import Path
from lpips_lite.__main__ import main
try:
    main()
except SystemExit as leaving:
    Path(f"status{os.environ['RANK']}").write_text(str(leaving.code))
    raise
"""
CHILD = """
import lpips_lite.files.processes as processes
processes.PARTNER_SECONDS = 1
from lpips_lite.__main__ import main
main()
"""


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders of eight images; b/5.png, which the second process reads, is broken."""
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        noise(tmp_path / f"a/{number}.png", seed=number)
        noise(tmp_path / f"b/{number}.png", seed=number + 1)
    (tmp_path / "b/5.png").write_bytes(b"no image")
    return tmp_path


def torchrun(program, *arguments):
    """Start a program in two processes."""
    Path("program.py").write_text(program)
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    return subprocess.Popen([*start, "program.py", *arguments], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def test_strict_under_torchrun_stops_all_with_the_same_status(folders):
    run("a", "b", "--metric", "psnr", "--strict", "--output", "one.csv")
    process = torchrun(COMMAND, "a", "b", "--metric", "psnr", "--strict", "--output", "two.csv")
    _, err = process.communicate(timeout=SECONDS)
    pd.testing.assert_frame_equal(pd.read_csv("two.csv"), pd.read_csv("one.csv"))
    assert len(pd.read_csv("two.csv")) == 6
    assert err.count("error: b/5.png") == 1
    assert re.findall(r"(?m)^ *exitcode *: (-?\d+)", err) == ["2", "2"], err


@pytest.mark.slow
def test_a_table_of_a_run_that_torchrun_resumed_is_that_of_one_process(folders):
    table = ["--image-pattern", "{folder}/{n}.png", "--ref-pattern", "a/{n}.png", "-m", "psnr", "--by", "folder"]
    run(*table, "--output", "rows.csv", "--table", "one.json")
    lines = Path("rows.csv").read_text().splitlines(keepends=True)
    Path("rows.csv").write_text("".join(lines[:4]))
    process = torchrun(COMMAND, *table, "--output", "rows.csv", "--resume", "--table", "two.json")
    _, err = process.communicate(timeout=SECONDS)
    assert err.count("error: b/5.png") == 1
    assert Path("rows.csv").read_text() == "".join(lines)
    assert Path("two.json").read_text() == Path("one.json").read_text()


def test_an_interrupt_of_torchrun_keeps_what_was_measured(folders):
    pd.DataFrame({"reference": ["a/0.png"] * 5000, "image": ["b/0.png"] * 5000}).to_csv("list.csv", index=False)
    process = torchrun(COMMAND, "--pairs", "list.csv", "--metric", "fsim", "--output", "rows.jsonl")
    end, output = time.monotonic() + SECONDS, folders / "rows.jsonl"
    while not (output.exists() and output.stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)  # torchrun would kill after 30
    rows = len(output.read_text().splitlines())
    assert f"interrupted: {rows} of 5000 pairs done" in err
    assert 0 < rows < 5000
    assert [(folders / f"status{rank}").read_text() for rank in (0, 1)] == ["130", "130"]


def test_a_child_of_a_training_neither_hangs_nor_disturbs_it(folders, store):
    inherited = environment_of(0, 2, store.port) | {"TORCHELASTIC_USE_AGENT_STORE": "True"}
    store.set("default_pg/0//cpu//0", "of the training")
    before = store.num_keys()
    command = [sys.executable, "-c", CHILD, "a", "b", "--metric", "psnr"]
    child = subprocess.run(command, env=ENVIRONMENT | inherited, capture_output=True, text=True, timeout=SECONDS)
    assert child.returncode == 2
    assert re.fullmatch("error: RANK=0: .*; or, to work alone, unset TORCHELASTIC_RUN_ID\n", child.stderr), child.stderr
    assert store.get("default_pg/0//cpu//0") == b"of the training"
    assert store.num_keys() <= before + 1
