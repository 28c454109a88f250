"""Whole threads and runs: pruned, deleted, copied and listed, exactly and without loss."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.redis import RedisSaver
from langgraph.types import Command

from redis_retention import Policy, Retention
from redis_retention.langgraph import (
    AsyncRetentionRedisSaver,
    KeptCheckpoint,
    RetentionRedisSaver,
    with_retention,
)
from tests.graphs.observe import Key, keys, tuples
from tests.graphs.savers import OrderedSaver
from tests.graphs.scenarios import Graph, Scenario
from tests.integration.conftest import saver
from tests.integration.test_scenarios import at, control, in_turn
from tests.integration.threads import fill, fill_fast, ids, keys_of, place, put, put_writes
from tests.integration.watching import Trimmer, orphans
from tests.langgraph_saver.graphs import asking_graph, delta_graph

__all__ = ["saver"]

STACK = "redis-stack"
ONE = pytest.mark.parametrize("server", [STACK], indirect=True)
# Of which a search index, a prefix or a pattern would take one for another.
LOOK_ALIKES = ("A", "a,b", "a:b", "a:", "ab", "a*", "?", " a", "a b", "a:__empty__:x")
MakeAsyncSaver = Callable[..., Awaitable[AsyncRetentionRedisSaver]]


def retaining(saver: RedisSaver) -> RetentionRedisSaver:
    """The saver, with the methods of ours, and without any trim of its own."""
    return with_retention(saver, Policy(keep_last=1_000), mode="inline")


def everything(client: redis.Redis) -> dict[bytes, bytes]:
    """All keys with their values, but for ours."""
    names = [name for name in client.scan_iter(count=1000) if not name.startswith(b"retention:")]
    return {name: client.dump(name) or b"" for name in names}


# --- prune ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("server", "scenario"), in_turn(0), indirect=["server"])
def test_a_pruned_graph_runs_like_one_that_is_never_pruned(
    saver: OrderedSaver, client: redis.Redis, scenario: Scenario
) -> None:
    ours = retaining(saver)
    graph = scenario.build(saver)
    prune = Trimmer(saver, "a", lambda: ours.prune(["a"], keep_last=scenario.goes_back))

    seen = scenario.run(graph, at("a"), prune)

    assert seen == control(scenario, graph)
    assert prune.deleted > 0
    assert orphans(client, saver, "a") == []


@ONE
def test_keep_latest_keeps_the_newest_of_each_namespace_and_what_that_is_replayed_from(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    graph = delta_graph(saver)
    for turn in range(2):
        graph.invoke({"lines": [f"turn {turn}"]}, at("a"), durability="sync")
    fill(saver, "b", 9)
    fill(saver, "b", ids(5), ns="memory")
    before, state = tuples(saver, "a"), graph.get_state(at("a"))

    retaining(saver).prune(["a", "b", "there is none"], strategy="keep_latest")

    after = tuples(saver, "a")
    assert after == {key: before[key] for key in after}
    assert 1 < len(after) < len(before)
    assert graph.get_state(at("a")) == state
    assert [key.ns for key in keys(saver, "b")] == ["", "memory"]


@ONE
def test_a_policy_says_what_a_prune_keeps(saver: OrderedSaver, client: redis.Redis) -> None:
    names = fill(saver, "a", 9)
    Retention(client).pin("a", names[0])

    retaining(saver).prune(["a"], policy=Policy(keep_last=4))

    assert [key.id for key in keys(saver, "a")] == [names[0], *names[-4:]]


@ONE
@pytest.mark.parametrize("how", [{"strategy": "delete"}, {"keep_last": 0}])
def test_delete_prunes_all_of_a_thread(
    saver: OrderedSaver, client: redis.Redis, how: dict[str, Any]
) -> None:
    fill(saver, "b", 2)
    others = everything(client)
    fill(saver, "a", 3)

    retaining(saver).prune(["a"], **how)

    assert everything(client) == others


@ONE
def test_a_prune_that_means_nothing_is_refused(saver: OrderedSaver) -> None:
    ours = retaining(saver)
    with pytest.raises(ValueError, match="strategy must be"):
        ours.prune(["a"], strategy="keep_some")
    with pytest.raises(ValueError, match="a policy says all"):
        ours.prune(["a"], policy=Policy(), keep_last=3)


# --- delete_thread --------------------------------------------------------------------------------


def test_a_deleted_thread_leaves_nothing_and_takes_nothing_of_others(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    plain = RedisSaver(redis_client=client)
    for other in LOOK_ALIKES:
        fill(saver, other, 2)
        put_writes(plain, other, ids(1, newest_age=0)[0])
    others = everything(client)
    names = fill(saver, "a", 5)
    fill(saver, "a", 2, ns="memory")
    fill(saver, "a", 2, ns=f"node:{uuid.uuid4()}")
    put_writes(plain, "a", ids(1, newest_age=0)[0])
    Retention(client).pin("a", names[0])
    Retention(client).trim("a", Policy(keep_last=4))

    retaining(saver).delete_thread("a")

    assert everything(client) == others
    assert list(client.scan_iter(match="retention:*:a")) == []
    assert saver.get_tuple(place("a")) is None


@pytest.mark.parametrize("thread", [*LOOK_ALIKES, ""])
@ONE
def test_any_thread_can_be_deleted(saver: OrderedSaver, client: redis.Redis, thread: str) -> None:
    fill(saver, "a", 2)
    others = everything(client)
    fill(saver, thread, 3)

    retaining(saver).delete_thread(thread)

    assert everything(client) == others


@ONE
def test_a_long_thread_is_deleted_in_calls_that_are_bounded(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    fill_fast(client, "a", 1_000, writes=2)
    client.config_resetstat()

    retaining(saver).delete_thread("a")

    assert everything(client) == {}
    stats: Any = client.info("commandstats")
    # Four keys each, and at most 200 of them a call.
    assert stats["cmdstat_evalsha"]["calls"] > 1_000 * 4 / 200


# --- delete_for_runs ------------------------------------------------------------------------------


def in_run(thread: str, run: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "run_id": run}}


RUNS = ("first", "second", "third")


@pytest.fixture
def three_runs(saver: OrderedSaver) -> tuple[Graph, list[Any]]:
    """A graph with a delta channel that has run three times, and its states after each."""
    graph = delta_graph(saver)
    states = []
    for run in RUNS:
        graph.invoke({"lines": [run]}, in_run("a", run), durability="sync")
        states.append(graph.get_state(at("a")))
    return graph, states


def runs_of(saver: RedisSaver, thread: str = "a") -> set[str]:
    client: Any = saver._redis
    found = client.scan_iter(match=f"checkpoint:{thread}:*", count=1000)
    return {client.json().get(name)["run_id"] for name in found}


def test_a_run_is_deleted_but_for_what_later_ones_are_replayed_from(
    saver: OrderedSaver, client: redis.Redis, three_runs: tuple[Graph, list[Any]]
) -> None:
    graph, states = three_runs
    before = tuples(saver, "a")

    kept = retaining(saver).delete_for_runs(["first", "nobody's", ""])

    after = tuples(saver, "a")
    assert after == {key: before[key] for key in after}
    assert {one.reason for one in kept} == {"delta"}
    assert {Key(one.checkpoint_ns, one.checkpoint_id) for one in kept} <= after.keys()
    assert len(after) < len(before)
    assert graph.get_state(at("a")) == states[-1]
    assert orphans(client, saver, "a") == []


def test_without_its_last_run_a_thread_is_where_it_was_before(
    saver: OrderedSaver, client: redis.Redis, three_runs: tuple[Graph, list[Any]]
) -> None:
    graph, states = three_runs

    assert retaining(saver).delete_for_runs(["third"]) == []

    assert runs_of(saver) == {"first", "second"}
    undone = graph.get_state(at("a"))
    assert undone.values == states[1].values
    assert (
        undone.config["configurable"]["checkpoint_id"]
        == (states[1].config["configurable"]["checkpoint_id"])
    )
    graph.invoke({"lines": ["third"]}, in_run("a", "again"), durability="sync")
    assert graph.get_state(at("a")).values == states[2].values
    assert orphans(client, saver, "a") == []


def test_a_thread_of_which_all_runs_are_deleted_is_gone(
    saver: OrderedSaver, client: redis.Redis, three_runs: tuple[Graph, list[Any]]
) -> None:
    fill(saver, "b", 2)

    assert retaining(saver).delete_for_runs(RUNS) == []

    assert saver.get_tuple(place("a")) is None
    assert {name for name in everything(client) if b":a:" in name} == set()
    assert len(keys(saver, "b")) == 2


@ONE
def test_what_is_pinned_of_a_run_is_retained(
    saver: OrderedSaver, client: redis.Redis, three_runs: tuple[Graph, list[Any]]
) -> None:
    graph, states = three_runs
    pinned = states[1].config["configurable"]["checkpoint_id"]
    Retention(client).pin("a", pinned)
    before = tuples(saver, "a")

    kept = retaining(saver).delete_for_runs(["second", "third"])

    assert KeptCheckpoint("a", "", pinned, "pinned") in kept
    after = tuples(saver, "a")
    assert after == {key: before[key] for key in after}
    assert graph.get_state(states[1].config).values == states[1].values


@ONE
def test_what_a_run_has_written_upon_a_checkpoint_of_another_is_retained_with_that(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    """An answer is a write on the checkpoint that has asked: writes do not say their run."""
    graph = asking_graph(saver)
    graph.invoke({"answers": []}, in_run("a", "asks"), durability="sync")
    graph.invoke(Command(resume="this"), in_run("a", "answers"), durability="sync")
    before = tuples(saver, "a")

    retaining(saver).delete_for_runs(["answers"])

    after = tuples(saver, "a")
    assert after == {key: before[key] for key in after}
    assert runs_of(saver) == {"asks"}
    graph.invoke(None, in_run("a", "goes on"), durability="sync")
    assert graph.get_state(at("a")).values["answers"][-1] == "this"


@ONE
def test_runs_are_told_apart_byte_for_byte(saver: OrderedSaver, client: redis.Redis) -> None:
    parent = None
    names = {}
    for run, name in zip(("r", "R", "r,s", "r s", ""), ids(5), strict=True):
        config = place("a", "", parent)
        config["configurable"]["run_id"] = run
        checkpoint: Any = {
            "v": 4, "id": name, "ts": "", "channel_values": {}, "channel_versions": {},
            "versions_seen": {},
        }  # fmt: skip
        saver.put(config, checkpoint, {"source": "loop", "step": 0, "parents": {}}, {})
        parent = names[run] = name

    retaining(saver).delete_for_runs(["r", ""])
    assert {key.id for key in keys(saver, "a")} == {*names.values()} - {names["r"]}

    retaining(saver).delete_for_runs(["r,s"])
    assert {key.id for key in keys(saver, "a")} == {names["R"], names["r s"], names[""]}


@ONE
def test_a_run_of_many_checkpoints_is_deleted_in_calls_that_are_bounded(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    *old, last = fill_fast(client, "a", 400, writes=2)
    for name in old:
        client.json().set(f"checkpoint:a:__empty__:{name}", "$.run_id", "r")

    retaining(saver).delete_for_runs(["r"])

    assert [key.id for key in keys(saver, "a")] == [last]
    assert orphans(client, saver, "a") == []


# --- copy_thread ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("server", "scenario"), in_turn(1), indirect=["server"])
def test_a_copy_reads_and_goes_on_like_the_original(
    saver: OrderedSaver, client: redis.Redis, scenario: Scenario
) -> None:
    ours = retaining(saver)
    graph = scenario.build(saver)
    copies: list[str] = []

    def copy_it() -> None:
        copies.append(f"copy:{len(copies)}")
        ours.copy_thread("a", copies[-1])

    seen = scenario.run(graph, at("a"), copy_it)

    assert seen == control(scenario, graph)
    assert tuples(saver, copies[-1]) == tuples(saver, "a")
    for copy in copies:
        assert orphans(client, saver, copy) == []
    assert graph.get_state(at(copies[-1])).values == graph.get_state(at("a")).values
    # The first of them has stood still since.
    assert len(keys(saver, copies[0])) < len(keys(saver, copies[-1]))


@pytest.mark.parametrize(("server", "scenario"), in_turn(0)[:4], indirect=["server"])
def test_a_copy_takes_nothing_of_its_original(
    saver: OrderedSaver, client: redis.Redis, scenario: Scenario
) -> None:
    scenario.run(scenario.build(saver), at("a"))
    before = everything(client)

    retaining(saver).copy_thread("a", "b:c")

    after = everything(client)
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * len(before)


@ONE
def test_a_copy_of_a_delta_thread_has_the_whole_chain(
    saver: OrderedSaver, client: redis.Redis, three_runs: tuple[Graph, list[Any]]
) -> None:
    graph, states = three_runs
    ours = retaining(saver)
    ours.prune(["a"])
    ours.copy_thread("a", "b")
    ours.delete_thread("a")

    assert graph.get_state(at("b")).values == states[-1].values
    graph.invoke({"lines": ["fourth"]}, at("b"), durability="sync")
    assert len(graph.get_state(at("b")).values["lines"]) > len(states[-1].values["lines"])


@ONE
def test_a_copy_expires_with_its_original(saver: OrderedSaver, client: redis.Redis) -> None:
    fill(saver, "a", 2)
    for name in client.scan_iter():
        client.expire(name, 500)

    retaining(saver).copy_thread("a", "b")

    ttls = {name: client.ttl(name) for name in client.scan_iter(match="*:b:*")}
    assert ttls
    assert all(0 < ttl <= 500 for ttl in ttls.values())


@ONE
def test_a_long_thread_is_copied_in_calls_that_are_bounded_and_again_if_need_be(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    names = fill_fast(client, "a", 300, writes=2)
    ours = retaining(saver)

    ours.copy_thread("a", "b")
    newer = ids(1, newest_age=-1)[0]
    put(saver, "b", newer, parent=names[-1])
    ours.copy_thread("a", "b")

    assert [key.id for key in keys(saver, "b")] == [*names, newer]
    # Beyond the copies the target has gone on, and stays where it is.
    assert client.get("checkpoint_latest:b:__empty__") == f"checkpoint:b:__empty__:{newer}".encode()


@ONE
def test_a_thread_is_not_copied_to_itself(saver: OrderedSaver) -> None:
    with pytest.raises(ValueError, match="cannot be copied to itself"):
        retaining(saver).copy_thread("a", "a")


# --- list -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("server", "scenario"), in_turn(2), indirect=["server"])
def test_what_is_listed_reads_as_by_itself(
    saver: OrderedSaver, client: redis.Redis, scenario: Scenario
) -> None:
    scenario.run(scenario.build(saver), at("a"))
    ours = retaining(saver)

    listed = list(ours.list(at("a")))

    names = [found.config["configurable"]["checkpoint_id"] for found in listed]
    assert names == sorted(names, reverse=True)
    assert len(names) == len(keys(saver, "a"))
    for found in listed:
        # An exception equals nothing but itself.
        assert repr(found) == repr(ours.get_tuple(found.config))


@ONE
def test_threads_are_listed_byte_for_byte_and_to_their_end(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    ours = retaining(saver)
    for thread in LOOK_ALIKES:
        fill(saver, thread, 2)
    names = fill_fast(client, "a", 300)

    listed = [found.config["configurable"]["checkpoint_id"] for found in ours.list(at("a"))]
    assert listed == names[::-1]
    for thread in LOOK_ALIKES:
        found = [one.config["configurable"]["thread_id"] for one in ours.list(at(thread))]
        assert found == [thread] * 2
    newest = [found.config["configurable"]["checkpoint_id"] for found in ours.list(None, limit=3)]
    assert len(newest) == 3
    assert sum(1 for _ in ours.list(None)) == 300 + 2 * len(LOOK_ALIKES)


# --- the same for the async saver -----------------------------------------------------------------


@ONE
async def test_the_async_saver_does_all_of_it_too(
    make_async_saver: MakeAsyncSaver, saver: OrderedSaver, client: redis.Redis
) -> None:
    ours = await make_async_saver(retention=Policy(keep_last=50))
    names = fill(saver, "a", 9)

    await ours.acopy_thread("a", "b")
    await ours.aprune(["a"], policy=Policy(keep_last=3))
    listed = [found async for found in ours.alist(at("a"))]
    assert [found.config["configurable"]["checkpoint_id"] for found in listed] == names[:5:-1]
    for found in listed:
        assert repr(found) == repr(await ours.aget_tuple(found.config))
    assert await ours.adelete_for_runs(["nobody's"]) == []
    await ours.adelete_thread("a")

    assert keys(saver, "a") == []
    assert [key.id for key in keys(saver, "b")] == names


@ONE
async def test_the_async_saver_serves_other_threads_than_the_event_loops(
    make_async_saver: MakeAsyncSaver, saver: OrderedSaver, client: redis.Redis
) -> None:
    ours = await make_async_saver(retention=Policy(keep_last=50))
    names = fill(saver, "a", 5)

    def work() -> list[str]:
        assert threading.current_thread() is not threading.main_thread()
        ours.copy_thread("a", "b")
        ours.prune(["a"], keep_last=2)
        ours.delete_thread("b")
        assert ours.delete_for_runs(["nobody's"]) == []
        return [found.config["configurable"]["checkpoint_id"] for found in ours.list(at("a"))]

    assert await asyncio.to_thread(work) == names[:2:-1]
    with pytest.raises(asyncio.InvalidStateError, match="would block the event loop"):
        ours.delete_thread("a")
    assert keys_of(client.scan_iter(match="*:b:*"), "b", names) == frozenset()
