"""The sweeper: one pass over a database with backlogs, orphans, and writers at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_retention import AsyncRetention, Policy, Retention, RetentionError
from redis_retention.operations.choice import NoPolicy
from redis_retention.sources import scan
from redis_retention.sources.sweep import Progress, Stage, new
from redis_retention.sources.sweep.known import Known
from tests.daemon.proxy import Proxy
from tests.model.snapshot import difference, read_database
from tests.model.threads import (
    MovePointer,
    Operation,
    PutCheckpoint,
    PutRegistry,
    PutWrites,
    Vanish,
    task_id,
    uuid6_at,
    write_to,
)
from tests.servers.start import Server

KEEP = Policy(keep_last=3)
NOW = time.time()
HOUR = 3600.0


def thread(
    count: int, begun: float = NOW - 7 * HOUR, writes: int = 2, parent: str = ""
) -> list[Operation]:
    """A plain conversation: each checkpoint with one task's writes."""
    done: list[Operation] = []
    for n in range(count):
        checkpoint_id = uuid6_at(begun + n)
        done.append(PutCheckpoint("", checkpoint_id, parent, step=n - 1))
        done.append(
            PutWrites("", checkpoint_id, task_id(n), tuple("messages" for _ in range(writes)))
        )
        parent = checkpoint_id
    return done


def checkpoint_ids(count: int) -> list[str]:
    """The ids of `thread`, oldest first."""
    return [put.id for put in thread(count) if isinstance(put, PutCheckpoint)]


def fill(client: redis.Redis, names: Iterable[str], count: int) -> None:
    for name in names:
        write_to(client, name, thread(count))


def documents(client: redis.Redis, name: str) -> list[str]:
    start = f"checkpoint:{name}:__empty__:"
    return sorted(key.decode()[len(start) :] for key in client.scan_iter(f"{start}*"))


def test_a_backlog_is_worked_off_whoever_wrote_it(client: redis.Redis) -> None:
    names = [f"user:{n}" for n in range(40)]
    fill(client, names, 12)
    before = read_database(client)

    result = Retention(client).sweep(KEEP)

    assert (result.threads, result.threads_trimmed) == (40, 40)
    assert (result.checkpoints_deleted, result.checkpoints_kept) == (40 * 9, 40 * 3)
    gone = difference(before, read_database(client)).gone
    assert result.keys_deleted == len(gone) == 40 * 9 * 4
    newest = [uuid6_at(NOW - 7 * HOUR + n) for n in (9, 10, 11)]
    assert {name: documents(client, name) for name in names} == dict.fromkeys(names, newest)


def test_a_second_sweep_finds_nothing(stack: redis.Redis) -> None:
    fill(stack, ["a", "b"], 8)
    retention = Retention(stack)
    retention.sweep(KEEP)
    before = read_database(stack)

    result = retention.sweep(KEEP)

    assert (result.threads, result.threads_trimmed, result.keys_deleted) == (2, 0, 0)
    assert result.checkpoints_kept == 6
    assert read_database(stack) == before


async def test_a_backlog_is_worked_off_without_blocking(
    redis_stack: Server, stack: redis.Redis
) -> None:
    fill(stack, ["a", "b"], 8)
    async with redis.asyncio.Redis.from_url(redis_stack.url) as client:
        result = await AsyncRetention(client).sweep(KEEP)
    assert (result.threads, result.checkpoints_deleted) == (2, 10)


def test_a_dry_run_says_what_a_sweep_then_does(stack: redis.Redis) -> None:
    fill(stack, ["a", "b:c", "d"], 8)
    before = read_database(stack)
    retention = Retention(stack)

    dry = retention.sweep(KEEP, dry_run=True)
    assert read_database(stack) == before

    real = retention.sweep(KEEP)
    assert (dry.threads, dry.threads_trimmed) == (real.threads, real.threads_trimmed)
    assert (dry.checkpoints_deleted, dry.checkpoints_kept, dry.keys_deleted) == (
        real.checkpoints_deleted,
        real.checkpoints_kept,
        real.keys_deleted,
    )


def test_a_dry_run_goes_by_the_trigger_too(stack: redis.Redis) -> None:
    fill(stack, ["short"], 6)
    fill(stack, ["long"], 9)
    dry = Retention(stack).sweep(KEEP, trigger=8, dry_run=True)
    assert (dry.threads, dry.threads_trimmed, dry.checkpoints_deleted) == (2, 1, 6)
    assert dry.checkpoints_kept == 6 + 3


