"""What probes, metrics and `/api/health` ask of the process that they speak of."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from redis.exceptions import RedisError

from redis_retention.activity import Activity
from redis_retention.http.backend import Backend

_PATIENCE_SECONDS = 2.0


class Observed(Protocol):
    """A process and what it does."""

    activity: Activity

    @property
    def healthy(self) -> bool:
        """Whether the process still does something."""

    @property
    def waiting(self) -> int:
        """Changed documents that have not been worked off."""

    async def is_ready(self) -> bool:
        """Whether it can do its work."""

    def rules_changed(self) -> None:
        """Take notice that the stored policies have changed."""

    def service(self) -> dict[str, Any] | None:
        """What the daemon does; None where there is none."""


class Alone:
    """A process without a daemon: it does what it is asked for."""

    waiting = 0
    healthy = True

    def __init__(self, backend: Backend) -> None:
        self.activity = Activity()
        self._backend = backend

    async def is_ready(self) -> bool:
        """Whether the server answers."""
        try:
            await asyncio.wait_for(self._backend.ping(), _PATIENCE_SECONDS)
        except (RedisError, OSError, asyncio.TimeoutError):
            return False
        return True

    def rules_changed(self) -> None:
        """They are read for each request."""

    def service(self) -> None:
        """There is no daemon."""
