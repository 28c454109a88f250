"""The HTTP API in this process, and as a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import redis
import redis.asyncio

from redis_retention import Policy
from redis_retention.http.access import Access
from redis_retention.http.app import application
from redis_retention.http.backend import Backend
from tests.servers.start import Server

Call = Callable[..., Any]


@pytest.fixture
async def async_client(redis_stack: Server, stack: redis.Redis) -> AsyncIterator[Any]:
    """An asynchronous client of a server with all modules, on an empty database."""
    client = redis.asyncio.Redis.from_url(redis_stack.url)
    yield client
    await client.aclose()


@pytest.fixture
async def serving(async_client: Any) -> AsyncIterator[Callable[..., httpx.AsyncClient]]:
    """Makes browsers of applications with these options."""
    browsers: list[httpx.AsyncClient] = []

    def make(
        policy: Policy | None = None,
        *,
        client: Any = None,
        trigger: int | None = None,
        base_url: str = "http://localhost",
        **access: Any,
    ) -> httpx.AsyncClient:
        backend = Backend(client or async_client, policy, trigger=trigger)
        transport = httpx.ASGITransport(application(backend, Access(**access)))
        browsers.append(httpx.AsyncClient(transport=transport, base_url=base_url))
        return browsers[-1]

    yield make
    for browser in browsers:
        await browser.aclose()


@pytest.fixture
def browser(serving: Callable[..., httpx.AsyncClient]) -> httpx.AsyncClient:
    """A browser of an application that asks for nothing."""
    return serving()
