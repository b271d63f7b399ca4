"""The server: addresses of the page, its images, votes, and the experimenter's page.

People can reach only their own trials. The addresses of images are random keys, which do not reveal methods, sides or
files. Everything else is refused.
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

LONGEST_TIME = 24 * 3600 * 1000  # longest time of an answer in milliseconds; longer ones are cut to this


class Server:
    """The server of a study; `app` is its ASGI application.

    Args:
        store: The store for votes.
        secret: Secret part of the address; "" for an address without one.
        watch: Secret part of the experimenter's address.
        hosts: Host names under which the server may be addressed; `None` for any.
        instructions: Markdown that people agree to; `None` for a default text.
        limits: Limits on the requests of one visitor.
        tell: Called with problems that visitors cannot solve, such as a full disk or a missing image.
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
        """Serve the page, which is the same for everybody."""
        return HTMLResponse(self.html, headers={"cache-control": "no-cache"})

    async def file(self, request: Request) -> Response:
        """Serve its script and style sheet."""
        name = request.url.path.rpartition("/")[2]
        return Response(source(name), media_type=TYPES[name], headers={"cache-control": "no-cache"})

    async def image(self, request: Request) -> Response:
        """Serve an image of a trial that was assigned to the visitor."""
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
        """Return the visitor's name by their cookie, or `None` if they have not joined."""
        token = request.cookies.get(self.cookie)
        return None if token is None else await run_in_threadpool(self.store.rater, token)

    async def _rater(self, request: Request) -> str:
        """Return the visitor's name, and refuse visitors who have not joined."""
        rater = await self._known(request)
        if rater is None:
            raise HTTPException(403, "not known here; load the page again")
        return rater

    async def state(self, request: Request) -> Response:
        """Return what comes next for the visitor: the welcome, trials, or thanks."""
        rater = await self._known(request)
        if rater is None:
            return _json({"state": "welcome"})
        return _json(_state(rater, await run_in_threadpool(self.store.ahead, rater)))

    async def join(self, request: Request) -> Response:
        """Add a person to the study, who is recognised by a cookie from then on."""
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
        """Save a vote, and answer when it is on the disk."""
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
            raise HTTPException(404, "trial: not one of yours") from None
        except (NotShownError, VotedError) as error:
            raise HTTPException(409, str(error)) from None
        right = self.store.items[trial.number].right if trial.kind == "practice" else None
        return _json(_state(rater, ahead) | ({} if right is None else {"practice": choice == right}))

    async def leave(self, request: Request) -> Response:
        """Let somebody else vote in this browser; answers are kept."""
        await read_object(request, self.limits)
        return self._without_cookie()

    async def forget(self, request: Request) -> Response:
        """Delete all answers of the visitor."""
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
        """Serve the experimenter's page."""
        votes, joined = await run_in_threadpool(self.store.votes), await run_in_threadpool(self.store.raters)
        html = render_watch(columns=COLUMNS, **overview(self.store.items, votes, joined))
        return HTMLResponse(html, headers={"cache-control": "no-store"})

    async def forget_rater(self, request: Request) -> Response:
        """Delete all answers of a person."""
        if not await run_in_threadpool(self.store.forget, request.path_params["rater"]):
            raise HTTPException(404, "rater: nobody has this name")
        return RedirectResponse(f"{self.watch_path}/", 303)

    async def _fail(self, request: Request, error: Exception) -> Response:
        """Tell the experimenter what failed, and the visitor that something failed."""
        self.tell(f"error: {error}")
        return _json({"error": "the server cannot save or read; the person who runs it has been told"}, 503)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(content, status, {"cache-control": "no-store"})


async def _refuse(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse(
        {"error": error.detail}, error.status_code, {**(error.headers or {}), "cache-control": "no-store"}
    )


def _state(rater: str, ahead: Ahead) -> dict[str, Any]:
    """Return what the page may know. The kind of a trial is hidden, except for practice."""
    trials = [{"key": trial.key, "practice": trial.kind == "practice"} for trial in ahead.trials]
    progress = {"rater": rater, "done": ahead.done, "total": ahead.total}
    return {"state": "vote" if trials else "thanks", "trials": trials, **progress}


def _choice(answer: str, flipped: bool) -> Choice:
    """Turn an answer about sides into an answer about images."""
    if answer in ("left", "right"):
        return "p1" if (answer == "right") != flipped else "p0"
    choices: dict[str, Choice] = {"tie": "tie", "same": "same", "different": "different"}
    return choices[answer]


def _milliseconds(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise HTTPException(400, "milliseconds: expected a number ≥ 0")
    return round(min(value, LONGEST_TIME))


def _screen(value: object) -> dict[str, float | bool]:
    """Check the facts that the page sent about its window: known names, with numbers and booleans."""
    facts = value if isinstance(value, dict) else {}
    good = all(isinstance(fact, (bool, int, float)) and abs(fact) < 1e6 for fact in facts.values())
    if facts.keys() == SCREEN.keys() and good:
        return facts
    raise HTTPException(400, f"screen: expected numbers and booleans for {', '.join(SCREEN)}")
