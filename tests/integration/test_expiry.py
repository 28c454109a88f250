"""Whole threads that have been idle for long go entirely, unless somebody may come back."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
import redis
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from redis_retention import AsyncRetention, Policy, Retention
from redis_retention.engine import Engine
from redis_retention.sans_io import Request
from redis_retention.transport import ClientCalls, Transport
from tests.graphs.observe import keys
from tests.graphs.savers import OrderedSaver
from tests.graphs.scenarios import (
    FailedStep,
    Functional,
    Graph,
    LinesState,
    MapReduce,
    NestedSubgraphs,
    OneDelta,
    ParallelTools,
    Scenario,
    StatefulSubgraph,
    say,
)
from tests.integration.threads import DEFAULT, fill, ids, put
from tests.integration.watching import NONE, Changes, changes, snapshot
from tests.model.threads import PutCheckpoint, task_id, write_to
from tests.servers.start import Server

CONFIG: RunnableConfig = {"configurable": {"thread_id": "a"}}
HOUR = 3600.0
AFTER_AN_HOUR = Policy(keep_last=10, expire_after=timedelta(hours=1))
AT_ONCE = timedelta(milliseconds=1)
KEEP_ALL = Policy(keep_last=100)
EXPIRE = Policy(keep_last=100, expire_after=AT_ONCE)
EXPIRE_WAITING = Policy(keep_last=100, expire_after=AT_ONCE, expire_waiting=True)

FINISHED = (
    MapReduce(),
    ParallelTools(),
    FailedStep(),
    NestedSubgraphs(turns=1),
    StatefulSubgraph(turns=3),
    Functional(turns=3),
    OneDelta(turns=3),
)


@pytest.fixture
def retention(client: redis.Redis) -> Retention:
    """Lets a thread expire the first time that it is found idle."""
    return Retention(client, grace=timedelta(0))


def idle(saver: OrderedSaver, thread: str, seconds: float) -> list[str]:
    """A thread of five in which nothing has happened for so long."""
    return fill(saver, thread, ids(5, newest_age=seconds))


def graph(saver: OrderedSaver, **options: Any) -> Graph:
    """A first node, and a second one that asks, fails or just works, as the input says."""

    def first(state: LinesState) -> LinesState:
        return say("first")  # type: ignore[return-value]

    def second(state: LinesState) -> LinesState:
        if "ask" in state["lines"]:
            interrupt("shall I?")
        if "fail" in state["lines"]:
            raise RuntimeError("failed")
        return say("second")  # type: ignore[return-value]

    builder = StateGraph(LinesState).add_sequence([first, second])
    builder.add_edge(START, "first")
    return builder.compile(checkpointer=saver, **options)


def ids_left(client: redis.Redis, ns: str) -> list[str]:
    """The ids of a thread's checkpoints that are there, oldest first."""
    start = DEFAULT.document("a", ns, "?")[:-1]
    found: Any = client.keys(start + b"*")
    return sorted(key[len(start) :].decode() for key in found)


def a_moment() -> None:
    """Until the newest checkpoint is older than `AT_ONCE`."""
    begun = time.time()
    while time.time() < begun + 2 * AT_ONCE.total_seconds():
        pass


# --- by time ------------------------------------------------------------------------------------


def test_an_idle_thread_is_deleted_entirely(
    saver: OrderedSaver, client: redis.Redis, retention: Retention
) -> None:
    fill(saver, "b", 5)
    others = snapshot(client)
    idle(saver, "a", HOUR + 60)
    fill(saver, "a", ids(5, newest_age=HOUR + 60), ns="memory")

    result = retention.trim("a", AFTER_AN_HOUR)

    assert snapshot(client) == others  # not even an index is left
    assert (result.checkpoints_deleted, result.checkpoints_kept) == (10, 0)


