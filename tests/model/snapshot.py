"""What a database holds, and which of its keys belong to one thread.

No rule is decided here. This module reads keys and values as they are
(`read_database`), sorts a thread's keys by what they are (`read_thread`), and compares
two snapshots byte for byte (`difference`).

Whose a key is, is told by the documents' fields and never by cutting a key at its
colons: `checkpoint:a:b:x:ID` is thread `a` with namespace `b:x` or thread `a:b` with
namespace `x`. Keys without fields of their own (stubs, registries, pointers) belong to
whom the documents beside them say. Where no document says anything and the key can be
read in more than one way, its owner is *unsure*.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import redis
from fakeredis import FakeRedisConnection

EMPTY_STRING = "__empty__"
EMPTY_ID = "00000000-0000-0000-0000-000000000000"
REGISTRY_PREFIX = "write_keys_zset"
SENDS = "__pregel_tasks"
SHALLOW_REGISTRY_PREFIX = "write_registry"

Zset = tuple[tuple[bytes, float], ...]
Value = bytes | Zset | tuple[bytes, ...] | tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Entry:
    """One key's whole value. Two entries are equal if nothing about the key changed."""

    kind: str
    """`json`, `string`, `zset`, `hash`, `set`, `list` or `other`."""
    value: Value
    """For JSON the text that the server gives for the whole document."""
    expires_at: int | None = None
    """Unix time in milliseconds; None without a TTL."""

    @property
    def members(self) -> tuple[bytes, ...]:
        """The members of a sorted set."""
        return tuple(member for member, _ in cast(Zset, self.value)) if self.kind == "zset" else ()


Database = dict[bytes, Entry]


# --------------------------------------------------------------------------------------
# Reading a server


def _plain(client: redis.Redis) -> redis.Redis:
    """The same server without the reply parsers that `client.json()` installs."""
    return redis.Redis(connection_pool=client.connection_pool)


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _pairs(reply: Any) -> Zset:
    return tuple((_raw(member), float(score)) for member, score in reply)


def _sorted_items(reply: Any) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(sorted((_raw(name), _raw(value)) for name, value in reply.items()))


def _sorted(reply: Any) -> tuple[bytes, ...]:
    return tuple(sorted(_raw(member) for member in reply))


@dataclass(frozen=True)
class _Kind:
    """How keys of one type are read."""

    name: str
    counts: str
    """A command that succeeds for this type only."""
    reads: tuple[str, ...]
    """A command, with what follows the key."""
    value: Callable[[Any], Value] = _raw


_JSON = _Kind("json", "JSON.TYPE", ("JSON.GET", "."))
_OTHER = _Kind("other", "", ("DUMP",))
_KINDS = (
    _Kind("string", "STRLEN", ("GET",)),
    _Kind("hash", "HLEN", ("HGETALL",), _sorted_items),
    _Kind("list", "LLEN", ("LRANGE", "0", "-1"), lambda reply: tuple(map(_raw, reply))),
    _Kind("set", "SCARD", ("SMEMBERS",), _sorted),
    _Kind("zset", "ZCARD", ("ZRANGE", "0", "-1", "WITHSCORES"), _pairs),
)
_BY_TYPE = {_raw(kind.name): kind for kind in _KINDS} | {b"ReJSON-RL": _JSON}


def _all(client: redis.Redis, commands: Iterable[tuple[bytes | str, ...]]) -> list[Any]:
    """Send commands as they are in one go, and return the reply or the refusal of each."""
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
    return pipeline.execute(raise_on_error=False)


def _kinds(client: redis.Redis, keys: Sequence[bytes]) -> list[_Kind]:
    if not issubclass(client.connection_pool.connection_class, FakeRedisConnection):
        return [_BY_TYPE.get(_raw(of), _OTHER) for of in _all(client, (("TYPE", k) for k in keys))]
    # `TYPE` of a JSON key crashes fakeredis.
    kinds = dict.fromkeys(keys, _JSON)
    for kind in _KINDS:
        counts = _all(client, ((kind.counts, key) for key in keys))
        kinds |= {
            key: kind
            for key, count in zip(keys, counts, strict=True)
            if not isinstance(count, redis.ResponseError)
        }
    return [kinds[key] for key in keys]


MISSING = -2
"""What `PEXPIRETIME` answers for a key that is gone meanwhile."""


