"""Something happens between two calls of one trim.

A call that goes on does not decide again (`lua/continue.lua`), so it must notice whatever would
have been decided otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from redis_retention import Policy, Retention
from redis_retention.engine import Engine
from redis_retention.pace import SMALLEST_KEYS_PER_CALL
from redis_retention.sans_io import Call, Request
from redis_retention.sources import scan
from redis_retention.transport import ClientCalls, Transport
from tests.conftest import real_server
from tests.integration.threads import DEFAULT, fill_fast, ids
from tests.model.rules import (
    KeyDecision,
    Must,
    ThreadDecision,
    complaints,
    decide,
    has_task_id,
    id_time,
)
from tests.model.snapshot import Database, Place, read_database
from tests.model.test_engine import NOW, Arranged, arranged
from tests.model.threads import Example, MovePointer, PutCheckpoint, examples, uuid6_at, write_to

KEEP_3 = Policy(keep_last=3)
KEYS_OF_A_CHECKPOINT = 3  # its document, a write, its registry


class Interrupted(Transport):
    """Does something once, after the n-th call of a trim; knows which scripts were called."""

    def __init__(self, client: redis.Redis, after: int, act: Callable[[], None]) -> None:
        super().__init__(client)
        self.scripts: list[str] = []
        self._after, self._act = after, act

    def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
        replies = yield from super()._send_all(requests)
        names = [call.script.name for call in requests if isinstance(call, Call)]
        trims = [name for name in names if name in ("trim", "continue")]
        # A script that the server does not know has done nothing.
        if not any(isinstance(reply, Exception) for reply in replies):
            self.scripts += trims
            if trims and len(self.scripts) == self._after:
                self._act()
        return replies


# --- by example ---------------------------------------------------------------------------------


@dataclass
class Thread:
    """A thread of 30 checkpoints, all but 3 of which are about to go, some by each call."""

    client: redis.Redis
    names: list[str]
    engine: Engine

    def track(self, *names: str) -> None:
        """The listener hears of documents."""
        documents = [DEFAULT.document("a", "", name) for name in names]
        Transport(self.client).run(self.engine.track(documents))

    def exists(self, name: str) -> bool:
        return bool(self.client.exists(DEFAULT.document("a", "", name)))

    def left(self) -> list[str]:
        return [name for name in self.names if self.exists(name)]


@pytest.fixture
def thread(stack: redis.Redis) -> Thread:
    names = fill_fast(stack, "a", ids(30, newest_age=600.0))
    engine = Engine(keys_per_call=5 * KEYS_OF_A_CHECKPOINT + 1)
    Retention(stack).trim("a", Policy(keep_last=30))
    return Thread(stack, names, engine)


Act: TypeAlias = "Callable[[Thread], None]"


def trim(thread: Thread, after: int, act: Act, policy: Policy = KEEP_3) -> list[str]:
    """Trim the thread, do something after a call, and answer the scripts that were called."""
    transport = Interrupted(thread.client, after, lambda: act(thread))
    transport.run(thread.engine.trim(b"a", policy))
    return transport.scripts


def nothing(_: Thread) -> None:
    """Nobody does anything."""


def test_calls_that_go_on_do_not_decide_again(thread: Thread) -> None:
    assert trim(thread, 1, nothing) == ["trim", *["continue"] * 5]
    assert thread.left() == thread.names[-3:]


def test_in_the_end_the_index_says_what_is_left_and_nothing_else(thread: Thread) -> None:
    trim(thread, 1, nothing)

    key = thread.engine.index_key(b"a")
    members: Any = thread.client.zrange(key, 0, -1)
    checkpoints = [member[2:].split(b"\0")[0].decode() for member in members if member[:1] == b"s"]
    assert checkpoints == thread.names[-3:]
    assert {member[:1] for member in members} <= {b"s", b"l", b"b"}


def put_newer(thread: Thread) -> None:
    """Somebody goes on with the conversation."""
    fill_fast(thread.client, "a", [uuid6_at(time.time())], parent=thread.names[-1])
    thread.track(*newest(thread.client))


def put_newer_unheard(thread: Thread) -> None:
    """The same, and no event has come yet."""
    fill_fast(thread.client, "a", [uuid6_at(time.time())], parent=thread.names[-1])


def newest(client: redis.Redis) -> list[str]:
    pointed: Any = client.get(DEFAULT.pointer("a", ""))
    return [pointed.decode().rsplit(":", 1)[1]]


def trim_as_well(thread: Thread) -> None:
    """Somebody else trims the same thread."""
    Transport(thread.client).run(thread.engine.trim(b"a", Policy(keep_last=5)))


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize(
    ("act", "left"), [(put_newer, 2), (put_newer_unheard, 3), (trim_as_well, 3)]
)
def test_what_is_no_reason_to_retain_anything_delays_nothing(
    thread: Thread, act: Act, left: int, after: int
) -> None:
    trim(thread, after, act)
    Retention(thread.client).trim("a", KEEP_3, indexed_only=True)

    assert thread.left() == thread.names[-left:]


LAGGING = uuid6_at(time.time() - 620.0)
"""An id among those that are about to go."""


def fork_with_a_lagging_clock(thread: Thread) -> None:
    """A document whose pointer is on the way, by a host whose clock is behind."""
    pointer = thread.client.get(DEFAULT.pointer("a", ""))
    fill_fast(thread.client, "a", [LAGGING], parent=thread.names[-1])
    thread.client.set(DEFAULT.pointer("a", ""), pointer or b"")
    thread.track(LAGGING)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_checkpoint_of_a_lagging_host_survives_until_its_pointer_names_it(
    thread: Thread, after: int
) -> None:
    scripts = trim(thread, after, fork_with_a_lagging_clock)

    assert scripts[after : after + 2] == ["continue", "trim"]
    assert thread.exists(LAGGING)


def pin_a_doomed_one(thread: Thread) -> None:
    """Somebody asks to keep one that is about to go."""
    Retention(thread.client).pin("a", thread.names[25])


def point_at_a_doomed_one(thread: Thread) -> None:
    """The latest pointer is set to one that is about to go."""
    thread.client.set(DEFAULT.pointer("a", ""), DEFAULT.document("a", "", thread.names[25]))


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("act", [pin_a_doomed_one, point_at_a_doomed_one])
def test_what_has_become_a_reason_counts_at_once(thread: Thread, act: Act, after: int) -> None:
    scripts = trim(thread, after, act)

    assert scripts[after : after + 2] == ["continue", "trim"]
    assert thread.left() == [thread.names[25], *thread.names[-3:]]


def delete_one_of_the_newest(thread: Thread) -> None:
    """One of those for which the others go is deleted."""
    thread.client.delete(DEFAULT.document("a", "", thread.names[-2]))


def delete_and_hear_of_it(thread: Thread) -> None:
    """The same, and the listener hears of it."""
    delete_one_of_the_newest(thread)
    document = DEFAULT.document("a", "", thread.names[-2])
    Transport(thread.client).run(thread.engine.forget([document]))


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("act", [delete_one_of_the_newest, delete_and_hear_of_it])
def test_others_are_retained_in_place_of_one_of_the_newest_that_is_gone(
    thread: Thread, act: Act, after: int
) -> None:
    scripts = trim(thread, after, act)

    assert scripts[after : after + 2] == ["continue", "trim"]
    assert thread.left() == [thread.names[-4], thread.names[-3], thread.names[-1]]


def lose_the_index(thread: Thread) -> None:
    """The index is evicted."""
    thread.client.delete(thread.engine.index_key(b"a"))


def build_the_index_anew(thread: Thread) -> None:
    """The index is lost, and a look at the database makes another one."""
    lose_the_index(thread)
    thread.track(*thread.left())


@pytest.mark.parametrize("act", [lose_the_index, build_the_index_anew])
def test_an_index_that_has_been_lost_is_not_gone_on_with(thread: Thread, act: Act) -> None:
    scripts = trim(thread, 2, act)

    assert scripts[2:4] == ["continue", "trim"]
    assert thread.left()[-3:] == thread.names[-3:]


def trim_as_well_and_break_off(thread: Thread) -> None:
    """A call of another trim has seen what was put, and this one has not."""
    fork_with_a_lagging_clock(thread)
    with suppress(BrokenOff):
        trim(thread, 1, break_off)


class BrokenOff(Exception):
    """Whoever trims goes away."""


def break_off(_: Thread) -> None:
    raise BrokenOff


def test_what_another_trim_has_decided_is_not_gone_on_with(thread: Thread) -> None:
    scripts = trim(thread, 2, trim_as_well_and_break_off)

    assert scripts[2:4] == ["continue", "trim"]
    assert thread.exists(LAGGING)


def test_a_trim_that_is_broken_off_stands_in_nobodys_way(thread: Thread) -> None:
    with pytest.raises(BrokenOff):
        trim(thread, 2, break_off)

    assert trim(thread, 9, nothing) == ["trim", *["continue"] * 3]
    assert thread.left() == thread.names[-3:]


# --- at random ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database() -> redis.Redis:
    return real_server("redis-stack").client()


@dataclass(frozen=True)
class Happening:
    """What happens after the n-th call, to the n-th of the checkpoints that are there."""

    what: str
    after: int
    number: int


happenings = st.builds(
    Happening,
    st.sampled_from(["put", "fork", "delete", "point", "pin", "lose the index"]),
    st.integers(1, 4),
    st.integers(0, 99),
)


@dataclass
class Disturbed:
    """A thread to which something happens, and what must be true from then on."""

    it: Arranged
    example: Example
    client: redis.Redis
    happening: Happening
    before: Database | None = None
    decision: ThreadDecision | None = None

    def happen(self) -> None:
        now = decide(read_database(self.client), *self._asked())
        there = sorted(now.checkpoints)
        if there:
            ns, checkpoint_id = there[self.happening.number % len(there)]
            self._do(ns, checkpoint_id, now)
        self.before = read_database(self.client)
        self.decision = self._allowing(decide(self.before, *self._asked()))

    def _asked(self) -> tuple[str, Any, float, Any]:
        example = self.example
        return example.thread_id, example.policy, time.time(), example.prefixes

    def _do(self, ns: str, checkpoint_id: str, now: ThreadDecision) -> None:
        what, place = self.happening.what, (ns, checkpoint_id)
        if what in ("put", "fork"):
            newest = max(cid for other, cid in now.checkpoints if other == ns)
            made = id_time(newest if what == "put" else checkpoint_id)
            if made is not None:
                self._put(ns, uuid6_at(made + 0.0001, 7), checkpoint_id)
        elif what == "delete":
            self.client.delete(now.checkpoints[place].checkpoint.key)
        elif what == "point":
            self._write(MovePointer(ns, checkpoint_id))
        elif what == "pin":
            policy = self.example.policy
            pinned = policy.pinned | {checkpoint_id}
            self.example = replace(self.example, policy=replace(policy, pinned=pinned))
            for other, cid in now.checkpoints:
                if cid == checkpoint_id:
                    self.client.hset(self.it.engine.pins_key(self.it.thread), f"{other}\0{cid}", "")
        else:
            self.client.delete(self.it.engine.index_key(self.it.thread))

    def _put(self, ns: str, checkpoint_id: str, parent: str) -> None:
        self._write(PutCheckpoint(ns, checkpoint_id, parent))
        key = self.it.engine.layout.checkpoint_key(
            self.it.thread, ns.encode(), checkpoint_id.encode()
        )
        Transport(self.client).run(self.it.engine.track([key]))

    def _write(self, operation: PutCheckpoint | MovePointer) -> None:
        prefixes = self.example.prefixes
        write_to(
            self.client,
            self.example.thread_id,
            [operation],
            checkpoint_prefix=prefixes.checkpoint,
            write_prefix=prefixes.write,
        )

    def _allowing(self, decision: ThreadDecision) -> ThreadDecision:
        """What was left of checkpoints when their documents had gone already goes as well."""
        began = self.it.decision
        begun = {p for p in began.deleted if p not in decision.checkpoints}
        parts = {**began.thread.writes, **began.thread.registries}
        going = {key for key, place in parts.items() if place in begun}
        going |= {key for key in began.that(Must.DELETE) if _is_of_invocation(key, began)}
        keys = {key: KeyDecision(Must.DELETE, "begun") for key in going if key in decision.keys}
        return replace(decision, keys={**decision.keys, **keys})


def _is_of_invocation(key: bytes, decision: ThreadDecision) -> bool:
    thread = decision.thread
    places: dict[bytes, Place] = {**thread.writes, **thread.registries}
    places |= {c.key: place for place, c in thread.checkpoints.items()}
    ns = places[key][0] if key in places else thread.pointers.get(key, "")
    return has_task_id(ns)


@given(examples(now=NOW), happenings)
def test_whatever_happens_between_two_calls_the_rules_hold_for_what_is_there_then(
    database: redis.Redis, example: Example, happening: Happening
) -> None:
    it = arranged(example, database, keys_per_call=SMALLEST_KEYS_PER_CALL)
    keys = Transport(database).run(scan.find(it.engine.layout, [it.thread]))[it.thread]
    Transport(database).run(it.engine.update_index(it.thread, keys.writes_seen()))
    disturbed = Disturbed(it, example, database, happening)
    transport = Interrupted(database, happening.after, disturbed.happen)

    transport.run(it.engine.trim(it.thread, it.policy))

    if disturbed.before is not None and disturbed.decision is not None:
        after = read_database(database)
        assert complaints(disturbed.before, after, disturbed.decision, complete=False) == []
