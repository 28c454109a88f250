"""Random writers, with clocks of their own, and random trims between any two of their commands.

Each example is played twice, on one server: with the trims, and as a control without them. The same
commands are sent by the same real savers in the same order. The rules that must hold are those of
`test_interleavings.py`; here they are said as what one trim may delete (`forbidden`), and as what a
reader finds who compares with the control (`differences`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeAlias

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from redis_retention import Policy, Retention
from redis_retention.engine import Engine, Rule
from redis_retention.transport import Transport
from tests.integration.threads import DEFAULT, place, put
from tests.integration.watching import snapshot
from tests.model.interleaving import Operation, Writer, Writers
from tests.model.threads import task_id, uuid6_at
from tests.servers.start import Server

HOUR = 3600.0
THREADS = ("a", "b")
NAMESPACES = ("", "mem")
WRITERS = 3

Place: TypeAlias = "tuple[str, str, str]"
"""Thread, namespace, checkpoint id."""

Pointed: TypeAlias = "tuple[str, str]"
"""Thread and namespace."""


# --------------------------------------------------------------------------------------
# Examples


@dataclass(frozen=True)
class Work:
    """Something that a graph does through its saver."""

    what: str
    thread: str
    ns: str = ""


@dataclass(frozen=True)
class Step:
    """A writer sends its next command."""

    writer: int


@dataclass(frozen=True)
class Die:
    """A writer never sends its next command."""

    writer: int


@dataclass(frozen=True)
class Act:
    """Something of ours runs, from its beginning to its end."""

    what: str
    thread: str


Event = Step | Die | Act


@dataclass(frozen=True)
class Example:
    offsets: tuple[float, ...]
    """Seconds that each writer's clock is ahead."""
    before: int
    """Checkpoints of the first writer that are there in every thread when it all begins."""
    works: tuple[tuple[Work, ...], ...]
    events: tuple[Event, ...]
    keep: int


OFFSETS = (0.0, -HOUR, -600.0, -10.0, -1.0, 1.0, 10.0, 600.0, HOUR)
WORKS = (
    "put",
    "put",
    "put",
    "put, then writes",
    "writes, then put",
    "writes of the newest",
    "shallow",
    "delete",
)
ACTS = ("trim", "trim by the index", "track", "sweep", "forget", "lose the index")

works = st.builds(
    Work, st.sampled_from(WORKS), st.sampled_from("aaab"), st.sampled_from(("", "", "", "mem"))
)
steps = st.builds(Step, st.integers(0, WRITERS - 1))
acts = st.builds(Act, st.sampled_from(ACTS), st.sampled_from("aaab"))
deaths = st.builds(Die, st.integers(0, WRITERS - 1))
# More steps than anything else: one command in two or three is followed by something of ours.
events = st.integers(0, 40).flatmap(
    lambda drawn: steps if drawn < 24 else acts if drawn < 40 else deaths
)

examples = st.builds(
    Example,
    offsets=st.tuples(*[st.sampled_from(OFFSETS)] * WRITERS),
    before=st.integers(0, 4),
    works=st.tuples(*[st.lists(works, min_size=1, max_size=3).map(tuple)] * WRITERS),
    events=st.lists(events, min_size=10, max_size=60).map(tuple),
    keep=st.sampled_from((1, 2, 3)),
)


# --------------------------------------------------------------------------------------
# What is in the database


@dataclass
class Seen:
    """The savers' part of a database, as a reader would go through it."""

    documents: dict[Place, dict[str, Any]] = field(default_factory=dict)
    """Real checkpoints."""
    pointers: dict[Pointed, str] = field(default_factory=dict)
    """What each pointer holds."""

    def newest(self, where: Pointed) -> dict[str, Any] | None:
        """The document that a graph would go on from."""
        named = self.pointers.get(where)
        found = [d for at, d in self.documents.items() if document(at) == named]
        return found[0] if found else None

    def named_by(self, where: Pointed) -> Place | None:
        named = self.pointers.get(where)
        return next((at for at in self.documents if document(at) == named), None)

    def parent(self, at: Place) -> Place:
        return (*at[:2], self.documents[at]["parent_checkpoint_id"])


def document(at: Place) -> str:
    return DEFAULT.document(*at).decode()


