"""Savers that retain, of both kinds and both modes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeAlias

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver

from redis_retention.langgraph import AsyncRetentionRedisSaver, RetentionRedisSaver
from tests.servers.start import Server

MakeSaver: TypeAlias = Callable[..., RetentionRedisSaver]


@pytest.fixture
def plain_saver(client: redis.Redis) -> RedisSaver:
    """The saver as it is, with its search indexes, on each server."""
    saver = RedisSaver(redis_client=client)
    saver.setup()
    return saver


@pytest.fixture
def make_saver(client: redis.Redis) -> Iterator[MakeSaver]:
    """Makes savers that retain, each as another process would, and closes them after the test."""
    made: list[RetentionRedisSaver] = []

    def make(**options: Any) -> RetentionRedisSaver:
        options.setdefault("redis_client", client)
        saver = RetentionRedisSaver(**options)
        saver.setup()
        made.append(saver)
        return saver

    yield make
    for saver in made:
        saver.close()


@pytest.fixture
async def make_async_saver(
    server: Server, client: redis.Redis
) -> AsyncIterator[Callable[..., Any]]:
    """Makes async savers that retain, and closes them after the test."""
    made: list[AsyncRetentionRedisSaver] = []

    async def make(**options: Any) -> AsyncRetentionRedisSaver:
        options.setdefault("redis_url", server.url)
        saver = AsyncRetentionRedisSaver(**options)
        await saver.asetup()
        made.append(saver)
        return saver

    yield make
    for saver in made:
        await saver.aclose()
