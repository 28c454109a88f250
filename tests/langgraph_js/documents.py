"""Checkpoints as LangGraph.js' `RedisSaver` puts them: its commands, in its order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

Versions = dict[str, int]


def checkpoint_key(thread: str, ns: str, checkpoint_id: str) -> str:
    return f"checkpoint:{thread}:{ns}:{checkpoint_id}"


def blob_key(thread: str, ns: str, channel: str, version: int) -> str:
    return f"checkpoint_blob:{thread}:{ns}:{channel}:{version}"


def registry_key(thread: str, ns: str, checkpoint_id: str) -> str:
    return f"write_keys_zset:{thread}:{ns}:{checkpoint_id}"


def _place(thread: str, ns: str, checkpoint_id: str) -> dict[str, Any]:
    return {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}


def put_blobs(
    client: redis.Redis,
    thread: str,
    checkpoint_id: str,
    values: Mapping[str, Any],
    versions: Versions,
    *,
    ns: str = "",
) -> None:
    """The first half of `put`: the values that its step has written."""
    for channel, value in values.items():
        document = {
            **_place(thread, ns or "__empty__", checkpoint_id),
            "channel": channel,
            "version": str(versions[channel]),
            "type": "json",
            "value": value,
        }
        client.json().set(blob_key(thread, ns, channel, versions[channel]), "$", document)


def put_document(
    client: redis.Redis,
    thread: str,
    checkpoint_id: str,
    values: Mapping[str, Any],
    versions: Versions,
    *,
    ns: str = "",
    parent: str | None = None,
    source: str = "loop",
    step: int = 0,
    metadata: Mapping[str, Any] | None = None,
    version: int = 4,
) -> None:
    """The second half of `put`: the document."""
    has_writes = client.exists(registry_key(thread, ns, checkpoint_id))
    document: Any = {
        **_place(thread, ns or "__empty__", checkpoint_id),
        "parent_checkpoint_id": parent,
        "checkpoint": {
            "v": version,
            "id": checkpoint_id,
            "ts": "2026-01-01T00:00:00.000Z",
            "channel_values": dict(values),
            "channel_versions": versions,
            "versions_seen": {},
        },
        "metadata": {"source": source, "step": step, "parents": {}, **(metadata or {})},
        "checkpoint_ts": 1_700_000_000_000,
        "has_writes": "true" if has_writes else "false",
        "source": source,
        "step": step,
    }
    client.json().set(checkpoint_key(thread, ns, checkpoint_id), "$", document)


def put(
    client: redis.Redis,
    thread: str,
    checkpoint_id: str,
    values: Mapping[str, Any],
    versions: Versions,
    *,
    ns: str = "",
    **details: Any,
) -> None:
    """`put`."""
    put_blobs(client, thread, checkpoint_id, values, versions, ns=ns)
    put_document(client, thread, checkpoint_id, values, versions, ns=ns, **details)


def put_writes(
    client: redis.Redis,
    thread: str,
    checkpoint_id: str,
    writes: Sequence[tuple[str, Any]] = (("log", ["a"]), ("branch:to:a", None)),
    *,
    ns: str = "",
    task: str = "00000000-0000-5000-8000-000000000001",
    first: int = 0,
) -> None:
    """`putWrites`, which writes the document back whole if it finds one."""
    for number, (channel, value) in enumerate(writes, first):
        key = f"checkpoint_write:{thread}:{ns}:{checkpoint_id}:{task}:{number}"
        document: Any = {
            **_place(thread, ns, checkpoint_id),
            "task_id": task,
            "idx": number,
            "channel": channel,
            "type": "json",
            "value": value,
            "timestamp": 1.5,
            "global_idx": 1.5 + number,
        }
        client.json().set(key, "$", document, nx=True)
        client.zadd(registry_key(thread, ns, checkpoint_id), {key: 1.5 + number})
    document = client.json().get(checkpoint_key(thread, ns, checkpoint_id))
    if document is not None:
        document["has_writes"] = "true"
        client.json().set(checkpoint_key(thread, ns, checkpoint_id), "$", document)


def channel_values(client: redis.Redis, thread: str, ns: str, checkpoint_id: str) -> dict[str, Any]:
    """What `getTuple` makes of a checkpoint's values: those that it has, and those of blobs."""
    return readings(client, thread)[ns, checkpoint_id]


