"""The synchronous saver."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.redis import RedisSaver
from redis import Redis, RedisCluster

from redis_retention.langgraph import listing, threads
from redis_retention.langgraph.background import Inline, Worker
from redis_retention.langgraph.last import Last
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
from redis_retention.served import Served
from redis_retention.transport import Transport

if TYPE_CHECKING:
    from typing_extensions import Unpack

# `list` is a method below.
Kept: TypeAlias = list[KeptCheckpoint]


class RetentionRedisSaver(RedisSaver):
    """A `RedisSaver` that trims the threads that it writes.

    Args:
        redis_url: Where the server is, if no client is given.
        redis_client: A client of the server; the caller closes it.
        connection_args: For the client that is made for `redis_url`.
        ttl: As for `RedisSaver`.
        checkpoint_prefix: As for `RedisSaver`.
        checkpoint_write_prefix: As for `RedisSaver`.
        retention: What to keep of each thread; None for what the policies say that are stored in
            Redis (`redis-retention policy set`).
        trigger: A thread is trimmed when it has more checkpoints than this. By default three times
            what `retention` keeps; for stored policies without a trigger of their own, never.
        mode: ``background`` trims beside the puts, so that none waits for it; ``inline`` within
            them, for programs that may stop when they have answered.
        on_error: Is called when a trim has failed, with the ids of its threads. No put fails by it.
        prefix: What all keys of our own begin with.
        keys_per_call: Keys that one call may delete at most while the server does nothing else.
        grace: How long a checkpoint is retained that no other has as its parent yet.

    Raises:
        InvalidPolicy: The trigger is less than what is retained.
        ValueError: An argument means nothing, or the client has but one connection.
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
        self._transport = Transport(self._redis)
        trims = Inline if options.get("mode") == "inline" else Worker
        self._trims: Inline | Worker = trims(self._trimmer, self._transport)
        weakref.finalize(self, self._trims.stop).atexit = False

    @classmethod
    @contextmanager
    def from_conn_string(
        cls,
        redis_url: str | None = None,
        *,
        redis_client: Redis | RedisCluster | None = None,
        **options: Unpack[SaverOptions],
    ) -> Iterator[RetentionRedisSaver]:
        """A saver that is closed at the end of the context; see the class for the arguments."""
        saver = cls(redis_url, redis_client=redis_client, **options)
        with saver:
            yield saver

    def __enter__(self) -> RetentionRedisSaver:
        """Begin a context that closes the saver at its end."""
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Close the saver."""
        self.close()

    def close(self) -> None:
        """Finish the trims that wait, and close the client unless it was given."""
        self._trims.close()
        if self._owns_its_client:
            self._redis.close()

    @property
    def trims(self) -> TrimCounts:
        """What was trimmed since the saver was made."""
        return self._trimmer.counts

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, and see to it that its thread does not grow too long."""
        if isinstance(self._trims, Inline):
            return self._put_inline(self._trims, config, checkpoint, metadata, new_versions)
        stored = super().put(config, checkpoint, metadata, new_versions)
        put = self._trimmer.puts.add(config, stored)
        if put is not None:
            self._trims.put(put)
        return stored

    def _put_inline(self, trims: Inline, *arguments: Any) -> RunnableConfig:
        last = Last(self._redis)
        like: Any = copy.copy(self)
        like._redis = last
        stored: RunnableConfig = super(RetentionRedisSaver, like).put(*arguments)
        trims.put(self._trimmer.puts.add(arguments[0], stored), last.commands)
        return stored

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Read a checkpoint, the newest without an id; None when there is none."""
        return listing.real(super().get_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """List checkpoints, newest first.

        Args:
            config: Its thread; and its namespace, checkpoint and run, where it has them. None
                lists all threads, by a look at all keys.
            filter: What the metadata must say, all of it.
            before: List only checkpoints that are older than this one.
            limit: List no more than so many.
        """
        engine = self._trimmer.engine
        wanted = listing.Wanted.of(engine, config, filter, before)
        listed = listing.Listing(engine, wanted, limit)
        while (some := self._transport.run(listed.next())) is not None:
            for one in some:
                yield listing.as_tuple(self, one, unannounced=False)

    def prune(self, thread_ids: Sequence[str], **options: Unpack[PruneOptions]) -> None:
        """Prune threads now, and delete nothing that LangGraph needs of them.

        It retains the newest checkpoint of each namespace, what its delta channels are replayed
        from, what is pinned, and forks that are younger than the grace period. A subgraph that has
        ended is deleted with the checkpoint that started it.

        Args:
            thread_ids: Which threads.
            strategy: ``keep_latest`` keeps the newest checkpoint of each namespace, ``delete``
                deletes the threads.
            keep_last: Keep so many instead; 0 deletes the threads.
            max_results: Is for callers of `RedisSaver.prune`: there is no such limit here.
            policy: Keep what this says instead.

        Raises:
            ValueError: The strategy is another one, or contradicts the policy.
        """
        keep = pruning_policy(**options)
        if keep is None:
            for thread_id in thread_ids:
                self.delete_thread(thread_id)
        elif thread_ids:
            names = [str(name) for name in thread_ids]
            operation = Operations(Served.of(self._trimmer.engine)).trim(names, keep)
            warn_left_alone(self._transport.run(operation))

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread entirely, whatever any policy or pin says."""
        thread = self._trimmer.engine.layout.stored_thread(str(thread_id))
        self._transport.run(threads.delete(self._trimmer.engine, thread))
        self._trimmer.puts.forget([thread])

    def delete_for_runs(self, run_ids: Sequence[str]) -> Kept:  # type: ignore[override]
        """Delete the checkpoints of some runs, but for those that others still need.

        LangGraph's own type for this answers nothing.

        Args:
            run_ids: As in ``configurable.run_id``, or else in the metadata.

        Returns:
            The checkpoints of these runs that are retained, and why.

        Raises:
            RetentionError: A thread is not understood; nothing of that one is deleted.
        """
        return self._transport.run(threads.delete_runs(self._trimmer.engine, run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes of a thread to another one.

        Raises:
            ValueError: They are the same.
        """
        source, target = threads.different(self._trimmer.engine, source_thread_id, target_thread_id)
        self._transport.run(threads.copy(self._trimmer.engine, source, target))
