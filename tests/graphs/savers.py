"""The Redis savers, with one thing mended that would make the runs differ by chance.

A run hands its checkpoint and the first writes upon it to two threads. With the savers as they
are, writes that arrive first read as if they were not there, because `put` then sets
`has_writes` to false; a delta channel loses them for good (see FACTS.md). Here `put_writes`
waits for `put`. Nothing else is different, and neither is anything that they store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.redis import RedisSaver
from langgraph.checkpoint.redis.aio import AsyncRedisSaver
from langgraph.checkpoint.redis.key_registry import (
    AsyncCheckpointKeyRegistry,
    SyncCheckpointKeyRegistry,
)

PATIENCE = 2.0
"""Seconds to wait for a `put`, which never comes when the checkpoint was deleted meanwhile."""


class OrderedSaver(RedisSaver):
    """A `RedisSaver` that writes no pending write before its checkpoint."""

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        client: Any = self._redis
        for pause in _pauses():
            if client.json().get(_key(self, config), "$.checkpoint_id"):
                break
            time.sleep(pause)
        super().put_writes(config, writes, task_id, task_path)


class AsyncOrderedSaver(AsyncRedisSaver):
    """An `AsyncRedisSaver` that writes no pending write before its checkpoint."""

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        client: Any = self._redis
        for pause in _pauses():
            if await client.json().get(_key(self, config), "$.checkpoint_id"):
                break
            await asyncio.sleep(pause)
        await super().aput_writes(config, writes, task_id, task_path)


def _key(saver: RedisSaver | AsyncRedisSaver, config: RunnableConfig) -> str:
    place = config["configurable"]
    return saver._make_redis_checkpoint_key(
        place["thread_id"], place.get("checkpoint_ns", ""), place["checkpoint_id"]
    )


def _pauses() -> Iterator[float]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        yield 0.001


def without_search(client: Any) -> OrderedSaver:
    """A saver for a server without RediSearch, on which only its `list` and `prune` fail."""
    saver = OrderedSaver(redis_client=client)
    saver._key_registry = SyncCheckpointKeyRegistry(client)
    return saver


def async_without_search(client: Any) -> AsyncOrderedSaver:
    """`without_search` for an async client; to be called where the event loop runs."""
    saver = AsyncOrderedSaver(redis_client=client)
    saver._key_registry = AsyncCheckpointKeyRegistry(client)
    saver.loop = asyncio.get_running_loop()
    return saver
