"""Lists checkpoints, newest first, as an operation: `list` of the savers.

RediSearch says which keys there are, the documents what they are. So threads are distinguished byte
for byte, all filters are exact, and a long history is read as it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, PendingWrite, get_checkpoint_id
from langgraph.checkpoint.redis.base import BaseRedisSaver
from langgraph.checkpoint.redis.util import from_storage_safe_id, from_storage_safe_str
from langgraph.constants import TASKS

from redis_retention.engine import Engine
from redis_retention.langgraph.threads import all_documents, decoded
from redis_retention.layouts import Family, start_of
from redis_retention.sans_io import Command, Operation
from redis_retention.sources import scan
from redis_retention.sources.search import Search
from redis_retention.sources.search_index import NotSearchable

# Documents read at a time; a state may be large.
_PAGE = 20
_HEADS = 100
# Until this format the pending sends of a checkpoint are writes of its parent.
_OWN_SENDS = 4
_HEAD = (
    "$.thread_id",
    "$.checkpoint_ns",
    "$.checkpoint_id",
    "$.run_id",
    "$.metadata",
    "$.checkpoint.v",
    "$.parent_checkpoint_id",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be listed; None does not matter."""

    thread: bytes | None
    namespace: str | None
    checkpoint_id: str | None
    run_id: str | None
    before: str | None
    filter: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        engine: Engine,
        config: RunnableConfig | None,
        filter: Mapping[str, Any] | None,
        before: RunnableConfig | None,
    ) -> Wanted:
        """What the arguments of `list` ask for."""
        place: Mapping[str, Any] = config["configurable"] if config else {}
        thread = place.get("thread_id")
        return cls(
            None if thread is None else engine.layout.stored_thread(str(thread)),
            place.get("checkpoint_ns"),
            (get_checkpoint_id(config) if config else None) or None,
            str(place["run_id"]) if place.get("run_id") else None,
            (get_checkpoint_id(before) if before else None) or None,
            filter or {},
        )


@dataclass(slots=True)
class Listed:
    """One checkpoint as it is stored, and the writes that are needed to read it."""

    thread: str
    namespace: str
    checkpoint_id: str
    parent: str
    document: dict[str, Any]
    writes: list[dict[str, Any]] = field(default_factory=list)
    parents_writes: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class _Head:
    key: bytes
    thread: bytes
    namespace: bytes
    checkpoint_id: bytes
    run_id: str
    metadata: dict[str, Any]
    parent: bytes
    sends_from: bytes | None


class Listing:
    """What `list` of a saver lists, some checkpoints at a time.

    Args:
        engine: Says how keys are called.
        wanted: What is to be listed.
        limit: How many at most.
    """

    def __init__(self, engine: Engine, wanted: Wanted, limit: int | None) -> None:
        self._engine = engine
        self._wanted = wanted
        self._limit = self._left = limit
        self._keys: list[bytes] | None = None
        self._pages: Iterator[list[bytes]] = iter(())
        self._heads: list[_Head] = []
        self._any = False

    def next(self) -> Operation[list[Listed] | None]:
        """The next ones; None when there are no more."""
        if not self._heads and not (yield from self._read_on()):
            return None
        some, self._heads = self._heads[:_PAGE], self._heads[_PAGE:]
        return (yield from _load(self._engine, some))

    def _read_on(self) -> Operation[bool]:
        if self._keys is None:
            self._keys = yield from _names(self._engine, self._wanted)
            self._pages = _pages(self._keys, self._limit)
        while self._left != 0 and (keys := next(self._pages, None)):
            self._heads = (yield from _read(self._engine, self._wanted, keys))[: self._left]
            if self._left is not None:
                self._left -= len(self._heads)
            if self._heads:
                self._any = True
                return True
        if self._any or self._left == 0:
            return False
        self._any = True
        self._heads = yield from _next_best(self._engine, self._wanted, self._keys)
        return bool(self._heads)


