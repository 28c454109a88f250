"""Writers do not wait for a trim: what they leave behind without a checkpoint (rule 7)."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver

from redis_retention import Policy, Retention
from redis_retention.engine import LARGEST_KEYS_PER_CALL, Engine, OrphanGroup
from redis_retention.sans_io import Request
from redis_retention.sources import one_thread, scan
from redis_retention.transport import ClientCalls, Transport
from tests.integration.looking import WAYS, Looks
from tests.integration.threads import (
    DEFAULT,
    fill,
    fill_fast,
    ids,
    keys_of,
    place,
    put,
    put_writes,
    queue_writes,
)
from tests.integration.watching import NONE, Changes, changes, snapshot
from tests.model.threads import uuid6_at

KEEP_2 = Policy(keep_last=2)
HOUR = 3600.0

A_MINUTE = 60.0


@pytest.fixture(params=WAYS)
def retention(client: redis.Redis, request: pytest.FixtureRequest) -> Retention:
    return Looks(client, request.param)


@pytest.fixture
def saver(client: redis.Redis) -> RedisSaver:
    """The saver as it is, which lets writes overtake their checkpoint."""
    saver = RedisSaver(redis_client=client)
    saver.setup()
    return saver


def names(client: redis.Redis) -> list[bytes]:
    return list(client.scan_iter(count=1000))


def written(saver: RedisSaver, thread: str, checkpoint_id: str) -> int:
    """How many pending writes read back."""
    found = saver.get_tuple(place(thread, checkpoint_id=checkpoint_id))
    return len(found.pending_writes or ()) if found else -1


# --- before their checkpoint --------------------------------------------------------------------


def test_writes_ahead_of_their_checkpoint_are_not_touched(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    old = fill(saver, "a", 5)
    on_its_way = uuid6_at(time.time())
    put_writes(saver, "a", on_its_way)
    before = snapshot(client)

    retention.trim("a", KEEP_2)

    doomed = keys_of(before, "a", old[:-2])
    assert changes(before, snapshot(client)) == Changes(gone=doomed)


def test_a_stub_ahead_of_its_checkpoint_does_not_count_as_one_of_the_newest(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    newest = fill(saver, "a", 5)[-2:]
    put_writes(saver, "a", uuid6_at(time.time()))

    retention.trim("a", KEEP_2)

    assert all(written(saver, "a", name) == 2 for name in newest)


def test_a_trim_between_the_writes_and_their_checkpoint_loses_none(
    saver: RedisSaver, retention: Retention
) -> None:
    fill(saver, "a", 5)
    on_its_way = uuid6_at(time.time())
    put_writes(saver, "a", on_its_way)

    retention.trim("a", Policy(keep_last=1))
    put(saver, "a", on_its_way)
    put_writes(saver, "a", on_its_way, 1)  # `put` has hidden those before

    assert written(saver, "a", on_its_way) == 3


def test_a_thread_that_is_nothing_but_a_stub_is_left_alone(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    put_writes(saver, "a", uuid6_at(time.time()))
    before = snapshot(client)

    result = retention.trim("a", KEEP_2)

    assert changes(before, snapshot(client)) == NONE
    assert result.keys_deleted == 0


# --- after its trim -----------------------------------------------------------------------------


def test_what_is_written_after_the_trim_of_its_checkpoint_is_deleted_once_it_is_old(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    old = fill(saver, "a", ids(5, newest_age=3 * HOUR))
    retention.trim("a", KEEP_2)
    clean = snapshot(client)

    put_writes(saver, "a", old[0], 3)
    late = changes(clean, snapshot(client)).new
    assert len(late) == 5  # a stub, three writes, a registry

    result = retention.trim("a", KEEP_2)

    assert changes(clean, snapshot(client)) == NONE
    assert (result.checkpoints_deleted, result.keys_deleted) == (1, 5)


def test_an_old_stub_is_never_retained_as_a_checkpoint(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    names_ = fill(saver, "a", ids(5, newest_age=3 * HOUR))
    retention.trim("a", KEEP_2)
    put_writes(saver, "a", names_[0])

    newer = uuid6_at(time.time())
    put(saver, "a", newer, parent=names_[-1])
    retention.trim("a", KEEP_2)

    assert keys_of(names(client), "a", names_[:-1]) == frozenset()
    assert written(saver, "a", names_[-1]) == 2


# --- in between ---------------------------------------------------------------------------------


@pytest.mark.parametrize("oldest_age", [3 * HOUR, 1.0], ids=["in between", "older than all"])
@pytest.mark.parametrize(
    ("age", "goes"), [(2 * HOUR + A_MINUTE, True), (2 * HOUR - A_MINUTE, False)]
)
def test_an_hour_and_the_difference_of_clocks_decide(
    saver: RedisSaver,
    client: redis.Redis,
    retention: Retention,
    oldest_age: float,
    age: float,
    goes: bool,
) -> None:
    """Writes of a host whose clock lags by an hour may be ahead of their checkpoint."""
    fill(saver, "a", [uuid6_at(time.time() - oldest_age), uuid6_at(time.time())])
    between = uuid6_at(time.time() - age)
    put_writes(saver, "a", between)
    before = snapshot(client)

    retention.trim("a", KEEP_2)

    doomed = keys_of(before, "a", [between]) if goes else frozenset()
    assert changes(before, snapshot(client)) == Changes(gone=doomed)


# --- registries that say too little, or too much ------------------------------------------------


def test_writes_that_no_registry_names_are_deleted_with_their_checkpoint(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    """The registry is written last: a writer that dies before leaves these."""
    old = fill(saver, "a", 5)
    with client.pipeline(transaction=False) as pipeline:
        queue_writes(pipeline, "a", old[0], 2)
        pipeline.execute()
    client.zremrangebyrank(DEFAULT.registry("a", "", old[0]), 0, 0)

    retention.trim("a", KEEP_2)

    assert keys_of(names(client), "a", old[:-2]) == frozenset()


def test_unregistered_writes_of_a_retained_checkpoint_are_retained(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    kept = fill(saver, "a", 5)[-1]
    client.delete(DEFAULT.registry("a", "", kept))
    before = keys_of(names(client), "a", [kept])

    retention.trim("a", KEEP_2)

    assert keys_of(names(client), "a", [kept]) == before
    assert len(before) == 3


def test_writes_whose_registry_is_lost_are_deleted_with_their_checkpoint(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    old = fill(saver, "a", 5)[:-2]
    for name in old:
        client.delete(DEFAULT.registry("a", "", name))

    result = retention.trim("a", KEEP_2)

    assert keys_of(names(client), "a", old) == frozenset()
    assert result.keys_deleted == 3 * 3


def test_a_registry_of_nothing_is_deleted(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    """Left when the writes that it names have expired."""
    old = fill(saver, "a", 5)
    forgotten = uuid6_at(time.time() - 3 * HOUR)
    orphan = DEFAULT.registry("a", "", forgotten)
    client.zadd(orphan, {DEFAULT.write_document("a", "", forgotten, "task", 0): 0})

    retention.trim("a", KEEP_2, look_in="scan")

    assert not client.exists(orphan)
    assert len(keys_of(names(client), "a", old[-2:])) == 8


def test_orphans_are_counted_beside_thousands_of_subgraphs(client: redis.Redis) -> None:
    orphan, newest = uuid6_at(time.time() - 3 * HOUR), uuid6_at(time.time())
    write = DEFAULT.write_document("a", "", orphan, "task", 0)
    client.zadd(DEFAULT.registry("a", "", orphan), {write: 0})
    subgraphs = [b"tnode:%d\0%s" % (number, newest.encode()) for number in range(9_000)]
    entries = sorted([b"s\0" + newest.encode(), *subgraphs])

    groups = [OrphanGroup(b":a:__empty__:" + orphan.encode())]
    counted, _ = Transport(client).run(Engine().delete_orphans(b"a", groups, [], entries=entries))

    assert counted.keys == 1


def test_a_registry_that_names_another_threads_writes_deletes_none_of_them(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    old = fill(saver, "a", 5)
    other = fill(saver, "b", 2)
    theirs = keys_of(names(client), "b", other)
    client.zadd(
        DEFAULT.registry("a", "", old[0]), {name: 9 for name in theirs if b"_write:" in name}
    )

    retention.trim("a", KEEP_2)

    assert keys_of(names(client), "b", other) == theirs


def test_a_pointer_to_nothing_is_deleted(
    saver: RedisSaver, client: redis.Redis, retention: Retention
) -> None:
    fill(saver, "a", 3)
    gone = fill(saver, "a", [uuid6_at(time.time() - 3 * HOUR)], ns="sub")
    client.delete(*keys_of(names(client), "a", gone, "sub"))

    result = retention.trim("a", KEEP_2, look_in="scan")

    assert not client.exists(DEFAULT.pointer("a", "sub"))
    assert client.exists(DEFAULT.pointer("a", ""))
    # One checkpoint with its two writes and its registry, and the pointer.
    assert (result.checkpoints_deleted, result.keys_deleted) == (1, 5)


# --- 9,000 writes -------------------------------------------------------------------------------

MANY = 9_000


class Watched(Transport):
    """Notes after each call what is there of one checkpoint."""

    def __init__(self, client: redis.Redis, document: bytes, prefix: bytes) -> None:
        super().__init__(client)
        self._server, self._document, self._prefix = client, document, prefix
        self.seen: list[tuple[bool, int]] = []
        """Whether the document is there, and how many write documents."""

    def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
        replies = yield from super()._send_all(requests)
        writes = sum(1 for _ in self._server.scan_iter(match=self._prefix + b"*", count=5000))
        self.seen.append((bool(self._server.exists(self._document)), writes))
        return replies


@pytest.fixture
def crowded(stack: redis.Redis) -> list[str]:
    """A thread of three, the oldest with thousands of writes."""
    crowded, *others = ids(3)
    fill_fast(stack, "a", [crowded], MANY)
    fill_fast(stack, "a", others, parent=crowded)
    return [crowded, *others]


def watch(stack: redis.Redis, checkpoint_id: str) -> Watched:
    document = DEFAULT.document("a", "", checkpoint_id)
    return Watched(stack, document, DEFAULT.writes_of("a", "", checkpoint_id))


@pytest.mark.parametrize("keys", [500, LARGEST_KEYS_PER_CALL])
@pytest.mark.parametrize("indexed_only", [False, True])
def test_of_a_checkpoint_with_thousands_of_writes_the_document_is_deleted_first(
    stack: redis.Redis, crowded: list[str], indexed_only: bool, keys: int
) -> None:
    engine = Engine(keys_per_call=keys)
    watched = watch(stack, crowded[0])
    found = Transport(stack).run(scan.find(engine.layout, [b"a"]))[b"a"]
    if indexed_only:
        Transport(stack).run(engine.update_index(b"a", found.writes_seen()))
        watched.run(engine.trim(b"a", KEEP_2))
    else:
        watched.run(one_thread.trim(engine, b"a", found, KEEP_2))

    assert watched.seen[-1] == (False, 0)
    assert all(writes == MANY for there, writes in watched.seen if there)
    steps = [writes for _, writes in watched.seen]
    assert max(more - less for more, less in pairwise(steps)) <= keys
    assert len([writes for there, writes in watched.seen if not there]) >= MANY // keys
    assert len(keys_of(names(stack), "a", crowded[1:])) == 6


def test_a_trim_that_was_broken_off_is_finished_by_the_next(
    stack: redis.Redis, crowded: list[str]
) -> None:
    class Broken(Exception):
        pass

    class Breaks(Watched):
        def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
            replies = yield from super()._send_all(requests)
            if not self.seen[-1][0]:  # the document has gone, most writes have not
                raise Broken
            return replies

    engine = Engine(keys_per_call=500)
    found = Transport(stack).run(scan.find(engine.layout, [b"a"]))[b"a"]
    Transport(stack).run(engine.update_index(b"a", found.writes_seen()))
    document = DEFAULT.document("a", "", crowded[0])
    broken = Breaks(stack, document, DEFAULT.writes_of("a", "", crowded[0]))
    with pytest.raises(Broken):
        broken.run(engine.trim(b"a", KEEP_2))
    assert broken.seen[-1][1] > MANY // 2

    Retention(stack).trim("a", KEEP_2, indexed_only=True)

    assert keys_of(names(stack), "a", crowded[:1]) == frozenset()
