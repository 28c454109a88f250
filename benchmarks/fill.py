"""Fills a database with threads as `RedisSaver` writes them, many times as fast.

The documents are put together here and sent over a bare socket; `check_against_saver` lets the
real saver write the same checkpoint and compares, so that a format that has changed is noticed.
"""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

import redis
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.redis import RedisSaver

from benchmarks.wire import Wire, batches, pack

THREAD = 36
"""Checkpoints of each thread, where nothing else is said."""

WRITES = 2
"""Pending writes of each checkpoint."""

SIZES = (5_000, 20_000)
"""Bytes of the JSON of a thread's first document and of its last: it grows as a chat does."""

SMALL = (1_000, 1_000)
"""For threads that only have to be there: many of them fit into memory."""

_TEXT = "The quick brown fox jumps over the lazy dog, as it always does in examples. " * 7
_BLOB = base64.b64encode(json.dumps(_TEXT[:120]).encode()).decode()
_BATCH = 64
# A version 4 UUID; ids of checkpoints are of version 6.
_TASK = re.compile(r":[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f-]{17}")
# An id's time in units of 100 ns since 1582: 2025-01-01, and half a second from one to the next.
_FIRST_TIME = 139_549_824_000_000_000
_STEP = 5_000_000


@dataclass(slots=True)
class Filled:
    """A thread that was written.

    Attributes:
        name: Its id.
        checkpoints: For each checkpoint, oldest first, its keys; the document's is the first.
    """

    name: str
    checkpoints: list[list[bytes]] = field(default_factory=list)

    def victims(self, keep: int) -> list[bytes]:
        """The keys that have to go so that the newest `keep` checkpoints are left."""
        return [key for keys in self.checkpoints[:-keep] for key in keys]

    def survivors(self, keep: int) -> list[bytes]:
        """The keys of the newest `keep` checkpoints."""
        return [key for keys in self.checkpoints[-keep:] for key in keys]


def fill_thread(wire: Wire, name: str, count: int, sizes: tuple[int, int] = SIZES) -> Filled:
    """Write a thread of `count` checkpoints in the root namespace.

    `sizes` are the bytes of its first document and of its last.
    """
    filled = Filled(name)
    for packed, replies in batches(_commands(filled, count, *sizes), _BATCH):
        wire.ask(packed, replies)
    return filled


def fill_threads(
    wire: Wire, start: str, threads: int, sizes: tuple[int, int] = SIZES
) -> list[Filled]:
    """Write many threads of 36 checkpoints."""
    return [fill_thread(wire, f"{start}{n}", THREAD, sizes) for n in range(threads)]


def _commands(filled: Filled, count: int, smallest: int, largest: int) -> Iterator[bytes]:
    """The commands that write a thread: for each checkpoint a document, writes, their registry."""
    chance = random.Random(filled.name)
    parent = ""
    for number in range(count):
        checkpoint_id = checkpoint_id_of(number, chance)
        task = str(UUID(int=chance.getrandbits(128), version=4))
        suffix = f":{filled.name}:__empty__:{checkpoint_id}"
        size = smallest + (largest - smallest) * number // max(count - 1, 1)
        document = _document(filled.name, checkpoint_id, parent, number, size)
        yield pack("JSON.SET", "checkpoint" + suffix, "$", document)
        names = [f"checkpoint_write{suffix}:{task}:{index}" for index in range(WRITES)]
        for index, name in enumerate(names):
            write = _write(filled.name, checkpoint_id, task, index)
            yield pack("JSON.SET", name, "$", write)
        registry = f"write_keys_zset{suffix}"
        scored = [word for index, name in enumerate(names) for word in (index, name)]
        yield pack("ZADD", registry, *scored)
        keys = ["checkpoint" + suffix, registry, *names]
        filled.checkpoints.append([key.encode() for key in keys])
        parent = checkpoint_id
    latest = f"checkpoint_latest:{filled.name}:__empty__"
    yield pack("SET", latest, filled.checkpoints[-1][0])


def checkpoint_id_of(number: int, chance: random.Random) -> str:
    """A UUIDv6, later than the one before it."""
    time = f"{_FIRST_TIME + number * _STEP:015x}"
    tail = f"8{chance.getrandbits(12):03x}-{chance.getrandbits(48):012x}"
    return f"{time[:8]}-{time[8:12]}-6{time[12:15]}-{tail}"


