"""`/healthz`, `/readyz` and `/metrics`: of the daemon's port for metrics, and of the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from redis_retention.http.metrics import registry_of
from redis_retention.http.observed import Observed

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def endpoints(observed: Observed) -> dict[str, Endpoint]:
    """What answers how a process is, by path."""
    registry = registry_of(observed)

    async def healthz(_: Request) -> Response:
        """Whether the process still does something."""
        return _state(observed.healthy)

    async def readyz(_: Request) -> Response:
        """Whether it can do its work."""
        return _state(await observed.is_ready())

    async def metrics(request: Request) -> Response:
        """What it has done, for Prometheus."""
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        # The collectors of the process read files.
        text = await asyncio.to_thread(encode, registry)
        return Response(text, headers={"Content-Type": media_type})

    return {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}


def routes(observed: Observed) -> list[Route]:
    """The endpoints as routes of Starlette."""
    return [Route(path, endpoint) for path, endpoint in endpoints(observed).items()]


def application(observed: Observed) -> ASGIApp:
    """An application with these routes alone."""
    return Starlette(routes=routes(observed))


def _state(fine: bool) -> Response:
    return PlainTextResponse("ok\n" if fine else "not ok\n", 200 if fine else 503)
