"""Threads of every storage format, to lie side by side in one database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import redis
from langgraph.checkpoint.base import empty_checkpoint
from langgraph_checkpoint_plainredis import RedisSaver as PlainRedisSaver

from redis_retention.layouts import Layout
from tests.integration.threads import fill_fast, ids
from tests.langgraph_js.documents import Line
from tests.layouts.tiny import Tiny
from tests.layouts.tiny import write_thread as write_tiny
from tests.savers.articles import RedisCheckpointer
from tests.savers.langgraphgo import Checkpoint, Store, Version

Keys = frozenset[bytes]

# Ids that look like other threads' keys, like patterns, or like namespaces.
HOSTILE = ("a", "a:b", "a:__empty__", "a::b", "*", "[a]", "a\\", "ü\n", "a,b", "checkpoint:a", ":")


# The counter and the register of langgraph-checkpoint-plainredis.
OF_ALL_THREADS = frozenset({b"lg:seq", b"lg:threads"})


def keys(client: redis.Redis) -> Keys:
    """All keys but our own."""
    found = client.scan_iter(count=1000)
    return frozenset(key for key in found if not key.startswith(b"retention:"))


def contents(client: redis.Redis, names: Iterable[bytes]) -> dict[bytes, object]:
    """What keys hold."""
    return {name: client.dump(name) for name in names}


def _none(_thread: str) -> Keys:
    return frozenset()


@dataclass(frozen=True)
class Format:
    """A storage format, and who writes it.

    Attributes:
        title: What it is called.
        layout: The same, or the format itself where it has no name.
        write: Writes one checkpoint of a thread after its parent.
        refuses: Whether its saver does not take a thread id, or a trim leaves some of it.
        lists: The keys that list a thread's checkpoints.
    """

    title: str
    layout: str | Layout
    write: Callable[[redis.Redis, str, str, str], None]
    refuses: Callable[[str], bool] = lambda _: False
    lists: Callable[[str], Keys] = _none

    def fill(self, client: redis.Redis, thread: str, checkpoints: int) -> list[Keys]:
        """Write a thread; returns the keys of each checkpoint alone, the oldest first."""
        added, parent = [], ""
        for name in ids(checkpoints, newest_age=9 * 3600.0):
            before = keys(client)
            self.write(client, thread, name, parent)
            added.append(keys(client) - before - self.lists(thread) - OF_ALL_THREADS)
            parent = name
        return added


def _write_python(client: redis.Redis, thread: str, name: str, parent: str) -> None:
    fill_fast(client, thread, [name], 2, parent=parent)


class _WriteJs:
    """Goes on with the line of each thread."""

    def __init__(self) -> None:
        self._lines: dict[tuple[redis.Redis, str], Line] = {}

    def __call__(self, client: redis.Redis, thread: str, name: str, parent: str) -> None:
        if not parent:
            self._lines[client, thread] = Line(client, thread)
        self._lines[client, thread].add(name)


def _write_tiny(client: redis.Redis, thread: str, name: str, _parent: str) -> None:
    write_tiny(client, thread, [name])


def _write_go(client: redis.Redis, thread: str, name: str, _parent: str) -> None:
    made = [key for key in keys(client) if key.startswith(b"langgraph:checkpoint:")]
    checkpoint = Checkpoint(
        f"{thread} {name}", thread_id=thread, execution_id=f"run of {thread}", version=len(made)
    )
    Store(client, Version.SORTED).save(checkpoint)


def _go_lists(thread: str) -> Keys:
    names = (
        f"langgraph:thread:{thread}:checkpoints",
        f"langgraph:execution:run of {thread}:checkpoints",
    )
    return frozenset(name.encode() for name in names)


def _write_zset(client: redis.Redis, thread: str, name: str, _parent: str) -> None:
    RedisCheckpointer(client).save(thread, {"made": name})


def _zset_list(thread: str) -> Keys:
    return frozenset({f"checkpoint:{thread}".encode()})


def _write_plain(client: redis.Redis, thread: str, name: str, parent: str) -> None:
    saver = PlainRedisSaver(client)
    configurable = {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": parent or None}
    checkpoint: Any = {**empty_checkpoint(), "id": name, "v": 4}
    # As many as the database has had: a version of its own for each.
    version = int(client.incr(f"{saver.prefix}:seq"))
    checkpoint |= {"channel_values": {"a:b": name}, "channel_versions": {"a:b": version}}
    config: Any = {"configurable": configurable}
    written = saver.put(config, checkpoint, {"source": "loop", "step": 0}, {"a:b": version})
    saver.put_writes(written, [("a:b", 1)], "task")


def _plain_lists(thread: str) -> Keys:
    return frozenset({f"lg:idx:{thread}:".encode()})


def _js_refuses(thread: str) -> bool:
    return not set(thread).isdisjoint("*?[]\\")


def _plain_stays(thread: str) -> bool:
    """Its blobs may be those of thread "a", and stay (tests/savers/test_plainredis.py)."""
    return thread == "a::b"


FORMATS = [
    Format("langgraph-redis", "langgraph-redis", _write_python),
    Format("langgraph-js", "langgraph-js", _WriteJs(), _js_refuses),
    Format("langgraphgo", "langgraphgo", _write_go, lists=_go_lists),
    Format("zset", "zset", _write_zset, lists=_zset_list),
    Format("plainredis", "plainredis", _write_plain, _plain_stays, _plain_lists),
    Format("tiny", Tiny(), _write_tiny),
]