def read_database(client: redis.Redis) -> Database:
    """Every key of the client's database with its whole value and its expiry time."""
    plain = _plain(client)
    keys = list(dict.fromkeys(map(_raw, plain.scan_iter(count=1000))))
    kinds = _kinds(plain, keys)
    values = _all(plain, ((k.reads[0], n, *k.reads[1:]) for k, n in zip(kinds, keys, strict=True)))
    times = _all(plain, (("PEXPIRETIME", key) for key in keys))
    return {
        key: Entry(kind.name, kind.value(value), expires_at if expires_at >= 0 else None)
        for key, kind, value, expires_at in zip(keys, kinds, values, map(int, times), strict=True)
        if expires_at != MISSING
    }


# --------------------------------------------------------------------------------------
# Comparing two snapshots


@dataclass(frozen=True)
class Difference:
    """How a database differs from an earlier look at it. Empty is falsy."""

    gone: frozenset[bytes]
    new: frozenset[bytes]
    changed: frozenset[bytes]

    def __bool__(self) -> bool:
        return bool(self.gone or self.new or self.changed)


def difference(before: Mapping[bytes, Entry], after: Mapping[bytes, Entry]) -> Difference:
    """Keys that went, came, or hold another byte or another expiry time than before."""
    return Difference(
        gone=frozenset(before.keys() - after.keys()),
        new=frozenset(after.keys() - before.keys()),
        changed=frozenset(k for k in before.keys() & after.keys() if before[k] != after[k]),
    )


# --------------------------------------------------------------------------------------
# The saver's keys


def safe_id(value: str) -> str:
    """An id as the saver stores it."""
    return value or EMPTY_ID


def safe_ns(value: str) -> str:
    """A namespace as the saver stores it."""
    return value or EMPTY_STRING


@dataclass(frozen=True)
class Prefixes:
    """The two prefixes of a saver, and the keys that it makes with them."""

    checkpoint: str = "checkpoint"
    write: str = "checkpoint_write"

    def document(self, thread: str, ns: str, checkpoint_id: str) -> bytes:
        return _join(self.checkpoint, safe_id(thread), safe_ns(ns), safe_id(checkpoint_id))

    def writes_of(self, thread: str, ns: str, checkpoint_id: str) -> bytes:
        """What the keys of all writes of one checkpoint begin with."""
        return _join(self.write, safe_id(thread), safe_ns(ns), safe_id(checkpoint_id), "")

    def write_document(self, thread: str, ns: str, checkpoint_id: str, task: str, i: int) -> bytes:
        return self.writes_of(thread, ns, checkpoint_id) + _join(task, str(i))

    def registry(self, thread: str, ns: str, checkpoint_id: str) -> bytes:
        return _join(REGISTRY_PREFIX, safe_id(thread), safe_ns(ns), safe_id(checkpoint_id))

    def pointer(self, thread: str, ns: str) -> bytes:
        return _join(f"{self.checkpoint}_latest", safe_id(thread), safe_ns(ns))

    def shallow_document(self, thread: str, ns: str) -> bytes:
        return _join(self.checkpoint, thread, ns)

    def shallow_registry(self, thread: str, ns: str) -> bytes:
        return _join(SHALLOW_REGISTRY_PREFIX, thread, safe_ns(ns), "shallow")


def _join(*parts: str) -> bytes:
    return ":".join(parts).encode()


# --------------------------------------------------------------------------------------
# One thread


Place = tuple[str, str]
"""Namespace (`""` for the root graph) and checkpoint id."""


@dataclass(frozen=True)
class Checkpoint:
    """What the rules look at in a checkpoint document."""

    key: bytes
    ns: str
    id: str
    parent: str
    """`""` where there is none."""
    v: float | None
    values: frozenset[str]
    """Channels that have a value inline."""
    versions: frozenset[str]
    """Channels that have a version."""
    counters: frozenset[str]
    """Delta channels, by `metadata.counters_since_delta_snapshot`."""
    source: str
    parents: Mapping[str, str] = field(hash=False)
    stored_at: float | None
    """`checkpoint_ts` in seconds."""

    @property
    def place(self) -> Place:
        return self.ns, self.id

    sends: bool = False
    """Some of its writes are pending sends."""

    @property
    def order(self) -> bytes:
        """Checkpoints are ordered by the bytes of their ids, as LangGraph does."""
        return self.id.encode()

    @property
    def root(self) -> str | None:
        """The root checkpoint that the invocation started from, if it is recorded."""
        return self.parents.get("") or None