def _names(engine: Engine, wanted: Wanted) -> Operation[list[bytes]]:
    """The keys of documents that may be wanted, newest first."""
    if wanted.thread is None:
        keys = yield from all_documents(engine)
    else:
        keys = yield from _documents_of(engine, wanted.thread)
    return sorted(keys, key=lambda key: engine.layout.split(key)[1], reverse=True)


def _documents_of(engine: Engine, thread: bytes) -> Operation[list[bytes]]:
    try:
        return (yield from Search(engine).tagged(thread))
    except NotSearchable:
        found = yield from scan.find(engine.layout, [thread])
        return list(found[thread].documents.values())


def _pages(keys: Sequence[bytes], limit: int | None) -> Iterator[list[bytes]]:
    """The keys in pages: one that is asked for the newest alone is not shown all."""
    size = _HEADS if limit is None else min(_HEADS, max(_PAGE, limit))
    for first in range(0, len(keys), size):
        yield list(keys[first : first + size])


def _read(engine: Engine, wanted: Wanted, keys: Sequence[bytes]) -> Operation[list[_Head]]:
    """The heads of those documents that are wanted."""
    replies = yield [Command(("JSON.GET", key, *_HEAD)) for key in keys]
    heads = (_head(engine, key, reply) for key, reply in zip(keys, replies, strict=True))
    return [head for head in heads if head is not None and _is_wanted(head, wanted)]


def _head(engine: Engine, key: bytes, reply: Any) -> _Head | None:
    found = decoded(reply)
    if not isinstance(found, dict):
        return None
    first = [found[path][0] if found.get(path) else None for path in _HEAD]
    thread, namespace, name, run_id, metadata, version, parent = first
    if not (isinstance(thread, str) and isinstance(namespace, str) and isinstance(name, str)):
        return None
    space = from_storage_safe_str(namespace).encode()
    # Another saver's document may have the same fields under another name.
    if engine.layout.checkpoint_key(thread.encode(), space, name.encode()) != key:
        return None
    old = not isinstance(version, int | float) or version < _OWN_SENDS
    above = parent.encode() if isinstance(parent, str) else b""
    return _Head(
        key,
        thread.encode(),
        space,
        name.encode(),
        str(run_id or ""),
        json.loads(metadata) if isinstance(metadata, str) else {},
        above,
        above if old and above else None,
    )


def _is_wanted(head: _Head, wanted: Wanted) -> bool:
    name = from_storage_safe_id(head.checkpoint_id.decode())
    return (
        wanted.thread in (None, head.thread)
        and wanted.namespace in (None, head.namespace.decode())
        and wanted.checkpoint_id in (None, name)
        and wanted.run_id in (None, head.run_id)
        and (wanted.before is None or name < wanted.before)
        and all(_says(head, key, value) for key, value in wanted.filter.items())
    )


def _says(head: _Head, key: str, value: Any) -> bool:
    """Whether a checkpoint's metadata says so; two more are known beside these."""
    beside = {"thread_id": from_storage_safe_id(head.thread.decode()), "run_id": head.run_id}
    if key in beside and beside[key] == value:
        return True
    return key in head.metadata and bool(head.metadata[key] == value)


def _next_best(engine: Engine, wanted: Wanted, keys: Sequence[bytes]) -> Operation[list[_Head]]:
    """What LangGraph is to resume from when the checkpoint before a replayed one is gone.

    LangGraph asks for a stateful subgraph by `before` when it replays a checkpoint of its graph. If
    nothing that old is left after trims, this gives the oldest that is left: with nothing at all,
    the subgraph would begin anew and forget what it knows.
    """
    if wanted.before is None or not wanted.namespace or wanted.filter:
        return []
    anything = replace(wanted, before=None)
    heads: list[_Head] = []
    for some in _pages(keys, None):
        heads += yield from _read(engine, anything, some)
    there = {head.checkpoint_id for head in heads}
    is_cut = bool(heads) and heads[-1].parent != b"" and heads[-1].parent not in there
    return heads[-1:] if is_cut else []


