"""The golden rule on the longest real conversation here, under a real thread id."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import redis
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from redis_retention import AsyncRetention, Policy, Retention
from tests.graphs.observe import atuples, keys, tuples
from tests.graphs.savers import AsyncOrderedSaver, OrderedSaver
from tests.graphs.scenarios import Chat, Invoke, Observation, Script
from tests.integration.looking import WAYS, Looks

THREAD = "wang1:20250729235038043"
CONFIG: RunnableConfig = {"configurable": {"thread_id": THREAD}}
POLICY = Policy(keep_last=10)


@dataclass(frozen=True)
class Later(Chat):
    """More turns of the same conversation."""

    first: int = 12
    turns: int = 2

    def script(self) -> Script:
        for turn in range(self.first, self.first + self.turns):
            question = HumanMessage(f"question {turn}", id=f"q{turn}")
            yield Invoke(f"turn {turn}", {"messages": [question]})


def whole_conversation(turns: int) -> list[list[str]]:
    lines = []
    for turn in range(turns):
        lines.append(["human", f"question {turn}"])
        lines.append(["ai", f"answer to question {turn}, message {2 * turn + 1}"])
    return lines


def said(last: Observation) -> list[list[str]]:
    return [list(line) for line in last.values["messages"]]


@pytest.fixture(params=WAYS)
def retention(client: redis.Redis, request: pytest.FixtureRequest) -> Retention:
    return Looks(client, request.param)


@pytest.fixture
def chat(saver: OrderedSaver) -> OrderedSaver:
    """The saver of a conversation of 36 checkpoints."""
    Chat(turns=12).run(Chat().build(saver), CONFIG)
    assert len(keys(saver, THREAD)) == 36
    return saver


def test_every_retained_checkpoint_reads_as_before(
    chat: OrderedSaver, retention: Retention
) -> None:
    before = tuples(chat, THREAD)

    result = retention.trim(THREAD, POLICY)

    assert tuples(chat, THREAD) == {key: before[key] for key in sorted(before)[-10:]}
    assert (result.checkpoints_deleted, result.checkpoints_kept) == (26, 10)


def test_the_conversation_goes_on(chat: OrderedSaver, retention: Retention) -> None:
    retention.trim(THREAD, POLICY)

    later = Later().run(Later().build(chat), CONFIG)

    assert said(later[-1]) == whole_conversation(14)
    assert later[-1].ran == ("model question 13",)


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_it_goes_on_from_the_least_that_can_be_retained(
    chat: OrderedSaver, retention: Retention, keep: int
) -> None:
    def trim() -> None:
        retention.trim(THREAD, Policy(keep_last=keep))

    trim()
    later = Later().run(Later().build(chat), CONFIG, between=trim)

    assert said(later[-1]) == whole_conversation(14)
    assert len(keys(chat, THREAD)) == keep


async def test_async_too(async_saver: AsyncOrderedSaver, async_client: redis.asyncio.Redis) -> None:
    await Chat(turns=12).arun(Chat().build(async_saver), CONFIG)
    before = await atuples(async_saver, THREAD)
    assert len(before) == 36

    result = await AsyncRetention(async_client).trim(THREAD, POLICY)

    assert await atuples(async_saver, THREAD) == {key: before[key] for key in sorted(before)[-10:]}
    assert (result.checkpoints_deleted, result.checkpoints_kept) == (26, 10)
    later = await Later().arun(Later().build(async_saver), CONFIG)
    assert said(later[-1]) == whole_conversation(14)
