"""What is done to whole threads and runs, as operations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.redis.util import from_storage_safe_str

from redis_retention.batches import batched
from redis_retention.engine import (
    DOCUMENTS_PER_CALL,
    Engine,
    OrphanGroup,
    Place,
    unsupported_reason,
)
from redis_retention.errors import RetentionError
from redis_retention.layouts import Family, start_of
from redis_retention.sans_io import Argument, Command, Operation
from redis_retention.sources import scan
from redis_retention.sources.one_thread import Found
from redis_retention.sources.search import Search
from redis_retention.sources.search_index import NotSearchable

# Documents copied by one call: some 30 microseconds each when they are small.
_COPIES_PER_CALL = 60
# However young something is, by any clock.
_ANY_AGE = -(10**15)
_RUN_FIELD = "run_id"
_OWNER = ("$.thread_id", "$.checkpoint_ns", "$.checkpoint_id", f"$.{_RUN_FIELD}")


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """A checkpoint of a run that was to be deleted, and that is retained.

    Attributes:
        thread_id: Its thread.
        checkpoint_ns: Its namespace, ``""`` for the graph itself.
        checkpoint_id: Its id.
        reason: ``delta`` when a delta channel of a retained checkpoint is replayed from it,
            ``sends`` when one takes its pending sends, ``pinned`` when it is pinned.
    """

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    reason: str


def different(engine: Engine, source: str, target: str) -> tuple[bytes, bytes]:
    """Two threads as they stand in the keys.

    Raises:
        ValueError: They are the same.
    """
    names = engine.layout.stored_thread(str(source)), engine.layout.stored_thread(str(target))
    if names[0] == names[1]:
        raise ValueError("a thread cannot be copied to itself: give the copy another id")
    return names


def find(engine: Engine, thread: bytes) -> Operation[Found]:
    """All keys of a thread, by RediSearch or, where that cannot be, by a look at all keys."""
    yield from engine.check_keys(thread)
    try:
        return (yield from Search(engine).find(thread))
    except NotSearchable:
        found = yield from scan.find(engine.layout, [thread])
        return found[thread]


def delete(engine: Engine, thread: bytes) -> Operation[None]:
    """Delete a thread with all that belongs to it, its pins too, whatever any policy says."""
    found = yield from find(engine, thread)
    entries = yield from engine.update_index(thread, found.writes_seen(), by_names=True)
    keys = [engine.index_key(thread), engine.pins_key(thread)]
    arguments: list[Argument] = [thread, *engine.layout.arguments(), engine.keys_per_call]
    while (yield from engine.call("savers/erase", keys, arguments))[0] == b"more":
        pass
    statuses = {found_as: entries.statuses.get(key) for found_as, key in found.documents.items()}
    suffixes = {*found.documents, *found.writes, *found.registries}
    groups = [
        OrphanGroup(suffix, sorted(found.writes.get(suffix, ())), deleted=True)
        for suffix in sorted(suffixes)
        # Another thread's.
        if statuses.get(suffix) != "other"
    ]
    yield from engine.delete_orphans(thread, groups, sorted(found.pointers), older_than_ms=_ANY_AGE)


def delete_runs(engine: Engine, runs: Iterable[str]) -> Operation[list[KeptCheckpoint]]:
    """Delete the checkpoints of some runs, but for those that others need; say which these are.

    Raises:
        RetentionError: A thread of theirs is not understood. Of that one nothing is deleted.
    """
    names = [name.encode("utf-8", "surrogateescape") for name in dict.fromkeys(runs) if name]
    if not names:
        return []
    documents: dict[bytes, None] = {}
    for name in names:
        documents.update(dict.fromkeys((yield from _documents_of(engine, name))))
    places = yield from _places(documents, set(names))
    retained: list[KeptCheckpoint] = []
    for thread, some in places.items():
        retained += yield from _delete_runs(engine, thread, names, some)
    return retained


def _documents_of(engine: Engine, run: bytes) -> Operation[list[bytes]]:
    """The keys of documents that may be of a run."""
    try:
        return (yield from Search(engine).tagged(run, _RUN_FIELD))
    except NotSearchable:
        return (yield from all_documents(engine))


def all_documents(engine: Engine) -> Operation[list[bytes]]:
    """The keys that may be those of checkpoint documents, of all threads."""
    keys: list[bytes] = []
    start = start_of(engine.layout, Family.CHECKPOINT)
    yield from scan.each_key(scan.escape_glob(start) + b"*", keys.append)
    return keys


def _places(documents: Iterable[bytes], runs: set[bytes]) -> Operation[dict[bytes, list[Place]]]:
    """The checkpoints that say to be of some runs, by thread."""
    places: dict[bytes, list[Place]] = {}
    for some in batched(documents, DOCUMENTS_PER_CALL):
        for reply in (yield [Command(("JSON.GET", key, *_OWNER)) for key in some]):
            owner = [values[0] if values else None for values in _read(reply)]
            if not all(isinstance(value, str) for value in owner) or len(owner) < len(_OWNER):
                continue
            thread, namespace, name, run = (_bytes(value) for value in owner)
            if run in runs:
                place = Place(from_storage_safe_str(namespace.decode()).encode(), name)
                places.setdefault(thread, []).append(place)
    return places


def decoded(reply: Any) -> Any:
    """What JSON.GET says; a client whose ``json()`` was used has decoded it already."""
    return json.loads(reply) if isinstance(reply, bytes | str) else reply


def _read(reply: Any) -> list[list[Any]]:
    found = decoded(reply)
    return [found.get(path, []) for path in _OWNER] if isinstance(found, dict) else []


def _delete_runs(
    engine: Engine, thread: bytes, runs: Sequence[bytes], places: Sequence[Place]
) -> Operation[list[KeptCheckpoint]]:
    found = yield from find(engine, thread)
    yield from engine.update_index(thread, found.writes_seen())
    wanted = [part for place in places for part in (place.namespace, place.checkpoint_id)]
    keys = [engine.index_key(thread), engine.pins_key(thread)]
    arguments: list[Argument] = [
        thread,
        *engine.layout.arguments(),
        engine.keys_per_call,
        len(runs),
        *runs,
        *wanted,
    ]
    state = b"more"
    rows: list[Any] = []
    while state == b"more":
        state, _, _, *rows = yield from engine.call("savers/runs", keys, arguments)
    if state == b"unsupported":
        where = Place(rows[0][0], rows[0][1])
        shown = thread.decode("utf-8", "replace")
        raise RetentionError(f"thread {shown} is left alone: {unsupported_reason(where)}")
    yield from _clean_after(engine, thread, found, places)
    return [
        KeptCheckpoint(_text(thread), _text(namespace), _text(name), reason.decode())
        for namespace, name, reason in rows
    ]


def _clean_after(
    engine: Engine, thread: bytes, found: Found, places: Sequence[Place]
) -> Operation[None]:
    """Delete the writes of deleted checkpoints that no registry has named."""
    layout = engine.layout
    suffixes = [layout.checkpoint_suffix(thread, p.namespace, p.checkpoint_id) for p in places]
    groups = [
        OrphanGroup(suffix, sorted(found.writes[suffix]), deleted=True)
        for suffix in suffixes
        if suffix in found.writes
    ]
    yield from engine.delete_orphans(thread, groups, ())
    yield from engine.forget_thread(thread)


def copy(engine: Engine, source: bytes, target: bytes) -> Operation[None]:
    """Copy all checkpoints of a thread to another one, with their writes.

    The pointers come last: until then LangGraph finds nothing to go on from in a new thread.
    """
    found = yield from find(engine, source)
    layout = engine.layout.arguments()
    namespaces: dict[bytes, None] = {}
    writes = sorted(key for keys in found.writes.values() for key in keys)
    left = [*writes, *sorted(found.documents.values())]
    while left:
        some = left[:_COPIES_PER_CALL]
        reply = yield from engine.call("savers/copy", some, [source, target, *layout])
        namespaces.update(dict.fromkeys(reply[3]))
        left = left[reply[2] :]
    for several in batched(namespaces, _COPIES_PER_CALL):
        yield from engine.call("savers/copy", [], [source, target, *layout, *several])


def _bytes(text: Any) -> bytes:
    return str(text).encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
