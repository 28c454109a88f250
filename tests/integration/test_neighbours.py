"""Nothing else is touched: what else is in the database stays as it is (rule 8)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver
from langgraph.checkpoint.redis.shallow import ShallowRedisSaver
from langgraph.store.redis import RedisStore

from redis_retention import Policy, Retention
from tests.integration.looking import WAYS, Looks
from tests.integration.threads import DEFAULT, fill, ids, keys_of, place, put_writes
from tests.integration.watching import NONE, Changes, Snapshot, changes, snapshot
from tests.model.snapshot import Prefixes
from tests.model.threads import uuid6_at

KEEP_2 = Policy(keep_last=2)
THREAD = "a"


@pytest.fixture(params=WAYS)
def retention(client: redis.Redis, request: pytest.FixtureRequest) -> Retention:
    return Looks(client, request.param)


@pytest.fixture
def saver(client: redis.Redis) -> RedisSaver:
    """The saver as it is."""
    return with_prefixes(client)


def with_prefixes(client: redis.Redis, prefixes: Prefixes = DEFAULT) -> RedisSaver:
    saver = RedisSaver(
        redis_client=client,
        checkpoint_prefix=prefixes.checkpoint,
        checkpoint_write_prefix=prefixes.write,
    )
    saver.setup()
    return saver


# --- other programs' data, under the same thread id ---------------------------------------------


def store(client: redis.Redis) -> None:
    store = RedisStore(client)
    store.setup()
    store.put((THREAD,), "memory", {"likes": "tea"})
    store.put(("checkpoint", THREAD), "x", {"n": 1})


def shallow(client: redis.Redis) -> None:
    saver = ShallowRedisSaver(redis_client=client)
    saver.setup()
    for ns in ("", "sub"):
        fill(saver, THREAD, 3, ns=ns)


def another_prefix(client: redis.Redis) -> None:
    fill(with_prefixes(client, Prefixes("app", "app_write")), THREAD, 5)


def a_prefix_within_ours(client: redis.Redis) -> None:
    saver = with_prefixes(client, Prefixes("checkpoint:app", "checkpoint_write:app"))
    for thread in (THREAD, "app", f"app:{THREAD}"):
        fill(saver, thread, 5)


def a_prefix_that_ends_in_our_thread(client: redis.Redis) -> None:
    prefixes = Prefixes(f"checkpoint:{THREAD}", f"checkpoint_write:{THREAD}")
    fill(with_prefixes(client, prefixes), "b", 5, ns="x")


def other_threads(client: redis.Redis) -> None:
    saver = with_prefixes(client)
    for thread in ("A", "a,b", "a:b", "a*", "aa", "ab", "b"):
        fill(saver, thread, 4)


def keys_that_look_like_ours(client: redis.Redis) -> None:
    """Not even a saver's, and of all types."""
    old, young = uuid6_at(time.time() - 9_999), uuid6_at(time.time())
    client.set(DEFAULT.document(THREAD, "", old), "text")
    client.hset(DEFAULT.document(THREAD, "", young), "checkpoint_id", young)
    client.json().set(f"checkpoint:{THREAD}:notes", "$", {"thread_id": THREAD})
    client.json().set(f"checkpoint:{THREAD}:list", "$", [1, 2])
    client.set(f"checkpoint:{THREAD}", "text")
    client.set(f"checkpointer:{THREAD}:__empty__:{old}", "text")
    client.set(f"user:{THREAD}", "Ann")


NEIGHBOURS: list[Callable[[redis.Redis], None]] = [
    store,
    shallow,
    another_prefix,
    a_prefix_within_ours,
    a_prefix_that_ends_in_our_thread,
    other_threads,
    keys_that_look_like_ours,
]


def assert_only_our_oldest_are_deleted(
    saver: RedisSaver, client: redis.Redis, act: Callable[[], None]
) -> None:
    """Of all keys, those of our thread's checkpoints beyond the newest two."""
    theirs = snapshot(client)
    own = fill(saver, THREAD, 5)
    before = snapshot(client)

    act()

    doomed = keys_of(before.keys() - theirs.keys(), THREAD, own[:-2])
    assert changes(before, snapshot(client)) == Changes(gone=doomed)
    assert len(doomed) == 12


@pytest.mark.parametrize("arrange", NEIGHBOURS, ids=lambda arrange: arrange.__name__)
def test_others_data_stays_as_it_is(
    saver: RedisSaver,
    client: redis.Redis,
    retention: Retention,
    arrange: Callable[[redis.Redis], None],
) -> None:
    arrange(client)
    theirs = snapshot(client)
    assert theirs
    for name in list(theirs)[::2]:
        client.pexpire(name, 99_999_999)

    def trim() -> None:
        retention.trim(THREAD, KEEP_2)
        retention.trim(THREAD, KEEP_2, indexed_only=True)

    assert_only_our_oldest_are_deleted(saver, client, trim)


@pytest.mark.parametrize(
    "arrange",
    [arrange for arrange in NEIGHBOURS if arrange is not other_threads],
    ids=lambda arrange: arrange.__name__,
)
def test_a_sweep_leaves_others_data_as_it_is(
    saver: RedisSaver,
    client: redis.Redis,
    retention: Retention,
    arrange: Callable[[redis.Redis], None],
) -> None:
    arrange(client)

    def sweep() -> None:
        for _ in range(2):
            retention.sweep(KEEP_2)

    assert_only_our_oldest_are_deleted(saver, client, sweep)


