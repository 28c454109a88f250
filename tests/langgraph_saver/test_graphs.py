"""Real graphs on savers that retain: nobody who uses them may see a difference."""

from __future__ import annotations

import pytest
import redis

from redis_retention import Policy
from redis_retention.langgraph import (
    AsyncRetentionRedisSaver,
    Mode,
    RetentionRedisSaver,
    with_retention,
)
from tests.graphs.savers import AsyncOrderedSaver, OrderedSaver
from tests.graphs.scenarios import ALL, Scenario
from tests.integration.conftest import async_client, async_saver, saver
from tests.integration.test_scenarios import async_control, at, control, in_turn

__all__ = ["async_client", "async_saver", "saver"]

STACK = "redis-stack"
ONE = pytest.mark.parametrize("server", [STACK], indirect=True)
RETAINED = "retained"
MODES: tuple[Mode, ...] = ("background", "inline")
# Each mode on another server than the other.
IN_TURN = [
    pytest.param(*one.values, mode, id=f"{mode}-{one.id}")
    for first, mode in enumerate(MODES)
    for one in in_turn(first)
]


# The plain saver does not find the subgraph's checkpoint before the replayed one, ours does. The
# subgraph makes as many checkpoints a turn as the graph: both go back two turns here.
REPLAYS = "ReplaySubgraph"
UNTRIMMED = "untrimmed"


def retained(scenario: Scenario) -> int:
    return 12 if scenario.name == REPLAYS else scenario.goes_back


def untrimmed(saver: OrderedSaver) -> RetentionRedisSaver:
    return with_retention(saver, Policy(keep_last=1_000), mode="inline")


@ONE
def test_a_subgraph_whose_checkpoint_is_gone_goes_on_from_the_oldest_that_is_left(
    saver: OrderedSaver, client: redis.Redis
) -> None:
    """It must not begin anew: nobody would notice that it has forgotten everything."""
    scenario = next(found for found in ALL if found.name == REPLAYS)
    policy = Policy(keep_last=scenario.goes_back)
    retaining = with_retention(saver, policy, trigger=scenario.goes_back, mode="inline")

    seen = scenario.run(scenario.build(retaining), at(RETAINED))

    [replay] = [one for one in seen if one.step == "replay"]
    assert "remembers 0 things" not in replay.values["reports"][6:]


@pytest.mark.parametrize(("server", "scenario", "mode"), IN_TURN, indirect=["server"])
def test_a_graph_runs_as_if_nothing_were_trimmed(
    saver: OrderedSaver, client: redis.Redis, scenario: Scenario, mode: Mode
) -> None:
    policy = Policy(keep_last=retained(scenario))
    retaining = with_retention(saver, policy, trigger=retained(scenario), mode=mode)
    if scenario.name == REPLAYS:
        expected = scenario.run(scenario.build(untrimmed(saver)), at(UNTRIMMED))
    else:
        expected = control(scenario, scenario.build(saver))

    # What waits is done after each step, so that the next one finds the thread trimmed.
    seen = scenario.run(scenario.build(retaining), at(RETAINED), retaining.close)

    assert seen == expected
    assert retaining.trims.failed == 0
    assert retaining.trims.checkpoints > 0


@pytest.mark.parametrize(("server", "scenario"), in_turn(2), indirect=["server"])
@pytest.mark.parametrize("mode", MODES)
async def test_an_async_graph_runs_as_if_nothing_were_trimmed(
    async_saver: AsyncOrderedSaver, scenario: Scenario, mode: Mode
) -> None:
    if not scenario.can_arun:
        pytest.skip("asyncio hands on the context from Python 3.11 on")
    policy = Policy(keep_last=retained(scenario))
    retaining = with_retention(async_saver, policy, trigger=retained(scenario), mode=mode)
    if scenario.name == REPLAYS:
        untouched = with_retention(async_saver, Policy(keep_last=1_000), mode=mode)
        expected = await scenario.arun(scenario.build(untouched), at(UNTRIMMED))
    else:
        expected = await async_control(scenario, scenario.build(async_saver))
    assert isinstance(retaining, AsyncRetentionRedisSaver)

    seen = await scenario.arun(scenario.build(retaining), at(RETAINED))
    await retaining.aclose()

    assert seen == expected
    assert retaining.trims.failed == 0
    assert retaining.trims.checkpoints > 0
