"""The store: each vote is saved once and durably, people continue where they stopped, and other files are refused."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from threading import Thread

import pytest

from lpips_lite.votes.collect.export import read_store
from lpips_lite.votes.collect.store import AHEAD, NotShownError, Store, VotedError
from lpips_lite.votes.collect.study import Settings
from tests.command import ENVIRONMENT
from tests.conftest import ROOT
from tests.votes.collect.people import SCREEN, answer, items, open_store


def test_a_vote_counts_once_however_often_it_is_sent(tmp_path):
    with open_store(tmp_path) as store:
        rater, _ = store.join()
        key = store.ahead(rater).trials[0].key
        first = store.vote(rater, key, "p1", 900, SCREEN, "0123abcd")
        again = store.vote(rater, key, "p1", 5, {}, "")
        assert first == again
        assert first.done == 1
        with pytest.raises(VotedError, match="already has another answer"):
            store.vote(rater, key, "p0", 900, SCREEN, "0123abcd")
        (vote,) = store.votes()
        assert (vote.choice, vote.milliseconds, vote.screen, vote.page) == ("p1", 900, SCREEN, "0123abcd")


def test_votes_only_on_the_trial_that_is_shown_and_ones_own(tmp_path):
    with open_store(tmp_path) as store:
        (one, _), (other, _) = store.join(), store.join()
        first, second = store.ahead(one).trials[:2]
        with pytest.raises(NotShownError):
            store.vote(one, second.key, "p0", 900, SCREEN, "")
        with pytest.raises(KeyError):
            store.vote(other, first.key, "p0", 900, SCREEN, "")
        with pytest.raises(KeyError):
            store.shown(other, first.key)
        query = "SELECT key FROM trials WHERE rater = ? AND dealt IS NULL"
        not_dealt = store._base.execute(query, (one,)).fetchone()["key"]
        with pytest.raises(NotShownError):
            store.vote(one, not_dealt, "p0", 900, SCREEN, "")
        assert store.votes() == []


def test_people_go_on_where_they_stopped(tmp_path):
    with open_store(tmp_path) as store:
        rater, token = store.join()
        answer(store, rater, limit=7)
        before = store.ahead(rater)
    with open_store(tmp_path) as store:
        assert store.rater(token) == rater
        assert store.rater("forged") is None
        assert store.ahead(rater) == before
        answer(store, rater)
        assert store.ahead(rater).trials == []
        assert Counter(vote.position for vote in store.votes()).most_common(1)[0][1] == 1


def test_the_fewest_judged_come_first(tmp_path):
    with open_store(tmp_path, count=20, trials=5, repeats=0, catches=0, practice=0) as store:
        for _ in range(4):
            answer(store, store.join()[0])
        counts = Counter(vote.number for vote in store.votes())
        assert set(counts.values()) == {1}
        assert len(counts) == 20
        rater, _ = store.join()
        answer(store, rater, limit=1)  # and leaves: their assigned trials do not wait for them
        with sqlite3.connect(store.path) as base:
            base.execute("UPDATE trials SET dealt = dealt - 7200 WHERE choice IS NULL")
        for _ in range(3):
            answer(store, store.join()[0])
        assert set(Counter(vote.number for vote in store.votes()).values()) == {1, 2}


def test_what_was_asked_for_is_deleted(tmp_path):
    with open_store(tmp_path) as store:
        (one, token), (other, _) = store.join(), store.join()
        answer(store, one)
        answer(store, other, limit=5)
        assert store.forget(one)
        assert not store.forget(one)
        assert {vote.rater for vote in store.votes()} == {other}
        assert list(store.raters()) == [other]
        assert store.rater(token) is None
        assert one.encode() not in store.path.read_bytes()
        counted = dict(sqlite3.connect(store.path).execute("SELECT id, votes FROM items WHERE votes > 0"))
        assert counted == Counter(vote.number for vote in store.votes() if vote.kind == "judged")
        assert store.join()[0] not in (one, other)


def test_many_at_once_lose_and_double_nothing(tmp_path):
    with open_store(tmp_path, count=40, trials=20, repeats=4, catches=3, practice=1) as store:
        raters = [store.join()[0] for _ in range(8)]
        threads = [Thread(target=answer, args=(store, rater)) for rater in raters]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        votes = store.votes()
        assert len(votes) == len({(vote.rater, vote.position) for vote in votes}) == 8 * 28
        counts = Counter(vote.number for vote in votes if vote.kind == "judged")
        assert sum(counts.values()) == 160
        assert max(counts.values()) - min(counts.values()) <= AHEAD


WORKER = """
import sys
from pathlib import Path
from tests.votes.collect.people import SCREEN, open_store
store = open_store(Path(sys.argv[1]), count=400, trials=400, seed=1)
rater = next(iter(store.raters()), None) or store.join()[0]
ahead = store.ahead(rater)
while ahead.trials:
    key = ahead.trials[0].key
    ahead = store.vote(rater, key, "p0", 500, SCREEN, "")
    sys.stdout.write(key + "\\n")
    sys.stdout.flush()
