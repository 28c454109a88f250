"""What a thread has stored, in a form that can be compared before and after a trim.

The checkpoints are found by SCAN and by the fields of the documents, not by `saver.list`: that
one asks the search index, which is not there on every server and confuses some threads. They are
read with `get_tuple`, so that what is compared is what LangGraph gets::

    before = tuples(saver, "a")
    trim("a")
    after = tuples(saver, "a")
    assert after == {key: before[key] for key in after}
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.redis import RedisSaver
from langgraph.checkpoint.redis.aio import AsyncRedisSaver
from langgraph.checkpoint.redis.util import (
    from_storage_safe_id,
    from_storage_safe_str,
    to_storage_safe_id,
)

OWN_SENDS = 4
"""From this format on, a checkpoint holds its pending sends itself, and LangGraph ignores the
field `pending_sends`, which the saver fills in from the parent."""


class Key(NamedTuple):
    """A checkpoint within a thread, as LangGraph names it."""

    ns: str
    id: str


@dataclass(frozen=True)
class Reading:
    """What LangGraph reads of one checkpoint."""

    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    parent: str | None
    pending_writes: list[tuple[str, str, Any]]


def keys(saver: RedisSaver, thread_id: str) -> list[Key]:
    """All checkpoints of a thread, sorted: by namespace, the oldest first."""
    client: Any = saver._redis
    found = client.scan_iter(match=_pattern(saver, thread_id), count=1000)
    documents = ((name, client.json().get(name)) for name in found)
    return sorted(_select(saver, documents, thread_id))


async def akeys(saver: AsyncRedisSaver, thread_id: str) -> list[Key]:
    """`keys` for an async saver."""
    client: Any = saver._redis
    found = [name async for name in client.scan_iter(match=_pattern(saver, thread_id), count=1000)]
    documents = [(name, await client.json().get(name)) for name in found]
    return sorted(_select(saver, documents, thread_id))


def tuples(
    saver: RedisSaver, thread_id: str, only: Iterable[Key] | None = None
) -> dict[Key, Reading | None]:
    """Each checkpoint of a thread as LangGraph reads it; None for one that is not there."""
    wanted = keys(saver, thread_id) if only is None else only
    return {key: _reading(saver.get_tuple(_config(thread_id, key))) for key in wanted}


async def atuples(
    saver: AsyncRedisSaver, thread_id: str, only: Iterable[Key] | None = None
) -> dict[Key, Reading | None]:
    """`tuples` for an async saver."""
    wanted = await akeys(saver, thread_id) if only is None else only
    return {key: _reading(await saver.aget_tuple(_config(thread_id, key))) for key in wanted}


def _pattern(saver: RedisSaver | AsyncRedisSaver, thread_id: str) -> str:
    thread = re.sub(r"([*?\[\]^\\-])", r"\\\1", to_storage_safe_id(thread_id))
    return f"{saver._checkpoint_prefix}:{thread}:*"


def _select(
    saver: RedisSaver | AsyncRedisSaver, documents: Iterable[tuple[Any, Any]], thread_id: str
) -> Iterable[Key]:
    """The keys of the documents that are this thread's; stubs and strangers are neither."""
    for name, document in documents:
        if not isinstance(document, dict):
            continue
        ns, id = document.get("checkpoint_ns"), document.get("checkpoint_id")
        if document.get("thread_id") != to_storage_safe_id(thread_id) or not (ns and id):
            continue
        # Another saver's document may hold the same fields under another key.
        if _text(name) == ":".join([saver._checkpoint_prefix, document["thread_id"], ns, id]):
            yield Key(from_storage_safe_str(ns), from_storage_safe_id(id))


def _reading(read: CheckpointTuple | None) -> Reading | None:
    if read is None:
        return None
    checkpoint: dict[str, Any] = {**read.checkpoint}
    if checkpoint["v"] >= OWN_SENDS:
        del checkpoint["pending_sends"]
    parent = (read.parent_config or {}).get("configurable", {}).get("checkpoint_id")
    writes = [(task, channel, _plain(value)) for task, channel, value in read.pending_writes or ()]
    return Reading(checkpoint, {**read.metadata}, parent, sorted(writes, key=repr))


def _plain(value: Any) -> Any:
    """An exception equals nothing but itself, so it is compared by its text."""
    return repr(value) if isinstance(value, BaseException) else value


def _config(thread_id: str, key: Key) -> RunnableConfig:
    configurable = {"thread_id": thread_id, "checkpoint_ns": key.ns, "checkpoint_id": key.id}
    return {"configurable": configurable}


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