def see(client: redis.Redis) -> Seen:
    plain = redis.Redis(connection_pool=client.connection_pool)
    names: list[bytes] = sorted(plain.scan_iter(match="checkpoint*", count=1000))
    pointers = [name for name in names if name.startswith(b"checkpoint_latest:")]
    others = [name for name in names if name.startswith(b"checkpoint:")]
    with plain.pipeline(transaction=False) as pipeline:
        get: Any = pipeline.execute_command
        for name in others:
            get("JSON.GET", name)
        for name in pointers:
            pipeline.get(name)
        replies: list[bytes] = pipeline.execute()
    seen = Seen()
    for name, reply in zip(others, replies, strict=False):
        value = json.loads(reply)
        # A stub has no fields; a shallow saver's document has another name than its fields say.
        if "thread_id" in value:
            ns = value["checkpoint_ns"].replace("__empty__", "")
            at = value["thread_id"], ns, value["checkpoint_id"]
            if document(at).encode() == name:
                del value["checkpoint_ts"]
                seen.documents[at] = value
    for name, reply in zip(pointers, replies[len(others) :], strict=True):
        _, thread, ns = name.decode().split(":")
        seen.pointers[thread, ns.replace("__empty__", "")] = reply.decode()
    return seen


Values: TypeAlias = "Mapping[bytes, tuple[bytes, int]]"


# --------------------------------------------------------------------------------------
# The rules


def forbidden(
    before: Values, after: Values, seen: Seen, act: Act, keep: int, known: set[Place]
) -> list[str]:
    """What something of ours has done that it may not, in one go.

    Args:
        before: The database before it.
        after: And after it.
        seen: What a reader saw before it.
        act: What it was.
        keep: How many to keep.
        known: Checkpoints that were there when an earlier one ran; those before this one are added.
            When they are gone, whoever deleted them, they do not come back, and neither what is
            left of them nor what comes after belongs to a checkpoint still to come.
    """
    theirs = {key: value for key, value in before.items() if not key.startswith(b"retention:")}
    now = {key: value for key, value in after.items() if not key.startswith(b"retention:")}
    wrong = [f"new: {key!r}" for key in now.keys() - theirs.keys()]
    wrong += [f"changed: {key!r}" for key in now.keys() & theirs if now[key] != theirs[key]]
    gone = theirs.keys() - now.keys()
    gone_documents = {at for at in seen.documents if document(at).encode() in gone}
    may_go = superseded(seen, keep)
    deleted = gone_documents | known - seen.documents.keys()
    known.update(seen.documents)
    allowed = {document(at).encode() for at in may_go}
    for at in deleted:
        # With the checkpoint, or what came after it was gone.
        allowed.add(DEFAULT.registry(*at))
        allowed |= {key for key in gone if key.startswith(DEFAULT.writes_of(*at))}
        if at not in seen.documents:
            allowed.add(document(at).encode())
    allowed |= {DEFAULT.pointer(*where) for where in seen.pointers if seen.newest(where) is None}
    wrong += [f"may not go: {key!r}" for key in gone - allowed]
    wrong += [
        f"not the thread that was asked for: {key!r}"
        for key in gone
        if f":{act.thread}:".encode() not in key
    ]
    return sorted(wrong)


def superseded(seen: Seen, keep: int) -> set[Place]:
    """What has a child, is none of the newest, and does not descend from what a pointer names."""
    found = {seen.parent(at) for at in seen.documents} & seen.documents.keys()
    for where in {at[:2] for at in seen.documents}:
        ordered = sorted(at for at in seen.documents if at[:2] == where)
        found -= set(ordered[-keep:])
        line = {seen.named_by(where)}
        while more := {at for at in ordered if at not in line and seen.parent(at) in line}:
            line |= more
        found -= line
    return found


def differences(trimmed: Seen, control: Seen) -> list[str]:
    """What a reader would miss, at any moment.

    A pointer that finds something in the control finds the same; what the savers themselves have
    left without a document (`delete_thread` between two commands) may be missing altogether.
    """
    wrong = []
    for where in control.pointers:
        expected, found = control.newest(where), trimmed.newest(where)
        if expected is not None and found != expected:
            named = trimmed.pointers.get(where)
            wrong.append(f"{where} is lost: the pointer holds {named}, and there is {found}")
    for where in trimmed.pointers:
        if trimmed.newest(where) is None and control.newest(where) is not None:
            wrong.append(f"{where} names nothing")
    for at, value in trimmed.documents.items():
        if value != control.documents.get(at):
            wrong.append(f"{at} is not as in the control")
    return wrong


