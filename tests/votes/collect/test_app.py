"""The server: what people get, what they cannot get, and what hostile visitors get."""

import asyncio
import io
import time
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from lpips_lite.files.reading import read_image
from lpips_lite.votes.collect.catches import catch_items
from lpips_lite.votes.collect.export import read_store
from lpips_lite.votes.collect.proposing import propose
from lpips_lite.votes.collect.store import Store
from lpips_lite.votes.collect.study import Settings
from tests.votes.collect.people import SCREEN, write_folders

httpx = pytest.importorskip("httpx")
pytest.importorskip("starlette")

from lpips_lite.votes.collect.app import Server  # noqa: E402 - needs starlette
from lpips_lite.votes.collect.guard import Limits, Rates  # noqa: E402
from lpips_lite.votes.collect.pages import page_version  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:starlette")
BASE = "http://127.0.0.1"


class Study:
    """A study on a few images, its server, and people without a browser."""

    def __init__(self, folder, *, references=4, secret="", hosts=frozenset({"127.0.0.1"}), limits=None, **settings):
        references, results = write_folders(folder, references)
        self.settings = Settings(**{"trials": 6, "repeats": 1, "catches": 2, "practice": 1, **settings})
        judged, _ = propose(references, results, mode=self.settings.mode)
        items = judged + catch_items(judged, self.settings.mode)
        self.told, self.store = [], Store(folder / "votes.db", items, self.settings)
        self.server = Server(
            self.store, secret=secret, watch="watching", hosts=hosts, limits=limits, tell=self.told.append,
            instructions="# Look\n\n<script>alert(1)</script> *closely*",
        )  # fmt: skip

    def client(self, base=BASE, **settings):
        transport = httpx.ASGITransport(self.server.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=base, **settings)


@contextmanager
def study(folder, **settings):
    opened = Study(folder, **settings)
    with opened.store:
        yield opened


def ballot(state, choice="left", **changes):
    trial = {"trial": state["trials"][0]["key"]} if state["trials"] else {}
    return {**trial, "choice": choice, "milliseconds": 700, "screen": SCREEN, "page": page_version(), **changes}


async def join(client):
    return (await client.post("/api/join", json={"consent": True})).json()


def test_a_person_from_welcome_to_thanks(tmp_path):
    async def walk(client):
        page = await client.get("/")
        assert "&lt;script&gt;alert(1)&lt;/script&gt; <em>closely</em>" in page.text
        assert "I agree, begin" in page.text
        assert (await client.get("/api/state")).json() == {"state": "welcome"}
        state = await join(client)
        assert (state["state"], state["done"], state["total"]) == ("vote", 0, 10)
        assert state["trials"][0].keys() == {"key", "practice"}
        practice = []
        while state["state"] == "vote":
            for trial in state["trials"]:
                for place in ("ref", "left", "right"):
                    assert (await client.get(f"/image/{trial['key']}/{place}")).headers["content-type"] == "image/png"
            state = (await client.post("/api/vote", json=ballot(state))).json()
            practice.append(state.get("practice"))
        assert [answer is None for answer in practice] == [False] + [True] * 9
        assert (await client.get("/api/state")).json()["state"] == "thanks"

    with study(tmp_path) as opened:

        async def run():
            async with opened.client() as client:
                await walk(client)

        asyncio.run(run())
        votes = opened.store.votes()
    assert Counter(vote.kind for vote in votes) == {"practice": 1, "judged": 6, "repeat": 1, "catch": 2}
    for vote in votes:
        assert vote.choice == ("p1" if vote.flipped else "p0")  # the left one, always
        assert vote.page == page_version()
    assert not opened.told


def run_with(opened, work):
    async def run():
        async with opened.client() as client:
            await work(client)

    asyncio.run(run())


def test_images_are_the_pixels_of_the_files_and_tell_nothing_else(tmp_path):
    async def work(client):
        state = await join(client)
        for _ in range(9):
            trial = opened.store.ahead(state["rater"]).trials[0]
            item = opened.store.items[trial.number]
            files = [item.p1, item.p0] if trial.flipped else [item.p0, item.p1]
            for place, path in zip(("ref", "left", "right"), [item.ref, *files], strict=True):
                answer = await client.get(f"/image/{trial.key}/{place}")
                with Image.open(io.BytesIO(answer.content)) as shown:
                    assert (shown.info, shown.mode) == ({}, "RGB")
                    same = np.array_equal(np.asarray(shown), (read_image(path) * 255).byte().permute(1, 2, 0).numpy())
                distorted = item.kind == "catch" and place == ("left" if trial.flipped else "right")
                assert same != distorted
                words = f"{answer.headers} {trial.key} {answer.url}"
                assert not any(word in words for word in ("weak", "strong", "middle", "original", path.name))
            state = (await client.post("/api/vote", json=ballot(state))).json()

    with study(tmp_path) as opened:
        run_with(opened, work)


