"""Finds the keys of threads by SCAN: for threads that no index knows, and for orphans."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis_retention.engine import (
    CHECKPOINTS,
    Decisions,
    Deleted,
    Engine,
    OrphanGroup,
    Place,
    ThreadDocuments,
    Trimmed,
    unsupported_reason,
)
from redis_retention.engine.entries import newest_of_each_namespace
from redis_retention.errors import RetentionError
from redis_retention.layouts import LONGEST_KEY, Family, Layout
from redis_retention.policy import Policy
from redis_retention.sans_io import Argument, Command, Nodes, Operation, Receive, SendAhead

_GLOB_CHARACTERS = re.compile(rb"([*?\[\]\\^-])")
_KEYS_PER_PAGE = 1000
# Shared keys that a look holds at a time: some 15 MB.
MOST_SHARED = 100_000


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
        shared: Keys that several checkpoints name.
        has_more_shared: There are more of these.
        complete: These are all checkpoints of the thread.
    """

    documents: dict[bytes, bytes] = field(default_factory=dict)
    writes: dict[bytes, set[bytes]] = field(default_factory=dict)
    registries: set[bytes] = field(default_factory=set)
    pointers: set[bytes] = field(default_factory=set)
    shared: set[bytes] = field(default_factory=set)
    has_more_shared: bool = False
    complete: bool = True

    @property
    def empty(self) -> bool:
        """Whether nothing was found."""
        return not (
            self.documents or self.writes or self.registries or self.pointers or self.shared
        )

    def add(self, layout: Layout, family: Family, key: bytes, rest: bytes) -> None:
        """Take in one key; `rest` is the key without what its family's names begin with."""
        if family is Family.LATEST:
            self.pointers.add(key)
            return
        if family is Family.SHARED:
            self.shared.add(key)
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

    def possible_leftovers(self, statuses: dict[bytes, str]) -> list[bytes]:
        """Pointers, and documents that no saver with many checkpoints has put.

        Args:
            statuses: What the documents were found to be.
        """
        foreign = {key for key, status in statuses.items() if status == "foreign"}
        return sorted(self.pointers | foreign)

    def orphan_groups(
        self, statuses: dict[bytes, str], to_delete: Collection[bytes] | None = None
    ) -> list[OrphanGroup]:
        """What may be left of checkpoints that are gone, or were never there.

        Args:
            statuses: What the documents were found to be.
            to_delete: Suffixes of the checkpoints that a trim would delete; None after a trim.
        """
        known = {s: statuses.get(key) for s, key in self.documents.items()}
        candidates = {*self.writes, *self.registries, *(s for s, x in known.items() if x == "stub")}
        return [
            OrphanGroup(
                suffix,
                sorted(self.writes.get(suffix, ())),
                known.get(suffix) == "unregistered" if to_delete is None else suffix in to_delete,
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

    deleted: Deleted = field(default_factory=Deleted)
    kept: int = 0
    left_alone: str | None = None


def find(
    layout: Layout,
    threads: Collection[bytes],
    looked_at: Callable[[int], None] = lambda _: None,
    *,
    families: Collection[Family] = frozenset(Family),
    most_shared: int = MOST_SHARED,
) -> Operation[dict[bytes, Found]]:
    """Look for all the threads' keys, in one pass over the database.

    Args:
        layout: The saver's storage format.
        threads: Whose keys.
        looked_at: Is called after each page with the number of keys looked at so far.
        families: What to look for.
        most_shared: Shared keys that are taken in at most, of all threads.
    """
    [found] = yield from find_each(
        [(layout, threads)], looked_at, families=families, most_shared=most_shared
    )
    return found


def find_each(
    wanted: Sequence[tuple[Layout, Collection[bytes]]],
    looked_at: Callable[[int], None] = lambda _: None,
    *,
    families: Collection[Family] = frozenset(Family),
    most_shared: int = MOST_SHARED,
) -> Operation[list[dict[bytes, Found]]]:
    """Look for threads' keys in several storage formats, in one pass over the database.

    Args:
        wanted: Formats, each with threads as they stand in its keys.
        looked_at: Is told of each page how far that is into the database, in keys.
        families: What to look for.
        most_shared: Shared keys that are taken in at most, of all threads.
    """
    found = [{thread: Found() for thread in threads} for _, threads in wanted]
    layouts = [layout for layout, _ in wanted]
    search = list(zip(layouts, found, strict=True))
    shared = 0

    def take(key: bytes) -> None:
        nonlocal shared
        owner = owner_of(key, layouts)
        for layout, of_threads in search:
            if owner is not None and owner is not layout:
                continue
            for thread, family, rest in readings(layout, key, of_threads):
                if family not in families:
                    continue
                shared += family is Family.SHARED
                if family is Family.SHARED and shared > most_shared:
                    of_threads[thread].has_more_shared = True
                else:
                    of_threads[thread].add(layout, family, key, rest)

    names = {thread for of_threads in found for thread in of_threads}
    yield from each_key(pattern_for(names), take, looked_at)
    return found


def owner_of(key: bytes, layouts: Sequence[Layout]) -> Layout | None:
    """The only one of some formats whose a key can be by its name, None if that is not sure."""
    if len(layouts) == 1:
        return None
    for layout in layouts:
        root = layout.root_key(key)
        if root is not None and root.certain:
            return layout
    return None


def pattern_for(threads: Collection[bytes]) -> bytes:
    """A glob for the keys of threads: those of a single one can be told apart by the server."""
    return b"*:" + escape_glob(next(iter(threads))) + b":*" if len(threads) == 1 else b"*"


def readings(
    layout: Layout, key: bytes, threads: Collection[bytes]
) -> Iterator[tuple[bytes, Family, bytes]]:
    """Which of some threads a key may belong to, its family, and the rest of its name."""
    for start, family in layout.families().items():
        if key.startswith(start):
            rest = key[len(start) :]
            for thread in _threads_of(rest, threads):
                yield thread, family, rest


def thread_names(layout: Layout) -> Operation[list[bytes]]:
    """The threads that have root checkpoints, by the names of these."""
    names: dict[bytes, None] = {}

    def take(key: bytes) -> None:
        root = layout.root_key(key)
        if root is not None and root.family is Family.CHECKPOINT:
            names[root.thread] = None

    for start, family in layout.families().items():
        if family is Family.CHECKPOINT:
            yield from each_key(escape_glob(start) + b"*", take)
    return list(names)


def listed_threads(engine: Engine, keys: Iterable[bytes]) -> set[bytes]:
    """The threads whose lists may be among keys, where the format has lists.

    Args:
        engine: Knows the format, and which keys are our own.
        keys: Any keys of the database; what is too long is passed over.
    """
    own, root_key = engine.prefix.encode(), engine.layout.root_key
    roots = (root_key(key) for key in keys if len(key) <= LONGEST_KEY and not key.startswith(own))
    return {root.thread for root in roots if root is not None}


def refuse_cluster() -> Operation[None]:
    """Make sure that the server is a single one.

    Raises:
        RetentionError: It is a cluster, in which a script may not look at all keys.
    """
    if (yield Nodes()) != [None]:
        raise RetentionError("a cluster cannot be swept: trim its threads by name")


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


def each_key(
    match: bytes, take: Callable[[bytes], None], looked_at: Callable[[int], None] = lambda _: None
) -> Operation[None]:
    """Hand each key of the database that a glob matches to `take`; a cluster's of all nodes."""
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
    return (
        yield from engine.with_sound_index(thread, lambda: _trim(engine, thread, found, policy))
    )


def _trim(engine: Engine, thread: bytes, found: Found, policy: Policy) -> Operation[ThreadResult]:
    # Where runs begin, only documents say.
    by_names = not policy.keep_runs
    read = yield from engine.update_index(thread, found.writes_seen(), by_names=by_names)
    trimmed = yield from engine.trim(thread, policy, complete=found.complete)
    result = done(trimmed)
    if trimmed.unsupported is not None:
        result.kept = checkpoints(read)
        return result
    orphans, stubs = yield from engine.delete_orphans(
        thread, found.orphan_groups(read.statuses), found.possible_leftovers(read.statuses)
    )
    result.kept = checkpoints(read) - trimmed.deleted.checkpoints + stubs
    result.deleted.add(orphans.checkpoints, orphans.keys)
    return result


def plan(engine: Engine, thread: bytes, found: Found, policy: Policy) -> Operation[Decisions]:
    """Say what `trim` would do to the checkpoints of a thread, without writing anything."""
    read = yield from engine.read(thread, found.writes_seen())
    return (
        yield from engine.plan(thread, policy, read.entries, describe=True, complete=found.complete)
    )


def dry_run(engine: Engine, thread: bytes, found: Found, policy: Policy) -> Operation[ThreadResult]:
    """Count what `trim` would do, orphans with it, without writing anything."""
    read = yield from engine.read(thread, found.writes_seen())
    decisions = yield from engine.plan(thread, policy, read.entries, complete=found.complete)
    result = would_be(decisions)
    result.kept = checkpoints(read)
    if decisions.unsupported is not None:
        return result
    to_delete = {d.place for d in decisions.checkpoints if not d.reasons}
    suffixes = {
        engine.layout.checkpoint_suffix(thread, place.namespace, place.checkpoint_id)
        for place in to_delete
    }
    orphans, stubs = yield from engine.delete_orphans(
        thread,
        found.orphan_groups(read.statuses, suffixes),
        found.possible_leftovers(read.statuses),
        entries=newest_of_each_namespace(read.entries, to_delete),
    )
    result.kept += stubs - result.deleted.checkpoints
    result.deleted.add(orphans.checkpoints, orphans.keys)
    if found.shared:
        documents = [key for suffix, key in found.documents.items() if suffix not in suffixes]
        ids = {place.checkpoint_id for place in to_delete}
        shared, _ = yield from engine.delete_shared_keys(
            thread, documents, found.shared, ids, counting=True
        )
        result.deleted.add(0, shared.keys)
    return result


def done(trimmed: Trimmed) -> ThreadResult:
    """The result of a trim by the index alone, which is all that it knows."""
    return ThreadResult(trimmed.deleted, trimmed.left, _why(trimmed.unsupported))


def would_be(decisions: Decisions) -> ThreadResult:
    """The result that a trim by the index alone would have."""
    result = ThreadResult(left_alone=_why(decisions.unsupported))
    for decision in decisions.checkpoints:
        result.deleted.add(decision.documents, decision.keys)
        result.kept += bool(decision.reasons)
    return result


def checkpoints(read: ThreadDocuments) -> int:
    """How many checkpoints of the thread were found."""
    return sum(status in CHECKPOINTS for status in read.statuses.values())


def _why(unsupported: Place | None) -> str | None:
    return None if unsupported is None else unsupported_reason(unsupported)