@dataclass
class Thread:
    """A thread's keys in a snapshot, sorted by what they are."""

    checkpoints: dict[Place, Checkpoint] = field(default_factory=dict)
    """Real checkpoints: documents that are more than a stub."""
    stubs: dict[bytes, Place] = field(default_factory=dict)
    writes: dict[bytes, Place] = field(default_factory=dict)
    """All write documents, whether a registry names them or not."""
    registries: dict[bytes, Place] = field(default_factory=dict)
    pointers: dict[bytes, str] = field(default_factory=dict)
    """Pointer key to namespace."""
    targets: dict[str, bytes] = field(default_factory=dict)
    """Namespace to the key that its pointer holds."""
    shallow: set[bytes] = field(default_factory=set)
    """Documents, registries and writes of a shallow saver."""
    replaced: dict[bytes, str] = field(default_factory=dict)
    """Of these, writes of checkpoints that it has replaced, and their registries, to an id."""
    unsure: set[bytes] = field(default_factory=set)
    """Keys among the above that may as well be somebody else's."""

    @property
    def keys(self) -> frozenset[bytes]:
        documents = {checkpoint.key for checkpoint in self.checkpoints.values()}
        return frozenset(
            documents
            | self.stubs.keys()
            | self.writes.keys()
            | self.registries.keys()
            | self.pointers.keys()
            | self.shallow
        )

    def namespace(self, ns: str) -> list[Checkpoint]:
        """The real checkpoints of a namespace, oldest first."""
        found = [c for c in self.checkpoints.values() if c.ns == ns]
        return sorted(found, key=lambda c: c.order)

    def namespaces(self) -> list[str]:
        return sorted({ns for ns, _ in self.checkpoints})


def read_thread(database: Database, thread_id: str, prefixes: Prefixes | None = None) -> Thread:
    """Everything in the snapshot that belongs to this thread of this saver."""
    prefixes = prefixes or Prefixes()
    documents = _documents(database)
    thread = Thread()
    owners = _Owners()

    for key, document in documents.items():
        if place := _checkpoint_place(key, document, prefixes):
            owners.claim(prefixes, *place)
            if place[0] == thread_id:
                thread.checkpoints[place[1:]] = _checkpoint(key, document)
    for key, document in documents.items():
        if place := _write_place(key, document, prefixes):
            owners.claim(prefixes, *place)
            if place[0] == thread_id:
                thread.writes[key] = place[1:]

    for key, document in documents.items():
        if document == {"has_writes": True}:
            _add(thread, thread.stubs, key, owners.place(key, prefixes.checkpoint, thread_id))
    for key, entry in database.items():
        if entry.kind == "zset":
            place_here = owners.place(key, REGISTRY_PREFIX, thread_id)
            if place_here and _names_own_writes(entry, prefixes, thread_id, place_here[0]):
                _add(thread, thread.registries, key, place_here)
                if not _names_only_own_writes(entry, prefixes, thread_id, place_here[0]):
                    thread.unsure.add(key)
        elif entry.kind == "string":
            _read_pointer(thread, key, entry, thread_id, prefixes, owners)

    _read_shallow(thread, database, documents, thread_id, prefixes)
    _read_sends(thread, database, documents)
    return thread


def _read_sends(
    thread: Thread, database: Database, documents: Mapping[bytes, Mapping[str, Any]]
) -> None:
    """Note which checkpoints have pending sends among the writes that their registries name."""
    for registry, place in thread.registries.items():
        named = thread.writes.keys() & set(database[registry].members)
        sends = any(documents[key].get("channel") == SENDS for key in named)
        if place in thread.checkpoints:
            thread.checkpoints[place] = replace(thread.checkpoints[place], sends=sends)


def thread_view(
    database: Database, thread_id: str, prefixes: Prefixes | None = None
) -> dict[bytes, Entry]:
    """All keys of one thread with their values, to compare with `difference`."""
    return {key: database[key] for key in read_thread(database, thread_id, prefixes).keys}