def test_only_matching_threads_are_trimmed(stack: redis.Redis) -> None:
    fill(stack, ["chat:1", "chat:2", "job:1"], 8)

    result = Retention(stack).sweep(KEEP, match="chat:*")

    assert (result.threads, result.threads_trimmed) == (2, 2)
    assert len(documents(stack, "job:1")) == 8


def test_only_threads_above_the_trigger_are_trimmed(stack: redis.Redis) -> None:
    fill(stack, ["short"], 6)
    fill(stack, ["long"], 7)

    result = Retention(stack).sweep(KEEP, trigger=6)

    assert result.threads_trimmed == 1
    assert (len(documents(stack, "short")), len(documents(stack, "long"))) == (6, 3)


def test_the_stored_policies_decide_when_none_is_given(stack: redis.Redis) -> None:
    fill(stack, ["chat:1", "job:1"], 8)
    retention = Retention(stack)
    retention.set_policy(Policy(keep_last=2))
    retention.set_policy(Policy(keep_last=5), "job:*")

    retention.sweep()

    assert (len(documents(stack, "chat:1")), len(documents(stack, "job:1"))) == (2, 5)


def test_without_any_policy_nothing_is_swept(stack: redis.Redis) -> None:
    fill(stack, ["a"], 8)
    with pytest.raises(NoPolicy):
        Retention(stack).sweep()
    assert len(documents(stack, "a")) == 8


def orphans(age: float) -> list[Operation]:
    """What three late writers leave in a thread, each in its own way."""
    late = NOW - age
    return [
        PutWrites("", uuid6_at(late, 1), task_id(1)),
        PutWrites("", uuid6_at(late, 2), task_id(2), registered=False, merged=False),
        PutRegistry("", uuid6_at(late, 3), task_id(3)),
    ]


def test_orphans_are_deleted_when_they_are_two_hours_old(client: redis.Redis) -> None:
    checkpoints = [PutCheckpoint("", uuid6_at(NOW - 9 * HOUR)), PutCheckpoint("", uuid6_at(NOW))]
    write_to(client, "a", checkpoints)
    only_checkpoints = read_database(client)
    write_to(client, "a", orphans(2 * HOUR))

    result = Retention(client).sweep(KEEP)

    change = difference(only_checkpoints, read_database(client))
    assert not change.gone
    assert not change.changed
    assert all(key.startswith(b"retention:") for key in change.new)
    assert result.keys_deleted == 5


def test_younger_ones_may_belong_to_a_checkpoint_still_to_come(stack: redis.Redis) -> None:
    write_to(stack, "a", [PutCheckpoint("", uuid6_at(NOW - 9 * HOUR)), *orphans(HOUR / 2)])
    before = read_database(stack)

    Retention(stack).sweep(KEEP)

    assert not difference(before, read_database(stack)).gone


def test_what_is_newer_than_the_newest_checkpoint_is_retained_however_old(
    stack: redis.Redis,
) -> None:
    write_to(stack, "a", [PutCheckpoint("", uuid6_at(NOW - 9 * HOUR)), *orphans(2 * HOUR)])
    before = read_database(stack)

    Retention(stack).sweep(KEEP)

    assert not difference(before, read_database(stack)).gone


def test_a_pointer_to_nothing_is_deleted(stack: redis.Redis) -> None:
    gone = uuid6_at(NOW - 9 * HOUR)
    write_to(stack, "a", [MovePointer("", gone)])

    result = Retention(stack).sweep(KEEP)

    assert result.keys_deleted == 1
    assert stack.dbsize() == 0


def test_the_index_forgets_what_others_have_deleted(stack: redis.Redis) -> None:
    fill(stack, ["a", "b"], 3)
    retention = Retention(stack)
    retention.sweep(KEEP)
    write_to(stack, "a", [Vanish("", uuid6_at(NOW - 7 * HOUR + n)) for n in range(3)])
    for key in stack.scan_iter("*:a:__empty__*"):
        stack.unlink(key)

    assert retention.sweep(KEEP).threads == 2
    assert retention.sweep(KEEP).threads == 1
    assert stack.exists("retention:index:checkpoint:a") == 0


def test_idle_threads_expire(stack: redis.Redis) -> None:
    write_to(stack, "old", thread(4, begun=NOW - 50 * HOUR))
    write_to(stack, "young", thread(4, begun=NOW - HOUR))
    policy = Policy(keep_last=10, expire_after=timedelta(hours=24))

    result = Retention(stack, grace=timedelta(0)).sweep(policy)

    assert result.threads_trimmed == 1
    assert documents(stack, "old") == []
    assert len(documents(stack, "young")) == 4
    assert list(stack.scan_iter("*old*")) == []


