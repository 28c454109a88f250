"""Finds the keys of threads by SCAN: for threads that no index knows, and for leftovers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis_retention.engine import (
    CHECKPOINTS,
    Engine,
    Entries,
    Judged,
    Place,
    Remains,
    Tally,
    Trimmed,
    outline,
    reason_left_alone,
)
from redis_retention.layouts import Family, Layout
from redis_retention.policy import Policy
from redis_retention.sans_io import (
    Argument,
    Command,
    Nodes,
    Operation,
    Receive,
    SendAhead,
)

_GLOB_CHARACTERS = re.compile(rb"([*?\[\]\\^-])")
_KEYS_PER_PAGE = 1000


def escape_glob(text: bytes) -> bytes:
    """Text that MATCH takes literally."""
    return _GLOB_CHARACTERS.sub(rb"\\\1", text)


@dataclass(slots=True)
class Found:
    """The keys that may belong to one thread: their names begin like the thread's.

    Attributes:
        documents: Checkpoint documents, key by suffix.
        writes: Write documents, keys by the suffix of their checkpoint.
        registries: Suffixes that have a registry.
        pointers: Newest-checkpoint pointers.
        complete: These are all checkpoints of the thread.
        listed: The format lists them by itself: then nothing else is needed here.
    """

    documents: dict[bytes, bytes] = field(default_factory=dict)
    writes: dict[bytes, set[bytes]] = field(default_factory=dict)
    registries: set[bytes] = field(default_factory=set)
    pointers: set[bytes] = field(default_factory=set)
    complete: bool = True
    listed: bool = False

    def add(self, layout: Layout, family: Family, key: bytes, rest: bytes) -> None:
        """Take in one key; `rest` is the key without what its family's names begin with."""
        if family is Family.LATEST:
            self.pointers.add(key)
            return
        suffix = layout.suffix(family, rest)
        if family is Family.CHECKPOINT:
            self.documents[suffix] = key
        elif family is Family.REGISTRY:
            self.registries.add(suffix)
        else:
            self.writes.setdefault(suffix, set()).add(key)

    def writes_seen(self) -> dict[bytes, int]:
        """For each document key the number of write documents that bear its name."""
        return {key: len(self.writes.get(s, ())) for s, key in self.documents.items()}

    def remains(
        self, statuses: dict[bytes, str], given_up: Collection[bytes] | None = None
    ) -> list[Remains]:
        """What may be left of checkpoints that are gone, or were never there.

        Args:
            statuses: What the documents were found to be.
            given_up: Suffixes of the checkpoints that a trim would delete; None after a trim.
        """
        known = {s: statuses.get(key) for s, key in self.documents.items()}
        candidates = {*self.writes, *self.registries, *(s for s, x in known.items() if x == "stub")}
        return [
            Remains(
                suffix,
                sorted(self.writes.get(suffix, ())),
                known.get(suffix) == "unregistered" if given_up is None else suffix in given_up,
            )
            for suffix in sorted(candidates)
            # A checkpoint whose registry names all its writes leaves nothing behind; one of
            # another thread is none of ours.
            if known.get(suffix) not in ("checkpoint", "other")
        ]


@dataclass(slots=True)
class ThreadResult:
    """What was done to one thread, or would be.

    Attributes:
        deleted: What was deleted.
        kept: Checkpoint documents left.
        left_alone: Why nothing was done, None when something could be.
    """

    deleted: Tally = field(default_factory=Tally)
    kept: int = 0
    left_alone: str | None = None


def find(
    layout: Layout,
    threads: Collection[bytes],
    looked_at: Callable[[int], None] = lambda _: None,
) -> Operation[dict[bytes, Found]]:
    """Look for all the threads' keys, in one pass over the database.

    Args:
        layout: The saver's storage format.
        threads: Whose keys.
        looked_at: Is told of each page how far that is into the database, in keys.
    """
    found = {thread: Found(listed=layout.lists_itself) for thread in threads}
    if layout.lists_itself:
        return found

    def take(key: bytes) -> None:
        for family, rest in _families_of(layout, key):
            for thread in _threads_of(rest, found):
                found[thread].add(layout, family, key, rest)

    # One thread's keys can be told apart by the server.
    match = b"*:" + escape_glob(next(iter(threads))) + b":*" if len(found) == 1 else b"*"
    yield from _each_key(match, take, looked_at)
    return found


def thread_names(layout: Layout) -> Operation[list[bytes]]:
    """The threads that have root checkpoints, by the names of these."""
    names: dict[bytes, None] = {}

    def take(key: bytes) -> None:
        root = layout.root_key(key)
        if root is not None and root.family is Family.CHECKPOINT:
            names[root.thread] = None

    for start, family in layout.families().items():
        if family is Family.CHECKPOINT:
            yield from _each_key(escape_glob(start) + b"*", take)
    return list(names)


