"""The official conformance suite of LangGraph's checkpointers, on both savers and all servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest
import redis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.conformance import validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES
from langgraph.checkpoint.conformance.initializer import RegisteredCheckpointer
from langgraph.checkpoint.redis.aio import AsyncRedisSaver

from redis_retention import Policy
from redis_retention.langgraph import AsyncRetentionRedisSaver, RetentionRedisSaver
from tests.servers.start import Server

EVERYTHING = {capability.value for capability in ALL_CAPABILITIES}


class Awaitable(RetentionRedisSaver):
    """The synchronous saver by the names that the suite calls, each in a thread of its own."""

    async def aput(self, *args: Any, **options: Any) -> RunnableConfig:
        return await asyncio.to_thread(self.put, *args, **options)

    async def aput_writes(self, *args: Any, **options: Any) -> None:
        await asyncio.to_thread(self.put_writes, *args, **options)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(self, *args: Any, **options: Any) -> AsyncIterator[CheckpointTuple]:
        for found in await asyncio.to_thread(lambda: list(self.list(*args, **options))):
            yield found

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Any) -> None:
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, *args: Any, **options: Any) -> None:
        await asyncio.to_thread(self.prune, *args, **options)


# Nothing of what the suite stores is more than this keeps.
RETENTION = Policy(keep_last=1_000)


def failures(report: Any) -> dict[str, list[str]]:
    """What has failed of each capability; of one that was not found, that."""
    return {
        name: result.failures if result.detected else ["not detected"]
        for name, result in report.results.items()
        if not result.passed
    }


async def run(make: Callable[[], AsyncGenerator[Any, None]]) -> Any:
    return await validate(RegisteredCheckpointer("ours", make))


@pytest.mark.parametrize("mode", ["background", "inline"])
async def test_the_async_saver_has_all_capabilities(
    server: Server, client: redis.Redis, mode: Any
) -> None:
    async def make() -> AsyncGenerator[Any, None]:
        async with AsyncRetentionRedisSaver.from_conn_string(
            server.url, retention=RETENTION, mode=mode
        ) as saver:
            yield saver

    report = await run(make)

    assert set(report.results) == EVERYTHING
    assert failures(report) == {}


@pytest.mark.parametrize("mode", ["background", "inline"])
async def test_the_synchronous_saver_has_all_capabilities(
    server: Server, client: redis.Redis, mode: Any
) -> None:
    async def make() -> AsyncGenerator[Any, None]:
        with Awaitable.from_conn_string(server.url, retention=RETENTION, mode=mode) as saver:
            saver.setup()
            yield saver

    report = await run(make)

    assert set(report.results) == EVERYTHING
    assert failures(report) == {}


async def test_the_plain_async_saver_still_fails_where_ours_does_not(
    server: Server, client: redis.Redis
) -> None:
    async def make() -> AsyncGenerator[Any, None]:
        async with AsyncRedisSaver.from_conn_string(server.url) as saver:
            yield saver

    found = failures(await run(make))

    named = {
        name: [failure.partition(":")[0] for failure in failed] for name, failed in found.items()
    }
    assert named == {
        "list": [
            "test_list_by_namespace",
            "test_list_metadata_custom_keys",
            "test_list_before",
            "test_list_limit_plus_before",
            "test_list_multiple_namespaces",
        ],
        "prune": ["test_prune_keep_latest_across_namespaces", "test_prune_empty_list_noop"],
        "delete_for_runs": ["not detected"],
        "copy_thread": ["not detected"],
    }