def test_same_or_different(tmp_path):
    async def work(client):
        state = await join(client)
        trial = opened.store.ahead(state["rater"]).trials[0]
        assert (await client.get(f"/image/{trial.key}/ref")).status_code == 404
        right = opened.store.items[trial.number].right
        answer = (await client.post("/api/vote", json=ballot(state, right))).json()
        assert answer["practice"] is True
        assert (await client.post("/api/vote", json=ballot(answer, "left"))).status_code == 400
        while answer["state"] == "vote":
            answer = (await client.post("/api/vote", json=ballot(answer, "different"))).json()

    with study(tmp_path, mode="same") as opened:
        run_with(opened, work)
        judged = [vote for vote in opened.store.votes() if vote.kind == "judged"]
        assert {vote.choice for vote in judged} == {"different"}


def test_votes_that_are_none(tmp_path):
    async def work(client):
        assert (await client.post("/api/vote", json={})).status_code == 403
        state = await join(client)
        for changes, status, words in (
            ({"trial": "forged"}, 404, "not one of yours"),
            ({"trial": 7}, 400, "trial"),
            ({"trial": state["trials"][1]["key"]}, 409, "not the one that is shown"),
            ({"choice": "tie"}, 400, "expected one of left, right"),
            ({"choice": "p0"}, 400, "choice"),
            ({"choice": ["left"]}, 400, "choice"),
            ({"milliseconds": -1}, 400, "milliseconds"),
            ({"milliseconds": True}, 400, "milliseconds"),
            ({"screen": {**SCREEN, "name": 1}}, 400, "screen"),
            ({"screen": {**SCREEN, "width": "<b>"}}, 400, "screen"),
            ({"screen": None}, 400, "screen"),
            ({"page": "x" * 8}, 400, "page"),
        ):
            answer = await client.post("/api/vote", json=ballot(state, **changes))
            assert answer.status_code == status, changes
            assert words in answer.json()["error"]
        for content in (b"", b"[1]", b"{", b'{"milliseconds": NaN}', b"\xff\xfe", b"[" * 3000):
            answer = await client.post("/api/vote", content=content, headers={"content-type": "application/json"})
            assert answer.status_code == 400
        answer = await client.post("/api/vote", data={"trial": "x"})
        assert answer.status_code == 415  # as a form of another site would send it
        assert opened.store.votes() == []
        good = ballot(state)
        first, again = [await client.post("/api/vote", json=good) for _ in range(2)]
        assert first.json() == again.json()  # a replay
        changed = await client.post("/api/vote", json={**good, "choice": "right"})
        assert changed.status_code == 409
        assert len(opened.store.votes()) == 1

    with study(tmp_path, limits=Limits(votes=100)) as opened:  # more than are sent, however fast
        run_with(opened, work)


def test_what_belongs_to_others_or_is_not_listed_is_not_served(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"no")

    async def work(client):
        state = await join(client)
        key = state["trials"][0]["key"]
        async with opened.client() as stranger:
            assert (await stranger.get(f"/image/{key}/ref")).status_code == 403
            await join(stranger)
            assert (await stranger.get(f"/image/{key}/ref")).status_code == 404
            assert (await stranger.post("/api/vote", json=ballot(state))).status_code == 404
            stranger.cookies.clear()
            stranger.cookies.set(opened.server.cookie, "forged")
            assert (await stranger.post("/api/vote", json=ballot(state))).status_code == 403
        for path in (
            *("/../secret.png", "/%2e%2e/secret.png", "/..%2fsecret.png", f"/image/{key}/..%2f..%2fsecret.png"),
            *(f"/image/{key}/p0", f"/image/{key}/", f"/image/{tmp_path}/ref", "/image/1/ref", "/votes.db", "/app.py"),
            *(
                "/page.html.j2",
                "/static/page.js",
                "/watch-",
                "/watch-other/",
                "/watch.html.j2",
                "//etc/passwd",
                "/etc/passwd",
            ),
        ):
            assert (await client.get(path)).status_code == 404, path
        assert (await client.get("/page.css")).status_code == 200
        assert (await client.get("/api/vote")).status_code == 405

    with study(tmp_path) as opened:
        run_with(opened, work)


def test_a_secret_address_and_other_hosts(tmp_path):
    async def work(client):
        for path in ("/", "/api/state", "/page.js", "/wrong/", "/secre/"):
            assert (await client.get(path)).status_code == 404
        assert (await client.get("/secret/")).status_code == 200
        answer = await client.post("/secret/api/join", json={"consent": True})
        cookie = answer.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/secret/"))
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy
        async with opened.client("http://evil.example") as other:
            assert (await other.get("/secret/")).status_code == 421
        assert (await client.post("/secret/api/join", json={"consent": "yes"})).status_code == 400

    with study(tmp_path, secret="secret") as opened:
        run_with(opened, work)


