"""A trim costs what its thread costs: what our index does not know is searched for by RediSearch.

The search decides nothing. Where it finds too little, what it has not found only stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver
from redis.commands.search.index_definition import IndexDefinition, IndexType
from redis.connection import Connection

from redis_retention import AsyncRetention, Policy, Retention, ScanProgress
from redis_retention.engine import Engine
from redis_retention.sans_io import Call, Command, Request
from redis_retention.sources import search_index
from redis_retention.sources.search import Search
from redis_retention.transport import ClientCalls, Transport
from tests.integration.test_round_trips import monitored
from tests.integration.threads import (
    DEFAULT,
    fill,
    fill_fast,
    ids,
    keys_of,
    put_writes,
    queue_writes,
)
from tests.integration.watching import NONE, Changes, changes, searchable, snapshot
from tests.servers.start import Server

KEEP_10 = Policy(keep_last=10)
LOOK = ["FT.AGGREGATE", "ZRANGEBYLEX"]
EXAMINE = ["CLIENT", "FT.INFO", "FT.INFO"]
CLEAN = ["FT.AGGREGATE", "FT.AGGREGATE"]


@pytest.fixture
def saver(client: redis.Redis) -> RedisSaver:
    """The saver as it is, with its search indexes, on each of the servers."""
    saver = RedisSaver(redis_client=client)
    saver.setup()
    return saver


@pytest.fixture
def warm(saver: RedisSaver, client: redis.Redis, retention: Retention) -> Retention:
    """One whose scripts the server knows, beside other threads."""
    for other in ("A", "b", "a:b"):
        fill_fast(client, other, 12)
    for dry_run in (False, True):
        retention.trim("b", KEEP_10, dry_run=dry_run)
    retention.plan("b", KEEP_10)
    return retention


@pytest.fixture
def looks() -> list[ScanProgress]:
    """What was told while the whole database was looked at."""
    return []


def of_checkpoints(client: redis.Redis, names: list[str], thread: str = "a") -> frozenset[bytes]:
    return keys_of(client.scan_iter(count=1000), thread, names)


def building(saver: RedisSaver) -> list[Command]:
    """What makes the server build the saver's index of checkpoints anew."""
    index = saver.checkpoints_index
    pipeline = saver._redis.pipeline(transaction=False)
    search = pipeline.ft(index.name)
    search.dropindex()
    search.create_index(
        index.schema.redis_fields,
        definition=IndexDefinition(  # type: ignore[no-untyped-call]
            [index.schema.index.prefix], index_type=IndexType.JSON
        ),
    )
    return [Command(words) for words, _ in pipeline.command_stack]


def ask(client: redis.Redis, *words: str) -> Any:
    """The reply to a command, without what `client.ft()` makes of it."""
    plain: Any = redis.Redis(connection_pool=client.connection_pool)
    return plain.execute_command(*words)


# --- what is sent -------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [False, True], ids=["never seen", "indexed"])
def test_no_more_is_sent_than_the_thread_takes(
    server: Server, client: redis.Redis, warm: Retention, seen: bool
) -> None:
    names = fill_fast(client, "a", 36, writes=2)
    if seen:
        warm.trim("a", Policy(keep_last=36))
    doomed = of_checkpoints(client, names[:-10])
    before = snapshot(client)

    with monitored(server) as commands:
        result = warm.trim("a", KEEP_10)
        sent = commands()

    assert sent == ["GET", *EXAMINE, *LOOK, "EVALSHA", *CLEAN]
    assert changes(before, snapshot(client)) == Changes(gone=doomed)
    assert (result.checkpoints_deleted, result.checkpoints_kept) == (26, 10)
    assert result.keys_deleted == len(doomed)


async def test_no_more_is_sent_than_the_thread_takes_without_blocking(
    server: Server, client: redis.Redis, warm: Retention
) -> None:
    fill_fast(client, "a", 36, writes=2)
    async with redis.asyncio.Redis.from_url(server.url) as async_client:
        await async_client.ping()
        with monitored(server) as commands:
            result = await AsyncRetention(async_client).trim("a", KEEP_10)
            assert commands() == ["GET", *EXAMINE, *LOOK, "EVALSHA", *CLEAN]
    assert result.checkpoints_deleted == 26


