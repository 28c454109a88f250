"""All savers' data in one database, under the same names: each layout touches its own alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from langgraph.checkpoint.redis.shallow import ShallowRedisSaver

from redis_retention import Policy
from redis_retention.layouts import LangGraphGo, LangGraphRedis, Layout, SortedSets
from tests.integration.threads import fill_fast, put
from tests.integration.watching import changes
from tests.savers.articles import RedisCheckpointer
from tests.savers.doing import Doing, snapshot
from tests.savers.langgraphgo import Checkpoint, Store, Version

# Beside what a saver calls a part of a key.
THREADS = ["a", "a:b", "thread:a", "*", "a:__empty__", "a:checkpoints", "你好", "x" * 1_000]

LAYOUTS: list[tuple[Layout, Callable[[bytes], bool]]] = [
    (LangGraphGo(), lambda key: key.startswith(b"langgraph:")),
    (SortedSets(), lambda key: key in {f"checkpoint:{name}".encode() for name in THREADS}),
    (
        LangGraphRedis(),
        lambda key: (
            key.startswith((b"checkpoint:", b"checkpoint_write:", b"write_keys_zset:"))
            and b":__empty__:" in key
        ),
    ),
]


@pytest.fixture
def filled(client: redis.Redis) -> redis.Redis:
    """Six checkpoints of each thread by each saver, and one of a shallow saver."""
    articles = RedisCheckpointer(client)
    stores = Store(client), Store(client, Version.SETS)
    shallow = ShallowRedisSaver(redis_client=client)
    shallow.setup()
    for at, thread in enumerate(THREADS):
        fill_fast(client, thread, 6)
        put(shallow, f"shallow {thread}", "1f06cd04-0000-6000-8000-000000000000")
        for number in range(6):
            name = f"{thread} {number}"
            stores[at % 2].save(Checkpoint(name, number, f"run {thread}", thread))
            articles.save(thread, number, at=1_700_000_000.0 + number)
    return client


@pytest.mark.parametrize(("layout", "is_own"), LAYOUTS, ids=[one.name for one, _ in LAYOUTS])
def test_a_sweep_with_one_layout_touches_no_other_savers_keys(
    filled: redis.Redis, layout: Layout, is_own: Callable[[bytes], bool]
) -> None:
    before = snapshot(filled)

    result = Doing(filled, layout).sweep(Policy(keep_last=2))

    found = changes(before, snapshot(filled))
    assert (result.threads, result.threads_trimmed) == (len(THREADS), len(THREADS))
    assert result.checkpoints_deleted == 4 * len(THREADS)
    assert found.gone | found.changed
    assert [key for key in found.gone | found.changed if not is_own(key)] == []
    assert not found.new


@pytest.mark.parametrize("layout", [layout for layout, _ in LAYOUTS], ids=lambda one: one.name)
def test_a_thread_that_another_saver_has_under_the_same_name_is_not_trimmed_with_it(
    filled: redis.Redis, layout: Layout
) -> None:
    doing: Any = [Doing(filled, other) for other, _ in LAYOUTS]

    Doing(filled, layout).trim("a", Policy(keep_last=1))

    retained = [len(one.plan("a", Policy(keep_last=9))) for one in doing]
    assert retained == [1 if other.name == layout.name else 6 for other, _ in LAYOUTS]
