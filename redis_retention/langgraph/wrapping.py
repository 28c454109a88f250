"""Retention for a saver that exists."""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any, overload

from langgraph.checkpoint.redis import RedisSaver
from langgraph.checkpoint.redis.aio import AsyncRedisSaver

from redis_retention.langgraph.aio import AsyncRetentionRedisSaver
from redis_retention.langgraph.saver import RetentionRedisSaver
from redis_retention.langgraph.trimmer import TrimOptions
from redis_retention.policy import Policy

if TYPE_CHECKING:
    from typing_extensions import Unpack


@overload
def with_retention(
    saver: RedisSaver, retention: Policy | None = None, **options: Unpack[TrimOptions]
) -> RetentionRedisSaver: ...


@overload
def with_retention(
    saver: AsyncRedisSaver, retention: Policy | None = None, **options: Unpack[TrimOptions]
) -> AsyncRetentionRedisSaver: ...


def with_retention(
    saver: RedisSaver | AsyncRedisSaver,
    retention: Policy | None = None,
    **options: Unpack[TrimOptions],
) -> RetentionRedisSaver | AsyncRetentionRedisSaver:
    """A saver like another one, that trims the threads that it writes.

    It uses the other's client and does what the other's class does. The other does not change: what
    is written with that one is not trimmed. Close both.

    Args:
        saver: A `RedisSaver` or an `AsyncRedisSaver`, or one of a class that is derived from them.
        retention: What to keep; None for what the policies say that are stored in Redis.
        options: ``trigger``, ``mode``, ``on_error``, ``prefix``, ``keys_per_call`` and ``grace``,
            as for `RetentionRedisSaver`.

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
    like._retain(retention=retention, **options)
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