def test_progress_is_told_to_the_end(stack: redis.Redis) -> None:
    fill(stack, ["a", "b", "c"], 8)
    keys = stack.dbsize()
    told: list[Progress] = []

    Retention(stack).sweep(KEEP, progress=told.append)

    ends = {now.stage: now for now in told}
    assert list(ends) == [Stage.LOOKING, Stage.TRIMMING]
    assert [end.keys for end in ends.values()] == [keys, keys - 3]  # The pointers are the rest.
    assert all(now.keys <= now.total for now in told)


def test_a_second_look_is_a_stage_of_its_own(stack: redis.Redis) -> None:
    write_to(stack, "a", [*thread(8), *orphans(8 * HOUR)])
    stages: dict[Stage, None] = {}

    Retention(stack).sweep(KEEP, progress=lambda now: stages.update({now.stage: None}))

    assert list(stages) == [Stage.LOOKING, Stage.TRIMMING, Stage.LOOKING_AGAIN]


def test_it_rests_when_it_may_look_at_so_many_keys_a_second(
    stack: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stack, ["a"], 3)
    retention = Retention(stack)
    retention.sweep(KEEP)
    rests: list[float] = []
    monkeypatch.setattr("redis_retention.transport.time.sleep", rests.append)

    retention.sweep(KEEP, max_keys_per_second=1)

    assert rests[-1] == pytest.approx(stack.dbsize(), rel=0.5)


def test_a_cluster_is_refused_with_a_reason(started: Callable[..., Server]) -> None:
    server = started(cluster=True)
    with server.cluster_client() as client, pytest.raises(RetentionError, match="cluster"):
        Retention(client).sweep(KEEP)


def test_however_many_threads_are_refused_all_others_are_swept(stack: redis.Redis) -> None:
    bad = [f"bad-{number}" for number in range(30)]
    fill(stack, ["good", *bad], 6)
    for name in bad:
        stack.set(f"retention:index:checkpoint:{name}", "not an index")

    result = Retention(stack).sweep(KEEP)

    assert result.threads_refused == len(bad)
    assert len(documents(stack, "good")) == 3


def test_a_server_that_does_not_reply_any_more_ends_a_sweep(
    redis_stack: Server, stack: redis.Redis
) -> None:
    fill(stack, [f"thread-{number}" for number in range(10)], 6)
    with Proxy(redis_stack.port) as proxy:
        once = Retry(NoBackoff(), 0)
        client = redis.Redis(port=proxy.port, socket_timeout=0.05, retry=once)
        with client, pytest.raises(redis.TimeoutError):
            Retention(client).sweep(KEEP, progress=lambda _: proxy.silence())


def test_every_thread_is_right_after_sweeps_beside_writers(client: redis.Redis) -> None:
    names = [f"busy-{n}" for n in range(8)]
    fill(client, names, 6)
    stop = threading.Event()

    def write() -> None:
        parent = checkpoint_ids(6)[-1]
        while not stop.is_set():
            begun = time.time()
            for name in names:
                write_to(client, name, thread(1, begun=begun, parent=parent))
            parent = uuid6_at(begun)

    writer = threading.Thread(target=write)
    writer.start()
    retention = Retention(client)
    try:
        for _ in range(5):
            retention.sweep(KEEP)
            assert all(len(documents(client, name)) >= 3 for name in names)
    finally:
        stop.set()
        writer.join()

    retention.sweep(KEEP)
    for name in names:
        assert len(documents(client, name)) == 3
        pointer = client.get(f"checkpoint_latest:{name}:__empty__")
        assert isinstance(pointer, bytes)
        assert pointer.decode().endswith(documents(client, name)[-1])


def test_a_thread_with_something_that_is_not_understood_is_left_alone(stack: redis.Redis) -> None:
    fill(stack, ["a", "b"], 6)
    oldest = documents(stack, "a")[0]
    stack.json().set(f"checkpoint:a:__empty__:{oldest}", "$.metadata", 7)

    result = Retention(stack).sweep(KEEP)

    assert len(stack.keys("checkpoint:a:*")) == 6
    assert (result.threads_trimmed, result.checkpoints_deleted) == (1, 3)
    assert Retention(stack).plan("a", KEEP).left_alone


