"""Fifty people at the same time and ten thousand votes, over the network, with the real command."""

import asyncio
import sqlite3
import sys
import time
from contextlib import closing

import numpy as np
import pytest

from lpips_lite.votes.collect.export import read_store
from lpips_lite.votes.collect.pages import page_version
from tests.votes.collect.people import SCREEN
from tests.votes.collect.served import served

httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
PEOPLE, TRIALS = 50, 200


@pytest.mark.slow
def test_fifty_people_and_ten_thousand_votes(tmp_path, capsys):
    """No vote is lost or counted twice; the time of each is printed."""
    told, times, again = [], [], []

    async def person(number):
        async with httpx.AsyncClient(base_url=running.vote, timeout=120) as client:
            state = (await client.post("api/join", json={"consent": True})).json()
            facts = {"milliseconds": 700, "screen": SCREEN, "page": page_version()}
            while state["state"] == "vote":
                choice = ("left", "right")[(number + state["done"]) % 2]
                vote = {"trial": state["trials"][0]["key"], "choice": choice, **facts}
                before = time.perf_counter()
                try:
                    answer = await client.post("api/vote", json=vote)
                except httpx.TransportError:
                    again.append(vote)  # the connection was idle too long and is closed: try again, as the page does
                    continue
                if answer.status_code in (408, 429):
                    again.append(vote)
                    continue
                times.append(time.perf_counter() - before)
                answer.raise_for_status()
                told.append((state["rater"], state["done"], choice))
                state = answer.json()

    async def everybody():
        await asyncio.gather(*map(person, range(PEOPLE)))

    rest = ("--repeats", 0, "--catches", 0, "--practice", 0, "--trials", TRIALS)
    with served(tmp_path, *rest, references=70, size=(16, 16)) as running:
        asyncio.run(everybody())
        status, said = running.stop()
        assert (status, said.strip()) == (130, "interrupted")
    kept = read_store(running.store).votes
    assert len(kept) == len(told) == PEOPLE * TRIALS
    shown = {(vote.rater, vote.position, ("left", "right")[(vote.choice == "p1") != vote.flipped]) for vote in kept}
    assert shown == {*told}
    with closing(sqlite3.connect(running.store)) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    half, most = np.percentile(times, (50, 99))
    line = f"{len(times)} votes of {PEOPLE} people, {len(again)} sent again: median {1000 * half:.0f} ms"
    line += f", 99th percentile {1000 * most:.0f} ms"
    with capsys.disabled():
        sys.stdout.write(f"\n{line}\n")