def each_page(
    work_off: Callable[[Sequence[bytes], float], Operation[None]],
    *options: Argument,
    node: Any = None,
) -> Operation[None]:
    """Look at the whole database, page by page.

    Args:
        work_off: Is handed the keys of a page and the seconds that the server took for them; it
            looks for the next page meanwhile.
        options: Further words of SCAN.
        node: Which node of a cluster to look at.
    """

    def scan(cursor: int) -> SendAhead:
        return SendAhead(Command(("SCAN", cursor, *options, "COUNT", _KEYS_PER_PAGE), node))

    page = yield scan(0)
    while page is not None:
        (cursor, keys), took = yield Receive(page)
        page = (yield scan(int(cursor))) if int(cursor) else None
        yield from work_off(keys, took)


def _each_key(
    match: bytes, take: Callable[[bytes], None], looked_at: Callable[[int], None] = lambda _: None
) -> Operation[None]:
    pages = 0

    def work_off(keys: Sequence[bytes], _: float) -> Operation[None]:
        nonlocal pages
        for key in keys:
            take(key)
        pages += 1
        looked_at(pages * _KEYS_PER_PAGE)
        yield from ()

    for node in (yield Nodes()):
        yield from each_page(work_off, "MATCH", match, node=node)


def _families_of(layout: Layout, key: bytes) -> Iterator[tuple[Family, bytes]]:
    for start, family in layout.families().items():
        if key.startswith(start):
            yield family, key[len(start) :]


def _threads_of(rest: bytes, threads: Collection[bytes]) -> Iterator[bytes]:
    """The threads that the key may belong to: each reading of where the thread id ends."""
    at = rest.find(b":")
    while at >= 0:
        if rest[:at] in threads:
            yield rest[:at]
        at = rest.find(b":", at + 1)


def trim(engine: Engine, thread: bytes, found: Found, policy: Policy) -> Operation[ThreadResult]:
    """Bring a thread's index up to date, trim it, and delete the orphans that writers left."""
    yield from engine.check_keys(thread)
    if found.listed:
        return done((yield from engine.trim(thread, policy)))
    return (yield from engine.healed(thread, lambda: _trim(engine, thread, found, policy)))


def _trim(engine: Engine, thread: bytes, found: Found, policy: Policy) -> Operation[ThreadResult]:
    # Where runs begin, only documents say.
    by_names = not policy.keep_runs
    entries = yield from engine.index(thread, found.writes_seen(), by_names=by_names)
    trimmed = yield from engine.trim(thread, policy, complete=found.complete)
    result = done(trimmed)
    if trimmed.unjudged is not None:
        result.kept = checkpoints(entries)
        return result
    cleaned, stubs = yield from engine.clean(
        thread, found.remains(entries.statuses), sorted(found.pointers)
    )
    result.kept = checkpoints(entries) - trimmed.deleted.checkpoints + stubs
    result.deleted.add(cleaned.checkpoints, cleaned.keys)
    return result


def plan(engine: Engine, thread: bytes, found: Found, policy: Policy) -> Operation[Judged]:
    """Say what `trim` would do to the checkpoints of a thread, without writing anything."""
    if found.listed:
        return (yield from engine.judge(thread, policy, describe=True))
    entries = yield from engine.read(thread, found.writes_seen())
    return (
        yield from engine.judge(
            thread, policy, entries.members, describe=True, complete=found.complete
        )
    )


def dry_run(engine: Engine, thread: bytes, found: Found, policy: Policy) -> Operation[ThreadResult]:
    """Count what `trim` would do, leftovers with it, without writing anything."""
    if found.listed:
        return would_be((yield from engine.judge(thread, policy)))
    entries = yield from engine.read(thread, found.writes_seen())
    judged = yield from engine.judge(thread, policy, entries.members, complete=found.complete)
    result = would_be(judged)
    if judged.unjudged is not None:
        result.kept = checkpoints(entries)
        return result
    given_up = {
        engine.layout.checkpoint_suffix(thread, v.place.namespace, v.place.checkpoint_id)
        for v in judged.verdicts
        if not v.reasons
    }
    result.kept = checkpoints(entries) - result.deleted.checkpoints
    cleaned, stubs = yield from engine.clean(
        thread,
        found.remains(entries.statuses, given_up),
        sorted(found.pointers),
        members=outline(entries.members, {v.place for v in judged.verdicts if not v.reasons}),
    )
    result.deleted.add(cleaned.checkpoints, cleaned.keys)
    result.kept += stubs
    return result


def done(trimmed: Trimmed) -> ThreadResult:
    """The result of a trim by the index alone, which is all that it knows."""
    return ThreadResult(trimmed.deleted, trimmed.left, _why(trimmed.unjudged))


def would_be(judged: Judged) -> ThreadResult:
    """The result that a trim by the index alone would have."""
    result = ThreadResult(left_alone=_why(judged.unjudged))
    for verdict in judged.verdicts:
        result.deleted.add(verdict.documents, verdict.keys)
        result.kept += bool(verdict.reasons)
    return result


def checkpoints(entries: Entries) -> int:
    """How many checkpoints of the thread were found."""
    return sum(status in CHECKPOINTS for status in entries.statuses.values())


def _why(unjudged: Place | None) -> str | None:
    return None if unjudged is None else reason_left_alone(unjudged)