def test_what_is_about_to_be_deleted_is_not_read(stack: redis.Redis) -> None:
    fill(stack, ["a", "b"], 40)
    stack.config_resetstat()

    Retention(stack).sweep(KEEP)

    # What is retained, and the one before it, which says whether a run begins.
    read = stack.info("commandstats")["cmdstat_json.get"]["calls"]
    assert read <= 2 * (3 + 1) + 1


def test_a_sweep_with_nothing_to_do_only_reads_the_indexes(stack: redis.Redis) -> None:
    fill(stack, ["a", "b", "c"], 5)
    retention = Retention(stack)
    retention.sweep(KEEP)
    stack.config_resetstat()

    assert retention.sweep(KEEP).threads == 3

    called = commands(stack)
    assert called["evalsha"] == 1
    assert not {"json.mget", "zadd", "zrem", "unlink"} & called.keys()


def test_a_backlog_takes_one_pass_and_one_call_for_each_thread(stack: redis.Redis) -> None:
    fill(stack, [f"thread-{number}" for number in range(20)], 12)
    retention = Retention(stack)
    stack.config_resetstat()
    retention.sweep(KEEP, match="nobody")
    scans = commands(stack)["scan"]
    stack.config_resetstat()

    result = retention.sweep(KEEP)

    assert result.checkpoints_deleted == 20 * 9
    # Another says that none of them is known.
    assert commands(stack)["evalsha"] == 20 + 1
    assert commands(stack)["scan"] == scans


def commands(client: redis.Redis) -> dict[str, int]:
    """How often each command has succeeded since the counters were set back."""
    return {
        name.removeprefix("cmdstat_"): told["calls"] - told["failed_calls"]
        for name, told in client.info("commandstats").items()
    }


def test_what_no_registry_names_is_deleted_with_a_new_thread_too(client: redis.Redis) -> None:
    """Of a deleted checkpoint, of a retained one, and without any."""
    first, *_, last = checkpoint_ids(6)
    write_to(client, "plain", thread(6))
    for name, checkpoint_id in (("a", first), ("b", last), ("c", uuid6_at(NOW - 9 * HOUR))):
        write_to(client, name, thread(6))
        lost = PutWrites("", checkpoint_id, task_id(9), registered=False, merged=False)
        write_to(client, name, [lost])

    Retention(client).sweep(KEEP)

    assert not client.keys(f"checkpoint_write:[ac]:*:{task_id(9)}:*")
    assert client.keys(f"checkpoint_write:b:*:{task_id(9)}:*")
    assert all(len(documents(client, name)) == 3 for name in ("plain", "a", "b", "c"))