def _load(engine: Engine, heads: Sequence[_Head]) -> Operation[list[Listed]]:
    """The documents of some checkpoints, and their writes, in three round trips."""
    if not heads:
        return []
    layout = engine.layout
    registry = start_of(layout, Family.REGISTRY)[:-1]
    registries = [registry + layout.checkpoint_suffix(*_place(head)) for head in heads]
    parents = {
        head.key: registry + layout.checkpoint_suffix(head.thread, head.namespace, head.sends_from)
        for head in heads
        if head.sends_from is not None
    }
    replies = yield [
        *(Command(("JSON.GET", head.key)) for head in heads),
        *(Command(("ZRANGE", registry, 0, -1)) for registry in (*registries, *parents.values())),
    ]
    named: list[list[bytes]] = replies[len(heads) :]
    texts = yield from _texts([key for keys in named for key in keys])
    writes = [[texts[key] for key in keys if key in texts] for keys in named]
    of_parents = dict(zip(parents, writes[len(heads) :], strict=True))
    return [
        Listed(
            from_storage_safe_id(head.thread.decode()),
            head.namespace.decode(),
            from_storage_safe_id(head.checkpoint_id.decode()),
            from_storage_safe_id(str(document.get("parent_checkpoint_id") or "")),
            document,
            own,
            of_parents.get(head.key, []),
        )
        for head, reply, own in zip(heads, replies, writes, strict=False)
        if isinstance(document := decoded(reply), dict)
    ]


def real(found: CheckpointTuple | None) -> CheckpointTuple | None:
    """What `get_tuple` has found, unless it is what a write has left of a checkpoint that is gone.

    The plain savers take such a stub for a checkpoint that is its own parent, and whoever replays a
    delta channel along the parents comes to no end.
    """
    if found is None or found.parent_config is None:
        return found
    above, here = found.parent_config["configurable"], found.config["configurable"]
    return None if above["checkpoint_id"] == here["checkpoint_id"] else found


def _place(head: _Head) -> tuple[bytes, bytes, bytes]:
    return head.thread, head.namespace, head.checkpoint_id


def _texts(keys: Sequence[bytes]) -> Operation[dict[bytes, dict[str, Any]]]:
    found: dict[bytes, dict[str, Any]] = {}
    for first in range(0, len(keys), _HEADS):
        some = keys[first : first + _HEADS]
        replies = yield [Command(("JSON.GET", key)) for key in some]
        read = zip(some, map(decoded, replies), strict=True)
        found.update((key, write) for key, write in read if isinstance(write, dict))
    return found


def as_tuple(
    saver: BaseRedisSaver[Any, Any], listed: Listed, *, unannounced: bool
) -> CheckpointTuple:
    """A checkpoint as the saver's `get_tuple` reads it.

    Args:
        saver: Whose serializer is to be used.
        listed: What is stored.
        unannounced: Give writes also where the checkpoint's document does not say that it has some,
            as the asynchronous saver does.
    """
    inner = listed.document.get("checkpoint") or {}
    metadata = listed.document.get("metadata") or "{}"
    values = saver._recursive_deserialize(inner.get("channel_values") or {})
    sends = sorted(
        (write for write in listed.parents_writes if write.get("channel") == TASKS),
        key=lambda write: (write.get("task_path"), write.get("task_id"), write.get("idx")),
    )
    shown = unannounced or listed.document.get("has_writes")

    def config(checkpoint_id: str) -> RunnableConfig:
        place = {
            "thread_id": listed.thread,
            "checkpoint_ns": listed.namespace,
            "checkpoint_id": checkpoint_id,
        }
        return {"configurable": place}

    return CheckpointTuple(
        config(listed.checkpoint_id),
        saver._load_checkpoint(inner, values, [(w["type"], w["blob"]) for w in sends]),
        json.loads(metadata) if isinstance(metadata, str) else metadata,
        config(listed.parent) if listed.parent else None,
        _writes(saver, listed.writes) if shown else [],
    )


def _writes(saver: BaseRedisSaver[Any, Any], stored: list[dict[str, Any]]) -> list[PendingWrite]:
    by_task = {(write["task_id"], str(write["idx"])): write for write in stored}
    return saver._load_writes(saver.serde, by_task)