# --------------------------------------------------------------------------------------
# Playing


@dataclass
class Play:
    """One of the two times that an example is played."""

    example: Example
    client: redis.Redis
    writers: Writers
    now: float
    trimming: bool
    made: int = 0
    known: set[Place] = field(default_factory=set)

    def run(self) -> Iterator[Seen]:
        """Play it; what a reader sees is yielded after each event."""
        self.prepare()
        for number, works in enumerate(self.example.works):
            self.writers[number].begin(
                [op for work in works for op in self.operations(number, work)]
            )
        for event in chain(self.example.events, self.rest()):
            self.do(event)
            yield see(self.client)

    def rest(self) -> Iterator[Event]:
        """All writers come to their end, and then everything of ours runs once more."""
        for number in range(WRITERS):
            while self.writers[number].busy:
                yield Step(number)
        yield from (Act(what, thread) for what in ACTS for thread in THREADS)

    def prepare(self) -> None:
        for names in iter(lambda: list(self.client.scan_iter(count=1000)), []):
            self.client.delete(*names)
        for thread in THREADS:
            parent = None
            for _ in range(self.example.before):
                name = self.new_id(0)
                put(self.writers[0].saver, thread, name, parent=parent)
                parent = name

    def new_id(self, writer: int) -> str:
        self.made += 1
        return uuid6_at(self.now + self.example.offsets[writer] + self.made / 1000, self.made)

    def do(self, event: Event) -> None:
        if isinstance(event, Act):
            if self.trimming:
                self.act(event)
            return
        writer = self.writers[event.writer]
        if not writer.busy:
            return
        if isinstance(event, Step):
            writer.step()
        else:
            writer.die()

    # --- what writers do -------------------------------------------------------------------

    def operations(self, number: int, work: Work) -> list[Operation]:
        """The ids are made here: they are the same in both plays, whoever comes first."""
        name, task = self.new_id(number), task_id(self.made)
        thread, ns = work.thread, work.ns
        where = place(thread, ns, name)
        writes = [("messages", f"of {name}"), ("other", 1)]

        def put_child(writer: Writer) -> None:
            put(writer.saver, thread, name, ns=ns, parent=self.newest(writer, thread, ns))

        def put_writes(writer: Writer) -> None:
            writer.saver.put_writes(where, writes, task)

        def write_on_newest(writer: Writer) -> None:
            newest = self.newest(writer, thread, ns)
            if newest is not None:
                writer.saver.put_writes(place(thread, ns, newest), writes, task)

        def put_shallow(writer: Writer) -> None:
            put(writer.shallow, thread, name, ns=ns)
            writer.shallow.put_writes(where, writes, task)

        def delete(writer: Writer) -> None:
            writer.saver.delete_thread(thread)

        found: dict[str, list[Operation]] = {
            "put": [put_child],
            "put, then writes": [put_child, put_writes],
            "writes, then put": [put_writes, put_child],
            "writes of the newest": [write_on_newest],
            "shallow": [put_shallow],
            "delete": [delete],
        }
        return found[work.what]

    def newest(self, writer: Writer, thread: str, ns: str) -> str | None:
        """What a graph reads before it goes on; it may be long ago when it writes."""
        writer.look()
        found = see(self.client).named_by((thread, ns))
        return None if found is None else found[2]

    # --- what we do ------------------------------------------------------------------------

    def act(self, act: Act) -> None:
        before, seen = snapshot(self.client), see(self.client)
        ACTIONS[act.what](self.client, act.thread, Policy(keep_last=self.example.keep))
        after = snapshot(self.client)
        assert forbidden(before, after, seen, act, self.example.keep, self.known) == [], act


def documents(client: redis.Redis) -> list[bytes]:
    return sorted(client.scan_iter(match="checkpoint:*", count=1000))


def trim(client: redis.Redis, thread: str, policy: Policy) -> None:
    Retention(client).trim(thread, policy)