@pytest.mark.parametrize("most", [1, 1000, 6000])
def test_names_that_are_too_many_to_wait_go_into_the_indexes(
    stack: redis.Redis, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(new, "_MOST_BYTES", most)
    monkeypatch.setattr(scan, "_KEYS_PER_PAGE", 10)
    names = [f"thread-{number}" for number in range(12)]
    fill(stack, names, 6)

    result = Retention(stack).sweep(KEEP)

    assert (result.threads, result.threads_trimmed, result.checkpoints_kept) == (12, 12, 36)
    assert all(documents(stack, name) == checkpoint_ids(6)[-3:] for name in names)


async def test_one_connection_is_enough(redis_stack: Server, stack: redis.Redis) -> None:
    fill(stack, ["a", "b"], 6)
    with redis_stack.client(max_connections=1) as one:
        assert Retention(one).sweep(KEEP).checkpoints_deleted == 6
    with redis_stack.client(single_connection_client=True) as one:
        assert Retention(one).sweep(KEEP).threads == 2
    async with redis.asyncio.Redis.from_url(redis_stack.url, max_connections=1) as alone:
        assert (await AsyncRetention(alone).sweep(KEEP)).threads == 2


@pytest.mark.parametrize(("most", "large"), [(3, 1000), (0, 1000), (500_000, 4)])
def test_what_is_not_remembered_is_asked_of_the_server(
    stack: redis.Redis, monkeypatch: pytest.MonkeyPatch, most: int, large: int
) -> None:
    monkeypatch.setattr(Known, "MOST_CHECKPOINTS", most)
    monkeypatch.setattr(Known, "MOST_ENTRIES", large)
    names = [f"thread-{number}" for number in range(12)]
    fill(stack, names, 6)

    first = Retention(stack).sweep(KEEP)
    again = Retention(stack).sweep(KEEP)

    assert (first.threads, first.threads_trimmed, first.checkpoints_deleted) == (12, 12, 36)
    assert (again.threads, again.checkpoints_kept, again.keys_deleted) == (12, 36, 0)
    assert len(stack.keys("checkpoint:*")) == 36


def test_a_stub_does_not_pass_for_the_oldest_root(stack: redis.Redis) -> None:
    """The root that a subgraph names is older than all others: it is not still to come."""
    stubs = [uuid6_at(NOW - 9 * HOUR), uuid6_at(NOW - 9 * HOUR + 1)]
    unknown, node = uuid6_at(NOW - 8 * HOUR), f"node:{task_id(1)}"
    for stub in stubs:
        write_to(stack, "a", [PutWrites("", stub, task_id(2), ("messages",))])
    write_to(stack, "a", thread(2))
    within = uuid6_at(NOW - 6 * HOUR)
    write_to(stack, "a", [PutCheckpoint(node, within, "", parents=(("", unknown),))])
    assert len(documents(stack, "a")) == 4

    Retention(stack).sweep(KEEP)

    assert not stack.keys(f"*:a:{node}*")
    assert not any(stack.keys(f"*:a:__empty__:{stub}*") for stub in stubs)
    assert len(documents(stack, "a")) == 2


def test_what_an_unknown_root_has_started_is_not_forgotten_by_the_index_alone(
    stack: redis.Redis,
) -> None:
    """A trim by the index cannot tell whether that root is still to come; the next sweep can."""
    retention, node = Retention(stack), f"node:{task_id(1)}"
    unknown, within = uuid6_at(NOW - 9 * HOUR), uuid6_at(NOW - 6 * HOUR)
    write_to(stack, "a", thread(4))
    write_to(stack, "a", [PutCheckpoint(node, within, "", parents=(("", unknown),))])
    retention.sweep(Policy(keep_last=100))

    retention.trim("a", KEEP, indexed_only=True)
    left_by_the_index = stack.keys(f"checkpoint:a:{node}:*")
    write_to(stack, "a", thread(1, NOW - HOUR))
    retention.sweep(KEEP)

    assert left_by_the_index
    assert not stack.keys(f"*:a:{node}*")


def test_pins_are_deleted_with_the_last_key_of_their_thread(stack: redis.Redis) -> None:
    saver = RedisSaver(redis_client=stack)
    saver.setup()
    retention = Retention(stack)
    write_to(stack, "a", thread(5))
    retention.pin("a", checkpoint_ids(5)[0])
    retention.pin("a")

    saver.delete_thread("a")
    retention.sweep(KEEP)
    write_to(stack, "a", thread(5))
    retention.sweep(KEEP)

    assert retention.all_pins() == {}
    assert len(documents(stack, "a")) == 3


def test_pins_of_a_thread_are_retained_while_it_is_there(stack: redis.Redis) -> None:
    fill(stack, ["a"], 5)
    retention = Retention(stack)
    retention.pin("a")
    retention.trim("a", KEEP)
    stack.delete("retention:index:checkpoint:a")

    retention.sweep(KEEP)
    retention.sweep(KEEP, match="b*")

    assert list(retention.all_pins()) == [b"a"]
    assert len(documents(stack, "a")) == 5


def test_an_index_of_subgraphs_alone_is_deleted_with_them(stack: redis.Redis) -> None:
    node = f"node:{task_id(1)}"
    root = uuid6_at(NOW - 3 * HOUR)
    write_to(stack, "a", [PutCheckpoint(node, uuid6_at(NOW - 2 * HOUR), parents=(("", root),))])
    retention = Retention(stack)
    retention.sweep(KEEP)
    assert stack.exists("retention:index:checkpoint:a")

    stack.delete(*stack.scan_iter("checkpoint*"))
    retention.sweep(KEEP)

    assert not stack.exists("retention:index:checkpoint:a")


@pytest.mark.parametrize("kind", ["string", "poison"])
def test_a_bad_index_stops_no_other_thread(stack: redis.Redis, kind: str) -> None:
    fill(stack, ["a", "bad", "c"], 6)
    index = "retention:index:checkpoint:bad"
    if kind == "string":
        stack.set(index, "not ours")
    else:
        stack.zadd(index, {"n": 0, "p": 0, "p\0": 0, "sbad": 0, "s\0bad": 0, "t": 0})

    result = Retention(stack).sweep(KEEP)

    assert [len(documents(stack, name)) for name in ("a", "c")] == [3, 3]
    if kind == "string":
        assert [(one.thread, "zset" in one.reason) for one in result.left_alone] == [("bad", True)]
    else:
        Retention(stack).sweep(KEEP)
        assert len(documents(stack, "bad")) == 3
