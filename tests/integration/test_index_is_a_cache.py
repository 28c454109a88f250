"""The index can be deleted at any moment, and is not needed to find a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import redis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.redis import RedisSaver

from redis_retention import Policy, Retention
from redis_retention.engine import Engine, ThreadDocuments
from redis_retention.errors import RetentionError
from redis_retention.sans_io import Operation, Request
from redis_retention.sources import one_thread, scan
from redis_retention.transport import ClientCalls, Transport
from tests.graphs.savers import without_search
from tests.graphs.scenarios import Chat
from tests.integration.threads import DEFAULT, fill_fast, ids, keys_of
from tests.integration.watching import (
    Changes,
    Trimmer,
    changes,
    count_keys,
    orphans,
    searchable,
    snapshot,
)
from tests.servers.start import Server

KEEP_10 = Policy(keep_last=10)
INDEX = Engine().index_key(b"a")


class Losing(Transport):
    """Deletes the index after the n-th thing that is sent."""

    def __init__(self, client: redis.Redis, after: int) -> None:
        super().__init__(client)
        self.after, self.sent = after, 0

    def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
        replies = yield from super()._send_all(requests)
        self.sent += 1
        if self.sent == self.after:
            self._client.delete(INDEX)
        return replies


def full_trim(client: redis.Redis, transport: Transport) -> None:
    """What `Retention.trim` does, with small calls."""
    engine = Engine(keys_per_call=20)
    found = transport.run(scan.find(engine.layout, [b"a"]))[b"a"]
    transport.run(one_thread.trim(engine, b"a", found, KEEP_10))


def test_deleted_between_any_two_calls_of_a_trim_nothing_is_lost(stack: redis.Redis) -> None:
    after = 0
    while True:
        after += 1
        stack.flushdb()
        names = fill_fast(stack, "a", 30)
        before = snapshot(stack)
        doomed = keys_of(before, "a", names[:-10])

        losing = Losing(stack, after)
        full_trim(stack, losing)
        left = changes(before, snapshot(stack))
        assert left.gone <= doomed
        assert not left.new
        assert not left.changed

        full_trim(stack, Transport(stack))
        assert changes(before, snapshot(stack)) == Changes(gone=doomed)
        if losing.sent < after:
            break
    assert after > 5


def test_what_a_look_and_an_event_have_found_is_no_leaf_once_it_has_a_child(
    stack: redis.Redis,
) -> None:
    [first, second] = fill_fast(stack, "a", 2)
    documents = [DEFAULT.document("a", "", name) for name in (first, second)]
    engine, transport = Engine(), Transport(stack)
    transport.run(engine.add(documents[:1], b"a"))
    for document in documents:
        transport.run(engine.track([document]))

    assert known_leaves(stack) == [second]


def test_what_an_event_tells_of_after_its_child_is_no_leaf(stack: redis.Redis) -> None:
    names = fill_fast(stack, "a", 3)
    engine, transport = Engine(), Transport(stack)

    for name in reversed(names):
        transport.run(engine.track([DEFAULT.document("a", "", name)]))

    assert known_leaves(stack) == names[-1:]


def known_leaves(stack: redis.Redis) -> list[str]:
    leaves: Any = stack.zrangebylex(INDEX, b"[l", b"(m")
    return [leaf.split(b"\0")[1].decode() for leaf in leaves]


def test_without_an_index_a_trim_that_trusts_it_does_nothing(stack: redis.Redis) -> None:
    fill_fast(stack, "a", 30)
    before = snapshot(stack)

    Retention(stack).trim("a", KEEP_10, indexed_only=True)

    assert snapshot(stack) == before


def known_checkpoints(stack: redis.Redis) -> list[bytes | str]:
    return list(stack.zrangebylex(INDEX, b"[s", b"(u"))


def test_tracked_again_document_by_document_it_is_as_good_as_before(stack: redis.Redis) -> None:
    names = fill_fast(stack, "a", 30)
    retention = Retention(stack)
    retention.trim("a", Policy(keep_last=30))
    whole = known_checkpoints(stack)
    stack.delete(INDEX)

    for name in names:
        Transport(stack).run(Engine().track([DEFAULT.document("a", "", name)]))

    assert known_checkpoints(stack) == whole
    assert retention.trim("a", KEEP_10, indexed_only=True).checkpoints_deleted == 20


@pytest.mark.parametrize("read", [Engine().track, Engine().add])
def test_a_checkpoint_known_by_its_name_is_known_once_when_it_has_been_read(
    stack: redis.Redis, read: Callable[[Sequence[bytes]], Operation[Any]]
) -> None:
    names = fill_fast(stack, "a", 5)
    transport = Transport(stack)
    transport.run(Engine().add_roots(b"a", [name.encode() for name in names]))

    transport.run(read([DEFAULT.document("a", "", name) for name in names[2:]]))

    entries: Any = known_checkpoints(stack)
    assert [entry.split(b"\0")[1].decode() for entry in entries] == names
    assert [entry.endswith(b"\0!") for entry in entries] == [True] * 2 + [False] * 3


def test_an_index_that_knows_only_the_old_half_deletes_none_that_it_should_not(
    stack: redis.Redis,
) -> None:
    names = fill_fast(stack, "a", 30)
    known = [DEFAULT.document("a", "", name) for name in names[:15]]
    Transport(stack).run(Engine().track(known))
    before = snapshot(stack)

    Retention(stack).trim("a", KEEP_10, indexed_only=True)

    assert changes(before, snapshot(stack)).gone <= keys_of(before, "a", names[:5])


# --- large threads ------------------------------------------------------------------------------

LARGE = 11_000


def test_a_thread_beyond_what_a_search_returns_is_trimmed_entirely(
    plain_saver: RedisSaver, stack: redis.Redis
) -> None:
    names = fill_fast(stack, "a", LARGE)
    assert searchable(stack, "checkpoint") == LARGE

    result = Retention(stack).trim("a", KEEP_10)

    assert (result.checkpoints_deleted, result.checkpoints_kept) == (LARGE - 10, 10)
    assert result.keys_deleted == 3 * (LARGE - 10)
    left: list[bytes] = list(stack.scan_iter(match="checkpoint*"))
    assert keys_of(left, "a", names[-10:]) == set(left) - {DEFAULT.pointer("a", "")}
    assert searchable(stack, "checkpoint") == searchable(stack, "checkpoint_write") == 10


def test_an_index_that_was_large_is_small_after_the_trim(stack: redis.Redis) -> None:
    fill_fast(stack, "a", 3_000)
    retention = Retention(stack)
    retention.trim("a", Policy(keep_last=3_000))
    large = stack.memory_usage(INDEX) or 0

    retention.trim("a", KEEP_10, indexed_only=True)

    assert stack.zcard(INDEX) < 100
    assert (stack.memory_usage(INDEX) or 0) < large / 50


# --- without RediSearch -------------------------------------------------------------------------


def test_plain_redis_with_json_will_do(plain_json: redis.Redis) -> None:
    names = fill_fast(plain_json, "a", 500)
    before = snapshot(plain_json)

    result = Retention(plain_json).trim("a", KEEP_10)

    doomed = keys_of(before, "a", names[:-10])
    assert changes(before, snapshot(plain_json)) == Changes(gone=doomed)
    assert result.checkpoints_deleted == 490


def test_a_conversation_goes_on_there(plain_json: redis.Redis) -> None:
    saver = without_search(plain_json)
    config: RunnableConfig = {"configurable": {"thread_id": "trimmed"}}
    control: RunnableConfig = {"configurable": {"thread_id": "control"}}
    retention = Retention(plain_json)
    trim = Trimmer(saver, "trimmed", lambda: retention.trim("trimmed", Policy(keep_last=2)))
    graph = Chat().build(saver)

    assert Chat().run(graph, config, trim) == Chat().run(graph, control)
    assert trim.deleted > 0
    assert orphans(plain_json, saver, "trimmed") == []
    assert count_keys(plain_json, "checkpoint:trimmed") == 2


@pytest.mark.parametrize(
    "policy",
    [
        Policy(keep_last=3),
        Policy(keep_last=80),
        Policy(keep_runs=2),
        Policy(keep_last=2, keep_within=timedelta(minutes=90, seconds=30)),
        Policy(expire_after=timedelta(days=1)),
    ],
    ids=["last", "many", "runs", "within", "expire"],
)
def test_where_only_names_are_known_a_trim_reads_what_it_keeps(
    client: redis.Redis, retention: Retention, policy: Policy
) -> None:
    """As after a sweep that was broken off in its first pass."""
    names = fill_fast(client, "a", ids(150, apart=60.0))
    ghost = ids(1, newest_age=7210.0)
    noted = [name.encode() for name in names + ghost]
    Transport(client).run(Engine().add_roots(b"a", noted))
    before = snapshot(client)

    plan = retention.plan("a", policy, indexed_only=True)
    result = retention.trim("a", policy, indexed_only=True)

    kept = [c.checkpoint_id for c in plan.checkpoints if c.kept]
    gone = [name for name in names if name not in kept]
    assert changes(before, snapshot(client)) == Changes(gone=keys_of(before.keys(), "a", gone))
    assert (result.checkpoints_deleted, result.checkpoints_kept) == (len(gone), len(kept))
    assert [c.checkpoint_id for c in retention.plan("a", policy).checkpoints if c.kept] == kept


# --- refused ------------------------------------------------------------------------------------


@contextmanager
def guest(server: Server, client: Any, *rules: str) -> Iterator[redis.Redis]:
    """A client of a user who may do everything but what the rules say."""
    client.execute_command("ACL", "SETUSER", "guest", "reset", "on", ">secret", "+@all", *rules)
    try:
        with redis.Redis.from_url(server.url, username="guest", password="secret") as guest:
            yield guest
    finally:
        client.execute_command("ACL", "DELUSER", "guest")


def documents_of(thread: str, names: list[str]) -> list[bytes]:
    return [DEFAULT.document(thread, "", name) for name in names]


def test_an_update_that_the_server_refuses_is_no_update(
    server: Server, client: redis.Redis
) -> None:
    """What the index could not take in must not count as looked at."""
    documents = documents_of("a", fill_fast(client, "a", 60))
    Transport(client).run(Engine().add_all(documents[:20], b"a"))

    def update() -> Operation[ThreadDocuments]:
        return Engine().update_index(b"a", dict.fromkeys(documents, 1))

    with (
        guest(server, client, "~*", "-zadd") as writer,
        pytest.raises(RetentionError, match=r"zadd|ZADD|permissions"),
    ):
        Transport(writer).run(update())

    assert Transport(client).run(Engine().counts([b"a"])) == [20]
    assert Transport(client).run(update()).statuses == dict.fromkeys(documents, "checkpoint")
    assert Transport(client).run(Engine().counts([b"a"])) == [60]


def test_what_the_server_refuses_for_one_thread_is_reported_with_it_and_others_are_added(
    server: Server, client: redis.Redis
) -> None:
    documents = {name: documents_of(name, fill_fast(client, name, 10)) for name in ("a", "b")}
    other = Engine().index_key(b"b").decode()

    with guest(server, client, "~checkpoint*", "~write_keys_zset*", f"~{other}") as writer:
        added = Transport(writer).run(Engine().add([*documents["a"], *documents["b"]]))

    assert added.refused.keys() == {b"a"}
    assert "ermission" in added.refused[b"a"]
    assert added.statuses == ["checkpoint"] * 20
    assert Transport(client).run(Engine().counts([b"a", b"b"])) == [0, 10]
