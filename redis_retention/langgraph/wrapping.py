"""Retention for a saver that exists."""

from __future__ import annotations

import copy
from datetime import timedelta
from functools import cache
from typing import Any, overload

from langgraph.checkpoint.redis import RedisSaver
from langgraph.checkpoint.redis.aio import AsyncRedisSaver

from redis_retention.engine import DEFAULT_PREFIX
from redis_retention.langgraph.aio import AsyncRetentionRedisSaver
from redis_retention.langgraph.keeping import Mode, OnError
from redis_retention.langgraph.saver import RetentionRedisSaver
from redis_retention.pace import DEFAULT_KEYS_PER_CALL
from redis_retention.policy import Policy
from redis_retention.retention import DEFAULT_GRACE


@overload
def with_retention(
    saver: RedisSaver,
    retention: Policy | None = None,
    *,
    trigger: int | None = None,
    mode: Mode = "background",
    on_error: OnError | None = None,
    prefix: str = DEFAULT_PREFIX,
    keys_per_call: int = DEFAULT_KEYS_PER_CALL,
    grace: timedelta = DEFAULT_GRACE,
) -> RetentionRedisSaver: ...


@overload
def with_retention(
    saver: AsyncRedisSaver,
    retention: Policy | None = None,
    *,
    trigger: int | None = None,
    mode: Mode = "background",
    on_error: OnError | None = None,
    prefix: str = DEFAULT_PREFIX,
    keys_per_call: int = DEFAULT_KEYS_PER_CALL,
    grace: timedelta = DEFAULT_GRACE,
) -> AsyncRetentionRedisSaver: ...


def with_retention(
    saver: RedisSaver | AsyncRedisSaver,
    retention: Policy | None = None,
    *,
    trigger: int | None = None,
    mode: Mode = "background",
    on_error: OnError | None = None,
    prefix: str = DEFAULT_PREFIX,
    keys_per_call: int = DEFAULT_KEYS_PER_CALL,
    grace: timedelta = DEFAULT_GRACE,
) -> RetentionRedisSaver | AsyncRetentionRedisSaver:
    """A saver like another one, that trims the threads that it writes.

    It uses the other's client and does what the other's class does. The other stays as it is: what
    is written with that one is not trimmed. Close both.

    Args:
        saver: A `RedisSaver` or an `AsyncRedisSaver`, or one of a class that is derived from them.
        retention: What to keep, and all that follows: see `RetentionRedisSaver`.
        trigger: See there.
        mode: See there.
        on_error: See there.
        prefix: See there.
        keys_per_call: See there.
        grace: See there.

    Raises:
        TypeError: It is another kind of saver.
    """
    if not isinstance(saver, RedisSaver | AsyncRedisSaver):
        raise TypeError(f"with_retention needs a RedisSaver or an AsyncRedisSaver, not {saver!r}")
    like: Any = copy.copy(saver)
    kind: Any = type(saver)
    like.__class__ = _retaining(kind)
    # Whoever has made the client closes it.
    like._owns_its_client = False
    like._retain(
        retention=retention,
        trigger=trigger,
        mode=mode,
        on_error=on_error,
        prefix=prefix,
        keys_per_call=keys_per_call,
        grace=grace,
    )
    retaining: RetentionRedisSaver | AsyncRetentionRedisSaver = like
    return retaining


@cache
def _retaining(kind: type[Any]) -> type[Any]:
    """The class of a saver that does what `kind` does, and retains."""
    ours = RetentionRedisSaver if issubclass(kind, RedisSaver) else AsyncRetentionRedisSaver
    if issubclass(kind, ours):
        return kind
    if issubclass(ours, kind):
        return ours
    return type(f"Retaining{kind.__name__}", (ours, kind), {})
