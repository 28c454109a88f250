"""The asynchronous saver."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.redis.aio import AsyncRedisSaver
from redis.asyncio import Redis, RedisCluster

from redis_retention.langgraph import listing, threads
from redis_retention.langgraph.background import AsyncInline, AsyncWorker
from redis_retention.langgraph.last import AsyncLast
from redis_retention.langgraph.pruning import PruneOptions, pruning_policy, warn_left_alone
from redis_retention.langgraph.threads import KeptCheckpoint
from redis_retention.langgraph.trimmer import (
    RetentionOptions,
    SaverOptions,
    TrimCounts,
    Trimmer,
    parted,
    trimmer_for,
)
from redis_retention.operations import Operations
from redis_retention.sans_io import T
from redis_retention.served import Served
from redis_retention.transport import AsyncTransport

if TYPE_CHECKING:
    from typing_extensions import Unpack

# `list` is a method below.
Kept: TypeAlias = list[KeptCheckpoint]


class AsyncRetentionRedisSaver(AsyncRedisSaver):
    """An `AsyncRedisSaver` that trims the threads that it writes.

    The arguments are those of `RetentionRedisSaver`, with a client of `redis.asyncio`.
    """

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        redis_client: Redis | RedisCluster | None = None,
        **options: Unpack[SaverOptions],
    ) -> None:
        plain, ours = parted(options)
        super().__init__(redis_url, redis_client=redis_client, **plain)
        self._retain(**ours)

    def _retain(self, **options: Unpack[RetentionOptions]) -> None:
        """Begin to trim."""
        prefixes = self._checkpoint_prefix, self._checkpoint_write_prefix
        self._trimmer: Trimmer = trimmer_for(self._redis, *prefixes, **options)
        self._transport = AsyncTransport(self._redis)
        trims = AsyncInline if options.get("mode") == "inline" else AsyncWorker
        self._trims: AsyncInline | AsyncWorker = trims(self._trimmer, self._transport)

    @classmethod
    @asynccontextmanager
    async def from_conn_string(
        cls,
        redis_url: str | None = None,
        *,
        redis_client: Redis | RedisCluster | None = None,
        **options: Unpack[SaverOptions],
    ) -> AsyncIterator[AsyncRetentionRedisSaver]:
        """A saver that is set up, and closed at the end of the context."""
        saver = cls(redis_url, redis_client=redis_client, **options)
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
        """Finish the trims that wait, and close the client unless it was given."""
        await self._trims.close()
        await super().__aexit__(_exc_type, _exc_val, _exc_tb)

    async def aclose(self) -> None:
        """Finish the trims that wait, as leaving the context does."""
        await self.__aexit__(None, None, None)

    @property
    def trims(self) -> TrimCounts:
        """What was trimmed since the saver was made."""
        return self._trimmer.counts

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        stream_mode: str = "values",
    ) -> RunnableConfig:
        """Store a checkpoint, and see to it that its thread does not grow too long."""
        arguments = config, checkpoint, metadata, new_versions, stream_mode
        if isinstance(self._trims, AsyncInline):
            return await self._put_inline(self._trims, *arguments)
        stored = await super().aput(*arguments)
        put = self._trimmer.puts.add(config, stored)
        if put is not None:
            await self._trims.put(put)
        return stored

    async def _put_inline(self, trims: AsyncInline, *arguments: Any) -> RunnableConfig:
        last = AsyncLast(self._redis)
        like: Any = copy.copy(self)
        like._redis = last
        stored: RunnableConfig = await super(AsyncRetentionRedisSaver, like).aput(*arguments)
        await trims.put(self._trimmer.puts.add(arguments[0], stored), last.commands)
        return stored

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Read a checkpoint, the newest without an id; None when there is none."""
        return listing.real(await super().aget_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints, newest first; see `RetentionRedisSaver.list`."""
        engine = self._trimmer.engine
        wanted = listing.Wanted.of(engine, config, filter, before)
        listed = listing.Listing(engine, wanted, limit)
        while (some := await self._transport.run(listed.next())) is not None:
            for one in some:
                yield listing.as_tuple(self, one, unannounced=True)

    async def aprune(self, thread_ids: Sequence[str], **options: Unpack[PruneOptions]) -> None:
        """Prune threads now; see `RetentionRedisSaver.prune`."""
        keep = pruning_policy(**options)
        if keep is None:
            for thread_id in thread_ids:
                await self.adelete_thread(thread_id)
        elif thread_ids:
            names = [str(name) for name in thread_ids]
            operation = Operations(Served.of(self._trimmer.engine)).trim(names, keep)
            warn_left_alone(await self._transport.run(operation))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread entirely, whatever any policy or pin says."""
        thread = self._trimmer.engine.layout.stored_thread(str(thread_id))
        await self._transport.run(threads.delete(self._trimmer.engine, thread))
        self._trimmer.puts.forget([thread])

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> Kept:  # type: ignore[override]
        """Delete the checkpoints of some runs; see `RetentionRedisSaver.delete_for_runs`."""
        return await self._transport.run(threads.delete_runs(self._trimmer.engine, run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes of a thread; see `RetentionRedisSaver.copy_thread`."""
        source, target = threads.different(self._trimmer.engine, source_thread_id, target_thread_id)
        await self._transport.run(threads.copy(self._trimmer.engine, source, target))

    # --- for other threads than that of the event loop --------------------------------------------

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """List checkpoints, newest first, from another thread than that of the event loop."""
        found = self.alist(config, filter=filter, before=before, limit=limit)
        while (one := self._from_outside(_next(found))) is not None:
            yield one

    def prune(self, thread_ids: Sequence[str], **options: Unpack[PruneOptions]) -> None:
        """Prune threads now, from another thread than that of the event loop."""
        self._from_outside(self.aprune(thread_ids, **options))

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread, from another thread than that of the event loop."""
        self._from_outside(self.adelete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> Kept:  # type: ignore[override]
        """Delete the checkpoints of runs, from another thread than that of the event loop."""
        return self._from_outside(self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread, from another thread than that of the event loop."""
        self._from_outside(self.acopy_thread(source_thread_id, target_thread_id))

    def _from_outside(self, wanted: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, run by the event loop.

        Raises:
            RuntimeError: The saver is not set up, or this is the event loop's own thread.
        """
        try:
            if self.loop is None:
                raise RuntimeError("the saver is not set up: `async with` it, or asetup() first")
            with suppress(RuntimeError):
                if asyncio.get_running_loop() is self.loop:
                    raise asyncio.InvalidStateError(
                        "this would block the event loop: use the method whose name begins with a"
                    )
        except BaseException:
            wanted.close()
            raise
        return asyncio.run_coroutine_threadsafe(wanted, self.loop).result()


async def _next(found: AsyncIterator[CheckpointTuple]) -> CheckpointTuple | None:
    return await anext(found, None)