@pytest.mark.parametrize("grace", [timedelta(0), timedelta(milliseconds=1)])
def test_a_large_one_is_deleted_entirely_though_its_root_goes_first(
    saver: OrderedSaver, client: redis.Redis, grace: timedelta
) -> None:
    others = snapshot(client)
    newest = idle(saver, "a", HOUR + 60)[-1]
    fill(saver, "a", ids(30, newest_age=HOUR + 60), ns="memory")
    for number, name in enumerate(ids(10, newest_age=HOUR + 60)):
        put_invocation = PutCheckpoint(f"node:{task_id(number)}", name, parents=(("", newest),))
        write_to(client, "a", [put_invocation])
    retention = Retention(client, grace=grace, keys_per_call=10)

    results = []
    for _ in range(2):  # Without a grace period once would do.
        results.append(retention.trim("a", AFTER_AN_HOUR))
        a_moment()

    assert snapshot(client) == others
    assert sum(result.checkpoints_deleted for result in results) == 45


@pytest.mark.parametrize("finish", ["trim", "sweep"])
def test_what_is_left_when_its_trim_is_broken_off_is_deleted_by_the_next(
    saver: OrderedSaver, client: redis.Redis, retention: Retention, finish: str
) -> None:
    others = snapshot(client)
    idle(saver, "a", HOUR + 60)
    fill(saver, "a", ids(10, newest_age=HOUR + 60), ns="memory")
    retention.trim("a", KEEP_ALL)

    class Breaking(Transport):
        """The line is cut when the root is gone."""

        def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
            replies = yield from super()._send_all(requests)
            if not ids_left(client, ""):
                raise redis.ConnectionError("cut")
            return replies

    with pytest.raises(redis.ConnectionError):
        Breaking(client).run(Engine(keys_per_call=20, grace_ms=0).trim(b"a", AFTER_AN_HOUR))
    assert ids_left(client, "memory")

    if finish == "trim":
        retention.trim("a", AFTER_AN_HOUR, indexed_only=True)
    else:
        retention.sweep(AFTER_AN_HOUR)

    ours = {b"retention:swept:checkpoint"}
    assert {key: found for key, found in snapshot(client).items() if key not in ours} == others


