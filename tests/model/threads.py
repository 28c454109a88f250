"""Random threads as plain lists of what was done to them.

A thread is a list of operations (`PutCheckpoint`, `PutWrites`, `Vanish`, ...), each of
which is one thing that a saver, a TTL or a mishap does. `write_to` carries them out and
leaves exactly the keys and fields that `RedisSaver` leaves. By hand:

    write_to(client, "thread", [PutCheckpoint("", uuid6_at(NOW))])

and at random, with everything that a trim may meet (`Example.write` stores it):

    @given(examples())
    def test_trim(example): ...

The strategies draw a list of small events and play them one after the other on a clock,
so an example shrinks by leaving events out and by making them plainer.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import redis
from hypothesis import strategies as st

from tests.model.rules import Policy, id_time
from tests.model.snapshot import Place, Prefixes, safe_id, safe_ns

NOW = 1_750_000_000.0
"""The time that examples are made for, unless told otherwise."""

SPECIAL_WRITES = {"__error__": -1, "__scheduled__": -2, "__interrupt__": -3, "__resume__": -4}
"""Channels whose writes have a fixed, negative index."""


# --------------------------------------------------------------------------------------
# Ids


def uuid6_at(time: float, n: int = 0) -> str:
    """A UUIDv6 of that time, as LangGraph makes them. `n` tells ids of one moment apart."""
    ticks = round(time * 10_000_000) + 0x01B21DD213814000
    version, variant = 6 << 76, 2 << 62
    return str(uuid.UUID(int=(ticks >> 12) << 80 | version | (ticks & 0xFFF) << 64 | variant | n))


def ulid_at(time: float, n: int = 0) -> str:
    """A ULID of that time, as in old data."""
    number = round(time * 1000) << 80 | n
    letters = ""
    for _ in range(26):
        number, digit = divmod(number, 32)
        letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[digit] + letters
    return letters


def timeless_id_at(time: float, n: int = 0) -> str:
    """A UUIDv4, from which no time can be read, though it sorts as if of that time."""
    return str(uuid.UUID(hex=uuid6_at(time, n), version=4))


def task_id(n: int) -> str:
    """The id of a task: a hash in the form of a UUID."""
    return str(uuid.UUID(int=0xA5 << 120 | 0x5 << 76 | n))


# --------------------------------------------------------------------------------------
# Operations


@dataclass(frozen=True)
class PutCheckpoint:
    """`put`: stores the document and turns the namespace's pointer to it."""

    ns: str
    id: str
    parent: str = ""
    source: str = "loop"
    step: int = 0
    parents: tuple[tuple[str, str], ...] = ()
    """Ancestor namespace and checkpoint id: `metadata.parents`."""
    v: int = 4
    values: tuple[str, ...] = ("messages",)
    """Channels with a value inline."""
    versions: tuple[str, ...] = ("messages",)
    """Channels with a version."""
    counters: tuple[tuple[str, tuple[int, int]], ...] = ()
    """`metadata.counters_since_delta_snapshot`."""
    snapshots: tuple[str, ...] = ()
    """Which of the values are snapshots of delta channels."""
    run_id: str | None = None
    stored_at: float | None = None
    """When `put` ran; None for the time in the id."""


@dataclass(frozen=True)
class PutWrites:
    """`put_writes` of one task. Without its checkpoint it leaves a stub behind."""

    ns: str
    id: str
    task: str
    channels: tuple[str, ...] = ("messages",)
    task_path: str = ""
    registered: bool = True
    """False: the writer died before the registry, or the registry expired."""
    merged: bool = True
    """False: `JSON.MERGE` did not arrive, so there is no stub and no `has_writes`."""


@dataclass(frozen=True)
class PutRegistry:
    """A registry that names writes which do not exist, as after their TTL."""

    ns: str
    id: str
    task: str


@dataclass(frozen=True)
class Vanish:
    """A part of a checkpoint disappears, as by its own TTL."""

    ns: str
    id: str
    part: str = "document"
    """`document`, `writes`, `registry` or `pointer` (of the whole namespace)."""


@dataclass(frozen=True)
class Expire:
    """A checkpoint gets a TTL, in seconds."""

    ns: str
    id: str
    seconds: int = 86_400


@dataclass(frozen=True)
class MovePointer:
    """The namespace's `checkpoint_latest` names this checkpoint."""

    ns: str
    id: str


