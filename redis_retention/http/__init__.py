"""The HTTP API: served by ``redis-retention serve`` and ``run --http``, or within an application.

>>> from redis.asyncio import Redis
>>> from redis_retention import Policy
>>> from redis_retention.http import retention_app
>>> app = retention_app(Redis(), Policy(keep_last=10))  # doctest: +SKIP
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from redis_retention.engine import DEFAULT_PREFIX
from redis_retention.layouts.names import AUTO, LayoutChoice
from redis_retention.pace import DEFAULT_KEYS_PER_CALL
from redis_retention.policy import Policy
from redis_retention.retention import DEFAULT_GRACE, DEFAULT_MAX_STALL
from redis_retention.transport import AsyncClient, Client

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["retention_app"]


def retention_app(
    client: Client | AsyncClient,
    policy: Policy | None = None,
    *,
    trigger: int | None = None,
    token: str | None = None,
    read_only: bool = False,
    checkpoint_prefix: str = "checkpoint",
    write_prefix: str = "checkpoint_write",
    go_prefix: str = "langgraph:",
    zset_prefix: str = "checkpoint:",
    layout: LayoutChoice = AUTO,
    prefix: str = DEFAULT_PREFIX,
    keys_per_call: int = DEFAULT_KEYS_PER_CALL,
    max_stall: timedelta = DEFAULT_MAX_STALL,
    grace: timedelta = DEFAULT_GRACE,
) -> ASGIApp:
    """The HTTP API as an ASGI application, to be mounted into another one.

    Whoever reaches it can have checkpoints deleted: keep it behind what the application asks of
    its operators, or give it a token.

    Args:
        client: A redis-py client of either kind, of the server (or cluster) on which the saver
            writes. The caller closes it.
        policy: What to keep where a request does not say it and no stored policy but the default
            matches; None for what the stored ones say.
        trigger: The trigger that goes with it, for sweeps.
        token: What those who call have to send, as ``Authorization: Bearer TOKEN``; None for
            nothing.
        read_only: Nothing may be changed.
        checkpoint_prefix: `RedisSaver`'s ``checkpoint_prefix``.
        write_prefix: `RedisSaver`'s ``checkpoint_write_prefix``.
        go_prefix: The ``Prefix`` of langgraphgo's store, with its colon.
        zset_prefix: What stands before the thread in the key of a sorted set of checkpoints.
        layout: Which storage formats to serve, by their names; ``auto`` serves what there is.
        prefix: What all keys of our own begin with.
        keys_per_call: Keys that one call may delete at most while the server does nothing else.
        max_stall: For how long a call of a trim is to hold the server up.
        grace: How long a checkpoint is retained that no other has as its parent yet.
    """
    # The daemon uses parts of this package without all that an application needs.
    from redis_retention.http.access import Access
    from redis_retention.http.app import application
    from redis_retention.http.backend import Backend

    backend = Backend(
        client,
        policy,
        trigger=trigger,
        checkpoint_prefix=checkpoint_prefix,
        write_prefix=write_prefix,
        go_prefix=go_prefix,
        zset_prefix=zset_prefix,
        layout=layout,
        prefix=prefix,
        keys_per_call=keys_per_call,
        max_stall=max_stall,
        grace=grace,
    )
    return application(backend, Access(token, read_only))
