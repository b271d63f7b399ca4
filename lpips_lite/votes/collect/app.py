"""The server: addresses of the page, its images, votes, and the experimenter's page.

What people can reach is theirs alone: images by the random keys of their own trials, which say nothing of methods,
sides or files. Everything else is refused.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from lpips_lite.votes.collect.guard import Guard, Limits, Rates, read_object
from lpips_lite.votes.collect.pages import TYPES, render_page, render_watch, source
from lpips_lite.votes.collect.pictures import PLACES, Pictures
from lpips_lite.votes.collect.store import Ahead, NotShownError, Store, VotedError
from lpips_lite.votes.collect.study import SCREEN, Choice
from lpips_lite.votes.collect.watching import COLUMNS, overview

LONGEST_TIME = 24 * 3600 * 1000  # milliseconds of an answer; beyond it is this


class Server:
    """The study's server; `app` is what serves it.

    Args:
        store: Where votes are kept.
        secret: Part of the address; "" for an address that everybody on this machine knows.
        watch: Secret part of the experimenter's address.
        hosts: Names by which the server may be called; `None` for any.
        instructions: Markdown that people agree to; `None` for a line of the page's own.
        limits: Of what one visitor may ask.
        tell: Is told of what people cannot mend: a full disk, an image that is gone.
    """

    def __init__(
        self,
        store: Store,
        *,
        secret: str,
        watch: str,
        hosts: frozenset[str] | None = None,
        instructions: str | None = None,
        limits: Limits | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.store, self.settings, self.tell = store, store.settings, tell
        self.limits, self.rates, self.pictures = limits or Limits(), Rates(), Pictures()
        self.prefix, self.watch_path = (f"/{secret}" if secret else ""), f"/watch-{watch}"
        self.cookie = f"rater-{hashlib.sha256(f'{secret}/{watch}'.encode()).hexdigest()[:8]}"
        self.html = render_page(self.settings, instructions)
        here = [
            Route("/", self.page),
            *(Route(f"/{name}", self.file) for name in ("page.css", "page.js")),
            Route("/api/state", self.state),
            Route("/api/join", self.join, methods=["POST"]),
            Route("/api/vote", self.vote, methods=["POST"]),
            Route("/api/leave", self.leave, methods=["POST"]),
            Route("/api/forget", self.forget, methods=["POST"]),
            Route("/image/{key:str}/{place:str}", self.image),
        ]
        watching = [
            Route("/", self.watch),
            *(Route(f"/{name}", self.file) for name in ("page.css", "watch.js")),
            Route("/forget/{rater:str}", self.forget_rater, methods=["POST"]),
        ]
        self.app = Starlette(
            routes=[Mount(self.watch_path, routes=watching), Mount(self.prefix, routes=here)],
            middleware=[Middleware(Guard, hosts=hosts)],
            exception_handlers={HTTPException: _refuse, OSError: self._fail, ValueError: self._fail},
        )

    # -- pages -------------------------------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """The page itself, the same for all."""
        return HTMLResponse(self.html, headers={"cache-control": "no-cache"})

    async def file(self, request: Request) -> Response:
        """Its script and style sheet."""
        name = request.url.path.rpartition("/")[2]
        return Response(source(name), media_type=TYPES[name], headers={"cache-control": "no-cache"})

    async def image(self, request: Request) -> Response:
        """An image of a trial that was dealt to who asks."""
        key, place = request.path_params["key"], request.path_params["place"]
        if place not in PLACES[self.settings.mode]:
            raise HTTPException(404, "nothing here")
        rater = await self._rater(request)
        self.rates.check("image", rater, self.limits.images, self.limits.images)
        try:
            trial = await run_in_threadpool(self.store.shown, rater, key)
        except KeyError:
            raise HTTPException(404, "nothing here") from None
        item = self.store.items[trial.number]
        png = await run_in_threadpool(self.pictures.picture, item, place, trial.flipped)
        return Response(png, media_type="image/png", headers={"cache-control": "private, max-age=86400, immutable"})

    # -- those who vote ----------------------------------------------------------------------------------------------

    async def _known(self, request: Request) -> str | None:
        """Return who asks, by their cookie, if they have been here."""
        token = request.cookies.get(self.cookie)
        return None if token is None else await run_in_threadpool(self.store.rater, token)

    async def _rater(self, request: Request) -> str:
        """Return who asks, and refuse those who have not been here."""
        rater = await self._known(request)
        if rater is None:
            raise HTTPException(403, "not known here; load the page again")
        return rater

    async def state(self, request: Request) -> Response:
        """What lies before who asks: the welcome, trials, or thanks."""
        rater = await self._known(request)
        if rater is None:
            return _json({"state": "welcome"})
        return _json(_state(rater, await run_in_threadpool(self.store.ahead, rater)))

    async def join(self, request: Request) -> Response:
        """Take a person in; they are known by a cookie from now on."""
        self.rates.check(
            "join", request.client.host if request.client else "", self.limits.joins, 1 / self.limits.join_seconds
        )
        if (await read_object(request, self.limits)).get("consent") is not True:
            raise HTTPException(400, "consent: expected true")
        rater, token = await run_in_threadpool(self.store.join)
        response = _json(_state(rater, await run_in_threadpool(self.store.ahead, rater)))
        response.set_cookie(
            self.cookie, token, max_age=365 * 86400, path=f"{self.prefix}/", httponly=True, samesite="strict"
        )
        return response

    async def vote(self, request: Request) -> Response:
        """Write a vote down; the answer comes when it is on the disk."""
        rater = await self._rater(request)
        self.rates.check("vote", rater, self.limits.votes, self.limits.votes)
        said = await read_object(request, self.limits)
        key, answer = said.get("trial"), said.get("choice")
        if not isinstance(key, str):
            raise HTTPException(400, "trial: expected the key of a trial")
        if answer not in self.settings.answers():
            raise HTTPException(400, f"choice: expected one of {', '.join(self.settings.answers())}")
        milliseconds, screen = _milliseconds(said.get("milliseconds")), _screen(said.get("screen"))
        page = said.get("page")
        if not isinstance(page, str) or not re.fullmatch("[0-9a-f]{8}", page):
            raise HTTPException(400, "page: expected the version of the page")
        try:
            trial = await run_in_threadpool(self.store.shown, rater, key)
            choice = _choice(answer, trial.flipped)
            ahead = await run_in_threadpool(self.store.vote, rater, key, choice, milliseconds, screen, page)
        except KeyError:
            raise HTTPException(404, "trial: none of yours") from None
        except (NotShownError, VotedError) as error:
            raise HTTPException(409, str(error)) from None
        right = self.store.items[trial.number].right if trial.kind == "practice" else None
        return _json(_state(rater, ahead) | ({} if right is None else {"practice": choice == right}))

    async def leave(self, request: Request) -> Response:
        """Let somebody else vote in this browser; what was said stays."""
        await read_object(request, self.limits)
        return self._without_cookie()

    async def forget(self, request: Request) -> Response:
        """Delete all that who asks has said."""
        rater = await self._rater(request)
        await read_object(request, self.limits)
        await run_in_threadpool(self.store.forget, rater)
        return self._without_cookie()

    def _without_cookie(self) -> Response:
        response = _json({"state": "welcome"})
        response.delete_cookie(self.cookie, path=f"{self.prefix}/", httponly=True, samesite="strict")
        return response

    # -- who watches -------------------------------------------------------------------------------------------------

    async def watch(self, request: Request) -> Response:
        """The experimenter's page."""
        votes, joined = await run_in_threadpool(self.store.votes), await run_in_threadpool(self.store.raters)
        html = render_watch(columns=COLUMNS, **overview(self.store.items, votes, joined))
        return HTMLResponse(html, headers={"cache-control": "no-store"})

    async def forget_rater(self, request: Request) -> Response:
        """Delete all that somebody has said."""
        if not await run_in_threadpool(self.store.forget, request.path_params["rater"]):
            raise HTTPException(404, "rater: none of that name")
        return RedirectResponse(f"{self.watch_path}/", 303)

    async def _fail(self, request: Request, error: Exception) -> Response:
        """Tell the experimenter what failed, and who votes that it did."""
        self.tell(f"error: {error}")
        return _json({"error": "the server cannot save or read; who runs it has been told"}, 503)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(content, status, {"cache-control": "no-store"})