@dataclass(frozen=True)
class PutShallow:
    """A shallow saver's checkpoint and one write of it."""

    ns: str
    id: str
    task: str


@dataclass(frozen=True)
class DamageIndex:
    """For tests with an index: it was lost, misses this checkpoint, or has a ghost.

    Nothing in the saver's data changes: `write_to` skips it, and the test applies it.
    """

    ns: str
    id: str
    damage: str
    """`lost`, `missing` or `ghost`."""


Operation = (
    PutCheckpoint
    | PutWrites
    | PutRegistry
    | Vanish
    | Expire
    | MovePointer
    | PutShallow
    | DamageIndex
)


# --------------------------------------------------------------------------------------
# Storing


def write_to(
    client: redis.Redis,
    thread_id: str,
    operations: Iterable[Operation],
    *,
    checkpoint_prefix: str = "checkpoint",
    write_prefix: str = "checkpoint_write",
) -> None:
    """Do the operations one after the other, as `RedisSaver` does."""
    store = _Store(client, thread_id, Prefixes(checkpoint_prefix, write_prefix))
    for operation in operations:
        store.do(operation)


def _dumps(value: object) -> str:
    """Compact JSON, as orjson writes the saver's metadata and blobs."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@dataclass
class _Store:
    client: redis.Redis
    thread: str
    prefixes: Prefixes

    def do(self, operation: Operation) -> None:
        if isinstance(operation, PutCheckpoint):
            self.put(operation)
        elif isinstance(operation, PutWrites):
            self.put_writes(operation)
        elif isinstance(operation, PutRegistry):
            key = self.prefixes.write_document(
                self.thread, operation.ns, operation.id, operation.task, 0
            )
            registry = self.prefixes.registry(self.thread, operation.ns, operation.id)
            self.client.zadd(registry, {key.decode(): 0})
        elif isinstance(operation, Vanish):
            self.vanish(operation)
        elif isinstance(operation, Expire):
            for key in self.parts(operation.ns, operation.id):
                self.client.expire(key, operation.seconds)
        elif isinstance(operation, MovePointer):
            self.point_at(operation.ns, operation.id)
        elif isinstance(operation, PutShallow):
            self.put_shallow(operation)

    def set_json(self, key: bytes, document: dict[str, Any]) -> None:
        self.client.json().set(key.decode(), "$", document)

    def point_at(self, ns: str, checkpoint_id: str) -> None:
        document = self.prefixes.document(self.thread, ns, checkpoint_id)
        self.client.set(self.prefixes.pointer(self.thread, ns), document)

    def put(self, put: PutCheckpoint) -> None:
        ns, checkpoint_id = put.ns, put.id
        document = {
            "thread_id": safe_id(self.thread),
            "run_id": put.run_id or "",
            "checkpoint_ns": safe_ns(ns),
            "checkpoint_id": safe_id(checkpoint_id),
            "parent_checkpoint_id": put.parent,
            "checkpoint_ts": _checkpoint_ts(put),
            "checkpoint": _inner(put),
            "metadata": _dumps(_metadata(put)),
            "has_writes": False,
            "source": put.source,
            "step": put.step,
        }
        self.set_json(self.prefixes.document(self.thread, ns, checkpoint_id), document)
        self.point_at(ns, checkpoint_id)

    def put_writes(self, put: PutWrites) -> None:
        keys = []
        for position, channel in enumerate(put.channels):
            idx = SPECIAL_WRITES.get(channel, position)
            key = self.prefixes.write_document(self.thread, put.ns, put.id, put.task, idx)
            keys.append(key)
            self.set_json(key, {**_write(put, channel, idx), "thread_id": safe_id(self.thread)})
        if put.merged:
            self.merge_has_writes(self.prefixes.document(self.thread, put.ns, put.id))
        if put.registered:
            registry = self.prefixes.registry(self.thread, put.ns, put.id)
            self.client.zadd(registry, {key.decode(): n for n, key in enumerate(keys)})

    def merge_has_writes(self, key: bytes) -> None:
        """`JSON.MERGE` creates a missing document. fakeredis refuses; the result is a stub."""
        if self.client.exists(key):
            self.client.json().merge(key.decode(), "$", {"has_writes": True})
        else:
            self.set_json(key, {"has_writes": True})

    def put_shallow(self, put: PutShallow) -> None:
        """As `ShallowRedisSaver`: metadata is no string, and there is no parent."""
        document = {
            "thread_id": self.thread,
            "run_id": "",
            "checkpoint_ns": safe_ns(put.ns),
            "checkpoint_id": put.id,
            "checkpoint_ts": _checkpoint_ts(PutCheckpoint(put.ns, put.id)),
            "checkpoint": _inner(PutCheckpoint(put.ns, put.id)),
            "metadata": {"source": "loop", "step": 0, "parents": {}},
            "source": "loop",
            "step": 0,
        }
        self.set_json(self.prefixes.shallow_document(self.thread, put.ns), document)
        key = self.prefixes.write_document(self.thread, put.ns, put.id, put.task, 0)
        write = _write(PutWrites(put.ns, put.id, put.task), "messages", 0)
        self.set_json(key, {**write, "thread_id": self.thread})
        registry = self.prefixes.shallow_registry(self.thread, put.ns)
        self.client.zadd(registry, {key.decode(): 0})

    def vanish(self, vanish: Vanish) -> None:
        ns, checkpoint_id = vanish.ns, vanish.id
        if vanish.part == "document":
            self.client.delete(self.prefixes.document(self.thread, ns, checkpoint_id))
        elif vanish.part == "registry":
            self.client.delete(self.prefixes.registry(self.thread, ns, checkpoint_id))
        elif vanish.part == "pointer":
            self.client.delete(self.prefixes.pointer(self.thread, ns))
        else:
            for key in self.write_documents(ns, checkpoint_id):
                self.client.delete(key)

    def parts(self, ns: str, checkpoint_id: str) -> list[bytes]:
        document = self.prefixes.document(self.thread, ns, checkpoint_id)
        registry = self.prefixes.registry(self.thread, ns, checkpoint_id)
        return [document, registry, *self.write_documents(ns, checkpoint_id)]

    def write_documents(self, ns: str, checkpoint_id: str) -> list[bytes]:
        start = self.prefixes.writes_of(self.thread, ns, checkpoint_id)
        return [key for key in self.client.scan_iter(count=1000) if key.startswith(start)]


def _write(put: PutWrites, channel: str, idx: int) -> dict[str, Any]:
    blob = _dumps([f"{put.task[-4:]} wrote {channel}"])
    return {
        "thread_id": "",
        "checkpoint_ns": safe_ns(put.ns),
        "checkpoint_id": safe_id(put.id),
        "task_id": put.task,
        "task_path": put.task_path,
        "idx": idx,
        "channel": channel,
        "type": "json",
        "blob": base64.b64encode(blob.encode()).decode(),
    }


def _checkpoint_ts(put: PutCheckpoint) -> float:
    """Milliseconds at `put` for a UUID; for a ULID the saver stores its *seconds*."""
    by_id = id_time(put.id)
    if by_id is not None and len(put.id) == 26:
        return by_id
    stored_at = put.stored_at if put.stored_at is not None else by_id
    return (NOW if stored_at is None else stored_at) * 1000


def _inner(put: PutCheckpoint) -> dict[str, Any]:
    time = id_time(put.id) or NOW
    values: dict[str, Any] = {}
    for channel in put.values:
        value: Any = [f"{channel} at {put.id}"]
        values[channel] = (
            {"__delta_snapshot__": True, "value": value} if channel in put.snapshots else value
        )
    return {
        "type": "json",
        "v": put.v,
        "ts": datetime.fromtimestamp(time, timezone.utc).isoformat(),
        "id": put.id,
        "channel_values": values,
        "channel_versions": dict.fromkeys(put.versions, f"{put.step + 2:032}.0.5000000000000000"),
        "versions_seen": {"__input__": {}},
        "updated_channels": list(put.values),
        "pending_sends": [],
    }


def _metadata(put: PutCheckpoint) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "source": put.source,
        "step": put.step,
        "parents": dict(put.parents),
    }
    if put.run_id:
        metadata["run_id"] = put.run_id
    if put.counters:
        metadata["counters_since_delta_snapshot"] = {c: list(n) for c, n in put.counters}
    return metadata


# --------------------------------------------------------------------------------------
# Random threads: events


DELTA_CHANNELS = ("log", "notes")

TICKS = (1.0, 420.0, 10_813.0, 200_003.0)
"""Seconds from one event to the next: a step, a pause, an afternoon, a weekend."""

AGES = (20.0, 1_800.0, 7_700.0, 864_000.0)
"""Seconds from the last event to now. With the ticks and the skew, no id comes near the
hour of rule 7 or the limits of `keep_within` below, so a test may take a minute."""

SKEW = 45.0
"""How far the clock of another host is off: many steps."""

WITHINS = (110.0, 1_970.0, 4_900.0, 400_000.0)

ROOT, INVOCATION, STATEFUL = "root", "invocation", "stateful"

NAMESPACES: tuple[tuple[str, str], ...] = (
    (f"node:{task_id(1)}", INVOCATION),
    ("mem", STATEFUL),
    (f"a:{task_id(2)}|b:{task_id(3)}", INVOCATION),
    ("outer|deep", STATEFUL),
    (f"node:{task_id(1)}|1", INVOCATION),
    (f"outer:{task_id(4)}|mem", INVOCATION),
    (f"node:{task_id(5)}", INVOCATION),
)


@dataclass(frozen=True)
class Step:
    """A checkpoint, with the writes of its tasks."""

    where: int = 0
    """0 is the root graph, others are `NAMESPACES`."""
    tick: int = 0
    skew: int = 0
    """-1 or 1: made by a host whose clock is behind or ahead."""
    back: int = 0
    """How many checkpoints of the namespace back its parent lies: more than 0 is a fork."""
    parent: str = "known"
    """`known`, `none`, or `missing` for one that was never stored."""
    source: str = "loop"
    v: int = 4
    root: str = "current"
    """The root that a subgraph names: `current`, `earlier`, `none`, or one that was never
    stored, made `now` or `long ago`."""
    written: frozenset[str] = frozenset()
    """Delta channels that are written to in this step."""
    snapshot: frozenset[str] = frozenset()
    """Delta channels that are stored as a whole in this step."""
    bare: bool = False
    """Without channel versions."""
    writes: tuple[str, ...] = ()
    """How its tasks' writes are stored; see `_WRITES`."""


