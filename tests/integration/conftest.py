"""What the tests with real savers on real servers share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver

from tests.graphs.savers import AsyncOrderedSaver, OrderedSaver
from tests.servers.start import Server


@pytest.fixture
def saver(client: redis.Redis) -> OrderedSaver:
    """A saver with its search indexes, on each of the servers."""
    saver = OrderedSaver(redis_client=client)
    saver.setup()
    return saver


@pytest.fixture
async def async_client(server: Server, client: redis.Redis) -> AsyncIterator[redis.asyncio.Redis]:
    """An async client of the same empty database that `client` has."""
    async with redis.asyncio.Redis.from_url(server.url, socket_timeout=60) as client_:
        yield client_


@pytest.fixture
async def async_saver(async_client: redis.asyncio.Redis) -> AsyncOrderedSaver:
    """An async saver with its search indexes, on each of the servers."""
    saver = AsyncOrderedSaver(redis_client=async_client)
    await saver.asetup()
    return saver


@pytest.fixture
def plain_saver(stack: redis.Redis) -> RedisSaver:
    """The saver as it is, with its search indexes, on one server."""
    saver = RedisSaver(redis_client=stack)
    saver.setup()
    return saver