"""


def test_a_kill_loses_no_vote_that_was_told_and_doubles_none(tmp_path):
    told = []
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], stdout=subprocess.PIPE, text=True,
                                   env=ENVIRONMENT, cwd=ROOT)  # fmt: skip
        told += [process.stdout.readline().strip() for _ in range(10)]
        time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        told += process.communicate()[0].split("\n")[:-1]  # an unfinished line was not confirmed
    with open_store(tmp_path, count=400, trials=400, seed=1) as store:
        kept = store._base.execute("SELECT key FROM trials WHERE choice IS NOT NULL ORDER BY position").fetchall()
        assert store._base.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    keys = [row["key"] for row in kept]
    assert len(told) >= 30
    assert [key for key in keys if key in set(told)] == told  # each once, in order
    assert len(keys) <= len(told) + 3  # at most the vote that was being confirmed at each kill


def test_one_server_for_a_store(tmp_path):
    with open_store(tmp_path), pytest.raises(OSError, match=r"votes\.db: another server is collecting"):
        open_store(tmp_path)
    open_store(tmp_path).close()


def test_a_full_disk_is_told_and_the_vote_is_not_there(tmp_path):
    with open_store(tmp_path, count=200, trials=200) as store:
        rater, _ = store.join()
        pages = store._base.execute("PRAGMA page_count").fetchone()[0]
        store._base.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OSError, match=r"votes\.db: database or disk is full"):
            answer(store, rater)
        done = store.ahead(rater).done
        store._base.execute("PRAGMA max_page_count = 100000")
        assert len(store.votes()) == done
        assert answer(store, rater, limit=1) == 1
        assert store._base.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_store_that_may_not_be_written(tmp_path):
    with open_store(tmp_path) as store:
        rater, _ = store.join()
        store._base.execute("PRAGMA query_only = ON")
        with pytest.raises(OSError, match=r"votes\.db: attempt to write a readonly database"):
            answer(store, rater)
    with pytest.raises(FileNotFoundError, match=r"store .*votes\.db: no such folder"):
        open_store(tmp_path / "missing")
    with pytest.raises(IsADirectoryError, match="expected a file"):
        open_store(tmp_path, name=".")


def test_files_that_are_no_store(tmp_path):
    (tmp_path / "votes.db").write_text("ref,p0,p1\n" * 100)
    with pytest.raises(ValueError, match=r"votes\.db: is not a store of votes"):
        open_store(tmp_path)
    assert (tmp_path / "votes.db").read_text() == "ref,p0,p1\n" * 100
    with sqlite3.connect(tmp_path / "other.db") as base:
        base.execute("CREATE TABLE mine (a)")
    for read in (lambda: open_store(tmp_path, name="other.db"), lambda: read_store(tmp_path / "other.db")):
        with pytest.raises(ValueError, match="another database"):
            read()
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_store(tmp_path / "nothing.db")
    assert not (tmp_path / "nothing.db").exists()


def test_a_store_of_another_study(tmp_path):
    open_store(tmp_path).close()
    with pytest.raises(ValueError, match="holds votes on 12 items, which differ from these 13 items"):
        open_store(tmp_path, count=13)
    with pytest.raises(ValueError, match="its mode is closer, not same"):
        open_store(tmp_path, mode="same")
    path = tmp_path / "r0.png"
    for digest, changed in (("1", False), ("2", True)):
        store = tmp_path / f"digests{changed}.db"
        Store(store, items(tmp_path), Settings(), {path: "1"}).close()
        if changed:
            with pytest.raises(ValueError, match=r"r0\.png: has changed since votes on it were collected"):
                Store(store, items(tmp_path), Settings(), {path: digest})
        else:
            Store(store, items(tmp_path), Settings(), {path: digest}).close()


def test_it_is_read_while_a_server_writes_and_after_a_kill(tmp_path):
    with open_store(tmp_path) as store:
        answer(store, store.join()[0], limit=6)
        assert len(read_store(store.path).votes) == 6
    assert len(read_store(tmp_path / "votes.db").votes) == 6
