"""Finds the keys of threads by SCAN: for threads that no index knows, and for orphans."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from redis_retention.engine import Engine
from redis_retention.errors import RetentionError
from redis_retention.layouts import LONGEST_KEY, Family, Layout
from redis_retention.sans_io import Argument, Command, Nodes, Operation, Receive, SendAhead
from redis_retention.sources.one_thread import Found

_GLOB_CHARACTERS = re.compile(rb"([*?\[\]\\^-])")
_KEYS_PER_PAGE = 1000
# Shared keys that a look holds at a time: some 15 MB.
MOST_SHARED = 100_000


def escape_glob(text: bytes) -> bytes:
    """Text that MATCH takes literally."""
    return _GLOB_CHARACTERS.sub(rb"\\\1", text)


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
