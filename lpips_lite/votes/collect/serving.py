"""Serve a study: its socket, its addresses, and running the server until it is stopped."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from lpips_lite.votes.collect.app import Server
from lpips_lite.votes.collect.guard import LOCAL_HOSTS
from lpips_lite.votes.collect.store import Store

CONNECTIONS = 500  # at a time; others are told to try again


@dataclass(frozen=True)
class Addresses:
    """Where people vote, and where the experimenter watches."""

    vote: str
    watch: str


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: If the host is unknown or the port is in use.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OSError(f"--host {host} --port {port}: cannot listen there ({reason}); expected another") from error


def is_local(listening: socket.socket) -> bool:
    """Return whether only this machine can reach a socket."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def prepare(
    store: Store, listening: socket.socket, *, instructions: str | None, tell: Callable[[str], None]
) -> tuple[Server, Addresses]:
    """Make the server of a study; if other machines can reach it, its address contains a secret.

    Args:
        store: The store of the study.
        listening: The socket to serve on.
        instructions: Markdown that people agree to.
        tell: Called with problems that visitors cannot solve.
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
