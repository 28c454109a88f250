"""The retention that routes work with: asynchronous, whatever the application's client is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import redis
import redis.asyncio

from redis_retention.policy import Policy
from redis_retention.retention import AsyncRetention, Retention
from redis_retention.transport import AsyncClient, Client

_SYNCHRONOUS = (redis.Redis, redis.RedisCluster)


class _InThreads:
    """A synchronous object as an asynchronous one: each call is made in a thread."""

    def __init__(self, wrapped: object) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._wrapped, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            return await asyncio.to_thread(method, *arguments, **options)

        return call


class Backend:
    """A retention and the client that it uses.

    Args:
        client: A redis-py client, of either kind.
        policy: What to keep where a call does not say it and no stored policy but the default
            matches.
        options: What `Retention` takes beside these.
    """

    def __init__(
        self, client: Client | AsyncClient, policy: Policy | None = None, **options: Any
    ) -> None:
        # It costs little beside a request, and people want to see it.
        options = {"estimate_memory": True, **options}
        self.server = _server_of(client)
        self.retention: AsyncRetention
        self._given_client = client
        self._client: Any
        self._given: Retention | AsyncRetention
        if isinstance(client, _SYNCHRONOUS):
            self._given = Retention(client, policy=policy, **options)
            self.retention = cast(AsyncRetention, _InThreads(self._given))
            self._client = _InThreads(client)
        else:
            self._given = self.retention = AsyncRetention(client, policy=policy, **options)
            self._client = client

    def use(self, policy: Policy | None, trigger: int | None) -> None:
        """Let another policy count from now on, in place of the one given before."""
        self._given.use(policy, trigger)

    async def memory(self) -> int:
        """Bytes that the server uses, or all primaries of a cluster together."""
        if isinstance(self._given_client, redis.RedisCluster | redis.asyncio.RedisCluster):
            told = await self._client.info("memory", target_nodes="primaries")
            # Of one primary it is the answer itself.
            nodes = [told] if "used_memory" in told else told.values()
            return sum(int(node["used_memory"]) for node in nodes)
        told = await self._client.info("memory")
        return int(told["used_memory"])

    async def ping(self) -> None:
        """Ask the server whether it is there.

        Raises:
            redis.exceptions.RedisError: It is not.
        """
        await self._client.ping()


def _server_of(client: Client | AsyncClient) -> str:
    """A URL without a password, for messages."""
    options: dict[str, Any]
    if isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster):
        # Before an asynchronous one has asked for the others, it is one that it was given.
        node: Any = client.get_default_node()
        options = {} if node is None else {"host": node.host, "port": node.port}
    else:
        options = client.connection_pool.connection_kwargs
    if "path" in options:
        return f"unix://{options['path']}"
    host = str(options.get("host", "localhost"))
    scheme = "rediss" if "ssl_cert_reqs" in options else "redis"
    address = f"[{host}]" if ":" in host else host
    return f"{scheme}://{address}:{options.get('port', 6379)}"