def checkpoint_view(
    database: Database, thread_id: str, place: Place, prefixes: Prefixes | None = None
) -> dict[bytes, Entry]:
    """All keys of one checkpoint: its document, its registry and its writes.

    That is everything that `get_tuple` reads for it, but for the pending sends of an old
    parent.
    """
    thread = read_thread(database, thread_id, prefixes)
    keys = {key for key, where in thread.writes.items() if where == place}
    keys |= {key for key, where in thread.registries.items() if where == place}
    keys |= {key for key, where in thread.stubs.items() if where == place}
    if place in thread.checkpoints:
        keys.add(thread.checkpoints[place].key)
    return {key: database[key] for key in keys}


def without(database: Database, keys: Iterable[bytes]) -> Database:
    """The snapshot with these keys deleted."""
    left_out = frozenset(keys)
    return {key: entry for key, entry in database.items() if key not in left_out}


class _Owners:
    """Which threads the documents name for keys that carry no fields themselves."""

    def __init__(self) -> None:
        self.places: defaultdict[bytes, set[tuple[str, str, str]]] = defaultdict(set)
        self.namespaces: defaultdict[bytes, set[tuple[str, str]]] = defaultdict(set)

    def claim(self, prefixes: Prefixes, thread: str, ns: str, checkpoint_id: str) -> None:
        self.places[prefixes.document(thread, ns, checkpoint_id)].add((thread, ns, checkpoint_id))
        self.places[prefixes.registry(thread, ns, checkpoint_id)].add((thread, ns, checkpoint_id))
        self.namespaces[prefixes.pointer(thread, ns)].add((thread, ns))

    def place(self, key: bytes, prefix: str, thread_id: str) -> tuple[Place, bool] | None:
        """Namespace and id of a stub or registry of the thread, and whether that is sure."""
        if claims := self.places.get(key):
            mine = [(ns, cid) for thread, ns, cid in claims if thread == thread_id]
            return (mine[0], len(claims) == 1) if mine else None
        start = _join(prefix, safe_id(thread_id), "")
        ns, colon, checkpoint_id = _text(key.removeprefix(start)).rpartition(":")
        if not key.startswith(start) or not colon or not ns or not checkpoint_id:
            return None
        one_reading = _text(key.removeprefix(_join(prefix, ""))).count(":") == 2
        return (_from_safe_ns(ns), _from_safe_id(checkpoint_id)), one_reading


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _from_safe_id(value: str) -> str:
    return "" if value == EMPTY_ID else value


def _from_safe_ns(value: str) -> str:
    return "" if value == EMPTY_STRING else value


def _add(
    thread: Thread, keys: dict[bytes, Place], key: bytes, found: tuple[Place, bool] | None
) -> None:
    if found:
        keys[key] = found[0]
        if not found[1]:
            thread.unsure.add(key)


def _documents(database: Database) -> dict[bytes, dict[str, Any]]:
    documents = {}
    for key, entry in database.items():
        if entry.kind == "json" and isinstance(entry.value, bytes):
            value = json.loads(entry.value)
            if isinstance(value, dict):
                documents[key] = value
    return documents


def _checkpoint_place(
    key: bytes, document: dict[str, Any], prefixes: Prefixes
) -> tuple[str, str, str] | None:
    """Thread, namespace and id of a real checkpoint of this saver.

    The key is built again from the fields. Where it is another one, the document is a
    shallow saver's, a renamed one, or that of a saver whose prefix goes on
    (`checkpoint:app`).
    """
    place = _fields(document)
    if place is None or not isinstance(document.get("checkpoint"), dict):
        return None
    return place if prefixes.document(*place) == key else None


def _write_place(
    key: bytes, document: dict[str, Any], prefixes: Prefixes
) -> tuple[str, str, str] | None:
    """Thread, namespace and id of the checkpoint that a write document belongs to."""
    place = _fields(document)
    task, idx = document.get("task_id"), document.get("idx")
    if place is None or not isinstance(task, str) or not isinstance(idx, int):
        return None
    return place if prefixes.write_document(*place, task, idx) == key else None


def _fields(document: dict[str, Any]) -> tuple[str, str, str] | None:
    thread = document.get("thread_id")
    ns = document.get("checkpoint_ns")
    checkpoint_id = document.get("checkpoint_id")
    if not (isinstance(thread, str) and isinstance(ns, str) and isinstance(checkpoint_id, str)):
        return None
    return _from_safe_id(thread), _from_safe_ns(ns), _from_safe_id(checkpoint_id)


