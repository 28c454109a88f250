"""The scenarios give the same whenever they run, and what LangGraph's own saver gives."""

from __future__ import annotations

from typing import Any

import pytest
from fakeredis import FakeAsyncRedis, FakeRedis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from tests.graphs.observe import atuples, keys, tuples
from tests.graphs.savers import async_without_search, without_search
from tests.graphs.scenarios import ALL, Scenario

THREAD = "a:[b]*"
CONFIG: RunnableConfig = {"configurable": {"thread_id": THREAD}}

RUNS: list[Any] = [
    pytest.param(scenario, durability, id=f"{scenario.name}-{durability}")
    for scenario in ALL
    if not scenario.needs_search
    for durability in scenario.durabilities
]


@pytest.mark.parametrize(("scenario", "durability"), RUNS)
def test_equals_langgraphs_own_saver(scenario: Scenario, durability: Any) -> None:
    saver = without_search(FakeRedis())
    steps = 0

    def between() -> None:
        nonlocal steps
        steps += 1

    seen = scenario.run(scenario.build(saver), CONFIG, between, durability=durability)
    reference = scenario.run(scenario.build(InMemorySaver()), CONFIG, durability=durability)
    assert seen == reference
    assert steps == len(seen)
    found = tuples(saver, THREAD)
    assert found
    assert list(found) == keys(saver, THREAD)
    assert None not in found.values()


@pytest.mark.parametrize(("scenario", "durability"), RUNS)
async def test_async_equals_sync(scenario: Scenario, durability: Any) -> None:
    if not scenario.can_arun:
        pytest.skip("asyncio hands on the context from Python 3.11 on")
    saver = async_without_search(FakeAsyncRedis())
    seen = await scenario.arun(scenario.build(saver), CONFIG, durability=durability)
    reference = scenario.run(scenario.build(InMemorySaver()), CONFIG, durability=durability)
    assert seen == reference
    found = await atuples(saver, THREAD)
    assert found
    assert None not in found.values()
