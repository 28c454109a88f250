"""Threads of LangGraph.js beside others: of the same saver, of Python's, of the shallow saver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver

from redis_retention import Policy, Retention
from redis_retention.engine import Engine, Rule
from redis_retention.operations.stats import stats
from redis_retention.sources.keyspace import Listener
from redis_retention.sources.sweep import Sweeper
from redis_retention.transport import Transport
from tests.integration.test_thread_ids import NASTY, Thread, look_alikes
from tests.integration.threads import fill, ids
from tests.integration.threads import put_writes as put_python_writes
from tests.integration.watching import Changes, changes, snapshot
from tests.langgraph_js.cleaning import KEEP_2, OLD, engine, line, sweep, trim
from tests.langgraph_js.documents import (
    Line,
    blob_key,
    blobs,
    checkpoint_key,
    documents,
    put_writes,
    registry_key,
)
from tests.servers.start import Server

TASK = "00000000-0000-5000-8000-000000000001"
INVOCATION = "sub:3f8d06a6-9b5d-5541-b097-30e69e628a0f"

# The saver itself refuses what a glob would make of these.
ALLOWED = {name: text for name, text in NASTY.items() if text and not set(text) & set("*?[]\\")}


def keys_of(thread: Thread, one: str, channel: str, version: int) -> set[bytes]:
    """All keys of a checkpoint that `Line.add` has put."""
    names = {
        checkpoint_key(thread.id, thread.ns, one),
        registry_key(thread.id, thread.ns, one),
        blob_key(thread.id, thread.ns, channel, version),
        *(f"checkpoint_write:{thread.id}:{thread.ns}:{one}:{TASK}:{n}" for n in range(2)),
    }
    return {name.encode() for name in names}


@pytest.mark.parametrize(
    ("thread", "clean"),
    # Patterns of sweeps are shorter than ids may be.
    [(text, clean) for text in ALLOWED.values() for clean in (trim, sweep) if len(text) < 256],
)
def test_exactly_the_old_checkpoints_of_this_thread_are_deleted(
    stack: redis.Redis, thread: str, clean: Callable[..., int]
) -> None:
    doomed: set[bytes] = set()
    for number, one in enumerate(dict.fromkeys([Thread(thread), *look_alikes(thread)])):
        its, channel = Line(stack, one.id, one.ns), f"channel {number}"
        for version, name in enumerate(ids(4, newest_age=OLD), 1):
            its.add(name, (channel,))
            if one.id == thread and version <= 2:
                doomed |= keys_of(one, name, channel, version)
    before = snapshot(stack)

    given = {"thread": thread} if clean is trim else {"pattern": thread}
    keys = clean(stack, KEEP_2, **given)

    assert changes(before, snapshot(stack)) == Changes(gone=frozenset(doomed))
    assert keys == len(doomed)


@pytest.fixture
def python_saver(stack: redis.Redis) -> RedisSaver:
    saver = RedisSaver(redis_client=stack)
    saver.setup()
    return saver


# With subgraphs, and with ids that read like them.
NAMES = ("a", "a:b", "a::b", "a:__empty__", "a:memory", f"a:{INVOCATION}")
PLACES = [(name, ns) for name in NAMES for ns in ("", "memory", INVOCATION)]


def of_both(saver: RedisSaver, client: redis.Redis) -> set[bytes]:
    """Threads of the same names of both savers, with what both leave behind; Python's keys."""
    for name, ns in PLACES:
        fill(saver, name, ids(4, newest_age=OLD), ns=ns)
        put_python_writes(saver, name, ids(1, newest_age=OLD + 100)[0], ns=ns)
    python = set(client.scan_iter(count=1000))
    for name, ns in PLACES:
        line(client, ids(4, newest_age=OLD), name, ns=ns)
        put_writes(client, name, ids(1, newest_age=OLD + 100)[0], ns=ns)
    return python


def trim_all(client: redis.Redis) -> None:
    for name in NAMES:
        trim(client, Policy(keep_last=1), name)


def js_sweep(client: redis.Redis) -> None:
    sweep(client, Policy(keep_last=1))


