"""A study served: its socket, its addresses, and the server's run until it is stopped."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from lpips_lite.votes.collect.app import Server
from lpips_lite.votes.collect.guard import LOCAL_HOSTS
from lpips_lite.votes.collect.store import Store

CONNECTIONS = 500  # at once; more are told to come again


@dataclass(frozen=True)
class Addresses:
    """Where people vote, and where the experimenter watches."""

    vote: str
    watch: str


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OSError: If the host is unknown or the port taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OSError(f"--host {host} --port {port}: cannot be listened on ({reason}); expected another one") from error


def is_local(listening: socket.socket) -> bool:
    """Say whether only this machine can reach a socket."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def prepare(
    store: Store, listening: socket.socket, *, instructions: str | None, tell: Callable[[str], None]
) -> tuple[Server, Addresses]:
    """Make the server of a study; where others than this machine reach it, a secret is in its address.

    Args:
        store: Of the study.
        listening: Where it will be served.
        instructions: Markdown that people agree to.
        tell: Is told of what people cannot mend.
    """
    words, local = store.meta(), is_local(listening)
    secret = "" if local else words["secret"]
    hosts = LOCAL_HOSTS if local else None
    server = Server(store, secret=secret, watch=words["watch"], hosts=hosts, instructions=instructions, tell=tell)
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return server, Addresses(f"{base}{server.prefix}/", f"{base}{server.watch_path}/")


def serve(server: Server, listening: socket.socket) -> None:
    """Serve until the process is told to stop.

    Raises:
        KeyboardInterrupt: When it is interrupted.
    """
    config = uvicorn.Config(
        server.app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        lifespan="off",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run(sockets=[listening])