async def _refuse(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse(
        {"error": error.detail}, error.status_code, {**(error.headers or {}), "cache-control": "no-store"}
    )


def _state(rater: str, ahead: Ahead) -> dict[str, Any]:
    """Return what the page may know: never of what kind a trial is, but for practice."""
    trials = [{"key": trial.key, "practice": trial.kind == "practice"} for trial in ahead.trials]
    progress = {"rater": rater, "done": ahead.done, "total": ahead.total}
    return {"state": "vote" if trials else "thanks", "trials": trials, **progress}


def _choice(answer: str, flipped: bool) -> Choice:
    """Turn what was said of sides into what is meant."""
    if answer in ("left", "right"):
        return "p1" if (answer == "right") != flipped else "p0"
    choices: dict[str, Choice] = {"tie": "tie", "same": "same", "different": "different"}
    return choices[answer]


def _milliseconds(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise HTTPException(400, "milliseconds: expected a number ≥ 0")
    return round(min(value, LONGEST_TIME))


def _screen(value: object) -> dict[str, float | bool]:
    """Check what the page told of its window: known names, with numbers and truth values."""
    facts = value if isinstance(value, dict) else {}
    good = all(isinstance(fact, (bool, int, float)) and abs(fact) < 1e6 for fact in facts.values())
    if facts.keys() == SCREEN.keys() and good:
        return facts
    raise HTTPException(400, f"screen: expected numbers and truth values of {', '.join(SCREEN)}")
