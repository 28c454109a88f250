"""redis-py's keyspace notifications, with two things changed.

Messages are passed on as they come: redis-py's own parser drops keys with a newline, and replaces
bytes that are no UTF-8. And it is reported when a node of a cluster was connected to anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from redis.asyncio import RedisCluster
from redis.asyncio.keyspace_notifications import (
    AbstractAsyncKeyspaceNotifications,
    AsyncClusterKeyspaceNotifications,
    AsyncKeyspaceNotifications,
)

from redis_retention.transport import AsyncClient

Handlers: TypeAlias = Mapping[str, Callable[[dict[str, Any]], None]]


class Subscription(AbstractAsyncKeyspaceNotifications):
    """Subscriptions whose handlers get each message as it comes."""

    async def listen_to(self, patterns: Handlers, channels: Handlers) -> None:
        """Subscribe to patterns and to single channels."""
        await self._execute_subscribe(dict(patterns), dict(channels))
        self._track_subscribe(dict(patterns), dict(channels))

    async def close(self) -> None:
        """Give the connections back."""
        await self.aclose()  # type: ignore[no-untyped-call]


class _OfServer(Subscription, AsyncKeyspaceNotifications):
    pass


class _OfCluster(Subscription, AsyncClusterKeyspaceNotifications):
    def __init__(self, client: RedisCluster, on_gap: Callable[[str], None]) -> None:
        super().__init__(client)
        self._on_gap = on_gap

    async def listen_to(self, patterns: Handlers, channels: Handlers) -> None:
        # A client that has sent no command yet knows no nodes.
        await self.cluster.initialize()
        await super().listen_to(patterns, channels)

    async def refresh_subscriptions(self) -> None:
        await super().refresh_subscriptions()  # type: ignore[no-untyped-call]
        self._on_gap("a node of the cluster was connected to anew")


def open_subscription(client: AsyncClient, on_gap: Callable[[str], None]) -> Subscription:
    """A subscription to one server, or to each primary of a cluster.

    Args:
        client: A client that answers bytes.
        on_gap: Called when messages may have been lost without an error.
    """
    if isinstance(client, RedisCluster):
        return _OfCluster(client, on_gap)
    return _OfServer(client)
