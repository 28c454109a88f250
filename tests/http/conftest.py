"""The HTTP API in this process; every answer is held against OpenAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import httpx
import pytest
import redis
import redis.asyncio

from redis_retention import Policy
from redis_retention.http.access import Access
from redis_retention.http.app import application
from redis_retention.http.backend import Backend
from tests.http.conformity import assert_conforms
from tests.servers.start import Server

Serving: TypeAlias = Callable[..., httpx.AsyncClient]

JSON = {"Content-Type": "application/json"}


async def hold_against_openapi(answer: httpx.Response) -> None:
    await answer.aread()
    if answer.request.method == "HEAD":
        return
    path = answer.request.url.raw_path.decode("ascii").partition("?")[0]
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert_conforms(answer.request.method, path, answer.status_code, kind, answer.text)


@pytest.fixture
async def async_client(redis_stack: Server, stack: redis.Redis) -> AsyncIterator[Any]:
    """An asynchronous client of a server with all modules, on an empty database."""
    client = redis.asyncio.Redis.from_url(redis_stack.url)
    yield client
    await client.aclose()


@pytest.fixture
async def serving(async_client: Any) -> AsyncIterator[Serving]:
    """Makes browsers, each of an application of its own."""
    browsers: list[httpx.AsyncClient] = []

    def make(
        policy: Policy | None = None,
        *,
        client: Any = None,
        base_url: str = "http://localhost",
        trigger: int | None = None,
        **access: Any,
    ) -> httpx.AsyncClient:
        backend = Backend(client or async_client, policy, trigger=trigger)
        transport = httpx.ASGITransport(application(backend, Access(**access)))
        hooks = {"response": [hold_against_openapi]}
        browser = httpx.AsyncClient(transport=transport, base_url=base_url, event_hooks=hooks)
        browsers.append(browser)
        return browser

    yield make
    for browser in browsers:
        await browser.aclose()


@pytest.fixture(params=["asynchronous", "synchronous"])
def browser(request: pytest.FixtureRequest, serving: Serving, stack: redis.Redis) -> Any:
    """A browser of an application that asks for nothing, with a client of either kind."""
    return serving(client=stack if request.param == "synchronous" else None)


def problem(answer: httpx.Response, status: int) -> str:
    """What is wrong, by a problem document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    return str(said["detail"])
