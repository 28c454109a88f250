"""A storage format of strings and a sorted set: the Python half of ``tiny.lua``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import redis

from redis_retention.layouts import Events, Family, RootKey, SearchIndex

_STARTS = {
    b"tiny:": Family.CHECKPOINT,
    b"tiny-write:": Family.WRITE,
    b"tiny-writes:": Family.REGISTRY,
}


class Tiny:
    """Threads without namespaces, JSON and pointers."""

    name: ClassVar[str] = str(Path(__file__).with_name("tiny.lua"))
    tag: ClassVar[str] = "tiny"
    events: ClassVar[Events] = Events("$", frozenset({b"set"}), ("SET", "1"))
    lists_itself: ClassVar[bool] = False
    lists_names: ClassVar[bool] = False
    write_parts: ClassVar[int] = 1
    documents_per_call: ClassVar[int] = 0
    requirement: ClassVar[None] = None

    def arguments(self) -> list[str]:
        return ["", ""]

    def families(self) -> dict[bytes, Family]:
        return dict(_STARTS)

    def search_indexes(self) -> dict[Family, SearchIndex]:
        return {}

    def stored_thread(self, thread: str | bytes) -> bytes:
        return thread.encode() if isinstance(thread, str) else thread

    def checkpoint_key(self, thread: bytes, namespace: bytes, checkpoint_id: bytes) -> bytes:
        return b"tiny" + self.checkpoint_suffix(thread, namespace, checkpoint_id)

    def checkpoint_suffix(self, thread: bytes, _namespace: bytes, checkpoint_id: bytes) -> bytes:
        return b":" + thread + b":" + checkpoint_id

    def suffix(self, family: Family, rest: bytes) -> bytes:
        return b":" + (rest.rpartition(b":")[0] if family is Family.WRITE else rest)

    def split(self, name: bytes) -> tuple[bytes, bytes]:
        place, _, checkpoint_id = name.rpartition(b":")
        return place, checkpoint_id

    def latest_key(self, suffix: bytes) -> None:
        return None

    def lists_of(self, _thread: bytes) -> list[bytes]:
        return []

    def root_key(self, key: bytes) -> RootKey | None:
        for start, family in _STARTS.items():
            if key.startswith(start):
                suffix = self.suffix(family, key[len(start) :])
                thread, _, checkpoint_id = suffix.rpartition(b":")
                return RootKey(family, thread[1:], suffix, checkpoint_id)
        return None


def write_thread(client: redis.Redis, thread: str, ids: list[str], writes: int = 2) -> None:
    """Store checkpoints, each the child of the one before, with pending writes."""
    parent = ""
    for checkpoint_id in ids:
        for number in range(writes):
            key = f"tiny-write:{thread}:{checkpoint_id}:{number}"
            client.set(key, "value")
            client.zadd(f"tiny-writes:{thread}:{checkpoint_id}", {key: 0})
        client.set(f"tiny:{thread}:{checkpoint_id}", parent)
        parent = checkpoint_id


def names(thread: str, ids: list[str], writes: int = 2) -> set[str]:
    """All keys of checkpoints."""
    found = {f"tiny:{thread}:{one}" for one in ids}
    found |= {f"tiny-writes:{thread}:{one}" for one in ids}
    return found | {f"tiny-write:{thread}:{one}:{n}" for one in ids for n in range(writes)}


def stored(client: redis.Redis) -> set[str]:
    """The keys of the format that are in the database."""
    return {key.decode() for key in client.scan_iter("tiny*", count=1000)}
