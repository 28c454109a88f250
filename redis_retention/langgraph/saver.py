"""The synchronous saver."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.redis import RedisSaver
from redis import Redis, RedisCluster

from redis_retention.engine import DEFAULT_KEYS_PER_CALL, DEFAULT_PREFIX
from redis_retention.langgraph.background import Inline, Worker
from redis_retention.langgraph.keeping import Keeper, Mode, OnError, TrimCounts, keeper_for
from redis_retention.policy import Policy
from redis_retention.retention import DEFAULT_GRACE
from redis_retention.transport import Transport


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
        on_error: Is told when a trim has failed, with the ids of its threads. No put fails by it.
        prefix: What all keys of our own begin with.
        keys_per_call: Keys that one call may delete while the server does nothing else.
        grace: How long a checkpoint stays that no other has as its parent yet.

    Raises:
        InvalidPolicy: The trigger is less than what is kept.
        ValueError: An argument means nothing, or the client has but one connection.
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
        self._transport = Transport(self._redis)
        trims = Inline if mode == "inline" else Worker
        self._trims: Inline | Worker = trims(self._keeper, self._transport)
        # Also a program that ends without closing it finishes what waits.
        weakref.finalize(self, self._trims.close)

    @classmethod
    @contextmanager
    def from_conn_string(
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
    ) -> Iterator[RetentionRedisSaver]:
        """A saver that is closed at the end of the context; see the class for the arguments."""
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
        """Finish the trims that wait, and close the client unless somebody has brought it."""
        self._trims.close()
        if self._owns_its_client:
            self._redis.close()

    @property
    def trims(self) -> TrimCounts:
        """What was trimmed since the saver was made."""
        return self._keeper.counts

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, and see to it that its thread does not grow too long."""
        stored = super().put(config, checkpoint, metadata, new_versions)
        put = self._keeper.note(config, stored)
        if put is not None:
            self._trims.put(put)
        return stored