def test_a_short_thread_takes_three_round_trips(
    saver: RedisSaver, warm: Retention, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_fast(client, "a", 36, writes=2)
    sent: list[bytes] = []
    send: Any = Connection.send_packed_command

    def counted(self: Connection, command: list[bytes], *args: Any, **options: Any) -> None:
        sent.append(b"".join(command))
        send(self, command, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "send_packed_command", counted)
        warm.trim("a", KEEP_10)

    assert [one.split(b"\r\n")[2] for one in sent] == [b"GET", b"CLIENT", b"EVALSHA"]


class Meddling(Transport):
    """Does something just before a script trims."""

    def __init__(self, client: redis.Redis, meddle: Callable[[redis.Redis], object]) -> None:
        super().__init__(client)
        self._meddle, self._done = meddle, False

    def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
        if isinstance(call := requests[0], Call) and call.script.name == "trim" and not self._done:
            self._done = True
            self._meddle(self._client)
        return (yield from super()._send_all(requests))


def no_scripts(client: redis.Redis) -> None:
    client.script_flush()


def no_index_of_writes(client: redis.Redis) -> None:
    client.ft("checkpoint_write").dropindex()


@pytest.mark.parametrize("meddle", [no_scripts, no_index_of_writes])
def test_a_search_that_comes_to_nothing_after_the_trim_is_no_loss(
    client: redis.Redis, warm: Retention, meddle: Callable[[redis.Redis], object]
) -> None:
    """Either the index was dropped, or the trim ran after the search, as its script was lost."""
    names = fill_fast(client, "a", 36, writes=2)
    doomed = of_checkpoints(client, names[:-10])
    before = snapshot(client)

    result = Meddling(client, meddle).run(Search(Engine()).trim(b"a", KEEP_10))

    assert result.deleted.checkpoints == 26
    assert changes(before, snapshot(client)) == Changes(gone=doomed)


def test_the_indexes_are_examined_once_for_several_threads(
    server: Server, client: redis.Redis, warm: Retention
) -> None:
    for thread in ("a", "c", "d"):
        fill_fast(client, thread, 12)

    with monitored(server) as commands:
        result = warm.trim(["a", "c", "d"], KEEP_10)
        sent = commands()

    assert sent == ["GET", *EXAMINE, *[*LOOK, "EVALSHA", *CLEAN] * 3]
    assert result.checkpoints_deleted == 6


def plan(retention: Retention) -> int:
    return len(retention.plan("a", KEEP_10).deleted)


def dry_run(retention: Retention) -> int:
    return retention.trim("a", KEEP_10, dry_run=True).checkpoints_deleted


@pytest.mark.parametrize("look", [plan, dry_run])
def test_a_plan_is_made_without_a_look_at_the_whole_database(
    server: Server, client: redis.Redis, warm: Retention, look: Callable[[Retention], int]
) -> None:
    fill_fast(client, "a", 36, writes=2)
    before = snapshot(client)

    with monitored(server) as commands:
        assert look(warm) == 26
        sent = commands()

    assert "SCAN" not in sent
    assert snapshot(client) == before


def test_on_purpose_the_whole_database_is_looked_at(
    server: Server, client: redis.Redis, warm: Retention, looks: list[ScanProgress]
) -> None:
    fill_fast(client, "a", 12)

    with monitored(server) as commands:
        warm.trim("a", KEEP_10, look_in="scan", on_scan=looks.append)
        sent = commands()

    assert "SCAN" in sent
    assert not [one for one in sent if one.startswith("FT.")]
    assert {look.why for look in looks} == {None}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode", [False, True])
def test_any_client_will_do(
    server: Server, saver: RedisSaver, client: redis.Redis, protocol: int, decode: bool
) -> None:
    fill_fast(client, "a", 12)
    with server.client(protocol=protocol, decode_responses=decode) as other:
        # This lets redis-py make objects of replies.
        other.ft("checkpoint").info()
        other.json().get("nothing")
        with monitored(server) as commands:
            result = Retention(other).trim("a", KEEP_10)
            sent = commands()
    assert result.checkpoints_deleted == 2
    assert "SCAN" not in sent


def test_a_thread_is_found_page_by_page(
    server: Server, client: redis.Redis, warm: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "_KEYS_PER_PAGE", 7)
    fill_fast(client, "a", 36, writes=2)

    with monitored(server) as commands:
        result = warm.trim("a", KEEP_10)
        sent = commands()

    assert (result.checkpoints_deleted, result.checkpoints_kept) == (26, 10)
    assert sent.count("FT.CURSOR") >= 5
    info = ask(client, "FT.INFO", "checkpoint")
    assert info[b"cursor_stats"][b"index_total"] == 0


# --- where it cannot be relied on ---------------------------------------------------------------


def no_index(client: redis.Redis) -> None:
    for name in ("checkpoint", "checkpoint_write"):
        client.ft(name).dropindex()


def another_index(client: redis.Redis) -> None:
    client.ft("checkpoint").dropindex()
    words = "FT.CREATE checkpoint ON HASH PREFIX 1 checkpoint: SCHEMA thread_id TAG"
    ask(client, *words.split())


def an_index_of_some(client: redis.Redis) -> None:
    client.ft("checkpoint").dropindex()
    words = "FT.CREATE checkpoint ON JSON PREFIX 1 checkpoint:b SCHEMA $.thread_id AS thread_id TAG"
    ask(client, *words.split())


@pytest.mark.parametrize("spoil", [no_index, no_index_of_writes, another_index, an_index_of_some])
def test_where_it_cannot_be_searched_the_whole_database_is_looked_at(
    client: redis.Redis,
    warm: Retention,
    looks: list[ScanProgress],
    spoil: Callable[[redis.Redis], None],
) -> None:
    names = fill_fast(client, "a", 36, writes=2)
    spoil(client)
    doomed = of_checkpoints(client, names[:-10])
    before = snapshot(client)

    result = warm.trim("a", KEEP_10, on_scan=looks.append)

    assert changes(before, snapshot(client)) == Changes(gone=doomed)
    assert result.checkpoints_deleted == 26
    assert "search index checkpoint" in (looks[0].why or "") or "is not there" in (
        looks[0].why or ""
    )
    assert looks[0].mend
    assert looks[0].keys == 0 < looks[-1].keys == looks[0].total


def test_an_index_that_is_being_built_is_not_asked(
    client: redis.Redis,
    saver: RedisSaver,
    warm: Retention,
    looks: list[ScanProgress],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = fill_fast(client, "a", 36, writes=2)
    doomed = of_checkpoints(client, names[:-10])
    before = snapshot(client)
    begin = building(saver)
    send_all = Transport._send_all

    def just_begun(self: Transport, requests: list[Request]) -> ClientCalls[list[Any]]:
        if not any("FT.INFO" in request.words() for request in requests):
            return (yield from send_all(self, requests))
        # In one go, so that the server cannot go on with it before it is asked.
        replies = yield from send_all(self, [*begin, *requests])
        return replies[len(begin) :]

    monkeypatch.setattr(Transport, "_send_all", just_begun)
    result = warm.trim("a", KEEP_10, on_scan=looks.append)

    assert changes(before, snapshot(client)) == Changes(gone=doomed)
    assert result.checkpoints_deleted == 26
    assert "is still being built" in (looks[0].why or "")


def test_without_search_the_reason_is_told(
    plain_json: redis.Redis, looks: list[ScanProgress]
) -> None:
    fill_fast(plain_json, "a", 36)

    result = Retention(plain_json).trim("a", KEEP_10, on_scan=looks.append)

    assert result.checkpoints_deleted == 26
    assert looks[0].why == "the server has no RediSearch"
    assert "--indexed-only" in (looks[0].mend or "")


def test_other_databases_are_not_indexed(
    redis_stack: Server, stack: redis.Redis, plain_saver: RedisSaver, looks: list[ScanProgress]
) -> None:
    theirs = fill_fast(stack, "a", 36)
    before = snapshot(stack)
    with redis.Redis(port=redis_stack.port, db=1) as other:
        ours = fill_fast(other, "a", 24)
        result = Retention(other).trim("a", KEEP_10, on_scan=looks.append)
        left = keys_of(other.scan_iter(count=1000), "a", ours)
    assert (result.checkpoints_deleted, result.checkpoints_kept) == (14, 10)
    assert len(left) == 30
    assert changes(before, snapshot(stack)) == NONE
    assert len(theirs) == 36
    assert looks[0].why == "RediSearch indexes database 0 alone"


UNSEARCHABLE = ("a,b", "a\nb", "a\0b", " a", "a ", "\x7f", "x" * 4_096, "not\udcffUTF-8")


@pytest.mark.parametrize("thread", UNSEARCHABLE)
def test_ids_that_no_query_can_name_are_looked_for_in_the_whole_database(
    stack: redis.Redis, plain_saver: RedisSaver, looks: list[ScanProgress], thread: str
) -> None:
    if "\udcff" not in thread:
        fill(plain_saver, thread, 4, writes=1)
    fill_fast(stack, "b", 12)

    result = Retention(stack).trim([thread, "b"], Policy(keep_last=2), on_scan=looks.append)

    assert result.checkpoints_deleted == (10 if "\udcff" in thread else 12)
    assert result.checkpoints_kept == (2 if "\udcff" in thread else 4)
    assert looks[0].why == "RediSearch cannot search for such an id"


def test_a_user_who_may_not_search_is_told(
    redis_stack: Server, stack: redis.Redis, plain_saver: RedisSaver, looks: list[ScanProgress]
) -> None:
    fill_fast(stack, "a", 12)
    stack.acl_setuser(
        "poor", enabled=True, nopass=True, keys=["*"], categories=["+@all"], commands=["-ft.info"]
    )
    try:
        with redis_stack.client(username="poor", password="x") as poor:
            result = Retention(poor).trim("a", KEEP_10, on_scan=looks.append)
    finally:
        stack.acl_deluser("poor")
    assert result.checkpoints_deleted == 2
    assert looks[0].why == "this user may not search"


# --- where it finds too little ------------------------------------------------------------------


def lacking(client: redis.Redis) -> None:
    """Make the indexes anew, without the documents that there are."""
    for name in ("checkpoint", "checkpoint_write"):
        client.ft(name).dropindex()
        words = f"FT.CREATE {name} ON JSON PREFIX 1 {name}: SKIPINITIALSCAN SCHEMA $.thread_id AS"
        ask(client, *words.split(), "thread_id", "TAG", "SEPARATOR", ",")


def test_what_it_has_not_indexed_is_only_retained(client: redis.Redis, warm: Retention) -> None:
    fill_fast(client, "a", ids(20, newest_age=100.0), writes=2)
    lacking(client)
    newer = fill_fast(client, "a", ids(16, newest_age=5.0), writes=2)
    assert searchable(client, "checkpoint") == 16
    doomed = of_checkpoints(client, newer[:-10])
    before = snapshot(client)

    result = warm.trim("a", KEEP_10)

    assert changes(before, snapshot(client)) == Changes(gone=doomed)
    assert result.checkpoints_deleted == 6


def test_where_it_has_the_old_half_alone_none_of_the_newest_is_deleted(
    client: redis.Redis, warm: Retention
) -> None:
    names = ids(36)
    for name in names[18:]:
        fill_fast(client, "a", [name])
    lacking(client)
    fill_fast(client, "a", names[:18])
    client.set(DEFAULT.pointer("a", ""), DEFAULT.document("a", "", names[-1]))
    before = snapshot(client)

    warm.trim("a", KEEP_10)

    assert changes(before, snapshot(client)).gone <= keys_of(before, "a", names[:8])


def test_what_our_index_knows_is_deleted_whether_it_is_found_or_not(
    client: redis.Redis, warm: Retention
) -> None:
    names = fill_fast(client, "a", 36, writes=2)
    warm.trim("a", Policy(keep_last=36))
    lacking(client)
    doomed = of_checkpoints(client, names[:-10])
    before = snapshot(client)

    result = warm.trim("a", KEEP_10)

    assert changes(before, snapshot(client)) == Changes(gone=doomed)
    assert (result.checkpoints_deleted, result.checkpoints_kept) == (26, 10)


def test_an_orphan_without_documents_is_deleted_by_a_scan_alone(
    client: redis.Redis, warm: Retention
) -> None:
    fill_fast(client, "a", 12)
    forgotten = ids(1, newest_age=3 * 3600.0)[0]
    orphan = DEFAULT.registry("a", "", forgotten)
    client.zadd(orphan, {DEFAULT.write_document("a", "", forgotten, "task", 0): 0})

    warm.trim("a", KEEP_10)
    assert client.exists(orphan)

    warm.trim("a", KEEP_10, look_in="scan")
    assert not client.exists(orphan)


# --- orphans ----------------------------------------------------------------------------------


def test_late_writes_of_what_was_trimmed_are_deleted_once_they_are_old(
    saver: RedisSaver, client: redis.Redis, warm: Retention
) -> None:
    names = fill_fast(client, "a", ids(12, newest_age=3 * 3600.0))
    warm.trim("a", KEEP_10)
    clean = snapshot(client)
    put_writes(saver, "a", names[0], 3)

    result = warm.trim("a", KEEP_10)

    assert changes(clean, snapshot(client)) == NONE
    assert (result.checkpoints_deleted, result.keys_deleted) == (1, 5)


def test_unregistered_writes_of_an_indexed_thread_are_deleted_with_their_checkpoint(
    client: redis.Redis, warm: Retention
) -> None:
    names = fill_fast(client, "a", 36)
    warm.trim("a", Policy(keep_last=36))
    with client.pipeline(transaction=False) as pipeline:
        queue_writes(pipeline, "a", names[0], 2)
        pipeline.execute()
    client.delete(DEFAULT.registry("a", "", names[0]))
    doomed = of_checkpoints(client, names[:-10])
    before = snapshot(client)

    warm.trim("a", KEEP_10)

    assert changes(before, snapshot(client)) == Changes(gone=doomed)


@pytest.mark.parametrize("look_in", ["auto", "scan"])
def test_an_index_that_is_not_from_us_is_built_anew(
    client: redis.Redis, saver: RedisSaver, retention: Retention, look_in: Any
) -> None:
    names = fill_fast(client, "a", 12)
    poison = {"n": 0, "p": 0, "p\0": 0, "sbad": 0, "s\0bad": 0, "t": 0}
    client.zadd("retention:index:checkpoint:a", poison)

    result = retention.trim("a", Policy(keep_last=3), look_in=look_in)

    assert result.checkpoints_kept == 3
    left = sorted(key.decode().rpartition(":")[2] for key in client.scan_iter("checkpoint:a:*"))
    assert left == names[-3:]
