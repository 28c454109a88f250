"""Threads of every storage format, to lie side by side in one database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import redis

from redis_retention.layouts import Layout
from tests.integration.threads import fill_fast, ids
from tests.langgraph_js.documents import Line
from tests.layouts.tiny import Tiny
from tests.layouts.tiny import write_thread as write_tiny

Keys = frozenset[bytes]

# Ids that look like other threads' keys, like patterns, or like namespaces.
HOSTILE = ("a", "a:b", "a:__empty__", "a::b", "*", "[a]", "a\\", "ü\n", "a,b", "checkpoint:a", ":")


def keys(client: redis.Redis) -> Keys:
    """All keys but our own."""
    found = client.scan_iter(count=1000)
    return frozenset(key for key in found if not key.startswith(b"retention:"))


def contents(client: redis.Redis, names: Iterable[bytes]) -> dict[bytes, object]:
    """What keys hold."""
    return {name: client.dump(name) for name in names}


@dataclass(frozen=True)
class Format:
    """A storage format, and who writes it.

    Attributes:
        layout: Its name, or itself.
        write: Writes one checkpoint of a thread after those before.
        refuses: Whether its saver does not take a thread id.
    """

    title: str
    layout: str | Layout
    write: Callable[[redis.Redis, str, str, str], None]
    refuses: Callable[[str], bool] = lambda _: False

    def fill(self, client: redis.Redis, thread: str, checkpoints: int) -> list[Keys]:
        """Write a thread; returns the keys that each checkpoint has added, the oldest first."""
        added, parent = [], ""
        for name in ids(checkpoints, newest_age=9 * 3600.0):
            before = keys(client)
            self.write(client, thread, name, parent)
            added.append(keys(client) - before)
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


FORMATS = [
    Format("langgraph-redis", "langgraph-redis", _write_python),
    Format(
        "langgraph-js", "langgraph-js", _WriteJs(), lambda thread: bool(set(thread) & set("*?[]\\"))
    ),
    Format("tiny", Tiny(), _write_tiny),
]
