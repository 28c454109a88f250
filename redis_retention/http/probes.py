"""`/healthz`, `/readyz` and `/metrics`: of the daemon's port for metrics, and of the API."""

from __future__ import annotations

import asyncio

from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from redis_retention.http.observed import Observed
from redis_retention.metrics import registry_of


def routes(observed: Observed) -> list[Route]:
    """The routes that tell how a process is."""
    registry = registry_of(observed)

    async def healthz(_: Request) -> Response:
        return _state(observed.healthy)

    async def readyz(_: Request) -> Response:
        return _state(await observed.is_ready())

    async def metrics(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        # The collectors of the process read files.
        text = await asyncio.to_thread(encode, registry)
        return Response(text, headers={"Content-Type": media_type})

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]


def application(observed: Observed) -> ASGIApp:
    """An application with these routes alone."""
    return Starlette(routes=routes(observed))


def _state(fine: bool) -> Response:
    return PlainTextResponse("ok\n" if fine else "not ok\n", 200 if fine else 503)
