"""One sorted set of serialized checkpoints a thread, as articles show it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from datetime import timedelta

import pytest
import redis

from redis_retention import Policy, RetentionError
from redis_retention.engine import Place, Rule
from redis_retention.layouts import SortedSets
from redis_retention.sources.keyspace import Listener
from tests.integration.watching import Changes, changes
from tests.savers.articles import RedisCheckpointer
from tests.savers.doing import Doing, commands_used, own_keys, snapshot
from tests.savers.test_langgraphgo import HOSTILE
from tests.servers.start import Server

KEEP_2 = Policy(keep_last=2)
DAY = 86_400.0


@pytest.fixture
def saver(bare: redis.Redis) -> RedisCheckpointer:
    return RedisCheckpointer(bare)


@pytest.fixture
def doing(bare: redis.Redis) -> Doing:
    return Doing(bare, SortedSets())


def save(
    saver: RedisCheckpointer, thread: str, count: int, *, apart: float = 1.0, size: int = 100
) -> list[bytes]:
    """Save checkpoints, the newest of now; their members."""
    now = time.time()
    return [
        saver.save(thread, f"{number:06}" + "x" * size, now - apart * (count - 1 - number))
        for number in range(count)
    ]


# --- trims ----------------------------------------------------------------------------------------


def test_the_newest_are_retained_and_read_as_before(saver: RedisCheckpointer, doing: Doing) -> None:
    members = save(saver, "t", 12)
    latest = saver.load("t")

    result = doing.trim("t", Policy(keep_last=3))

    assert saver.history("t") == members[-3:]
    assert saver.load("t") == latest
    assert (result.checkpoints_deleted, result.keys_deleted, result.checkpoints_kept) == (9, 9, 3)
    assert own_keys(saver.client) == set()


def test_it_is_what_the_article_does_by_itself(saver: RedisCheckpointer, doing: Doing) -> None:
    trimming = RedisCheckpointer(saver.client, prefix="other:", keep=10)
    for number in range(25):
        for one in (saver, trimming):
            one.save("t", number, at=1_700_000_000.0 + number // 4)
    doing.trim("t", Policy(keep_last=10))
    assert saver.history("t") == trimming.history("t")


def test_of_equal_scores_the_one_read_is_retained(saver: RedisCheckpointer, doing: Doing) -> None:
    for number in range(9):
        saver.save("t", number, at=5.0)
    latest = saver.load("t")
    doing.trim("t", Policy(keep_last=1))
    assert len(saver.history("t")) == 1
    assert saver.load("t") == latest


@pytest.mark.parametrize("score", [0.0, -5.5, 1e-9, 1e300, float("inf"), float("-inf")])
def test_any_score_is_a_time(saver: RedisCheckpointer, doing: Doing, score: float) -> None:
    for number in range(4):
        saver.save("t", number, at=score)
    doing.plan("t", KEEP_2)
    doing.trim("t", Policy(keep_last=2, keep_within=timedelta(days=1)))
    assert len(saver.history("t")) in (2, 4)


def test_members_are_opaque_bytes(saver: RedisCheckpointer, doing: Doing) -> None:
    members = [b"", b"\0", b"\xff\xfe", b'{"v":1}', b"a\nb", b"a" * 70_000]
    for number, member in enumerate(members):
        saver.client.zadd("checkpoint:t", {member: number})
    doing.trim("t", KEEP_2)
    assert saver.history("t") == members[-2:]


def test_the_ttl_of_a_thread_is_not_changed(bare: redis.Redis, doing: Doing) -> None:
    saver = RedisCheckpointer(bare, ttl=3_600)
    save(saver, "t", 5)
    before = bare.pexpiretime("checkpoint:t")
    doing.trim("t", KEEP_2)
    assert bare.pexpiretime("checkpoint:t") == before


def test_a_thread_is_found_without_looking_at_the_database(
    saver: RedisCheckpointer, doing: Doing
) -> None:
    save(saver, "t", 5)
    saver.client.config_resetstat()
    doing.trim("t", KEEP_2)
    doing.plan("t", KEEP_2)
    assert not commands_used(saver.client) & {"scan", "keys"}


def test_a_thread_that_does_not_exist_is_no_error(saver: RedisCheckpointer, doing: Doing) -> None:
    result = doing.trim("nobody", KEEP_2)
    assert (result.keys_deleted, result.checkpoints_kept) == (0, 0)
    assert doing.plan("nobody", KEEP_2) == []


# --- bounds ---------------------------------------------------------------------------------------


def test_a_call_deletes_no_more_than_its_bound(bare: redis.Redis) -> None:
    saver, doing = RedisCheckpointer(bare), Doing(bare, SortedSets(), keys_per_call=10)
    save(saver, "t", 47)
    doing.trim("t", KEEP_2)
    assert doing.calls == 5
    assert len(saver.history("t")) == 2


def test_a_call_frees_no_more_than_two_megabytes(saver: RedisCheckpointer, doing: Doing) -> None:
    save(saver, "t", 9, size=900_000)
    doing.trim("t", Policy(keep_last=1))
    assert doing.calls == 4


def test_one_that_is_larger_is_deleted_alone(saver: RedisCheckpointer, doing: Doing) -> None:
    save(saver, "t", 4, size=3_000_000)
    doing.trim("t", Policy(keep_last=1))
    assert doing.calls == 3
    assert len(saver.history("t")) == 1


def test_what_is_retained_is_not_read(saver: RedisCheckpointer, doing: Doing) -> None:
    members = save(saver, "t", 105, size=100_000)
    saver.client.config_resetstat()
    doing.trim("t", Policy(keep_last=100))
    assert saver.client.info("commandstats")["cmdstat_zrange"]["calls"] <= 6
    assert saver.history("t") == members[-100:]


# --- what is not touched --------------------------------------------------------------------------


@pytest.mark.parametrize("thread", HOSTILE, ids=range(len(HOSTILE)))
def test_any_id_is_taken_byte_for_byte(saver: RedisCheckpointer, doing: Doing, thread: str) -> None:
    for name in HOSTILE:
        save(saver, name, 4)
    before = snapshot(saver.client)
    doing.trim(thread, KEEP_2)
    found = changes(before, snapshot(saver.client))
    assert found == Changes(changed=frozenset({f"checkpoint:{thread}".encode()}))


def test_keys_of_other_types_under_the_prefix_are_left_alone(
    bare: redis.Redis, doing: Doing
) -> None:
    bare.set("checkpoint:a", "text")
    bare.rpush("checkpoint:b", *range(9))
    bare.hset("checkpoint:c:__empty__", "field", "value")
    bare.sadd("checkpoint:d", *range(9))
    before = snapshot(bare)
    for thread in ("a", "b", "c:__empty__", "d"):
        doing.trim(thread, KEEP_2)
    doing.sweep(KEEP_2)
    assert changes(before, snapshot(bare)) == Changes()


def test_sorted_sets_under_other_prefixes_are_left_alone(bare: redis.Redis, doing: Doing) -> None:
    for prefix in ("checkpoint", "checkpoints:", "write_keys_zset:", "retention:x:"):
        save(RedisCheckpointer(bare, prefix=prefix), "t", 5)
    before = watched = snapshot(bare)
    doing.sweep(KEEP_2)
    assert changes(before, snapshot(bare)) == Changes()
    assert watched[b"retention:x:t"] == snapshot(bare)[b"retention:x:t"]


def test_the_prefix_may_be_any_but_empty(bare: redis.Redis) -> None:
    saver = RedisCheckpointer(bare, prefix="my app/*")
    save(saver, "t", 5)
    Doing(bare, SortedSets("my app/*")).sweep(KEEP_2)
    assert len(saver.history("t")) == 2
    with pytest.raises(ValueError, match="must not be empty"):
        SortedSets("")


# --- policies, pins, plans ------------------------------------------------------------------------


def test_keep_within_goes_by_the_score(saver: RedisCheckpointer, doing: Doing) -> None:
    members = save(saver, "t", 12, apart=DAY)
    doing.trim("t", Policy(keep_last=2, keep_within=timedelta(days=4.5)))
    assert saver.history("t") == members[-5:]


def test_a_long_time_to_keep_costs_no_look_at_each_checkpoint(
    saver: RedisCheckpointer, doing: Doing
) -> None:
    save(saver, "t", 300)
    saver.client.config_resetstat()
    doing.trim("t", Policy(keep_last=2, keep_within=timedelta(days=1)))
    assert saver.client.info("commandstats")["cmdstat_zrange"]["calls"] < 5
    assert len(saver.history("t")) == 300


def test_where_runs_cannot_be_told_keeping_runs_keeps_all(
    saver: RedisCheckpointer, doing: Doing
) -> None:
    save(saver, "t", 5)
    policy = Policy(keep_last=1, keep_runs=2)
    assert set(doing.reasons("t", policy).values()) == {("unclear",), ("last", "latest")}
    doing.trim("t", policy)
    assert len(saver.history("t")) == 5


def test_an_idle_thread_expires_whole(saver: RedisCheckpointer, doing: Doing) -> None:
    saver.save("old", 1, at=time.time() - 9 * DAY)
    saver.save("new", 1)
    doing.sweep(Policy(keep_last=None, expire_after=timedelta(days=5)))
    assert set(saver.client.scan_iter()) == {b"checkpoint:new"}


def test_a_pinned_checkpoint_is_retained_wherever_it_comes_to_stand(
    saver: RedisCheckpointer, doing: Doing
) -> None:
    members = save(saver, "t", 6)
    name = doing.plan("t", KEEP_2)[2].place.checkpoint_id
    doing.run(doing.pins.pin(b"t", Place(b"", name)))

    doing.trim("t", KEEP_2)
    doing.trim("t", Policy(keep_last=1))

    assert saver.history("t") == [members[2], members[5]]


def test_one_that_shares_its_score_is_pinned_alone(saver: RedisCheckpointer, doing: Doing) -> None:
    for number in range(5):
        saver.save("t", number, at=7.0)
    pinned = saver.history("t")[1]
    name = doing.plan("t", KEEP_2)[1].place.checkpoint_id
    doing.run(doing.pins.pin(b"t", Place(b"", name)))
    saver.save("t", "more", at=7.0)

    doing.trim("t", Policy(keep_last=1))

    assert pinned in saver.history("t")
    assert len(saver.history("t")) == 2


def test_what_does_not_exist_cannot_be_pinned(saver: RedisCheckpointer, doing: Doing) -> None:
    save(saver, "t", 2)
    for name in (b"1.5", b"nothing", b"", b"#"):
        with pytest.raises(RetentionError, match="there is no checkpoint"):
            doing.run(doing.pins.pin(b"t", Place(b"", name)))


def test_a_plan_says_what_the_trim_does_and_changes_nothing(
    saver: RedisCheckpointer, doing: Doing
) -> None:
    members = save(saver, "t", 5)
    before = snapshot(saver.client)

    planned = doing.plan("t", KEEP_2)
    counted = doing.trim("t", KEEP_2, dry_run=True)

    assert changes(before, snapshot(saver.client)) == Changes()
    assert [one.reasons for one in planned] == [(), (), (), ("last",), ("last", "latest")]
    newest = planned[-1]
    assert newest.made_ms is not None
    assert abs(newest.made_ms / 1000 - time.time()) < 60
    assert newest.size == len(members[-1])
    assert counted == dataclasses.replace(doing.trim("t", KEEP_2), dry_run=True)


def test_large_members_are_planned_page_by_page(saver: RedisCheckpointer, doing: Doing) -> None:
    save(saver, "t", 12, size=1_000_000)
    doing.calls = 0
    planned = doing.plan("t", KEEP_2)
    assert [bool(one.reasons) for one in planned] == [False] * 10 + [True] * 2
    assert doing.calls >= 3


# --- sweeps, figures, events ----------------------------------------------------------------------


def test_a_sweep_trims_all_threads(saver: RedisCheckpointer, doing: Doing) -> None:
    for thread in HOSTILE:
        save(saver, thread, 4)
    result = doing.sweep(KEEP_2)
    assert (result.threads, result.threads_trimmed) == (len(HOSTILE), len(HOSTILE))
    assert result.checkpoints_deleted == result.checkpoints_kept == 2 * len(HOSTILE)
    assert doing.sweep(KEEP_2).keys_deleted == 0


def test_a_sweep_with_a_trigger_leaves_small_threads_alone(
    saver: RedisCheckpointer, doing: Doing
) -> None:
    save(saver, "small", 4)
    save(saver, "large", 6)
    doing.sweep(KEEP_2, trigger=5)
    assert [len(saver.history(name)) for name in ("small", "large")] == [4, 2]


def test_figures_are_of_the_sorted_sets(saver: RedisCheckpointer, doing: Doing) -> None:
    save(saver, "a", 6, size=1_000)
    save(saver, "b", 3, size=1_000)
    found = doing.stats()
    assert (found.threads, found.checkpoints) == (2, 9)
    assert found.bytes is not None
    assert abs(found.bytes - 9 * 1_080) < 9 * 100


async def test_the_listener_trims_what_crosses_its_trigger(
    bare_server: Server, bare: redis.Redis
) -> None:
    bare.config_set("notify-keyspace-events", "")
    saver, doing = RedisCheckpointer(bare), Doing(bare, SortedSets())
    listening = redis.asyncio.Redis(port=bare_server.port)
    listener = Listener(listening, doing.engine, [Rule(b"*", KEEP_2, trigger=4)])
    running = asyncio.create_task(listener.run())
    try:
        await listener.settled()
        members = await asyncio.to_thread(save, saver, "t", 5)
        deadline = time.monotonic() + 30
        while not listener.activity.trims and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert listener.activity.checkpoints_deleted == 3
        assert saver.history("t") == members[-2:]
    finally:
        listener.stop()
        await running
        await listening.aclose()