def _checkpoint(key: bytes, document: dict[str, Any]) -> Checkpoint:
    fields = _fields(document)
    assert fields is not None
    _, ns, checkpoint_id = fields
    inner = document["checkpoint"]
    metadata = document.get("metadata")
    if isinstance(metadata, str):
        metadata = json.loads(metadata)
    metadata = metadata if isinstance(metadata, dict) else {}
    ts = document.get("checkpoint_ts")
    v = inner.get("v")
    parents = metadata.get("parents")
    return Checkpoint(
        key=key,
        ns=ns,
        id=checkpoint_id,
        parent=_from_safe_id(document.get("parent_checkpoint_id") or ""),
        v=v if isinstance(v, int | float) else None,
        values=frozenset(inner.get("channel_values") or {}),
        versions=frozenset(inner.get("channel_versions") or {}),
        counters=frozenset(metadata.get("counters_since_delta_snapshot") or {}),
        source=metadata.get("source") or "",
        parents=parents if isinstance(parents, dict) else {},
        stored_at=ts / 1000 if isinstance(ts, int | float) else None,
    )


def _names_own_writes(entry: Entry, prefixes: Prefixes, thread_id: str, place: Place) -> bool:
    start = prefixes.writes_of(thread_id, *place)
    return any(member.startswith(start) for member in entry.members)


def _names_only_own_writes(entry: Entry, prefixes: Prefixes, thread_id: str, place: Place) -> bool:
    """The registry's prefix is a constant: savers with other prefixes may share a key."""
    start = prefixes.writes_of(thread_id, *place)
    return all(member.startswith(start) for member in entry.members)


def _read_pointer(
    thread: Thread,
    key: bytes,
    entry: Entry,
    thread_id: str,
    prefixes: Prefixes,
    owners: _Owners,
) -> None:
    """A pointer is its target's; without a target, theirs who have documents there."""
    start = prefixes.pointer(thread_id, "x")[:-1]
    if not key.startswith(start) or not isinstance(entry.value, bytes):
        return
    ns = _from_safe_ns(_text(key.removeprefix(start)))
    pointed_at = {
        (owner, where)
        for owner, where, _ in owners.places.get(entry.value, set())
        if prefixes.pointer(owner, where) == key
    }
    claims = pointed_at or owners.namespaces.get(key, set())
    if claims and (thread_id, ns) not in claims:
        return
    one_reading = _text(key).removeprefix(f"{prefixes.checkpoint}_latest:").count(":") == 1
    if len(claims) > 1 or not (claims or one_reading):
        thread.unsure.add(key)
    thread.pointers[key] = ns
    thread.targets[ns] = entry.value


def _read_shallow(
    thread: Thread,
    database: Database,
    documents: dict[bytes, dict[str, Any]],
    thread_id: str,
    prefixes: Prefixes,
) -> None:
    """A shallow saver's document lies at `checkpoint:{thread}:{ns}`.

    Its writes look like any other; what tells them apart is the registry that names
    them, `write_registry:{thread}:{ns}:shallow`.
    """
    namespaces, latest = set(), {}
    for key, document in documents.items():
        place = _fields(document)
        if place and place[0] == thread_id and key == prefixes.shallow_document(*place[:2]):
            thread.shallow.add(key)
            namespaces.add(place[1])
            latest[place[1]] = place[2]
    for ns in namespaces | {ns for ns, _ in thread.writes.values()}:
        registry = prefixes.shallow_registry(thread_id, ns)
        if registry in database:
            namespaces.add(ns)
            thread.shallow.add(registry)
            named = set(database[registry].members) & thread.writes.keys()
            thread.shallow |= named
            for key in named:
                _, checkpoint_id = thread.writes.pop(key)
                if checkpoint_id < latest.get(ns, checkpoint_id + "~"):
                    thread.replaced[key] = checkpoint_id
                    oldest = min(checkpoint_id, thread.replaced.get(registry, checkpoint_id))
                    thread.replaced[registry] = oldest
    registered = {member for key in thread.registries for member in database[key].members}
    for key, (ns, _) in thread.writes.items():
        if ns in namespaces and key not in registered:
            thread.unsure.add(key)