def python_sweep(client: redis.Redis) -> None:
    rule = Rule(b"*", Policy(keep_last=1))
    Transport(client).run(Sweeper(Engine(grace_ms=0), [rule]).sweep())


def changed_by(clean: Callable[[redis.Redis], object], client: redis.Redis) -> Changes:
    before = snapshot(client)
    clean(client)
    changed = changes(before, snapshot(client))
    assert changed.gone
    return changed


@pytest.mark.parametrize("clean", [trim_all, js_sweep])
def test_no_key_of_pythons_saver_is_touched(
    python_saver: RedisSaver, stack: redis.Redis, clean: Callable[[redis.Redis], object]
) -> None:
    python = of_both(python_saver, stack)
    changed = changed_by(clean, stack)
    assert changed == Changes(gone=changed.gone - python)
    # Of each namespace one document of JavaScript, and four and a stub of Python.
    assert len(documents(stack)) == (1 + 5) * len(PLACES)
    assert len(blobs(stack)) == len(PLACES)


def python_trim(client: redis.Redis) -> object:
    return Retention(client, layout="langgraph-redis").trim(NAMES, Policy(keep_last=1))


@pytest.mark.parametrize("clean", [python_trim, python_sweep])
def test_a_trim_of_pythons_saver_touches_no_key_of_this_one(
    python_saver: RedisSaver, stack: redis.Redis, clean: Callable[[redis.Redis], object]
) -> None:
    python = of_both(python_saver, stack)
    changed = changed_by(clean, stack)
    assert changed == Changes(gone=changed.gone & python)


def test_writes_that_a_shallow_saver_needs_are_retained_and_those_it_has_left_deleted(
    stack: redis.Redis,
) -> None:
    left, current, next_one = ids(3, newest_age=OLD)
    for one in (left, current, next_one):
        put_writes(stack, "a", one)
    stack.json().set("checkpoint:a::shallow", "$", {"thread_id": "a", "checkpoint_id": current})
    before = snapshot(stack)

    sweep(stack)
    python_sweep(stack)

    writes = (f"checkpoint_write:a::{left}:{TASK}:{n}" for n in range(2))
    gone = {registry_key("a", "", left).encode(), *(key.encode() for key in writes)}
    assert changes(before, snapshot(stack)) == Changes(gone=frozenset(gone))


def test_stats_count_its_threads(stack: redis.Redis) -> None:
    line(stack, ids(3))
    line(stack, ids(2), "b:c")
    sweep(stack, Policy(keep_last=10))

    found = Transport(stack).run(stats(engine(), 10))

    assert (found.threads, found.checkpoints) == (2, 5)
    assert [one.thread for one in found.largest] == [b"a", b"b:c"]


def test_what_others_delete_leaves_the_index_and_its_blobs_to_a_sweep(stack: redis.Redis) -> None:
    made = ids(3, newest_age=OLD)
    its = Line(stack, "a")
    for one in made:
        its.add(one, writes=False)
    sweep(stack, Policy(keep_last=3))
    gone = checkpoint_key("a", "", made[1])
    stack.delete(gone)

    assert Transport(stack).run(engine().forget([gone.encode()])) == 1
    sweep(stack, Policy(keep_last=3))

    assert blobs(stack) == {"a::log:1", "a::log:3"}


async def test_the_listener_trims_what_crosses_its_trigger(redis_stack: Server) -> None:
    made = ids(5, newest_age=OLD)
    with redis_stack.client() as client:
        client.flushall()
        client.config_set("notify-keyspace-events", "Kdgx")
    listening = redis.asyncio.Redis(port=redis_stack.port)
    listener = Listener(listening, engine(), [Rule(b"*", KEEP_2, trigger=4)])
    running = asyncio.create_task(listener.run())
    retained = {f"a::{one}" for one in made[-2:]}
    try:
        await listener.settled()
        with redis_stack.client() as client:
            await asyncio.to_thread(line, client, made)
            deadline = time.monotonic() + 30
            while documents(client) != retained and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            assert documents(client) == retained
            assert len(blobs(client)) == 5
            await asyncio.to_thread(sweep, client)
            assert blobs(client) == {"a::log:4", "a::log:5"}
    finally:
        listener.stop()
        await running
        await listening.aclose()
