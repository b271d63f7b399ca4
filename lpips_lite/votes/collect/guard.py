"""Protection of the page against strangers, floods and other sites: hosts, headers, sizes and rates."""

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
    """Limits on the requests of one visitor.

    Attributes:
        body: Size of a request in bytes.
        seconds: Time to send a request.
        joins: Number of people who may join from one address at once; one more may join every `join_seconds`.
        join_seconds: See `joins`.
        votes: Number of requests of one person at once, and per second after that.
        images: The same for images.
    """

    body: int = 4096
    seconds: float = 10.0
    joins: int = 100
    join_seconds: float = 2.0
    votes: int = 20
    images: int = 300


class Rates:
    """Counts requests by visitor; each visitor has an allowance that refills with time."""

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
    """Return the JSON object in a request.

    Raises:
        HTTPException: If the request is too large or too slow, or contains something else.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "content type: expected application/json")  # which forms of other sites cannot send
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
    """Middleware that refuses requests for other host names, which other sites may point here, and adds headers.

    Args:
        app: The application to protect.
        hosts: Host names under which the server may be addressed; `None` for any.
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
    """Return the host name of a request, without its port."""
    host = request.headers.get("host", "")
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
