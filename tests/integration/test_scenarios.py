"""Every way in which LangGraph leans on old checkpoints, trimmed after every step.

Each scenario is played twice with the same saver: once trimmed, down to as many checkpoints as
the script itself goes back to, and once not. Nobody who uses the graph may see a difference.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest
import redis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.redis import RedisSaver

from redis_retention import Policy, Retention
from redis_retention.engine import Engine
from redis_retention.transport import Transport
from tests.conftest import WITH_MODULES
from tests.graphs.observe import keys, tuples
from tests.graphs.savers import AsyncOrderedSaver, OrderedSaver, without_search
from tests.graphs.scenarios import ALL, Graph, ManySubgraphs, Observation, Scenario
from tests.integration.threads import fill, ids, put, put_writes
from tests.integration.watching import Trimmer, count_keys, orphans, searchable

TRIMMED = "trimmed"
CONTROL = "control"

STACK = "redis-stack"

SYNC: list[Any] = [
    pytest.param(name, scenario, durability, id=f"{name}-{scenario.name}-{durability}")
    for name in WITH_MODULES
    for scenario in ALL
    for durability in (scenario.durabilities if name == STACK else ("sync",))
]


def in_turn(first: int) -> list[Any]:
    """Each scenario on one server, beginning with that one: three tests see each on all three."""
    return [
        pytest.param(name := WITH_MODULES[at % 3], scenario, id=f"{name}-{scenario.name}")
        for at, scenario in enumerate(ALL, first)
    ]


Seen: TypeAlias = list[Observation]

_controls: dict[tuple[str, str, bool], Seen] = {}


def at(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}}


def control(scenario: Scenario, graph: Graph, durability: Any = "sync") -> Seen:
    """What is seen when nothing is trimmed. All servers give the same, so it is run once."""
    key = scenario.name, durability, False
    if key not in _controls:
        _controls[key] = scenario.run(graph, at(CONTROL), durability=durability)
    return _controls[key]


async def async_control(scenario: Scenario, graph: Graph) -> Seen:
    """`control` for an async graph."""
    key = scenario.name, "sync", True
    if key not in _controls:
        _controls[key] = await scenario.arun(graph, at(CONTROL))
    return _controls[key]


@pytest.mark.parametrize(("server", "scenario", "durability"), SYNC, indirect=["server"])
def test_a_trimmed_graph_runs_like_one_that_is_never_trimmed(
    saver: OrderedSaver, client: redis.Redis, scenario: Scenario, durability: Any
) -> None:
    graph = scenario.build(saver)
    policy, retention = Policy(keep_last=scenario.goes_back), Retention(client)
    trim = Trimmer(saver, TRIMMED, lambda: retention.trim(TRIMMED, policy))

    seen = scenario.run(graph, at(TRIMMED), trim, durability=durability)

    assert seen == control(scenario, graph, durability)
    assert trim.deleted > 0
    check_that_it_is_clean(client, trim)


@pytest.mark.parametrize(("server", "scenario"), in_turn(1), indirect=["server"])
async def test_a_trimmed_async_graph_runs_like_one_that_is_never_trimmed(
    async_saver: AsyncOrderedSaver, client: redis.Redis, scenario: Scenario
) -> None:
    if not scenario.can_arun:
        pytest.skip("asyncio hands on the context from Python 3.11 on")
    graph = scenario.build(async_saver)
    policy, retention = Policy(keep_last=scenario.goes_back), Retention(client)
    trim = Trimmer(without_search(client), TRIMMED, lambda: retention.trim(TRIMMED, policy))

    seen = await scenario.arun(graph, at(TRIMMED), trim)

    assert seen == await async_control(scenario, graph)
    assert trim.deleted > 0
    check_that_it_is_clean(client, trim)


@pytest.mark.parametrize(("server", "scenario"), in_turn(2), indirect=["server"])
def test_a_graph_trimmed_by_the_index_alone_runs_like_one_that_is_never_trimmed(
    saver: OrderedSaver, client: redis.Redis, scenario: Scenario
) -> None:
    graph = scenario.build(saver)
    policy, retention = Policy(keep_last=scenario.goes_back), Retention(client)

    def track_and_trim() -> None:
        documents: list[bytes] = list(client.scan_iter(match="checkpoint:*", count=1000))
        Transport(client).run(Engine().track(documents))
        retention.trim(TRIMMED, policy, indexed_only=True)

    trim = Trimmer(saver, TRIMMED, track_and_trim)

    seen = scenario.run(graph, at(TRIMMED), trim)

    assert seen == control(scenario, graph)
    assert trim.deleted > 0
    check_that_it_is_clean(client, trim)


def check_that_it_is_clean(client: redis.Redis, trim: Trimmer) -> None:
    """Nothing of what was deleted is left: neither keys nor entries of a search index."""
    assert orphans(client, trim.reader, TRIMMED) == []
    for prefix in ("checkpoint", "checkpoint_write"):
        assert searchable(client, prefix) == count_keys(client, prefix)


@pytest.mark.parametrize("server", [STACK], indirect=True)
def test_of_a_hundred_finished_subgraphs_only_those_of_retained_checkpoints_are_retained(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    scenario = ManySubgraphs(calls=100)
    scenario.run(scenario.build(saver), at(TRIMMED))
    before = tuples(saver, TRIMMED)
    roots = sorted(key.id for key in before if key.ns == "")[-3:]
    expected = {
        key: reading
        for key, reading in before.items()
        if key.id in roots or (reading and reading.metadata["parents"].get("") in roots)
    }
    assert len({key.ns for key in before}) == 101

    Retention(client).trim(TRIMMED, Policy(keep_last=3))

    assert tuples(saver, TRIMMED) == expected
    assert len({key.ns for key in expected}) == 2
    assert orphans(client, saver, TRIMMED) == []


def test_a_write_that_overtakes_its_checkpoint_is_hidden_by_the_saver_and_not_lost_by_us(
    plain_saver: RedisSaver, stack: redis.Redis
) -> None:
    """With its default durability LangGraph stores a checkpoint and the first writes upon it at
    the same time. Where the writes come first, `put` of langgraph-checkpoint-redis 0.5.2 sets
    `has_writes` to false over them, and they do not read any more: a run with a delta channel
    loses them for good, trimmed or not. Any later write brings them back, so we keep them."""
    *old, newest = ids(4)
    fill(plain_saver, "a", old)
    put_writes(plain_saver, "a", newest)
    put(plain_saver, "a", newest, parent=old[-1])
    place: RunnableConfig = {"configurable": {"thread_id": "a", "checkpoint_ns": ""}}

    def visible() -> int:
        found = plain_saver.get_tuple(place)
        assert found is not None
        assert found.config["configurable"]["checkpoint_id"] == newest
        return len(found.pending_writes or ())

    assert visible() == 0  # and no trim so far

    Retention(stack).trim("a", Policy(keep_last=1))

    assert visible() == 0
    put_writes(plain_saver, "a", newest, 1)
    assert visible() == 3


def test_a_subgraph_that_waits_is_retained_whole_with_its_root(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    """The namespaces of a waiting subgraph are newer than the newest root checkpoint."""
    nested = next(scenario for scenario in ALL if scenario.name == "NestedSubgraphs")
    graph = nested.build(saver)

    # The script begins with an invoke that stops inside of the inner subgraph.
    stops = next(nested.script())
    assert stops.label == "ask 0"
    waiting: list[Any] = []

    def between() -> None:
        if not waiting:
            before = keys(saver, TRIMMED)
            Retention(client).trim(TRIMMED, Policy(keep_last=1))
            waiting.extend((before, keys(saver, TRIMMED)))

    nested.run(graph, at(TRIMMED), between)

    before, after = waiting
    assert len({key.ns for key in after}) == 3
    assert [key for key in after if key.ns] == [key for key in before if key.ns]
