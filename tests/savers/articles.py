"""The checkpointer that articles show: each thread is one sorted set of pickles.

Written down from what it does: `save` adds a pickle with the time as its score, keeps the newest
by ZREMRANGEBYRANK if it is told how many, and lets the key expire some hours after the last one.
"""

from __future__ import annotations

import pickle
import time
from typing import Any

import redis


class RedisCheckpointer:
    """One sorted set a thread, each member a whole checkpoint."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        prefix: str = "checkpoint:",
        ttl: int | None = None,
        keep: int | None = None,
    ) -> None:
        self.client: Any = client
        self.prefix = prefix
        self.ttl = ttl
        self.keep = keep

    def key(self, thread_id: str) -> str:
        return f"{self.prefix}{thread_id}"

    def save(self, thread_id: str, state: Any, at: float | None = None) -> bytes:
        """Add a checkpoint; `at` is its time. The member comes back."""
        now = time.time() if at is None else at
        member = pickle.dumps({"thread_id": thread_id, "state": state, "timestamp": now})
        key = self.key(thread_id)
        self.client.zadd(key, {member: now})
        if self.keep is not None:
            self.client.zremrangebyrank(key, 0, -self.keep - 1)
        if self.ttl is not None:
            self.client.expire(key, self.ttl)
        return member

    def load(self, thread_id: str) -> Any:
        """The newest checkpoint, None if there is none."""
        newest = self.client.zrange(self.key(thread_id), -1, -1)
        return pickle.loads(newest[0]) if newest else None

    def history(self, thread_id: str) -> list[bytes]:
        """All members, oldest first."""
        found: list[bytes] = self.client.zrange(self.key(thread_id), 0, -1)
        return found