def trim_by_the_index(client: redis.Redis, thread: str, policy: Policy) -> None:
    Transport(client).run(Engine().track(documents(client)))
    Retention(client).trim(thread, policy, indexed_only=True)


def track(client: redis.Redis, thread: str, policy: Policy) -> None:
    rule = Rule(thread.encode(), policy, policy.keep_last)
    Transport(client).run(Engine().track(documents(client), [rule]))


def sweep(client: redis.Redis, thread: str, policy: Policy) -> None:
    Retention(client).sweep(policy, match=thread)


def forget(client: redis.Redis, thread: str, policy: Policy) -> None:
    """The listener hears that documents are gone; some have come back meanwhile."""
    known: Any = client.zrange(f"retention:index:checkpoint:{thread}", 0, -1)
    there = [part for member in known for part in member.split(b"\0")]
    gone = [DEFAULT.document(thread, "", part.decode("ascii", "replace")) for part in there]
    Transport(client).run(Engine().forget([*documents(client), *gone]))


def lose_the_index(client: redis.Redis, thread: str, policy: Policy) -> None:
    client.delete(f"retention:index:checkpoint:{thread}")


ACTIONS: dict[str, Callable[[redis.Redis, str, Policy], None]] = {
    "trim": trim,
    "trim by the index": trim_by_the_index,
    "track": track,
    "sweep": sweep,
    "forget": forget,
    "lose the index": lose_the_index,
}


@dataclass
class Reading:
    """What `get_tuple` gives."""

    found: Any

    @classmethod
    def of(cls, writer: Writer, at: tuple[str, str, str | None]) -> Reading:
        read = writer.saver.get_tuple(place(*at))
        if read is None:
            return cls(None)
        return cls(
            (read.config, read.checkpoint, read.metadata, read.parent_config, read.pending_writes)
        )


@dataclass
class Ended:
    """What there is in the end: the documents, all values, and what the newest read as."""

    seen: Seen
    values: Values
    readings: dict[Pointed, Reading]


@contextmanager
def stopped(writers: Writers) -> Iterator[None]:
    """Whatever goes wrong, no writer is left standing between two commands."""
    try:
        yield
    finally:
        for writer in writers.all:
            if writer.busy:
                writer.die()


def play(
    example: Example, client: redis.Redis, writers: Writers, now: float, trimming: bool
) -> tuple[list[Seen], Ended]:
    with stopped(writers):
        seen = list(Play(example, client, writers, now, trimming).run())
        pointed: Sequence[Pointed] = [(t, ns) for t in THREADS for ns in NAMESPACES]
        readings = {where: Reading.of(writers[0], (*where, None)) for where in pointed}
        return seen, Ended(see(client), snapshot(client), readings)


@pytest.mark.timeout(900)  # A failure is shrunk, which takes minutes.
def test_nothing_is_lost_whatever_comes_between_two_commands_of_the_savers(
    redis_stack: Server, stack: redis.Redis
) -> None:
    """No act deletes what the rules retain; a reader finds what it finds in the control."""
    with Writers(redis_stack.url, WRITERS) as writers:

        @settings(max_examples=80)
        @given(examples)
        def check(example: Example) -> None:
            now = time.time()
            expected, control = play(example, stack, writers, now, trimming=False)
            found, trimmed = play(example, stack, writers, now, trimming=True)

            for at, (one, other) in enumerate(zip(found, expected, strict=True)):
                assert differences(one, other) == [], f"after event {at}"
            for where, reading in control.readings.items():
                if control.seen.newest(where) is not None:
                    assert trimmed.readings[where] == reading
            assert whole(trimmed, control) == []

        check()


def whole(trimmed: Ended, control: Ended) -> list[str]:
    """Keys of retained checkpoints, which the control has and the trimmed database has not.

    And those of the shallow saver, of which nothing is ever ours.
    """
    wrong = []
    for at in trimmed.seen.documents:
        registry, writes = DEFAULT.registry(*at), DEFAULT.writes_of(*at)
        for key, value in control.values.items():
            if (key == registry or key.startswith(writes)) and trimmed.values.get(key) != value:
                wrong.append(f"{key!r} of a retained checkpoint")
    for key, value in control.values.items():
        if key.startswith(b"write_registry:") and trimmed.values.get(key) != value:
            wrong.append(f"{key!r} of the shallow saver")
    return wrong
