"""What keeps strangers, floods and other sites away from the page: hosts, headers, sizes and rates."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "x-robots-tag": "noindex",
}


@dataclass(frozen=True)
class Limits:
    """Of what one visitor may ask.

    Attributes:
        body: Bytes of a request.
        seconds: To send them in.
        joins: People who may come from one address at once; another one may each `join_seconds`.
        join_seconds: See `joins`.
        votes: Requests of one person at once; so many more may come each second.
        images: Likewise, of images.
    """

    body: int = 4096
    seconds: float = 10.0
    joins: int = 100
    join_seconds: float = 2.0
    votes: int = 20
    images: int = 300


class Rates:
    """Counts requests by whom they come from; each has an allowance that fills again with time."""

    def __init__(self, most: int = 10_000) -> None:
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        self._most = most

    def check(self, kind: str, who: str, burst: float, per_second: float) -> None:
        """Count one request.

        Raises:
            HTTPException: 429, if the allowance is used up.
        """
        now = time.monotonic()
        left, then = self._left.pop((kind, who), (burst, now))
        left = min(burst, left + (now - then) * per_second)
        self._left[kind, who] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        if left < 1:
            raise HTTPException(429, "too many requests; wait a little", {"retry-after": "2"})


async def read_object(request: Request, limits: Limits) -> dict[str, Any]:
    """Return the JSON object that a request holds.

    Raises:
        HTTPException: If it is too large or too slow, or holds something else.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "content type: expected application/json")  # which no form of another site can send
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > limits.body:
        raise HTTPException(413, f"body: expected at most {limits.body} bytes", {"connection": "close"})
    body = bytearray()
    with anyio.move_on_after(limits.seconds) as scope:
        async for part in request.stream():
            body += part
            if len(body) > limits.body:
                raise HTTPException(413, f"body: expected at most {limits.body} bytes", {"connection": "close"})
    if scope.cancelled_caught:
        raise HTTPException(408, f"body: did not come within {limits.seconds:g} s", {"connection": "close"})
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(400, "body: expected a JSON object")
    return found


class Guard:
    """Middleware: refuses other hosts, as a page elsewhere may name them, and gives every answer its headers.

    Args:
        app: What it stands before.
        hosts: Names by which the server may be called; `None` for any.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                added = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in known]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        if self.hosts is not None and _host(Request(scope)) not in self.hosts:
            refusal = JSONResponse({"error": "host: expected the address that the server was started with"}, 421)
            await refusal(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)


def _host(request: Request) -> str:
    """Return the name by which the server was called, without its port."""
    host = request.headers.get("host", "")
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
