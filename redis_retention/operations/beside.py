"""Learns in which other storage formats a thread is, while it is searched for in the first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from redis_retention.engine import Engine
from redis_retention.served import Served


class Beside:
    """What is learned about the formats beside the first.

    Nothing is sent for it: the scripts of the first are given names to look at (`names`), and among
    what is found of it there may be names that can only be another format's (`claims`).

    Args:
        served: The formats.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._engines = served.engines[1:] if served.auto else ()
        # Formats whose documents a search for those of the first may find.
        starts = tuple(served.first.layout.families())
        self._alike = [
            engine
            for engine in self._engines
            if any(start.startswith(starts) for start in engine.layout.families())
        ]
        self._found: defaultdict[bytes, set[Engine]] = defaultdict(set)
        self._asked: set[bytes] = set()

    def names(self, thread: bytes) -> list[bytes]:
        """Names of which one exists if another format, or our index of it, knows a thread.

        They are answered once for each thread.
        """
        if thread in self._asked:
            return []
        self._asked.add(thread)
        return [
            name
            for engine in self._engines
            if engine not in self._served.forbidden
            for name in engine.names_of(thread)
        ]

    def note(self, thread: bytes, existing: Sequence[bytes], forbidden: Sequence[bytes]) -> None:
        """Take in which of the names exist, and which this user may not look at."""
        for engine in self._engines:
            names = engine.names_of(thread)
            if not set(existing).isdisjoint(names):
                self._found[thread].add(engine)
            if not set(forbidden).isdisjoint(names):
                # The server logs each attempt.
                self._served.forbidden.add(engine)

    def claims(self, thread: bytes, key: bytes) -> bool:
        """Whether a key of a thread can only be another format's, which is taken in."""
        for engine in self._alike:
            root = engine.layout.root_key(key)
            if root is not None and root.certain and root.thread == thread:
                self._found[thread].add(engine)
                return True
        return False

    def has(self, engine: Engine, thread: bytes) -> bool:
        """Whether a thread may be in a format."""
        return engine in self._found[thread]
