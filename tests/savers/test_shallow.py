"""What the shallow saver of Python leaves behind: it goes, and graphs go on as before."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver
from langgraph.checkpoint.redis.shallow import ShallowRedisSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from redis_retention import Policy, Retention
from redis_retention.engine import Engine, Rule
from redis_retention.sources.sweep import Sweeper
from redis_retention.transport import Transport
from tests.integration.threads import fill
from tests.integration.watching import changes, snapshot

RULES = [Rule(b"*", Policy(keep_last=1))]


class State(TypedDict):
    steps: Annotated[list[str], operator.add]


@pytest.fixture
def saver(client: redis.Redis) -> ShallowRedisSaver:
    made = ShallowRedisSaver(redis_client=client)
    made.setup()
    return made


def graph(saver: Any, *, asks: bool = False) -> Any:
    """A graph with a subgraph of two nodes, the second of which may wait for a human."""

    def answer(state: State) -> State:
        return {"steps": [interrupt("which?") if asks else "b"]}

    inner = StateGraph(State)
    inner.add_node("a", lambda _: {"steps": ["a"]})
    inner.add_node("b", answer)
    inner.add_edge(START, "a")
    inner.add_edge("a", "b")
    outer = StateGraph(State)
    outer.add_node("node", inner.compile())
    outer.add_node("end", lambda _: {"steps": ["end"]})
    outer.add_edge(START, "node")
    outer.add_edge("node", "end")
    return outer.compile(checkpointer=saver)


def at(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def sweep(client: redis.Redis, older_than_ms: int = 0) -> Any:
    """A sweep for which writes need not be two hours old to be orphans."""
    sweeper = Sweeper(Engine(grace_ms=0), RULES, older_than_ms=older_than_ms)
    return Transport(client).run(sweeper.sweep())


def keys(client: redis.Redis, pattern: str) -> list[str]:
    return sorted(key.decode() for key in client.scan_iter(pattern, count=1000))


def test_finished_subgraphs_are_deleted_with_their_writes(
    client: redis.Redis, saver: ShallowRedisSaver
) -> None:
    made = graph(saver)
    for number in range(3):
        made.invoke({"steps": [str(number)]}, at("t"))
    assert len(keys(client, "checkpoint:t:node:*")) == 3

    result = sweep(client)

    assert keys(client, "checkpoint:t:*") == ["checkpoint:t:"]
    assert keys(client, "*:node:*") == []
    assert result.checkpoints_deleted == 3


def test_the_one_checkpoint_of_a_thread_is_retained_and_reads_as_before(
    client: redis.Redis, saver: ShallowRedisSaver
) -> None:
    made = graph(saver)
    for number in range(2):
        made.invoke({"steps": [str(number)]}, at("t"))
    before, state = saver.get_tuple(at("t")), made.get_state(at("t"))
    assert before is not None

    sweep(client)

    after = saver.get_tuple(at("t"))
    assert after is not None
    assert (after.checkpoint, after.metadata) == (before.checkpoint, before.metadata)
    assert made.get_state(at("t")) == state


def test_the_thread_goes_on_as_one_that_was_not_swept(
    client: redis.Redis, saver: ShallowRedisSaver
) -> None:
    made = graph(saver)
    answers: dict[str, list[Any]] = {"swept": [], "control": []}
    for number in range(3):
        for thread, found in answers.items():
            found.append(made.invoke({"steps": [str(number)]}, at(thread)))
        Transport(client).run(
            Sweeper(Engine(grace_ms=0), RULES, match=b"swept", older_than_ms=0).sweep()
        )
    assert answers["swept"] == answers["control"]


def test_writes_of_replaced_checkpoints_are_deleted_and_their_names_with_them(
    client: redis.Redis, saver: ShallowRedisSaver
) -> None:
    made = graph(saver)
    for number in range(2):
        made.invoke({"steps": [str(number)]}, at("t"))
    assert keys(client, "checkpoint_write:t:__empty__:*")

    sweep(client)

    assert keys(client, "checkpoint_write:*") == []
    assert keys(client, "write_registry:*") == []


def test_writes_that_are_too_young_are_retained(
    client: redis.Redis, saver: ShallowRedisSaver
) -> None:
    graph(saver).invoke({"steps": ["1"]}, at("t"))
    before = keys(client, "checkpoint_write:t:__empty__:*")
    sweep(client, older_than_ms=7_200_000)
    assert keys(client, "checkpoint_write:t:__empty__:*") == before


def test_a_subgraph_that_waits_for_a_human_is_retained_and_resumes(
    client: redis.Redis, saver: ShallowRedisSaver
) -> None:
    made = graph(saver, asks=True)
    for thread in ("t", "control"):
        made.invoke({"steps": ["q"]}, at(thread))
    before = made.get_state(at("t"), subgraphs=True)

    for _ in range(2):
        sweep(client)

    assert made.get_state(at("t"), subgraphs=True) == before
    resumed = made.invoke(Command(resume="yes"), at("t"))
    assert resumed == made.invoke(Command(resume="yes"), at("control"))
    assert resumed["steps"][-2:] == ["yes", "end"]


def test_a_second_question_of_the_same_thread_resumes_too(
    client: redis.Redis, saver: ShallowRedisSaver
) -> None:
    made = graph(saver, asks=True)
    for answer in ("one", "two"):
        made.invoke({"steps": ["q"]}, at("t"))
        sweep(client)
        resumed = made.invoke(Command(resume=answer), at("t"))
        assert resumed["steps"][-2:] == [answer, "end"]
        sweep(client)
    assert keys(client, "checkpoint:t:*") == ["checkpoint:t:"]


def test_a_trim_of_the_thread_does_the_same(client: redis.Redis, saver: ShallowRedisSaver) -> None:
    graph(saver).invoke({"steps": ["1"]}, at("t"))
    retention = Retention(client)

    planned = retention.trim("t", Policy(keep_last=1), look_in="scan", dry_run=True)
    done = retention.trim("t", Policy(keep_last=1), look_in="scan")

    assert done.checkpoints_deleted == planned.checkpoints_deleted == 1
    assert done.keys_deleted == planned.keys_deleted
    assert keys(client, "checkpoint:t:*") == ["checkpoint:t:"]


def test_another_thread_is_not_touched(client: redis.Redis, saver: ShallowRedisSaver) -> None:
    made = graph(saver)
    for thread in ("t", "t:node", "T"):
        made.invoke({"steps": ["1"]}, at(thread))
    fill(RedisSaver(redis_client=client), "t:node:x", 1)
    before = snapshot(client)

    Transport(client).run(Sweeper(Engine(grace_ms=0), RULES, match=b"t", older_than_ms=0).sweep())

    found = changes(before, snapshot(client))
    touched = found.gone | found.changed
    assert touched
    assert all(b":t:node:" in key or b":t:__empty__" in key for key in touched)
    assert not found.new