def test_large_slow_and_many_requests(tmp_path):
    async def slowly():
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    async def endlessly():
        for _ in range(10_000):
            yield b" " * 1024

    async def work(client):
        state = await join(client)
        kind = {"content-type": "application/json"}
        answer = await client.post("/api/vote", content=b"x" * 10_000_000, headers=kind)
        assert (answer.status_code, "4096 bytes" in answer.text) == (413, True)
        assert (await client.post("/api/vote", content=endlessly(), headers=kind)).status_code == 413
        assert (await client.post("/api/vote", content=slowly(), headers=kind)).status_code == 408
        statuses = Counter([(await client.post("/api/vote", json={})).status_code for _ in range(20)])
        assert statuses[429] > 5
        statuses = Counter([(await client.post("/api/join", json={"consent": True})).status_code for _ in range(20)])
        assert statuses == {200: 9, 429: 11}
        place = f"/image/{state['trials'][0]['key']}/left"
        statuses = Counter([(await client.get(place)).status_code for _ in range(20)])
        assert statuses[429] > 5
        await asyncio.sleep(0.3)
        assert (await client.post("/api/vote", json=ballot(state, trial="x"))).status_code in (404, 429)
        assert len(opened.store.raters()) == 10

    with study(tmp_path, limits=Limits(seconds=0.05, joins=10, join_seconds=3600, votes=8, images=2)) as opened:
        run_with(opened, work)


def test_allowances_fill_again_and_take_no_memory():
    rates = Rates(most=100)
    for who in range(1000):
        rates.check("join", str(who), 2, 1)
    assert len(rates._left) == 100
    rates.check("vote", "a", 1, 1000)
    time.sleep(0.01)
    rates.check("vote", "a", 1, 1000)


def test_a_disk_that_is_full_is_told_and_nothing_is_lost(tmp_path):
    async def work(client):
        state = await join(client)
        opened.store._base.execute("PRAGMA query_only = ON")
        answer = await client.post("/api/vote", json=ballot(state))
        assert answer.status_code == 503
        assert str(tmp_path) not in answer.text
        (line,) = opened.told
        assert "votes.db: attempt to write a readonly database" in line
        opened.store._base.execute("PRAGMA query_only = OFF")
        assert (await client.post("/api/vote", json=ballot(state))).json()["done"] == 1
        key = opened.store.ahead(state["rater"]).trials[0]
        for path in tmp_path.glob("*/*.png"):
            path.write_text("gone")
        opened.server.pictures._kept.clear()
        assert (await client.get(f"/image/{key.key}/ref")).status_code == 503

    with study(tmp_path) as opened:
        run_with(opened, work)


def test_leaving_and_being_forgotten(tmp_path):
    async def work(client):
        state = await join(client)
        await client.post("/api/vote", json=ballot(state))
        assert (await client.post("/api/leave", json={})).json() == {"state": "welcome"}
        assert (await client.get("/api/state")).json() == {"state": "welcome"}
        second = await join(client)
        await client.post("/api/vote", json=ballot(second))
        assert (await client.post("/api/forget", json={})).json() == {"state": "welcome"}
        assert [vote.rater for vote in opened.store.votes()] == [state["rater"]]

    with study(tmp_path) as opened:
        run_with(opened, work)


def test_the_experimenters_page(tmp_path):
    async def work(client):
        watch = "/watch-watching"
        assert "Nobody has joined yet" in (await client.get(f"{watch}/")).text
        state = await join(client)
        rater = state["rater"]
        while state["state"] == "vote":
            state = (await client.post("/api/vote", json=ballot(state))).json()
        page = (await client.get(f"{watch}/")).text
        for words in (
            "6 judgments of 12 items by 1 person",
            "weak – strong",
            rater,
            "of 2",
            "0.7 s",
            "fewer than 80 %",
        ):
            assert words in page
        assert (await client.get(f"{watch}/page.css")).status_code == 200
        assert (await client.post(f"{watch}/forget/nobody")).status_code == 404
        assert (await client.get(f"{watch}/forget/{rater}")).status_code == 405
        assert (await client.post(f"{watch}/forget/{rater}")).status_code == 303
        assert opened.store.votes() == []

    with study(tmp_path) as opened:
        run_with(opened, work)


def test_many_people_at_once(tmp_path):
    """No vote is lost or counted twice."""
    told = []

    async def person(number):
        async with opened.client() as client:
            state = await join(client)
            while state["state"] == "vote":
                choice = ("left", "right")[(number + state["done"]) % 2]
                answer = await client.post("/api/vote", json=ballot(state, choice))
                assert answer.status_code == 200
                told.append((state["rater"], state["done"], choice))
                state = answer.json()

    async def everybody():
        await asyncio.gather(*map(person, range(10)))

    rest = {"repeats": 0, "catches": 0, "practice": 0}
    with study(tmp_path, limits=Limits(votes=10**6), trials=12, **rest) as opened:
        asyncio.run(everybody())
        assert not opened.told
    kept = read_store(tmp_path / "votes.db").votes
    assert len(kept) == len(told) == 10 * 12
    assert {(vote.rater, vote.position, ("left", "right")[(vote.choice == "p1") != vote.flipped]) for vote in kept} == {
        *told
    }
