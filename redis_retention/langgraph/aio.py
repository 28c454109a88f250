"""The asynchronous saver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.redis.aio import AsyncRedisSaver
from redis.asyncio import Redis, RedisCluster

from redis_retention.engine import DEFAULT_KEYS_PER_CALL, DEFAULT_PREFIX
from redis_retention.langgraph.background import AsyncInline, AsyncWorker
from redis_retention.langgraph.keeping import Keeper, Mode, OnError, TrimCounts, keeper_for
from redis_retention.policy import Policy
from redis_retention.retention import DEFAULT_GRACE
from redis_retention.transport import AsyncTransport


class AsyncRetentionRedisSaver(AsyncRedisSaver):
    """An `AsyncRedisSaver` that trims the threads that it writes.

    The arguments are those of `RetentionRedisSaver`, with a client of `redis.asyncio`.
    """

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        redis_client: Redis | RedisCluster | None = None,
        connection_args: dict[str, Any] | None = None,
        ttl: dict[str, Any] | None = None,
        checkpoint_prefix: str = "checkpoint",
        checkpoint_write_prefix: str = "checkpoint_write",
        retention: Policy | None = None,
        trigger: int | None = None,
        mode: Mode = "background",
        on_error: OnError | None = None,
        prefix: str = DEFAULT_PREFIX,
        keys_per_call: int = DEFAULT_KEYS_PER_CALL,
        grace: timedelta = DEFAULT_GRACE,
    ) -> None:
        super().__init__(
            redis_url,
            redis_client=redis_client,
            connection_args=connection_args,
            ttl=ttl,
            checkpoint_prefix=checkpoint_prefix,
            checkpoint_write_prefix=checkpoint_write_prefix,
        )
        self._retain(
            retention=retention,
            trigger=trigger,
            mode=mode,
            on_error=on_error,
            prefix=prefix,
            keys_per_call=keys_per_call,
            grace=grace,
        )

    def _retain(self, *, mode: Mode, **options: Any) -> None:
        """Begin to trim."""
        self._keeper: Keeper = keeper_for(
            self._redis,
            checkpoint_prefix=self._checkpoint_prefix,
            write_prefix=self._checkpoint_write_prefix,
            mode=mode,
            **options,
        )
        self._transport = AsyncTransport(self._redis)
        trims = AsyncInline if mode == "inline" else AsyncWorker
        self._trims: AsyncInline | AsyncWorker = trims(self._keeper, self._transport)

    @classmethod
    @asynccontextmanager
    async def from_conn_string(
        cls,
        redis_url: str | None = None,
        *,
        redis_client: Redis | RedisCluster | None = None,
        connection_args: dict[str, Any] | None = None,
        ttl: dict[str, Any] | None = None,
        checkpoint_prefix: str = "checkpoint",
        checkpoint_write_prefix: str = "checkpoint_write",
        retention: Policy | None = None,
        trigger: int | None = None,
        mode: Mode = "background",
        on_error: OnError | None = None,
        prefix: str = DEFAULT_PREFIX,
        keys_per_call: int = DEFAULT_KEYS_PER_CALL,
        grace: timedelta = DEFAULT_GRACE,
    ) -> AsyncIterator[AsyncRetentionRedisSaver]:
        """A saver that is set up, and closed at the end of the context."""
        saver = cls(
            redis_url,
            redis_client=redis_client,
            connection_args=connection_args,
            ttl=ttl,
            checkpoint_prefix=checkpoint_prefix,
            checkpoint_write_prefix=checkpoint_write_prefix,
            retention=retention,
            trigger=trigger,
            mode=mode,
            on_error=on_error,
            prefix=prefix,
            keys_per_call=keys_per_call,
            grace=grace,
        )
        async with saver:
            yield saver

    async def __aenter__(self) -> AsyncRetentionRedisSaver:
        """Set the saver up."""
        await super().__aenter__()
        return self

    async def __aexit__(
        self,
        _exc_type: type[BaseException] | None,
        _exc_val: BaseException | None,
        _exc_tb: TracebackType | None,
    ) -> None:
        """Finish the trims that wait, and close the client unless somebody has brought it."""
        await self._trims.close()
        await super().__aexit__(_exc_type, _exc_val, _exc_tb)

    async def aclose(self) -> None:
        """The same, for a saver that is used without a context."""
        await self.__aexit__(None, None, None)

    @property
    def trims(self) -> TrimCounts:
        """What was trimmed since the saver was made."""
        return self._keeper.counts

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        stream_mode: str = "values",
    ) -> RunnableConfig:
        """Store a checkpoint, and see to it that its thread does not grow too long."""
        stored = await super().aput(config, checkpoint, metadata, new_versions, stream_mode)
        put = self._keeper.note(config, stored)
        if put is not None:
            await self._trims.put(put)
        return stored
