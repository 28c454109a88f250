"""Serving the HTTP API, of `serve` and of `run`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from redis_retention.cli.connection import REPLY_SECONDS, Settings, async_client
from redis_retention.cli.http import HttpOptions
from redis_retention.errors import RetentionError
from redis_retention.policy import Policy

if TYPE_CHECKING:
    from redis_retention.http.backend import Backend
    from redis_retention.http.observed import Observed

_MISSING = "the HTTP API needs more packages: pip install 'redis-retention[http]'"


@asynccontextmanager
async def open_backend(
    settings: Settings, in_cluster: bool, policy: Policy | None, trigger: int | None
) -> AsyncIterator[Backend]:
    """The retention that the routes work with, on a client of its own.

    Args:
        settings: Which server and which saver.
        in_cluster: Whether the server is one of a cluster.
        policy: What to keep where no stored policy but the default counts.
        trigger: The trigger that goes with it.

    Raises:
        RetentionError: Packages are missing.
    """
    try:
        from redis_retention.http.backend import Backend
    except ImportError as error:
        raise RetentionError(_MISSING) from error
    # A connection may have broken since the last request.
    client = async_client(settings.url, in_cluster, retries=1, reply_seconds=REPLY_SECONDS)
    try:
        yield Backend(client, policy, trigger=trigger, **settings.of_retention())
    finally:
        with suppress(RedisError, OSError):
            await client.aclose()


@asynccontextmanager
async def serve_api(
    backend: Backend, http: HttpOptions, observed: Observed | None = None
) -> AsyncIterator[None]:
    """Serves the HTTP API while the context lasts.

    Args:
        backend: The retention that it works with.
        http: Where and to whom.
        observed: The daemon of this process, if there is one.

    Raises:
        RetentionError: The port is taken, or packages are missing.
    """
    try:
        from redis_retention.http.access import Access
        from redis_retention.http.app import application
        from redis_retention.http.serving import bind, serving
    except ImportError as error:
        raise RetentionError(_MISSING) from error
    app = application(backend, Access(http.token, http.read_only, http.hosts), observed)
    listening = bind(http.address.host, http.address.port, "--http")
    async with serving(app, listening, "the HTTP API"):
        yield
