"""What must be true of every trim, checked while a graph runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import redis
from langgraph.checkpoint.redis import RedisSaver

from tests.graphs.observe import Key, keys, tuples
from tests.model.snapshot import Prefixes

DEFAULT = Prefixes()


@dataclass
class Trimmer:
    """Trims one thread, and sees to it that what survives reads as it did before."""

    reader: RedisSaver
    thread: str
    trim: Callable[[], object]
    deleted: int = 0
    """Checkpoints, in all namespaces, in all trims."""

    def __call__(self) -> None:
        before = tuples(self.reader, self.thread)
        self.trim()
        after = tuples(self.reader, self.thread)
        changed = [key for key, reading in after.items() if reading != before[key]]
        assert not changed, f"these read otherwise than before the trim: {changed}"
        assert after, "nothing is left"
        self.deleted += len(before) - len(after)


def orphans(client: redis.Redis, reader: RedisSaver, thread: str) -> list[bytes]:
    """Keys that bear the thread's name and belong to no checkpoint that there is.

    Only for threads and namespaces whose names cannot be mistaken for others'.
    """
    there = keys(reader, thread)
    allowed = set(_of_checkpoints(thread, there))
    starts = tuple(DEFAULT.writes_of(thread, *key) for key in there)
    return sorted(
        name
        for name in client.scan_iter(count=1000)
        if f":{thread}:".encode() in name and name not in allowed and not name.startswith(starts)
    )


def _of_checkpoints(thread: str, there: list[Key]) -> Iterator[bytes]:
    for ns, name in there:
        yield DEFAULT.document(thread, ns, name)
        yield DEFAULT.registry(thread, ns, name)
        yield DEFAULT.pointer(thread, ns)


def searchable(client: redis.Redis, index: str) -> int:
    """How many documents a search index finds."""
    plain: Any = redis.Redis(connection_pool=client.connection_pool)
    reply = plain.execute_command("FT.SEARCH", index, "*", "NOCONTENT", "LIMIT", 0, 0)
    return int(reply[b"total_results"] if isinstance(reply, dict) else reply[0])


def count_keys(client: redis.Redis, start: str) -> int:
    """How many keys begin with this and a colon."""
    return sum(1 for _ in client.scan_iter(match=f"{start}:*", count=1000))


Snapshot: TypeAlias = "dict[bytes, tuple[bytes, int]]"
"""Every key with its whole value as the server dumps it, and when it expires (-1 never)."""


def snapshot(client: redis.Redis) -> Snapshot:
    """The whole database."""
    names = sorted(client.scan_iter(count=1000))
    # Without what `client.json()` makes of replies.
    plain = redis.Redis(connection_pool=client.connection_pool)
    with plain.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.dump(name)
            pipeline.pexpiretime(name)
        replies = pipeline.execute()
    found = zip(names, replies[::2], replies[1::2], strict=True)
    return {name: (value, expires) for name, value, expires in found if value is not None}


@dataclass(frozen=True)
class Changes:
    """How a database differs from an earlier look at it; keys of our own do not count."""

    gone: frozenset[bytes] = frozenset()
    new: frozenset[bytes] = frozenset()
    changed: frozenset[bytes] = frozenset()


NONE = Changes()


def changes(before: Snapshot, after: Snapshot) -> Changes:
    """Keys that went, that came, and that have another value or another expiry time."""
    before, after = _foreign(before), _foreign(after)
    return Changes(
        gone=frozenset(before.keys() - after.keys()),
        new=frozenset(after.keys() - before.keys()),
        changed=frozenset(key for key in before.keys() & after.keys() if before[key] != after[key]),
    )


def _foreign(database: Snapshot) -> Snapshot:
    return {key: value for key, value in database.items() if not key.startswith(b"retention:")}