@dataclass(frozen=True)
class Orphan:
    """Writes without a checkpoint, here in the order of time."""

    where: int = 0
    tick: int = 0
    parts: str = "all"
    """`all`, `stub`, `writes`, `unregistered` or `registry`."""
    timeless: bool = False


@dataclass(frozen=True)
class Trouble:
    """Something befalls one of the checkpoints so far."""

    which: int = 0
    """Counted from the newest."""
    what: str = "document"
    """A part to vanish, or `late writes`, `pointer here`, `expire`, `lost`, ...."""


Event = Step | Orphan | Trouble

_WRITES: dict[str, tuple[tuple[str, ...], bool, bool]] = {
    # channels, registered, merged
    "plain": (("messages", "branch:to:next"), True, True),
    "delta": (("log", "notes"), True, True),
    "interrupt": (("__interrupt__",), True, True),
    "resume": (("__resume__", "messages"), True, True),
    "error": (("__error__",), True, True),
    "sends": (("__pregel_tasks", "__pregel_tasks"), True, True),
    "unregistered": (("messages",), False, True),
    "unmerged": (("messages",), False, False),
}

_deltas = st.frozensets(st.sampled_from(DELTA_CHANNELS), max_size=2)
_writes = st.lists(st.sampled_from(list(_WRITES)), max_size=2).map(tuple)
_ticks = st.sampled_from((0, 0, 0, 0, 1, 1, 2, 3))
_common: dict[str, st.SearchStrategy[Any]] = {
    "tick": _ticks,
    "skew": st.sampled_from((0, 0, 0, 0, 0, -1, 1)),
    "back": st.sampled_from((0, 0, 0, 0, 1, 2, 5)),
    "parent": st.sampled_from(("known",) * 10 + ("none", "missing")),
    "v": st.sampled_from((4, 4, 4, 4, 3, 2, 1)),
    "written": _deltas,
    "snapshot": st.one_of(st.just(frozenset()), st.just(frozenset()), _deltas),
    "bare": st.sampled_from((False,) * 8 + (True,)),
    "writes": _writes,
}
_root_steps = st.builds(
    Step, source=st.sampled_from(("loop", "loop", "input", "update", "fork")), **_common
)
_subgraph_steps = st.builds(
    Step,
    where=st.sampled_from((1, 1, 1, 2, 2, 3, 4, 5, 6, 7)),
    root=st.sampled_from(("current", "current", "current", "earlier", "none", "now", "long ago")),
    **_common,
)
_orphans = st.builds(
    Orphan,
    where=st.sampled_from((0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7)),
    tick=_ticks,
    parts=st.sampled_from(("all", "stub", "writes", "unregistered", "registry")),
    timeless=st.sampled_from((False,) * 5 + (True,)),
)
_TROUBLES = (
    "pointer here",
    "document",
    "late writes",
    "registry",
    "writes",
    "pointer",
    "expire",
    "missing",
    "ghost",
    "lost",
    "shallow",
)
_troubles = st.builds(Trouble, which=st.integers(0, 9), what=st.sampled_from(_TROUBLES))

