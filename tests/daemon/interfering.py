"""Clients between whose commands something happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

# What a command awaits in turn is no place of its own.
_within = ContextVar("within", default=False)


class Interfered(redis.asyncio.Redis):
    """Calls `between` before and after whatever is awaited of it: commands, pipelines, replies."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.between: Callable[[], object] = lambda: None

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        # redis-py types no commands by name.
        return await self._interfered(super().execute_command, *arguments, **options)

    async def parse_response(self, *arguments: Any, **options: Any) -> Any:
        return await self._interfered(super().parse_response, *arguments, **options)

    def pipeline(self, *arguments: Any, **options: Any) -> Any:
        made = super().pipeline(*arguments, **options)
        made.execute = partial(self._interfered, made.execute)  # type: ignore[method-assign]
        return made

    async def _interfered(
        self, call: Callable[..., Awaitable[Any]], *arguments: Any, **options: Any
    ) -> Any:
        if _within.get():
            return await call(*arguments, **options)
        await asyncio.to_thread(self.between)
        _within.set(True)
        try:
            return await call(*arguments, **options)
        finally:
            _within.set(False)
            await asyncio.to_thread(self.between)


class Stalled(redis.asyncio.Redis):
    """For one thread the server needs longer than this client waits."""

    name = b"slow"
    patience = 0.2

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Like the daemon's own client, it tries nothing again by itself.
        once = Retry(NoBackoff(), 0)
        super().__init__(*arguments, **options, socket_timeout=self.patience, retry=once)
        place = self.connection_pool.connection_kwargs
        self._other = redis.Redis(host=place["host"], port=place["port"])

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        if arguments[0] == "EVALSHA" and any(self._names(word) for word in arguments):
            await asyncio.to_thread(self._other.client_pause, int(self.patience * 1700))
        # redis-py types no commands by name.
        return await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]

    def _names(self, word: Any) -> bool:
        return isinstance(word, bytes) and self.name in word
