"""Deletes what checkpoints share, such as LangGraph.js' blobs, when none of them needs it any more.

A shared key may go when no checkpoint that exists names it. Which exist, no index can prove: it may
be behind, or lost. So the proof is a look at the database that begins when the trim is over, and
during which no checkpoint is deleted: what exists then is found by it, and what is written later is
made from that. ``docs/guarantees.md`` has the whole argument.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from redis_retention.batches import batched
from redis_retention.engine import ORPHAN_AGE_MS, Deleted, Engine
from redis_retention.layouts import Family, Layout
from redis_retention.policy import Policy
from redis_retention.results import ThreadResult
from redis_retention.sans_io import Nodes, Operation
from redis_retention.sources import one_thread, scan
from redis_retention.sources.one_thread import Found
from redis_retention.sources.scan import MOST_SHARED

_LOOKED_FOR = frozenset({Family.CHECKPOINT, Family.SHARED})


def has_shared_keys(layout: Layout) -> bool:
    """Whether checkpoints of a storage format share keys."""
    return Family.SHARED in layout.families().values()


class Trims:
    """Trims threads one after the other, and then looks once for the shared keys of all.

    Args:
        engine: What to do it with.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shares = has_shared_keys(engine.layout)
        # What to look for, as `delete_unneeded` takes it.
        self._trimmed: dict[bytes, Collection[bytes]] = {}

    def trim(self, thread: bytes, found: Found, policy: Policy) -> Operation[ThreadResult]:
        """Do what `one_thread.trim` does; `finish` does the rest, if need be."""
        result = yield from one_thread.trim(self._engine, thread, found, policy)
        if not self._shares or result.left_alone is not None:
            return result
        if (
            result.deleted.checkpoints
            or found.has_more_shared
            or (yield from self._unneeded(thread, found))
        ):
            split = self._engine.layout.split
            self._trimmed[thread] = {split(suffix)[1] for suffix in found.documents}
        return result

    def _unneeded(self, thread: bytes, found: Found) -> Operation[bool]:
        """Whether shared keys were found that no document names, as far as was found."""
        documents = list(found.documents.values())
        return bool((yield from self._engine.unnamed(thread, documents, found.shared)))

    def finish(self) -> Operation[dict[bytes, Deleted]]:
        """Delete the shared keys of the trimmed threads that no checkpoint needs now."""
        if not self._trimmed:
            return {}
        return (yield from delete_unneeded(self._engine, self._trimmed))


def trim(engine: Engine, thread: bytes, found: Found, policy: Policy) -> Operation[ThreadResult]:
    """Trim one thread, and delete the shared keys that no checkpoint needs then."""
    trims = Trims(engine)
    result = yield from trims.trim(thread, found, policy)
    for deleted in (yield from trims.finish()).values():
        result.deleted.add(0, deleted.keys, deleted.bytes)
    return result


def delete_unneeded(
    engine: Engine,
    threads: Mapping[bytes, Collection[bytes]],
    *,
    older_than_ms: int = ORPHAN_AGE_MS,
    looked_at: Callable[[int], None] = lambda _: None,
    most_held: int = MOST_SHARED,
) -> Operation[dict[bytes, Deleted]]:
    """Delete the shared keys of some threads that no checkpoint needs.

    Args:
        engine: What to do it with.
        threads: The threads, each with ids of checkpoints that were there before they were trimmed.
        older_than_ms: Milliseconds, by the time in its id, after which a checkpoint is not on its
            way any more that has no document.
        looked_at: Is told of each page how far that is into the database, in keys.
        most_held: Shared keys that are held at a time; of more there is another look.

    Returns:
        What was deleted of each thread.
    """
    marks = yield from engine.begin_look(list(threads))
    found = yield from scan.find(
        engine.layout, threads, looked_at, families=_LOOKED_FOR, most_shared=most_held
    )
    deleted = {thread: Deleted() for thread in threads}
    waiting: defaultdict[bytes, int] = defaultdict(int)

    def delete(thread: bytes, shared: Collection[bytes]) -> Operation[None]:
        if thread not in marks:
            return
        documents, mark = list(found[thread].documents.values()), marks[thread].entry
        its, young = yield from engine.delete_shared_keys(
            thread, documents, shared, threads[thread], mark=mark, older_than_ms=older_than_ms
        )
        deleted[thread].add(0, its.keys, its.bytes)
        waiting[thread] += young

    for thread in threads:
        if not found[thread].has_more_shared:
            yield from delete(thread, found[thread].shared)
        found[thread].shared.clear()
    more = [thread for thread in threads if found[thread].has_more_shared]
    if more:
        yield from _each_part(engine.layout, more, most_held, delete)
    for thread, mark in marks.items():
        if mark.is_new or not waiting[thread]:
            yield from engine.unmark(thread, mark)
    return deleted


def _each_part(
    layout: Layout,
    threads: Collection[bytes],
    most_held: int,
    delete: Callable[[bytes, Collection[bytes]], Operation[None]],
) -> Operation[None]:
    """Look for the shared keys of threads that have too many to hold, and delete them in parts."""
    wanted = frozenset(threads)
    held: defaultdict[bytes, list[bytes]] = defaultdict(list)
    count = 0

    def flush() -> Operation[None]:
        nonlocal count
        while held:
            yield from delete(*held.popitem())
        count = 0

    def work_off(keys: Sequence[bytes], _: float) -> Operation[None]:
        nonlocal count
        for key in keys:
            for thread, family, _rest in scan.readings(layout, key, wanted):
                if family is Family.SHARED:
                    held[thread].append(key)
                    count += 1
        if count >= most_held:
            yield from flush()

    for node in (yield Nodes()):
        yield from scan.each_page(work_off, "MATCH", scan.pattern_for(wanted), node=node)
    yield from flush()


class SharedKeysLeft:
    """The threads of which a sweep may find shared keys that nobody needs.

    Args:
        engine: What the sweep works with.
    """

    # Threads that one sweep remembers, and that one pass searches for. The rest is still marked
    # for the next.
    _MOST, _PER_PASS = 100_000, 10_000

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shares = has_shared_keys(engine.layout)
        self._threads: set[bytes] = set()
        self._named: set[bytes] = set()

    def add(self, thread: bytes) -> None:
        """Note a thread whose shared keys are to be looked at."""
        if self._shares and len(self._threads) < self._MOST:
            self._threads.add(thread)

    def add_named(self, thread: bytes) -> None:
        """Note a thread of which the sweep has met only the name of a shared key."""
        if len(self._named) < self._MOST:
            self._named.add(thread)

    def delete_unneeded(
        self,
        is_known: Callable[[bytes], bool],
        is_wanted: Callable[[bytes], bool],
        older_than_ms: int,
        looked_at: Callable[[int], None],
    ) -> Operation[dict[bytes, Deleted]]:
        """Delete what nobody needs, now that the sweep has met all keys.

        Args:
            is_known: Whether the sweep has met a thread, and so has noted it if need be.
            is_wanted: Whether a thread is one that the sweep is to look at.
            older_than_ms: As for `delete_unneeded`.
            looked_at: Is told how far this is into the database, in keys.

        Returns:
            What was deleted of each thread.
        """
        wanted = self._threads | {name for name in self._named if not is_known(name)}
        deleted: dict[bytes, Deleted] = {}
        for some in batched(filter(is_wanted, sorted(wanted)), self._PER_PASS):
            deleted |= yield from delete_unneeded(
                self._engine,
                dict.fromkeys(some, ()),
                older_than_ms=older_than_ms,
                looked_at=looked_at,
            )
        return deleted
