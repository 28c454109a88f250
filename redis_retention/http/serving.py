"""Serving an application by uvicorn, on a socket of its own, within a loop that does more."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from redis_retention.errors import RetentionError
from redis_retention.logs import fields, logger

log = logger("http")

# SIGTERM ends a service within a second: what is not answered by then is not.
_STOP_SECONDS = 0.5
_WAITING_CONNECTIONS = 128


class _Server(uvicorn.Server):
    """A server that leaves signals to those who serve."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


def bind(host: str, port: int, option: str) -> socket.socket:
    """A socket that listens.

    Args:
        host: An address of this machine, or a name of it.
        port: The port; 0 for any free one.
        option: The option with which another port can be chosen.

    Raises:
        RetentionError: The port is taken, or is not allowed, or the host is not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address, family=family, backlog=_WAITING_CONNECTIONS)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0]
        raise RetentionError(
            f"cannot listen on {host}:{port}: {why}; choose another port or address with {option}"
        ) from error


@asynccontextmanager
async def serving(app: ASGIApp, listening: socket.socket, what: str) -> AsyncIterator[int]:
    """Serve while the context lasts; it answers the port.

    Args:
        app: What answers.
        listening: A socket that listens; it is closed at the end.
        what: What is served, for the log.
    """
    # What it would log are requests, with thread ids, and failures that the application logs.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="none",
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
    )
    port: int = listening.getsockname()[1]
    task = asyncio.create_task(server.serve([listening]))
    log.info("serving %s", what, extra=fields(port=port))
    try:
        yield port
    finally:
        server.should_exit = True
        await asyncio.wait({task}, timeout=_STOP_SECONDS)
        task.cancel()