@dataclass
class Line:
    """One line of descent in a thread: each step writes some channels and takes over the others.

    Attributes:
        client: Where it is.
        thread: The thread.
        ns: The namespace.
        versions: What the newest checkpoint names.
        newest: Its id.
        step: Its step.
    """

    client: redis.Redis
    thread: str
    ns: str = ""
    versions: Versions = field(default_factory=dict)
    newest: str | None = None
    step: int = -2

    def add(
        self, checkpoint_id: str, channels: Sequence[str] = ("log",), *, writes: bool = True
    ) -> str:
        """Put one more checkpoint, whose step has written these channels."""
        version = max(self.versions.values(), default=0) + 1
        self.step += 1
        self.versions = {**self.versions, **dict.fromkeys(channels, version)}
        values = {channel: f"{channel}@{checkpoint_id}" for channel in channels}
        if writes:
            put_writes(self.client, self.thread, checkpoint_id, ns=self.ns)
        put(
            self.client,
            self.thread,
            checkpoint_id,
            values,
            self.versions,
            ns=self.ns,
            parent=self.newest,
            step=self.step,
            source="input" if self.newest is None else "loop",
        )
        self.newest = checkpoint_id
        return checkpoint_id

    def fork(self) -> Line:
        """A second line that goes on from here."""
        return Line(self.client, self.thread, self.ns, self.versions, self.newest, self.step)


def readings(client: redis.Redis, thread: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What `channel_values` says of each checkpoint of a thread, by namespace and id."""
    starts = f"checkpoint:{thread}:", f"checkpoint_blob:{thread}:"
    keys = [key.decode() for start in starts for key in client.scan_iter(f"{start}*", count=1000)]
    contents: Any = client.json().mget(keys, "$") if keys else []
    held = {key: found[0] for key, found in zip(keys, contents, strict=True) if found}
    return {
        place: _values(held, thread, *place)
        for place in (
            (ns, one)
            for key in held
            if key.startswith(starts[0])
            for ns, _, one in [key.removeprefix(starts[0]).rpartition(":")]
        )
    }


def _values(held: Mapping[str, Any], thread: str, ns: str, checkpoint_id: str) -> dict[str, Any]:
    checkpoint = held[checkpoint_key(thread, ns, checkpoint_id)]["checkpoint"]
    values = dict(checkpoint["channel_values"])
    for channel, version in checkpoint["channel_versions"].items():
        blob = held.get(blob_key(thread, ns, channel, version))
        if channel not in values and blob is not None and "value" in blob:
            values[channel] = blob["value"]
    return values


def blobs(client: redis.Redis) -> set[str]:
    """The names of all blobs, without what they begin with."""
    found: Iterator[bytes] = client.scan_iter("checkpoint_blob:*", count=1000)
    return {key.decode().removeprefix("checkpoint_blob:") for key in found}


def documents(client: redis.Redis) -> set[str]:
    """The names of all checkpoint documents, without what they begin with."""
    found: Iterator[bytes] = client.scan_iter("checkpoint:*", count=1000)
    return {key.decode().removeprefix("checkpoint:") for key in found}


def state(client: redis.Redis) -> dict[bytes, object]:
    """All keys of the saver with what they hold."""
    found: dict[bytes, object] = {}
    for key in client.scan_iter(count=1000):
        if not key.startswith(b"retention:"):
            is_registry = key.startswith(b"write_keys_zset:")
            found[key] = client.zrange(key, 0, -1) if is_registry else client.json().get(key)
    return found