def test_names_that_are_mixed_with_another_savers_are_told_apart(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    """Our thread `app:a` and another saver's thread `a` have names that begin alike."""
    names = ids(8)
    fill(with_prefixes(client, Prefixes("checkpoint:app", "checkpoint_write:app")), "a", names[::2])
    theirs = snapshot(client)
    fill(saver, "app:a", names[1::2])

    retention.sweep(KEEP_2)

    after = snapshot(client)
    assert theirs.items() <= after.items()
    left = {name for name in names if DEFAULT.document("app:a", "", name) in after}
    assert left == {*names[::2], *names[1::2][-2:]}


@pytest.mark.parametrize(
    "app", [Prefixes("app", "app_write"), Prefixes("checkpoint:app", "checkpoint_write:app")]
)
def test_two_savers_that_share_a_registry_keep_their_own_writes(
    saver: RedisSaver, client: redis.Redis, retention: Retention, app: Prefixes
) -> None:
    """Its prefix is a constant, so savers of other prefixes write to the very same key."""
    names = ids(5)
    theirs = with_prefixes(client, app)
    fill(theirs, THREAD, names)
    before = snapshot(client)
    read_before = {name: pending(theirs, name) for name in names}
    fill(saver, THREAD, names)

    retention.trim(THREAD, KEEP_2)

    after = snapshot(client)
    assert before.keys() <= after.keys()
    assert not keys_of(after, THREAD, names[:-2]) - before.keys()
    # They see ours among theirs, trimmed or not.
    assert all(pending(theirs, name) >= read_before[name] for name in names)


def pending(saver: RedisSaver, name: str) -> set[tuple[str, str, str]]:
    found = saver.get_tuple(place(THREAD, checkpoint_id=name))
    assert found is not None
    return set(found.pending_writes or ())


# --- custom prefixes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "app",
    [
        Prefixes("app", "app_write"),
        Prefixes("checkpoint:app", "checkpoint_write:app"),
        Prefixes("cp", "cp:writes"),
        Prefixes("a*b", "a?b"),
    ],
)
def test_with_its_prefixes_another_savers_thread_is_trimmed(
    saver: RedisSaver, client: redis.Redis, app: Prefixes
) -> None:
    fill(saver, THREAD, 5)
    names = fill(with_prefixes(client, app), THREAD, 5)
    before = snapshot(client)
    retention = Retention(client, checkpoint_prefix=app.checkpoint, write_prefix=app.write)

    retention.trim(THREAD, KEEP_2)

    doomed = keys_of(before, THREAD, names[:-2], prefixes=app)
    assert changes(before, snapshot(client)) == Changes(gone=doomed)
    assert len(doomed) == 12


def test_our_own_keys_go_where_the_prefix_says(saver: RedisSaver, client: redis.Redis) -> None:
    fill(saver, THREAD, 5)
    before = snapshot(client).keys()

    Retention(client, prefix="ours/").trim(THREAD, KEEP_2)

    new = snapshot(client).keys() - before
    assert new
    assert all(name.startswith(b"ours/") for name in new)


# --- and of our own thread ----------------------------------------------------------------------


def test_an_untouched_thread_stays_untouched(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    fill(saver, THREAD, 5)
    before = snapshot(client)

    result = retention.trim(THREAD, Policy(keep_last=5))

    assert changes(before, snapshot(client)) == NONE
    assert (result.threads, result.threads_trimmed, result.keys_deleted) == (1, 0, 0)


@pytest.mark.parametrize("indexed_only", [False, True])
def test_trimming_twice_changes_nothing_the_second_time(
    saver: RedisSaver, client: redis.Redis, retention: Retention, indexed_only: bool
) -> None:
    names = fill(saver, THREAD, 5)
    put_writes(saver, THREAD, uuid6_at(time.time()))
    retention.trim(THREAD, KEEP_2)
    put_writes(saver, THREAD, names[0])  # an orphan, too
    retention.trim(THREAD, KEEP_2)
    before = everything(client)

    result = retention.trim(THREAD, KEEP_2, indexed_only=indexed_only)

    assert everything(client) == before
    assert result.keys_deleted == 0


def everything(client: redis.Redis) -> Mapping[bytes, Any]:
    """The database, and the members of our own keys, which a trim may write anew."""
    theirs: Snapshot = snapshot(client)
    ours = {name: theirs.pop(name) for name in list(theirs) if name.startswith(b"retention:")}
    return {**theirs, **{name: client.zrange(name, 0, -1, withscores=True) for name in ours}}


def test_no_new_key_but_our_own_is_left(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    fill(saver, THREAD, 5)
    before = snapshot(client).keys()

    retention.trim([THREAD, "nobody"], KEEP_2)

    new = snapshot(client).keys() - before
    assert new == {b"retention:index:checkpoint:a"}


def test_no_ttl_changes(client: redis.Redis, retention: Retention) -> None:
    saver = RedisSaver(redis_client=client, ttl={"default_ttl": 60})
    saver.setup()
    names = fill(saver, THREAD, 5)
    before = snapshot(client)
    assert all(expires > 0 for name, (_, expires) in before.items())

    retention.trim(THREAD, KEEP_2)
    retention.trim(THREAD, Policy(keep_last=1), indexed_only=True)

    doomed = keys_of(before, THREAD, names[:-1])
    assert changes(before, snapshot(client)) == Changes(gone=doomed)


def test_a_dry_run_and_a_plan_write_nothing_at_all(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    fill(saver, THREAD, 5)
    before = snapshot(client)

    retention.trim(THREAD, KEEP_2, dry_run=True)
    retention.plan(THREAD, KEEP_2)

    assert snapshot(client) == before
