"""langgraphgo's store: what it reads after a trim is what it would have read before."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis

from redis_retention import Policy, RetentionError
from redis_retention.engine import Place, Rule
from redis_retention.layouts import LangGraphGo
from redis_retention.sources.keyspace import Listener
from tests.integration.watching import Changes, changes
from tests.savers.doing import Doing, commands_used, own_keys, snapshot
from tests.savers.langgraphgo import Checkpoint, Store, Version, marshalled
from tests.servers.start import Server

KEEP_2 = Policy(keep_last=2)
KEEP_3 = Policy(keep_last=3)
WITH_THREADS = [Version.SORTED, Version.SETS]


@pytest.fixture(params=WITH_THREADS, ids=lambda version: version.name.lower())
def store(bare: redis.Redis, request: pytest.FixtureRequest) -> Store:
    """A store in each version that knows threads."""
    return Store(bare, request.param)


@pytest.fixture
def doing(bare: redis.Redis) -> Doing:
    return Doing(bare, LangGraphGo())


def save(store: Store, thread: str | None, count: int, first: int = 0, **fields: Any) -> list[str]:
    """Save checkpoints, two of each execution; their ids."""
    names = []
    for number in range(first, first + count):
        execution = f"run {number // 2} of {thread}"
        name = f"checkpoint_{thread}_{number}"
        its_fields = {"execution_id": execution, **fields}
        store.save(Checkpoint(name, number + 1, thread_id=thread, **its_fields))
        names.append(name)
    return names


def test_what_is_written_is_what_go_would_write() -> None:
    time = datetime(2025, 12, 1, 9, 5, 7, 120_000, tzinfo=timezone(timedelta(hours=8)))
    one = Checkpoint("c", 3, "e", "t", state={"b": "<ü>", "a": [1]}, timestamp=time)
    assert marshalled(one).decode() == (
        '{"id":"c","node_name":"agent","state":{"a":[1],"b":"\\u003cü\\u003e"},'
        '"metadata":{"execution_id":"e","source":"loop","thread_id":"t"},'
        '"timestamp":"2025-12-01T09:05:07.12+08:00","version":3}'
    )


# --- trims ----------------------------------------------------------------------------------------


def test_the_newest_of_a_thread_are_retained_and_read_as_before(store: Store, doing: Doing) -> None:
    names = save(store, "t", 12)
    latest = store.get_latest_by_thread("t")
    retained = [store.load(name) for name in names[-3:]]

    result = doing.trim("t", KEEP_3)

    assert [store.load(name) for name in names] == [None] * 9 + retained
    assert sorted(store.list_by_thread("t"), key=lambda one: one["version"]) == retained
    assert store.get_latest_by_thread("t") == latest
    assert (result.checkpoints_deleted, result.keys_deleted, result.checkpoints_kept) == (9, 9, 3)


def test_what_is_deleted_is_in_no_list_any_more(store: Store, doing: Doing) -> None:
    names = save(store, "t", 7)

    doing.trim("t", KEEP_2)

    assert set(store.names(store.thread_key("t"))) == set(names[-2:])
    assert store.names(store.execution_key("run 2 of t")) == [names[5]]
    assert not store.client.exists(store.execution_key("run 0 of t"))
    assert store.list_by_execution("run 3 of t") == [store.load(names[6])]


@pytest.mark.parametrize("version", Version)
def test_an_execution_without_a_thread_is_trimmed_by_itself(
    bare: redis.Redis, doing: Doing, version: Version
) -> None:
    store = Store(bare, version)
    names = save(store, None, 5, execution_id="e")
    others = save(store, None, 4, first=10, execution_id="other")

    doing.trim("e", KEEP_2)

    assert set(store.names(store.execution_key("e"))) == set(names[-2:])
    assert set(store.names(store.execution_key("other"))) == set(others)


def test_the_oldest_store_has_executions_only_even_if_they_name_threads(
    bare: redis.Redis, doing: Doing
) -> None:
    store = Store(bare, Version.EXECUTIONS)
    names = save(store, "t", 5, execution_id="e")

    assert doing.trim("t", KEEP_2).keys_deleted == 0
    doing.trim("e", KEEP_2)

    assert set(store.names(store.execution_key("e"))) == set(names[-2:])


def test_what_a_thread_keeps_an_execution_cannot_lose(store: Store, doing: Doing) -> None:
    save(store, "t", 6, execution_id="e")
    before = snapshot(store.client)

    result = doing.trim("e", Policy(keep_last=1))

    assert result.keys_deleted == 0
    assert changes(before, snapshot(store.client)) == Changes()


def test_a_name_that_is_a_thread_and_an_execution_has_both_kinds(
    store: Store, doing: Doing
) -> None:
    save(store, "a", 3)
    store.save(Checkpoint("alone", 9, execution_id="a"))
    store.save(Checkpoint("of b", 10, execution_id="a", thread_id="b"))

    latest = store.get_latest_by_thread("a")

    doing.trim("a", Policy(keep_last=1))

    assert store.load("alone") is not None
    assert store.load("of b") is not None
    assert store.list_by_thread("a") == [latest]


def test_a_checkpoint_that_moved_to_another_thread_is_that_ones(store: Store, doing: Doing) -> None:
    names = save(store, "a", 4)
    store.save(Checkpoint(names[0], 1, "e", "b"))

    doing.trim("a", Policy(keep_last=1))

    assert [store.load(name) is not None for name in names] == [True, False, False, True]
    assert len(store.list_by_thread("b")) == 1


def test_of_equal_versions_the_one_read_is_retained(bare: redis.Redis, doing: Doing) -> None:
    store = Store(bare, Version.SORTED)
    for name in ("c", "a", "b"):
        store.save(Checkpoint(name, 1, thread_id="t"))
    latest = store.get_latest_by_thread("t")

    doing.trim("t", Policy(keep_last=1))

    assert store.get_latest_by_thread("t") == latest
    assert store.names(store.thread_key("t")) == ["c"]


def test_of_equal_versions_in_a_set_all_that_may_be_read_are_retained(
    bare: redis.Redis, doing: Doing
) -> None:
    store = Store(bare, Version.SETS)
    for name, version in (("c", 2), ("a", 2), ("b", 2), ("old", 1)):
        store.save(Checkpoint(name, version, thread_id="t"))

    doing.trim("t", Policy(keep_last=1))

    assert set(store.names(store.thread_key("t"))) == {"a", "b", "c"}


def test_a_thread_is_found_without_looking_at_the_database(store: Store, doing: Doing) -> None:
    save(store, "t", 5)
    store.client.config_resetstat()
    doing.trim("t", KEEP_2)
    doing.plan("t", KEEP_2)
    assert not commands_used(store.client) & {"scan", "keys"}


def test_a_thread_that_does_not_exist_is_no_error(store: Store, doing: Doing) -> None:
    result = doing.trim("nobody", KEEP_2)
    assert (result.keys_deleted, result.checkpoints_kept) == (0, 0)
    assert doing.plan("nobody", KEEP_2) == []
    assert own_keys(store.client) == set()


def test_a_trim_keeps_to_the_bound_of_keys_and_goes_on(bare: redis.Redis) -> None:
    store, doing = Store(bare), Doing(bare, LangGraphGo(), keys_per_call=10)
    save(store, "t", 47)
    doing.trim("t", KEEP_2)
    assert doing.calls == 5
    assert len(store.list_by_thread("t")) == 2


def test_a_trim_keeps_to_a_bound_of_bytes(bare: redis.Redis) -> None:
    store, doing = Store(bare), Doing(bare, LangGraphGo())
    save(store, "t", 7, state="x" * 1_000_000)
    doing.trim("t", Policy(keep_last=1))
    assert doing.calls == 3


def test_after_each_single_call_the_newest_are_there(bare: redis.Redis) -> None:
    store, seen = Store(bare), []

    def look() -> None:
        seen.append(store.names(store.thread_key("t")))

    names = save(store, "t", 30)
    Doing(bare, LangGraphGo(), keys_per_call=10, called=look).trim("t", KEEP_2)
    assert [len(listed) for listed in seen] == [20, 10, 2]
    assert all(listed[-2:] == names[-2:] for listed in seen)


# --- what is not touched --------------------------------------------------------------------------

HOSTILE = [
    "a:b",
    "a",
    "a:checkpoints",
    "thread:a",
    "*",
    "a*",
    "[a]",
    "a\\*",
    "{a}",
    "a\nb",
    "a\0b",
    "你好 é \U0001f642",
    "x" * 4_000,
    "x" * 3_999,
    ":checkpoints",
    "a:checkpoints:checkpoints",
]


@pytest.mark.parametrize("thread", HOSTILE, ids=range(len(HOSTILE)))
def test_any_id_is_taken_byte_for_byte(store: Store, doing: Doing, thread: str) -> None:
    for name in HOSTILE:
        save(store, name, 4)
    before = snapshot(store.client)

    doing.trim(thread, KEEP_2)

    found = changes(before, snapshot(store.client))
    gone = {f"langgraph:checkpoint:checkpoint_{thread}_{number}" for number in (0, 1)}
    assert found.gone == {
        *(name.encode() for name in gone),
        store.execution_key(f"run 0 of {thread}").encode(),
    }
    assert found.changed == {store.thread_key(thread).encode()}
    assert not found.new


def test_a_sweep_takes_any_ids(store: Store, doing: Doing) -> None:
    for name in HOSTILE:
        save(store, name, 4)
    result = doing.sweep(KEEP_2)
    assert (result.threads, result.threads_trimmed) == (len(HOSTILE), len(HOSTILE))
    assert all(len(store.list_by_thread(name)) == 2 for name in HOSTILE)


def test_a_store_whose_prefix_goes_on_where_ours_ends_is_left_alone(
    store: Store, doing: Doing
) -> None:
    for prefix in ("langgraph:thread:", "langgraph:execution:", "langgraph:thread:a:", "lang"):
        save(Store(store.client, store.version, prefix), "a", 6)
    before = snapshot(store.client)

    doing.sweep(Policy(keep_last=1))

    assert changes(before, snapshot(store.client)) == Changes()


def test_lists_of_another_type_are_left_alone(bare: redis.Redis, doing: Doing) -> None:
    bare.set("langgraph:thread:a:checkpoints", "text")
    bare.hset("langgraph:execution:a:checkpoints", "field", "value")
    before = snapshot(bare)
    doing.trim("a", KEEP_2)
    doing.sweep(KEEP_2)
    assert changes(before, snapshot(bare)) == Changes()


@pytest.mark.parametrize("text", ["no JSON", "", '{"id":"c"}', "[" * 2_000, "null"])
def test_a_document_that_cannot_be_read_is_retained(store: Store, doing: Doing, text: str) -> None:
    names = save(store, "t", 4)
    store.client.set(store.checkpoint_key(names[0]), text)
    doing.trim("t", KEEP_2)
    assert store.client.get(store.checkpoint_key(names[0])) == text.encode()


@pytest.mark.parametrize(
    "state",
    [
        ',"metadata":{"thread_id":"other"},"version":1}',
        {"metadata": {"thread_id": "other"}},
        [{"a": 1, "metadata": {"thread_id": "other"}, "timestamp": "", "version": 9}],
        "x" * 5_000,
    ],
    ids=["as text", "as a field", "in a list", "large"],
)
def test_only_the_metadata_itself_says_whose_a_checkpoint_is(
    store: Store, doing: Doing, state: Any
) -> None:
    names = save(store, "t", 4, state=state)
    save(store, "other", 4)
    doing.trim("t", KEEP_2)
    assert set(store.names(store.thread_key("t"))) == set(names[-2:])
    assert len(store.list_by_thread("other")) == 4


def test_metadata_that_is_long_or_nested_is_read(store: Store, doing: Doing) -> None:
    for number in range(4):
        one = Checkpoint(f"c{number}", number, "e", "t")
        store.save(one)
        text = marshalled(one).replace(
            b'"source":"loop"', b'"a":{"x":1,"metadata":{"thread_id":"o"}},"b":"%s"' % (b"y" * 4000)
        )
        store.client.set(store.checkpoint_key(one.id), text)
    doing.trim("t", KEEP_2)
    assert set(store.names(store.execution_key("e"))) == {"c2", "c3"}


def test_no_ttl_is_changed(bare: redis.Redis, doing: Doing) -> None:
    store = Store(bare, ttl=1_000)
    names = save(store, "t", 5)
    keys = [store.thread_key("t"), store.checkpoint_key(names[-1])]
    before = [bare.pexpiretime(key) for key in keys]
    doing.trim("t", KEEP_2)
    assert [bare.pexpiretime(key) for key in keys] == before


# --- writers that are not atomic, and documents that expire ---------------------------------------


def test_checkpoints_that_have_expired_are_not_counted(store: Store, doing: Doing) -> None:
    names = save(store, "t", 8)
    store.client.delete(*(store.checkpoint_key(name) for name in names[3:6]))

    doing.trim("t", KEEP_3)

    assert [store.load(name) is not None for name in names] == [
        *(False, False),
        *(True, False, False, False, True, True),
    ]


def test_names_of_checkpoints_that_are_gone_leave_the_lists_after_a_grace_period(
    store: Store,
) -> None:
    names = save(store, "t", 5)
    store.client.delete(*(store.checkpoint_key(name) for name in names[:2]))

    Doing(store.client, LangGraphGo(), grace_ms=60_000).trim("t", Policy(keep_last=10))
    assert set(store.names(store.thread_key("t"))) == set(names)

    Doing(store.client, LangGraphGo()).trim("t", Policy(keep_last=10))
    assert set(store.names(store.thread_key("t"))) == set(names[2:])
    assert own_keys(store.client) == set()


def test_a_checkpoint_whose_name_came_first_is_not_lost(store: Store) -> None:
    save(store, "t", 5)
    late = Checkpoint("late", 2, thread_id="t")
    if store.version is Version.SORTED:
        store.client.zadd(store.thread_key("t"), {late.id: late.version})
    else:
        store.client.sadd(store.thread_key("t"), late.id)

    doing = Doing(store.client, LangGraphGo(), grace_ms=60_000)
    doing.trim("t", KEEP_3)
    doing.sweep(KEEP_3)
    store.client.set(store.checkpoint_key(late.id), marshalled(late))

    assert late.id in store.names(store.thread_key("t"))


def test_a_checkpoint_that_no_list_names_yet_is_retained(store: Store, doing: Doing) -> None:
    save(store, "t", 5)
    store.client.set(store.checkpoint_key("new"), marshalled(Checkpoint("new", 9, "e", "t")))
    doing.trim("t", KEEP_2)
    doing.sweep(KEEP_2)
    assert store.load("new") is not None


def test_a_sweep_removes_names_of_expired_checkpoints_from_executions(
    store: Store, doing: Doing
) -> None:
    names = save(store, "t", 6, execution_id="e")
    store.client.delete(*(store.checkpoint_key(name) for name in names[:4]))

    doing.sweep(Policy(keep_last=10))

    assert set(store.names(store.execution_key("e"))) == set(names[4:])


# --- policies, pins, plans ------------------------------------------------------------------------


def aged(store: Store, days: list[float], **fields: Any) -> list[str]:
    """Checkpoints of so many days ago."""
    zone = timezone(timedelta(hours=-7))
    names = []
    for number, age in enumerate(days):
        made = datetime.now(zone) - timedelta(days=age)
        store.save(Checkpoint(f"c{number}", number, thread_id="t", timestamp=made, **fields))
        names.append(f"c{number}")
    return names


def test_keep_within_goes_by_the_time_in_the_document(store: Store, doing: Doing) -> None:
    names = aged(store, [9, 7.1, 6.9, 3, 1])
    doing.trim("t", Policy(keep_last=1, keep_within=timedelta(days=7)))
    assert set(store.names(store.thread_key("t"))) == set(names[2:])


def test_a_run_is_an_execution(store: Store, doing: Doing) -> None:
    names = save(store, "t", 9)
    doing.trim("t", Policy(keep_last=1, keep_runs=3))
    assert set(store.names(store.thread_key("t"))) == {names[8], names[7], names[5]}


def test_an_idle_thread_expires_whole(store: Store, doing: Doing) -> None:
    aged(store, [9, 8], execution_id="e")
    doing.sweep(Policy(keep_last=None, expire_after=timedelta(days=10)))
    assert len(store.list_by_thread("t")) == 2

    doing.sweep(Policy(keep_last=None, expire_after=timedelta(days=5)))
    assert set(store.client.scan_iter()) == set()


def test_a_thread_expires_only_when_it_is_found_idle_again_after_the_grace_period(
    store: Store,
) -> None:
    aged(store, [9, 8])
    policy = Policy(keep_last=None, expire_after=timedelta(days=5))
    Doing(store.client, LangGraphGo(), grace_ms=60_000).sweep(policy)
    assert len(store.list_by_thread("t")) == 2

    Doing(store.client, LangGraphGo()).sweep(policy)
    assert set(store.client.scan_iter()) == set()


def test_a_pinned_checkpoint_is_retained(store: Store, doing: Doing) -> None:
    names = save(store, "t", 6)
    doing.run(doing.pins.pin(b"t", Place(b"", names[1].encode())))

    assert doing.reasons("t", KEEP_2)[names[1]] == ("pinned",)
    doing.trim("t", KEEP_2)

    assert set(store.names(store.thread_key("t"))) == {names[1], *names[-2:]}


def test_a_pinned_thread_is_retained(store: Store, doing: Doing) -> None:
    save(store, "t", 6)
    doing.run(doing.pins.pin(b"t"))
    doing.sweep(KEEP_2)
    assert len(store.list_by_thread("t")) == 6


def test_what_does_not_exist_cannot_be_pinned(store: Store, doing: Doing) -> None:
    save(store, "t", 2)
    with pytest.raises(RetentionError, match="there is no checkpoint nothing"):
        doing.run(doing.pins.pin(b"t", Place(b"", b"nothing")))


def test_a_sweep_deletes_pins_of_a_thread_that_is_gone(store: Store, doing: Doing) -> None:
    doing.run(doing.pins.pin(b"t"))
    doing.sweep(KEEP_2)
    assert own_keys(store.client) == set()


def test_a_plan_says_what_the_trim_does_and_changes_nothing(store: Store, doing: Doing) -> None:
    names = save(store, "t", 5)
    before = snapshot(store.client)

    planned = doing.plan("t", KEEP_2)
    counted = doing.trim("t", KEEP_2, dry_run=True)

    assert changes(before, snapshot(store.client)) == Changes()
    assert own_keys(store.client) == set()
    assert [one.place.checkpoint_id.decode() for one in planned] == names
    assert [one.reasons for one in planned] == [(), (), (), ("last",), ("last", "latest")]
    newest = planned[-1]
    assert newest.step == 5
    assert newest.made_ms is not None
    assert abs(newest.made_ms / 1000 - time.time()) < 60
    assert newest.size == store.client.strlen(store.checkpoint_key(names[-1]))
    assert counted == dataclasses.replace(doing.trim("t", KEEP_2), dry_run=True)


def test_a_long_thread_is_planned_page_by_page(bare: redis.Redis, doing: Doing) -> None:
    store = Store(bare)
    save(store, "t", 620)
    planned = doing.plan("t", Policy(keep_last=10))
    assert len({one.place for one in planned}) == 620
    assert sum(not one.reasons for one in planned) == 610


# --- sweeps, figures, events ----------------------------------------------------------------------


def test_a_sweep_trims_threads_and_executions(store: Store, doing: Doing) -> None:
    for thread in ("a", "b"):
        save(store, thread, 5)
    save(store, None, 4, execution_id="alone")

    result = doing.sweep(KEEP_2)

    assert (result.threads, result.threads_trimmed) == (3, 3)
    assert (result.checkpoints_deleted, result.checkpoints_kept) == (8, 6)
    assert result.keys_deleted == 8
    assert own_keys(store.client) == set()


def test_a_second_sweep_finds_nothing_to_do(store: Store, doing: Doing) -> None:
    save(store, "a", 5)
    doing.sweep(KEEP_2)
    before = snapshot(store.client)
    assert doing.sweep(KEEP_2).keys_deleted == 0
    assert changes(before, snapshot(store.client)) == Changes()


def test_a_sweep_looks_only_at_threads_that_match(store: Store, doing: Doing) -> None:
    for thread in ("a1", "b1"):
        save(store, thread, 5)
    doing.sweep(KEEP_2, match=b"a*")
    assert [len(store.list_by_thread(name)) for name in ("a1", "b1")] == [2, 5]


def test_figures_count_threads_and_not_their_executions(store: Store, doing: Doing) -> None:
    save(store, "a", 6)
    save(store, None, 3, execution_id="alone")
    found = doing.stats()
    assert (found.threads, found.checkpoints) == (2, 9)
    assert [(size.thread, size.checkpoints) for size in found.largest] == [
        (b"a", 6),
        (b"alone", 3),
    ]
    assert found.bytes is not None
    assert found.bytes > 9 * 100


@pytest.mark.parametrize("version", WITH_THREADS)
async def test_the_listener_trims_what_crosses_its_trigger(
    bare_server: Server, bare: redis.Redis, version: Version
) -> None:
    bare.config_set("notify-keyspace-events", "")
    store, doing = Store(bare, version), Doing(bare, LangGraphGo())
    listening = redis.asyncio.Redis(port=bare_server.port)
    listener = Listener(listening, doing.engine, [Rule(b"*", KEEP_2, trigger=4)])
    running = asyncio.create_task(listener.run())
    try:
        await listener.settled()
        names = await asyncio.to_thread(save, store, "t", 5)
        deadline = time.monotonic() + 30
        while not listener.activity.trims and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert listener.activity.checkpoints_deleted == 3
        assert set(store.names(store.thread_key("t"))) == set(names[-2:])
    finally:
        listener.stop()
        await running
        await listening.aclose()
