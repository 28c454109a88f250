"""Threads written with the real saver, by plain calls instead of by a graph."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import redis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from tests.model.snapshot import Prefixes
from tests.model.threads import uuid6_at

Saver: TypeAlias = "BaseCheckpointSaver[Any]"

DEFAULT = Prefixes()


def place(thread: str, ns: str = "", checkpoint_id: str | None = None) -> RunnableConfig:
    """Where a checkpoint is; the newest without an id."""
    configurable = {"thread_id": thread, "checkpoint_ns": ns}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


def ids(count: int, *, newest_age: float = 5.0, apart: float = 1.0) -> list[str]:
    """That many checkpoint ids, oldest first.

    Args:
        count: How many.
        newest_age: Seconds since the newest.
        apart: Seconds between two of them.
    """
    newest = time.time() - newest_age
    return [uuid6_at(newest - apart * back, count - back) for back in reversed(range(count))]


def put(
    saver: Saver, thread: str, checkpoint_id: str, *, ns: str = "", parent: str | None = None
) -> None:
    """Store one checkpoint without writes."""
    checkpoint: Any = {
        "v": 4,
        "id": checkpoint_id,
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": {"messages": [f"as of {checkpoint_id}"]},
        "channel_versions": {"messages": "1"},
        "versions_seen": {},
    }
    saver.put(
        place(thread, ns, parent), checkpoint, {"source": "loop", "step": 0, "parents": {}}, {}
    )


def put_writes(saver: Saver, thread: str, checkpoint_id: str, count: int = 2, ns: str = "") -> None:
    """Store the writes of one task, whether their checkpoint is there or not."""
    writes = [("messages", f"write {number}") for number in range(count)]
    saver.put_writes(place(thread, ns, checkpoint_id), writes, str(uuid.uuid4()))


def fill(
    saver: Saver,
    thread: str,
    checkpoints: int | Sequence[str],
    *,
    ns: str = "",
    writes: int = 2,
) -> list[str]:
    """Store a thread: each checkpoint with some writes. The ids come back, oldest first."""
    names = ids(checkpoints) if isinstance(checkpoints, int) else list(checkpoints)
    parent = None
    for name in names:
        put(saver, thread, name, ns=ns, parent=parent)
        if writes:
            put_writes(saver, thread, name, writes, ns)
        parent = name
    return names


def fill_fast(
    client: redis.Redis,
    thread: str,
    checkpoints: int | Sequence[str],
    writes: int = 1,
    *,
    parent: str = "",
) -> list[str]:
    """What `fill` stores, thousands of checkpoints in a second."""
    names = ids(checkpoints, apart=0.01) if isinstance(checkpoints, int) else list(checkpoints)
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            _queue_checkpoint(pipeline, thread, name, parent)
            queue_writes(pipeline, thread, name, writes)
            parent = name
            if len(pipeline) > 1000:
                pipeline.execute()
        pipeline.set(DEFAULT.pointer(thread, ""), DEFAULT.document(thread, "", names[-1]))
        pipeline.execute()
    return names


def _queue_checkpoint(pipeline: Any, thread: str, name: str, parent: str) -> None:
    document = {
        "thread_id": thread,
        "run_id": "",
        "checkpoint_ns": "__empty__",
        "checkpoint_id": name,
        "parent_checkpoint_id": parent,
        "checkpoint_ts": time.time() * 1000,
        "checkpoint": {
            "v": 4,
            "id": name,
            "ts": "2026-01-01T00:00:00+00:00",
            "channel_values": {"messages": [f"as of {name}"]},
            "channel_versions": {"messages": "1"},
            "versions_seen": {},
        },
        "metadata": json.dumps({"source": "loop", "step": 0, "parents": {}}),
        "has_writes": True,
        "source": "loop",
        "step": 0,
    }
    key = DEFAULT.document(thread, "", name)
    pipeline.execute_command("JSON.SET", key, "$", json.dumps(document))


def queue_writes(pipeline: Any, thread: str, name: str, count: int) -> None:
    """Store the writes of one task as the saver does, through a pipeline."""
    task = str(uuid.uuid4())
    keys = [DEFAULT.write_document(thread, "", name, task, idx) for idx in range(count)]
    for idx, key in enumerate(keys):
        document = {
            "thread_id": thread,
            "checkpoint_ns": "__empty__",
            "checkpoint_id": name,
            "task_id": task,
            "task_path": "",
            "idx": idx,
            "channel": "messages",
            "type": "json",
            "blob": "ImhpIg==",
        }
        pipeline.execute_command("JSON.SET", key, "$", json.dumps(document))
    if keys:
        pipeline.zadd(DEFAULT.registry(thread, "", name), {key: n for n, key in enumerate(keys)})


def keys_of(
    names: Iterable[bytes],
    thread: str,
    checkpoint_ids: Iterable[str],
    ns: str = "",
    prefixes: Prefixes = DEFAULT,
) -> frozenset[bytes]:
    """Of all the names, those of some checkpoints: documents, writes and registries."""
    wanted = list(checkpoint_ids)
    whole = {prefixes.document(thread, ns, name) for name in wanted}
    whole |= {prefixes.registry(thread, ns, name) for name in wanted}
    starts = tuple(prefixes.writes_of(thread, ns, name) for name in wanted)
    return frozenset(name for name in names if name in whole or name.startswith(starts))
