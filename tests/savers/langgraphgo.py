"""What langgraphgo's ``RedisCheckpointStore`` does, written down: what it stores, and how it reads.

`Save` marshals a struct, whose fields come in their order; a map's keys come sorted; the characters
``<``, ``>`` and ``&`` are escaped. Then it sends, in a pipeline and not in a transaction,

    SET    {prefix}checkpoint:{id} JSON [EX ttl]
    ZADD   {prefix}execution:{execution_id}:checkpoints version id     if the metadata has one
    EXPIRE the same                                                    if there is a ttl
    ZADD   {prefix}thread:{thread_id}:checkpoints version id           if the metadata has one
    EXPIRE the same                                                    if there is a ttl

Older versions have SADD in place of ZADD; the oldest know no threads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

import redis

DEFAULT_PREFIX = "langgraph:"
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028"}


class Version(Enum):
    """The versions of the store that differ in what they write."""

    EXECUTIONS = "sets, of executions alone"
    SETS = "sets"
    SORTED = "sorted sets"


@dataclass(frozen=True)
class Checkpoint:
    """The struct of that name."""

    id: str
    version: int
    execution_id: str | None = None
    thread_id: str | None = None
    node_name: str = "agent"
    state: Any = "state"
    timestamp: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def metadata(self) -> dict[str, Any]:
        ids = {"execution_id": self.execution_id, "thread_id": self.thread_id}
        return {"source": "loop", **{name: value for name, value in ids.items() if value}}


def marshalled(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as ``json.Marshal`` writes it, byte for byte."""
    fields = {
        "id": checkpoint.id,
        "node_name": checkpoint.node_name,
        "state": _sorted(checkpoint.state),
        "metadata": _sorted(checkpoint.metadata),
        "timestamp": _rfc_3339(checkpoint.timestamp),
        "version": checkpoint.version,
    }
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return re.sub("[<>&\u2028]", lambda found: _ESCAPED[found[0]], text).encode()


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _rfc_3339(time: datetime) -> str:
    text = time.strftime("%Y-%m-%dT%H:%M:%S")
    if time.microsecond:
        text += f".{time.microsecond:06}".rstrip("0")
    offset = time.strftime("%z")
    return text + ("Z" if time.utcoffset() == timedelta() else f"{offset[:3]}:{offset[3:]}")


class Store:
    """The store, in one of its versions."""

    def __init__(
        self,
        client: redis.Redis,
        version: Version = Version.SORTED,
        prefix: str = DEFAULT_PREFIX,
        ttl: int = 0,
    ) -> None:
        self.client = client
        self.version = version
        self.prefix = prefix
        self.ttl = ttl

    def checkpoint_key(self, checkpoint_id: str) -> str:
        return f"{self.prefix}checkpoint:{checkpoint_id}"

    def execution_key(self, execution_id: str) -> str:
        return f"{self.prefix}execution:{execution_id}:checkpoints"

    def thread_key(self, thread_id: str) -> str:
        return f"{self.prefix}thread:{thread_id}:checkpoints"

    def save(self, checkpoint: Checkpoint) -> None:
        pipe = self.client.pipeline(transaction=False)
        key = self.checkpoint_key(checkpoint.id)
        pipe.set(key, marshalled(checkpoint), ex=self.ttl or None)
        if checkpoint.execution_id:
            self._index(pipe, self.execution_key(checkpoint.execution_id), checkpoint)
        if checkpoint.thread_id and self.version is not Version.EXECUTIONS:
            self._index(pipe, self.thread_key(checkpoint.thread_id), checkpoint)
        pipe.execute()

    def _index(self, pipe: Any, key: str, checkpoint: Checkpoint) -> None:
        if self.version is Version.SORTED:
            pipe.zadd(key, {checkpoint.id: checkpoint.version})
        else:
            pipe.sadd(key, checkpoint.id)
        if self.ttl:
            pipe.expire(key, self.ttl)

    def load(self, checkpoint_id: str) -> dict[str, Any] | None:
        """``Load``: None where that answers an error."""
        text = self.client.get(self.checkpoint_key(checkpoint_id))
        return None if text is None else json.loads(text)

    def list_by_execution(self, execution_id: str) -> list[dict[str, Any]]:
        """``List``: the checkpoints of an execution; what has expired is passed over."""
        return self._listed(self.execution_key(execution_id))

    def list_by_thread(self, thread_id: str) -> list[dict[str, Any]]:
        return self._listed(self.thread_key(thread_id))

    def _listed(self, key: str) -> list[dict[str, Any]]:
        found = [self.load(name) for name in self.names(key)]
        return [checkpoint for checkpoint in found if checkpoint is not None]

    def names(self, key: str) -> list[str]:
        """The ids that a list names."""
        client: Any = self.client
        if self.version is Version.SORTED:
            return [name.decode() for name in client.zrange(key, 0, -1)]
        return [name.decode() for name in client.smembers(key)]

    def get_latest_by_thread(self, thread_id: str) -> dict[str, Any] | None:
        """``GetLatestByThread``: None where that answers an error."""
        key = self.thread_key(thread_id)
        if self.version is Version.SORTED:
            client: Any = self.client
            newest = client.zrevrange(key, 0, 0)
            return self.load(newest[0].decode()) if newest else None
        latest = None
        for checkpoint in self._listed(key):
            if latest is None or checkpoint["version"] > latest["version"]:
                latest = checkpoint
        return latest