def test_what_was_put_into_one_that_is_half_gone_stays(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    idle(saver, "a", HOUR + 60)
    old = fill(saver, "a", ids(30, newest_age=HOUR + 60), ns="memory")
    engine = Engine(keys_per_call=20, grace_ms=0)
    documents = [
        DEFAULT.document("a", ns, i) for ns in ("", "memory") for i in ids_left(client, ns)
    ]
    Transport(client).run(engine.add_all(documents, b"a"))

    class Writing(Transport):
        """Somebody goes on with the thread when its root is gone."""

        def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
            replies = yield from super()._send_all(requests)
            if not ids_left(client, "") and not renewed:
                renewed.extend(fill(saver, "a", 1))
                self.run(engine.track([DEFAULT.document("a", "", renewed[0])]))
            return replies

    renewed: list[str] = []
    Writing(client).run(engine.trim(b"a", AFTER_AN_HOUR))

    assert ids_left(client, "") == renewed
    assert ids_left(client, "memory") == old[-10:]


def test_a_thread_expires_when_it_was_found_idle_a_grace_period_ago(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    """A checkpoint that was about to be written then is met by now."""
    retention = Retention(client, grace=timedelta(milliseconds=300))
    idle(saver, "a", HOUR + 60)

    first = retention.trim("a", AFTER_AN_HOUR)
    again = retention.trim("a", AFTER_AN_HOUR)
    time.sleep(0.4)
    reasons = {row.reasons for row in retention.plan("a", AFTER_AN_HOUR).checkpoints}
    last = retention.trim("a", AFTER_AN_HOUR)

    assert [first.checkpoints_kept, again.checkpoints_kept, last.checkpoints_kept] == [5, 5, 0]
    assert reasons == {()}


def test_a_checkpoint_that_came_meanwhile_keeps_its_thread(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    retention = Retention(client, grace=timedelta(milliseconds=300))
    newest = idle(saver, "a", HOUR + 60)[-1]
    retention.trim("a", AFTER_AN_HOUR)
    lagging = ids(1, newest_age=HOUR + 120)[0]
    put(saver, "a", lagging, parent=newest)
    time.sleep(0.4)

    assert retention.trim("a", AFTER_AN_HOUR).checkpoints_kept == 6


def test_by_the_index_alone_too(
    saver: OrderedSaver, client: redis.Redis, retention: Retention
) -> None:
    empty = snapshot(client)
    idle(saver, "a", HOUR + 60)
    retention.trim("a", Policy(keep_last=100))

    retention.trim("a", AFTER_AN_HOUR, indexed_only=True)

    assert snapshot(client) == empty


async def test_async_too(server: Server, saver: OrderedSaver, client: redis.Redis) -> None:
    empty = snapshot(client)
    idle(saver, "a", HOUR + 60)

    async with redis.asyncio.Redis.from_url(server.url) as async_client:
        result = await AsyncRetention(async_client, grace=timedelta(0)).trim("a", AFTER_AN_HOUR)

    assert result.checkpoints_deleted == 5
    assert snapshot(client) == empty


def test_a_thread_in_which_something_happened_since_is_retained(
    saver: OrderedSaver, client: redis.Redis, retention: Retention
) -> None:
    idle(saver, "a", HOUR - 60)
    before = snapshot(client)

    retention.trim("a", AFTER_AN_HOUR)

    assert changes(before, snapshot(client)) == NONE


def test_one_that_does_not_expire_is_still_trimmed(
    saver: OrderedSaver, retention: Retention
) -> None:
    names = idle(saver, "a", HOUR - 60)

    retention.trim("a", Policy(keep_last=2, expire_after=timedelta(hours=1)))

    assert [key.id for key in keys(saver, "a")] == names[-2:]


# --- by what a real graph is doing --------------------------------------------------------------


def test_a_finished_thread_expires(
    saver: OrderedSaver, client: redis.Redis, retention: Retention
) -> None:
    empty = snapshot(client)
    graph(saver).invoke(say("work"), CONFIG)
    a_moment()

    retention.trim("a", EXPIRE)

    assert snapshot(client) == empty


@pytest.mark.parametrize("server", ["redis-stack"], indirect=True)
@pytest.mark.parametrize("scenario", FINISHED, ids=lambda scenario: scenario.name)
def test_whatever_it_has_been_doing_before(
    saver: OrderedSaver, client: redis.Redis, retention: Retention, scenario: Scenario
) -> None:
    """Sends, joins and answered questions leave traces in the checkpoint that they end with."""
    empty = snapshot(client)
    scenario.run(scenario.build(saver), CONFIG)
    a_moment()

    retention.trim("a", EXPIRE)

    assert snapshot(client) == empty


def asking(saver: OrderedSaver) -> Graph:
    asks = graph(saver)
    asks.invoke(say("ask"), CONFIG)
    return asks


def at_a_breakpoint(saver: OrderedSaver) -> Graph:
    stops = graph(saver, interrupt_before=["second"])
    stops.invoke(say("work"), CONFIG)
    return stops


def after_a_breakpoint(saver: OrderedSaver) -> Graph:
    stops = graph(saver, interrupt_after=["first"])
    stops.invoke(say("work"), CONFIG)
    return stops


def asking_deep_inside(saver: OrderedSaver) -> Graph:
    def ask(state: LinesState) -> LinesState:
        return say(f"told {interrupt('inside?')}")  # type: ignore[return-value]

    inner = StateGraph(LinesState).add_sequence([ask])
    inner.add_edge(START, "ask")
    outer = StateGraph(LinesState)
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "inner")
    asks: Graph = outer.compile(checkpointer=saver)
    asks.invoke(say("work"), CONFIG)
    return asks


WAITING = [asking, at_a_breakpoint, after_a_breakpoint, asking_deep_inside]


@pytest.mark.parametrize("wait", WAITING, ids=lambda wait: wait.__name__)
def test_a_thread_that_waits_for_a_human_is_retained(
    saver: OrderedSaver, client: redis.Redis, retention: Retention, wait: Any
) -> None:
    waiting = wait(saver)
    a_moment()
    before = snapshot(client)

    retention.trim("a", EXPIRE)
    retention.trim("a", EXPIRE, indexed_only=True)

    assert changes(before, snapshot(client)) == NONE
    waiting.invoke(Command(resume="yes"), CONFIG)
    assert waiting.get_state(CONFIG).next == ()


def test_where_the_newest_is_gone_the_one_before_it_says_whether_somebody_is_waited_for(
    saver: OrderedSaver, client: redis.Redis, retention: Retention
) -> None:
    asking(saver)
    newest = ids(1, newest_age=0)[0]
    put(saver, "a", newest)
    retention.trim("a", KEEP_ALL)
    client.delete(DEFAULT.document("a", "", newest))
    there = ids_left(client, "")
    a_moment()

    retention.trim("a", EXPIRE, indexed_only=True)

    assert ids_left(client, "") == there
    retention.trim("a", EXPIRE_WAITING, indexed_only=True)
    assert ids_left(client, "") == []


@pytest.mark.parametrize("wait", WAITING, ids=lambda wait: wait.__name__)
def test_if_that_is_asked_for_it_expires(
    saver: OrderedSaver, client: redis.Redis, retention: Retention, wait: Any
) -> None:
    empty = snapshot(client)
    wait(saver)
    a_moment()

    retention.trim("a", EXPIRE_WAITING)

    assert snapshot(client) == empty


def test_once_it_was_answered_it_expires(
    saver: OrderedSaver, client: redis.Redis, retention: Retention
) -> None:
    empty = snapshot(client)
    asking(saver).invoke(Command(resume="yes"), CONFIG)
    a_moment()

    retention.trim("a", EXPIRE)

    assert snapshot(client) == empty


def test_a_thread_whose_step_failed_may_expire(
    saver: OrderedSaver, client: redis.Redis, retention: Retention
) -> None:
    empty = snapshot(client)
    with pytest.raises(RuntimeError, match="failed"):
        graph(saver).invoke(say("fail"), CONFIG)
    a_moment()

    retention.trim("a", EXPIRE)

    assert snapshot(client) == empty


# --- pinned -------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [EXPIRE, EXPIRE_WAITING], ids=["expire", "expire waiting"])
@pytest.mark.parametrize("whole_thread", [True, False])
def test_a_pinned_thread_is_retained(
    saver: OrderedSaver,
    client: redis.Redis,
    retention: Retention,
    whole_thread: bool,
    policy: Policy,
) -> None:
    names = idle(saver, "a", HOUR)
    before = snapshot(client)
    retention.pin("a", None if whole_thread else names[1])

    retention.trim("a", policy)

    assert changes(before, snapshot(client)) == NONE


def test_no_longer_pinned_it_expires(
    saver: OrderedSaver, client: redis.Redis, retention: Retention
) -> None:
    names = idle(saver, "a", HOUR)
    before = snapshot(client)
    retention.pin("a", names[1])
    retention.trim("a", EXPIRE)
    retention.unpin("a", names[1])

    retention.trim("a", EXPIRE)

    assert changes(before, snapshot(client)) == Changes(gone=frozenset(before))


# --- a dry run ----------------------------------------------------------------------------------


def test_a_dry_run_says_that_all_of_it_would_be_deleted(
    saver: OrderedSaver, retention: Retention
) -> None:
    idle(saver, "a", HOUR + 60)

    dry = retention.trim("a", AFTER_AN_HOUR, dry_run=True)
    plan = retention.plan("a", AFTER_AN_HOUR)
    done = retention.trim("a", AFTER_AN_HOUR)

    assert (dry.checkpoints_deleted, dry.keys_deleted, dry.checkpoints_kept) == (
        done.checkpoints_deleted,
        done.keys_deleted,
        done.checkpoints_kept,
    )
    assert not any(checkpoint.kept for checkpoint in plan.checkpoints)
