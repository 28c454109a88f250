"""What the plain savers of langgraph-checkpoint-redis do wrong, as ``docs/upstream.md`` reports it.

Each test passes as long as the fault is there, and shows that our saver does not have it. When one
fails, the fault was mended: then the report can go, and perhaps what we do about it.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.redis import RedisSaver
from langgraph.checkpoint.redis.aio import AsyncRedisSaver

from redis_retention import Policy
from redis_retention.langgraph import RetentionRedisSaver, with_retention
from tests.graphs.observe import tuples
from tests.integration.conftest import plain_saver
from tests.integration.threads import fill, ids, place, put, put_writes
from tests.langgraph_saver.graphs import delta_graph
from tests.servers.start import Server

__all__ = ["plain_saver"]

OLDEST, MIDDLE, NEWEST = ids(3)
REPORT = Path(__file__).parents[2] / "docs" / "upstream.md"


@pytest.fixture
def ours(plain_saver: RedisSaver) -> RetentionRedisSaver:
    """Our saver on the same database."""
    return with_retention(plain_saver, Policy(keep_last=100), mode="inline")


def listed(saver: RedisSaver, config: RunnableConfig, **options: Any) -> list[str]:
    found = saver.list(config, **options)
    return [one.config["configurable"]["checkpoint_id"] for one in found]


def store(saver: RedisSaver, checkpoint_id: str, values: dict[str, Any], **metadata: Any) -> None:
    checkpoint: Any = {
        "v": 4,
        "id": checkpoint_id,
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, "1"),
        "versions_seen": {},
    }
    said: Any = {"source": "loop", "step": 0, "parents": {}, **metadata}
    saver.put(place("a"), checkpoint, said, {})


def test_list_takes_the_root_namespace_for_any(
    plain_saver: RedisSaver, ours: RetentionRedisSaver
) -> None:
    put(plain_saver, "a", OLDEST)
    put(plain_saver, "a", NEWEST, ns="child")

    assert listed(plain_saver, place("a", "")) == [NEWEST, OLDEST]
    assert listed(ours, place("a", "")) == [OLDEST]


def test_list_ignores_before_unless_it_is_a_ulid(
    plain_saver: RedisSaver, ours: RetentionRedisSaver
) -> None:
    fill(plain_saver, "a", [OLDEST, MIDDLE, NEWEST])
    before = place("a", "", MIDDLE)

    assert listed(plain_saver, place("a"), before=before) == [NEWEST, MIDDLE, OLDEST]
    assert listed(ours, place("a"), before=before) == [OLDEST]


def test_list_refuses_metadata_of_ones_own(
    plain_saver: RedisSaver, ours: RetentionRedisSaver
) -> None:
    store(plain_saver, OLDEST, {}, score=42)
    store(plain_saver, NEWEST, {}, score=99)

    with pytest.raises(ValueError, match="Unsupported filter key: score"):
        listed(plain_saver, place("a"), filter={"score": 42})
    assert listed(ours, place("a"), filter={"score": 42}) == [OLDEST]


def test_list_gives_messages_as_they_are_stored(
    plain_saver: RedisSaver, ours: RetentionRedisSaver
) -> None:
    store(plain_saver, OLDEST, {"messages": [HumanMessage("hello", id="1")]})

    [of_theirs] = plain_saver.list(place("a"))
    [of_ours] = ours.list(place("a"))
    read = plain_saver.get_tuple(place("a"))

    assert isinstance(of_theirs.checkpoint["channel_values"]["messages"][0], dict)
    assert of_ours == read
    assert of_ours.checkpoint["channel_values"]["messages"] == [HumanMessage("hello", id="1")]


def test_list_takes_threads_for_one_another(
    plain_saver: RedisSaver, ours: RetentionRedisSaver
) -> None:
    put(plain_saver, "a", OLDEST)
    put(plain_saver, "A", MIDDLE)
    put(plain_saver, "a,b", NEWEST)

    assert listed(plain_saver, {"configurable": {"thread_id": "a"}}) == [NEWEST, MIDDLE, OLDEST]
    assert listed(ours, {"configurable": {"thread_id": "a"}}) == [OLDEST]


def test_prune_of_no_threads_is_an_error(
    plain_saver: RedisSaver, ours: RetentionRedisSaver
) -> None:
    with pytest.raises(ValueError, match="non-empty"):
        plain_saver.prune([])
    ours.prune([])


def test_prune_deletes_a_thread_beside_a_newer_one_that_only_looks_like_it(
    plain_saver: RedisSaver, ours: RetentionRedisSaver
) -> None:
    for thread in ("a", "b"):
        put(plain_saver, thread, OLDEST)
        put(plain_saver, thread.upper(), NEWEST)

    plain_saver.prune(["a"])
    ours.prune(["b"])

    assert plain_saver.get_tuple(place("a")) is None
    assert plain_saver.get_tuple(place("b")) is not None


def test_prune_empties_delta_channels(plain_saver: RedisSaver, ours: RetentionRedisSaver) -> None:
    graph = delta_graph(plain_saver)
    for thread in ("a", "b"):
        for turn in range(2):
            config: RunnableConfig = {"configurable": {"thread_id": thread}}
            graph.invoke({"lines": [f"turn {turn}"]}, config, durability="sync")

    def lines(thread: str) -> int:
        state = graph.get_state({"configurable": {"thread_id": thread}})
        return len(state.values.get("lines", []))

    assert lines("a") == lines("b") == 8
    plain_saver.prune(["a"])
    ours.prune(["b"])

    assert lines("a") < 8
    assert lines("b") == 8


def test_an_unknown_strategy_prunes_like_keep_latest(
    plain_saver: RedisSaver, ours: RetentionRedisSaver
) -> None:
    fill(plain_saver, "a", 3)

    with pytest.raises(ValueError, match="strategy must be"):
        ours.prune(["a"], strategy="keep_all")
    assert len(tuples(plain_saver, "a")) == 3
    plain_saver.prune(["a"], strategy="keep_all")
    assert len(tuples(plain_saver, "a")) == 1


@pytest.mark.parametrize("method", ["delete_for_runs", "copy_thread"])
@pytest.mark.parametrize("kind", [RedisSaver, AsyncRedisSaver])
def test_runs_cannot_be_deleted_nor_threads_copied(kind: type[Any], method: str) -> None:
    for name in (method, f"a{method}"):
        assert getattr(kind, name) is getattr(BaseCheckpointSaver, name)


@pytest.mark.parametrize("method", ["list", "delete_thread", "prune"])
def test_the_async_saver_lacks_methods_for_other_threads(method: str) -> None:
    assert getattr(AsyncRedisSaver, method) is getattr(BaseCheckpointSaver, method)


def test_put_hides_the_writes_that_came_first(plain_saver: RedisSaver) -> None:
    put_writes(plain_saver, "a", NEWEST)
    put(plain_saver, "a", NEWEST)

    found = plain_saver.get_tuple(place("a"))

    assert found is not None
    assert found.pending_writes == []


def test_what_a_write_has_left_reads_as_a_checkpoint_that_is_its_own_parent(
    plain_saver: RedisSaver, ours: RetentionRedisSaver
) -> None:
    put_writes(plain_saver, "a", OLDEST)

    read = plain_saver.get_tuple(place("a", "", OLDEST))

    assert read is not None
    assert read.parent_config == read.config
    assert ours.get_tuple(place("a", "", OLDEST)) is None


async def test_the_async_savers_put_writes_forgets_the_path_of_the_task(
    redis_stack: Server, stack: redis.Redis
) -> None:
    async with AsyncRedisSaver.from_conn_string(redis_stack.url) as saver:
        config = place("a", "", NEWEST)
        await asyncio.to_thread(saver.put_writes, config, [("c", 1)], "task", "~path")
        await saver.aput_writes(config, [("c", 1)], "other", "~path")

    json: Any = stack.json()
    key = f"checkpoint_write:a:__empty__:{NEWEST}"
    assert json.get(f"{key}:task:0")["task_path"] == ""
    assert json.get(f"{key}:other:0")["task_path"] == "~path"


def test_each_fault_is_reported_and_each_report_is_held() -> None:
    reported = re.findall(r"test_upstream\.py::(test_\w+)", REPORT.read_text(encoding="utf-8"))
    here = [name for name in globals() if name.startswith("test_")]
    assert sorted(reported) == sorted(here[:-1])