@cache
def _message(number: int) -> str:
    """A message as the saver's serializer writes it; about 700 bytes."""
    fields = {"content": f"{number}: {_TEXT}", "type": "human", "id": str(number)}
    names = ["langchain", "schema", "messages", "HumanMessage"]
    message = {"lc": 1, "type": "constructor", "id": names, "kwargs": fields}
    return json.dumps(message, separators=(",", ":"))


@cache
def messages(count: int) -> str:
    """So many messages, as the text of a list."""
    return "[" + ",".join(_message(number) for number in range(count)) + "]"


def _document(thread: str, checkpoint_id: str, parent: str, number: int, size: int) -> str:
    """A checkpoint document of about `size` bytes, its messages put in as ready text."""
    source = "loop" if number % 3 else "input"
    step = number - 1
    metadata = {"source": source, "step": step, "parents": {}}
    checkpoint = {
        "type": "json",
        "v": 4,
        "ts": "2025-01-01T00:00:00+00:00",
        "id": checkpoint_id,
        "channel_values": {"messages": "@"},
        "channel_versions": {"messages": f"{number:032}.0"},
        "versions_seen": {"__input__": {}, "__start__": {"__start__": "1"}},
        "updated_channels": ["messages"],
        "pending_sends": [],
    }
    document = {
        "thread_id": thread,
        "run_id": "",
        "checkpoint_ns": "__empty__",
        "checkpoint_id": checkpoint_id,
        "parent_checkpoint_id": parent,
        "checkpoint_ts": 1.7e12 + number,
        "checkpoint": checkpoint,
        "metadata": json.dumps(metadata),
        "has_writes": True,
        "source": source,
        "step": step,
    }
    text = json.dumps(document, separators=(",", ":"))
    return text.replace('"@"', messages(max(1, (size - len(text)) // len(_message(10)))), 1)


def _write(thread: str, checkpoint_id: str, task: str, index: int) -> str:
    fields = {"thread_id": thread, "checkpoint_ns": "__empty__", "checkpoint_id": checkpoint_id}
    fields |= {"task_id": task, "task_path": "~__pregel_pull, model"}
    fields |= {"channel": "messages", "type": "json", "blob": _BLOB}
    return json.dumps({**fields, "idx": index}, separators=(",", ":"))


# --- what the saver itself writes ----------------------------------------------------------


def check_against_saver(client: redis.Redis, wire: Wire) -> None:
    """Make sure that threads are filled as the saver fills them.

    Raises:
        RuntimeError: It writes other keys, or documents with other fields.
    """
    filled = fill_thread(wire, "filled", 1)
    checkpoint_id = filled.checkpoints[0][0].decode().rsplit(":", 1)[1]
    _save(client, "saved", checkpoint_id)
    ours, theirs = (_shapes(client, name) for name in ("filled", "saved"))
    client.delete(*client.keys("*:filled:*"), *client.keys("*:saved:*"))
    if ours != theirs:
        raise RuntimeError(f"the saver writes another format now: {theirs}, and not {ours}")


def _save(client: redis.Redis, thread: str, checkpoint_id: str) -> None:
    place: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    checkpoint = Checkpoint(
        v=4,
        id=checkpoint_id,
        ts="2025-01-01T00:00:00+00:00",
        channel_values={"messages": [HumanMessage(_TEXT, id="0")]},
        channel_versions={"messages": f"{0:032}.0"},
        versions_seen={"__input__": {}, "__start__": {"__start__": "1"}},
        updated_channels=["messages"],
    )
    saver = RedisSaver(redis_client=client)
    saver.setup()
    after = saver.put(place, checkpoint, {"source": "input", "step": -1, "parents": {}}, {})
    task = str(UUID(int=1, version=4))
    saver.put_writes(after, [("messages", "hi"), ("messages", "ho")], task, "~__pregel_pull, model")


def _shapes(client: redis.Redis, thread: str) -> dict[str, Any]:
    """For each key of a thread the fields of its document, or its type."""
    shapes: dict[str, Any] = {}
    keys: Any = client.keys(f"*:{thread}:*")
    for key in map(bytes.decode, keys):
        kind: Any = client.type(key)
        shape = _fields(client.json().get(key)) if kind == b"ReJSON-RL" else kind
        shapes[_TASK.sub(":task", key.replace(f":{thread}:", ":T:"))] = shape
    return shapes


def _fields(document: Any) -> Any:
    inner = document.get("checkpoint")
    return sorted(document), sorted(inner) if isinstance(inner, dict) else None