_event = st.one_of(
    _root_steps,
    _root_steps,
    _root_steps,
    _subgraph_steps,
    _subgraph_steps,
    _orphans,
    _troubles,
)

# Hypothesis' own lists are short; a trim needs something to trim.
_events = st.sampled_from((2, 5, 10, 15, 20)).flatmap(
    lambda least: st.lists(_event, min_size=least, max_size=25)
)


# --------------------------------------------------------------------------------------
# Random threads: playing the events


@dataclass
class _Line:
    """What the next checkpoint of a namespace takes from its parent."""

    id: str
    step: int
    versions: frozenset[str]
    counters: dict[str, tuple[int, int]]


@dataclass
class _Player:
    """Turns events into operations, on a clock that ends at `now`."""

    number: int
    """Tells the ids of one thread from another's."""
    ulids: int
    """How many of the first ids are ULIDs."""
    deltas: tuple[str, ...]
    """The delta channels of the graph."""
    namespaces: Sequence[tuple[str, str]]
    clock: float
    operations: list[Operation] = field(default_factory=list)
    lines: dict[str, list[_Line]] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    made: int = 0

    def play(self, events: Iterable[Event]) -> list[Operation]:
        for event in events:
            if isinstance(event, Step):
                self.clock += TICKS[event.tick]
                self.step(event)
            elif isinstance(event, Orphan):
                self.clock += TICKS[event.tick]
                self.orphan(event)
            elif self.places:
                self.trouble(event)
        return self.operations

    def new_id(self, skew: float = 0.0) -> str:
        self.made += 1
        n = self.number << 20 | self.made
        make = ulid_at if self.made <= self.ulids else uuid6_at
        return make(self.clock + skew, n)

    def namespace(self, where: int) -> tuple[str, str]:
        return self.namespaces[where - 1] if where else ("", ROOT)

    def root(self, which: str, kind: str) -> tuple[tuple[str, str], ...]:
        known = self.lines.get("", [])
        if kind == ROOT or which == "none" or (which in ("current", "earlier") and not known):
            return ()
        if which == "current":
            return (("", known[-1].id),)
        if which == "earlier":
            return (("", known[len(known) // 2].id),)
        if which == "now":
            return (("", self.new_id()),)
        return (("", uuid6_at(self.clock - 50_000_000, self.number << 20 | self.made)),)

    def step(self, step: Step) -> None:
        ns, kind = self.namespace(step.where)
        line = self.lines.setdefault(ns, [])
        parents = self.root(step.root, kind)
        before = None
        parent = ""
        if step.parent == "missing":
            parent = self.new_id()
        if step.parent != "none" and line:
            before = line[max(0, len(line) - 1 - step.back)]
            parent = parent or before.id
        checkpoint_id = self.new_id(step.skew * SKEW)
        new = self.next_line(checkpoint_id, before, step)
        snapshots = step.snapshot & new.versions & frozenset(self.deltas)
        source = step.source if line or kind != ROOT else "input"
        self.operations.append(
            PutCheckpoint(
                ns,
                checkpoint_id,
                parent,
                source,
                new.step,
                parents,
                step.v,
                values=("messages", *sorted(snapshots)),
                versions=() if step.bare else tuple(sorted(new.versions)),
                counters=tuple(sorted(new.counters.items())),
                snapshots=tuple(sorted(snapshots)),
                stored_at=self.clock,
            )
        )
        line.append(new)
        self.places.append((ns, checkpoint_id))
        for n, how in enumerate(step.writes):
            self.writes(ns, checkpoint_id, how, n)

    def next_line(self, checkpoint_id: str, before: _Line | None, step: Step) -> _Line:
        """Versions and counters, as LangGraph counts them.

        Every delta channel's supersteps go up at every step; a snapshot takes the
        channel out of the counters; one that was never written has no version.
        """
        deltas = frozenset(self.deltas)
        versions = (before.versions if before else frozenset()) | {"messages"}
        versions |= step.written & deltas
        counters = dict(before.counters) if before else {}
        for channel in self.deltas:
            updates, supersteps = counters.get(channel, (0, 0))
            counters[channel] = (updates + (channel in step.written), supersteps + 1)
        for channel in step.snapshot & versions & deltas:
            del counters[channel]
        return _Line(checkpoint_id, before.step + 1 if before else -1, versions, counters)

    def writes(self, ns: str, checkpoint_id: str, how: str, n: int) -> None:
        channels, registered, merged = _WRITES[how]
        task = task_id(self.made * 100 + n)
        path = f"~__pregel_pull, {how}"
        self.operations.append(
            PutWrites(ns, checkpoint_id, task, channels, path, registered, merged)
        )

    def orphan(self, orphan: Orphan) -> None:
        ns, _ = self.namespace(orphan.where)
        checkpoint_id = self.new_id()
        if orphan.timeless:
            checkpoint_id = timeless_id_at(self.clock, self.number << 20 | self.made)
        task = task_id(self.made * 100)
        registered = orphan.parts in ("all", "writes")
        if orphan.parts == "registry":
            self.operations.append(PutRegistry(ns, checkpoint_id, task))
            return
        put = PutWrites(ns, checkpoint_id, task, registered=registered)
        self.operations.append(
            put if orphan.parts != "writes" else PutWrites(ns, checkpoint_id, task, merged=False)
        )
        if orphan.parts == "stub":
            self.operations.append(Vanish(ns, checkpoint_id, "writes"))

    def trouble(self, trouble: Trouble) -> None:
        ns, checkpoint_id = self.places[max(0, len(self.places) - 1 - trouble.which)]
        if trouble.what == "late writes":
            self.writes(ns, checkpoint_id, "plain", 90)
        elif trouble.what == "pointer here":
            self.operations.append(MovePointer(ns, checkpoint_id))
        elif trouble.what == "expire":
            self.operations.append(Expire(ns, checkpoint_id))
        elif trouble.what == "shallow":
            self.operations.append(PutShallow(ns, self.new_id(), task_id(self.made * 100)))
        elif trouble.what in ("missing", "ghost", "lost"):
            self.operations.append(DamageIndex(ns, checkpoint_id, trouble.what))
        else:
            self.operations.append(Vanish(ns, checkpoint_id, trouble.what))


def _play(
    events: Sequence[Event],
    *,
    now: float,
    number: int,
    age: float = AGES[0],
    ulids: int = 0,
    deltas: tuple[str, ...] = (),
    namespaces: Sequence[tuple[str, str]] = NAMESPACES,
) -> list[Operation]:
    duration = sum(TICKS[e.tick] for e in events if not isinstance(e, Trouble))
    player = _Player(number, ulids, deltas, namespaces, now - age - duration)
    return player.play(events)


@st.composite
def operations(
    draw: st.DrawFn,
    now: float = NOW,
    number: int = 1,
    namespaces: Sequence[tuple[str, str]] = NAMESPACES,
) -> list[Operation]:
    """A random thread: 2 to 25 events, some checkpoints each in several namespaces."""
    return _play(
        draw(_events),
        now=now,
        number=number,
        age=draw(st.sampled_from(AGES)),
        ulids=draw(st.sampled_from((0, 0, 0, 2, 6))),
        deltas=draw(st.sampled_from(((), ("log",), ("log", "notes")))),
        namespaces=namespaces,
    )


# --------------------------------------------------------------------------------------
# Random databases


THREAD_IDS = (
    "t",
    "wang1:20250729235038043",
    "a,b",
    "Ab",
    "t*",
    "x[1]?",
    "",
    "é\n\U0001f642",
    "a:b",
)


DEFAULT = Prefixes()


@dataclass(frozen=True)
class Stored:
    """One thread of one saver."""

    thread_id: str
    operations: tuple[Operation, ...]
    prefixes: Prefixes = DEFAULT


@dataclass(frozen=True)
class Example:
    """A thread to trim, the policy, and what else is in the database."""

    subject: Stored
    policy: Policy
    now: float
    bystanders: tuple[Stored, ...] = ()

    @property
    def thread_id(self) -> str:
        return self.subject.thread_id

    @property
    def prefixes(self) -> Prefixes:
        return self.subject.prefixes

    @property
    def index_damage(self) -> list[DamageIndex]:
        return [op for op in self.subject.operations if isinstance(op, DamageIndex)]

    def write(self, client: redis.Redis) -> None:
        """Store everything in the client's (empty) database."""
        client.set(f"store:{self.thread_id}", "not a checkpoint")
        client.hset(f"user:{self.thread_id}", "name", "somebody")
        for stored in (*self.bystanders, self.subject):
            write_to(
                client,
                stored.thread_id,
                stored.operations,
                checkpoint_prefix=stored.prefixes.checkpoint,
                write_prefix=stored.prefixes.write,
            )


@st.composite
def policies(draw: st.DrawFn, places: Sequence[Place] = ()) -> Policy:
    """A random policy; `places` are checkpoints that may be pinned."""
    ids = sorted({checkpoint_id for _, checkpoint_id in places})
    some = st.frozensets(st.sampled_from(ids), max_size=2) if ids else st.nothing()
    pins = draw(st.one_of(st.just(frozenset[str]()), some))
    return Policy(
        keep_last=draw(st.sampled_from((1, 1, 2, 3, 6))),
        keep_within=draw(st.sampled_from((*(None,) * 6, *WITHINS))),
        keep_runs=draw(st.sampled_from((*(None,) * 4, 1, 2, 3))),
        pinned=pins,
    )


def look_alikes(thread_id: str) -> list[str]:
    """Ids of other threads that a glob, a tag, a prefix or a colon confuses with this one."""
    ids = [
        f"{thread_id}x",
        f"{thread_id}:c",
        thread_id.swapcase(),
        f"{thread_id},b",
        f"{thread_id}*",
        "*",
        thread_id[:-1],
    ]
    return [other for other in dict.fromkeys(ids) if other != thread_id]


@st.composite
def _bystanders(
    draw: st.DrawFn, thread_id: str, own: tuple[Operation, ...], now: float
) -> tuple[Stored, ...]:
    found: list[Stored] = []
    for kind in draw(st.lists(st.sampled_from(("copy", "other prefix", "colon")), max_size=3)):
        number = 2 + len(found)
        if kind == "copy":  # another thread with the very same checkpoint ids
            found.append(Stored(draw(st.sampled_from(look_alikes(thread_id))), own))
        elif kind == "other prefix":
            prefixes = draw(
                st.sampled_from(
                    (Prefixes("checkpoint:app", "checkpoint_write:app"), Prefixes("app", "app_w"))
                )
            )
            other = draw(st.sampled_from((thread_id, "app")))
            ops = tuple(draw(operations(now, number)))
            found.append(Stored(other, ops, prefixes))
        else:  # `t:node` with namespace `{uuid}` beside `t` with namespace `node:{uuid}`
            shifted = ((task_id(1), STATEFUL), *NAMESPACES[1:])
            ops = tuple(draw(operations(now, number, shifted)))
            found.append(Stored(f"{thread_id or 'nobody'}:node", ops))
    return tuple({(s.thread_id, s.prefixes): s for s in found}.values())


def _pinnable(operations: Iterable[Operation]) -> list[Place]:
    """Checkpoints that count by themselves, for a pin in an invocation is a rare thing."""
    return [
        (op.ns, op.id)
        for op in operations
        if isinstance(op, PutCheckpoint) and (op.ns == "" or not op.parents)
    ]


@st.composite
def examples(draw: st.DrawFn, now: float = NOW) -> Example:
    """A random database with one thread to trim."""
    thread_id = draw(st.sampled_from(THREAD_IDS))
    own = tuple(draw(operations(now)))
    prefixes = draw(
        st.sampled_from((Prefixes(), Prefixes(), Prefixes(), Prefixes("chk", "chk:writes")))
    )
    return Example(
        subject=Stored(thread_id, own, prefixes),
        policy=draw(policies(_pinnable(own))),
        now=now,
        bystanders=draw(_bystanders(thread_id, own, now)),
    )
