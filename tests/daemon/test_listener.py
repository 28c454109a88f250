"""The listener by itself, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import redis
import redis.asyncio

from redis_retention import Policy
from redis_retention.engine import Engine, Rule
from redis_retention.layouts import LangGraphRedis
from redis_retention.sources.keyspace import Change, Inbox, Listener, State
from redis_retention.sources.notifications import missing
from tests.daemon.interfering import Stalled
from tests.daemon.proxy import Proxy
from tests.daemon.service import PATIENCE, eventually
from tests.daemon.writers import Writer, ids, indexed
from tests.servers.start import Server

RULES = [Rule(b"*", Policy(keep_last=10), trigger=30)]


@asynccontextmanager
async def listening(
    client: redis.asyncio.Redis | redis.asyncio.RedisCluster,
    rules: list[Rule] = RULES,
    **options: Any,
) -> AsyncIterator[tuple[Listener, list[str]]]:
    """A listener that is ready, and the reasons for which it asks for sweeps."""
    asked: list[str] = []
    listener = Listener(client, Engine(), rules, on_gap=asked.append, **options)
    running = asyncio.create_task(listener.run())
    try:
        assert await asyncio.wait_for(listener.settled(), PATIENCE) is State.LISTENING
        yield listener, asked
    finally:
        listener.stop()
        await asyncio.wait_for(running, PATIENCE)
        await client.aclose()


async def until(fulfilled: Callable[[], bool]) -> None:
    await asyncio.to_thread(eventually, fulfilled)


def of(server: Server) -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(server.url)


def test_each_document_is_in_the_inbox_once_with_its_last_change() -> None:
    inbox = Inbox(room=2)
    assert inbox.put(b"a", Change.WRITTEN)
    assert inbox.put(b"b", Change.WRITTEN)
    assert inbox.put(b"a", Change.GONE)
    assert not inbox.put(b"c", Change.WRITTEN)
    assert [(note.key, note.change) for note in inbox.take(10)] == [
        (b"a", Change.GONE),
        (b"b", Change.WRITTEN),
    ]
    assert not len(inbox)


def test_what_is_put_back_comes_first_and_yields_to_what_is_newer() -> None:
    inbox = Inbox()
    for key in (b"a", b"b"):
        inbox.put(key, Change.WRITTEN)
    taken = inbox.take(2)
    inbox.put(b"b", Change.GONE)
    inbox.put(b"c", Change.WRITTEN)
    inbox.put_back(taken)
    assert [(note.key, note.change) for note in inbox.take(3)] == [
        (b"a", Change.WRITTEN),
        (b"b", Change.GONE),
        (b"c", Change.WRITTEN),
    ]


@pytest.mark.parametrize(
    ("flags", "lacking"), [("", "Kdgx"), ("KEA", ""), ("AE", "K"), ("Kd", "gx"), ("xKgd", "")]
)
def test_flags_that_are_missing(flags: str, lacking: str) -> None:
    assert missing(flags, LangGraphRedis.events) == lacking


async def test_ids_are_taken_byte_for_byte(redis_stack: Server, stack: redis.Redis) -> None:
    names = ["a:b", "two\nlines", "comma, *[glob]? \\", "ümläut", "\0"]
    async with listening(of(redis_stack)) as (listener, _):
        writer = Writer(redis_stack.client(), names)
        await asyncio.to_thread(writer.write, 35)
        await until(lambda: not listener.waiting and listener.activity.trims >= len(names))
        # And bytes that no LangGraph would write.
        odd: Any = b"checkpoint:\xff\xfe:__empty__:1"
        stack.json().set(odd, "$", {"thread_id": "other"})
        await until(lambda: not listener.waiting)
    for name in names:
        assert indexed(stack, name) <= 30
    assert not listener.activity.errors


async def test_what_there_is_no_room_for_is_counted_and_left_to_a_sweep(
    redis_stack: Server, stack: redis.Redis
) -> None:
    async with listening(of(redis_stack), room=5) as (listener, asked):
        with stack.pipeline() as pipeline:
            for number in range(500):
                pipeline.json().set(f"checkpoint:{number}", "$", {})
            pipeline.execute()
        await until(lambda: "events were dropped" in asked)
        assert listener.activity.events_dropped > 0
        assert listener.waiting <= 5


async def test_a_key_that_is_not_ours_under_our_name_stops_no_other_thread(
    redis_stack: Server, stack: redis.Redis
) -> None:
    stack.set("retention:index:checkpoint:bad", "not an index")
    async with listening(of(redis_stack)) as (listener, _):
        writer = Writer(redis_stack.client(), ["bad", "good"])
        await asyncio.to_thread(writer.write, 40)
        await until(lambda: not listener.waiting and len(ids(stack, "good")) <= 30)
    assert len(ids(stack, "bad")) == 40
    assert listener.activity.errors["RetentionError"] >= 1


async def test_rules_are_matched_by_their_patterns(redis_stack: Server, stack: redis.Redis) -> None:
    rules = [
        Rule(b"kept-*", Policy(keep_last=1), trigger=None),
        Rule(b"*", Policy(keep_last=2), trigger=4),
    ]
    async with listening(of(redis_stack), rules) as (listener, _):
        writer = Writer(redis_stack.client(), ["kept-1", "other"])
        await asyncio.to_thread(writer.write, 9)
        await until(lambda: not listener.waiting and len(ids(stack, "other")) <= 4)
        assert len(ids(stack, "kept-1")) == 9


async def test_more_than_one_call_may_delete_is_deleted_in_several(
    redis_stack: Server, stack: redis.Redis
) -> None:
    writer = Writer(redis_stack.client(), ["long"])
    writer.write(300)
    stack.zadd(
        "retention:index:checkpoint:long",
        {b"s\0" + id.encode(): 0 for id in writer.written["long"]},
    )
    async with listening(of(redis_stack)):
        # An index that knows all of them crosses the trigger anew with some more.
        await asyncio.to_thread(writer.write, 25)
        await until(lambda: len(ids(stack, "long")) <= 30)
        assert ids(stack, "long")[-10:] == writer.newest("long", 10)


def to_be_trimmed_in_several_calls(server: Server, stack: redis.Redis) -> Writer:
    """A thread of 300, all of which its index knows: the next event crosses its trigger."""
    writer = Writer(server.client(), ["long"])
    writer.write(300)
    known = {b"s\0" + name.encode(): 0 for name in writer.written["long"]}
    stack.zadd("retention:index:checkpoint:long", known)
    return writer


async def test_a_thread_for_which_the_server_always_takes_too_long_holds_up_no_other(
    redis_stack: Server, stack: redis.Redis
) -> None:
    async with listening(Stalled(host="127.0.0.1", port=redis_stack.port)) as (listener, _):
        writer = Writer(redis_stack.client(), ["slow", "quick"])
        await asyncio.to_thread(writer.write, 35)
        await until(lambda: not listener.waiting and len(ids(stack, "quick")) <= 30)
        assert listener.activity.errors["TimeoutError"] >= 1


async def test_a_trim_that_always_times_out_is_left_to_the_sweeps(
    redis_stack: Server, stack: redis.Redis
) -> None:
    async with listening(Stalled(host="127.0.0.1", port=redis_stack.port)) as (listener, _):
        listener.tracker.unfinished[b"slow"] = 0
        writer = Writer(redis_stack.client(), ["quick"])
        await asyncio.to_thread(writer.write, 35)
        await until(lambda: not listener.waiting and len(ids(stack, "quick")) <= 30)
        await until(lambda: not listener.tracker.unfinished)
        assert listener.activity.errors["TimeoutError"] >= 1


async def test_it_follows_a_primary_that_was_demoted_and_kept_its_connections(
    redis_stack: Server, stack: redis.Redis
) -> None:
    with (
        Server(redis_stack.name, replica_of=redis_stack) as promoted,
        Proxy(redis_stack.port) as proxy,
    ):
        options: dict[str, Any] = {"check_every": 0.2}
        async with listening(redis.asyncio.Redis.from_url(proxy.url), **options) as (listener, _):
            try:
                with promoted.client() as primary:
                    primary.replicaof("NO", "ONE")
                    proxy.move(promoted.port)
                    stack.replicaof("127.0.0.1", str(promoted.port))
                    await until(lambda: "ReadOnlyError" in listener.activity.errors)
                    await until(lambda: listener.state is State.LISTENING)
                    writer = Writer(promoted.client(), ["a"])
                    await asyncio.to_thread(writer.write, 35)
                    await until(lambda: len(ids(primary, "a")) <= 30)
            finally:
                stack.replicaof("NO", "ONE")


async def test_a_trim_that_a_broken_connection_has_cut_short_is_finished(
    redis_stack: Server, stack: redis.Redis
) -> None:
    writer = to_be_trimmed_in_several_calls(redis_stack, stack)
    with Proxy(redis_stack.port) as proxy:
        client = redis.asyncio.Redis.from_url(proxy.url)
        async with listening(client) as (listener, _):
            scripts: list[str] = []

            def break_it(script: str, seconds: float) -> None:
                scripts.append(script)
                if scripts[-2:] == ["track", "trim"]:
                    proxy.cut()

            listener._transport._called = break_it
            await asyncio.to_thread(writer.write, 25)
            await until(lambda: "trim" in scripts)
            await asyncio.sleep(0.2)
            proxy.mend()
            await until(lambda: len(ids(stack, "long")) <= 30)


async def test_what_waits_behind_a_refusal_survives_a_broken_connection(
    redis_stack: Server, stack: redis.Redis
) -> None:
    names = [f"{number}" for number in range(8)]
    refused = "not-allowed"
    stack.acl_setuser(
        "partly",
        enabled=True,
        nopass=True,
        reset=True,
        commands=["+@all"],
        channels=["*"],
        keys=["retention:*", "write*", "checkpoint_*", *(f"checkpoint:{name}:*" for name in names)],
    )
    with Proxy(redis_stack.port) as proxy:
        client = redis.asyncio.Redis(port=proxy.port, username="partly", password="any")
        async with listening(client) as (listener, _):
            broken = False

            def break_it(script: str, seconds: float) -> None:
                nonlocal broken
                if not broken and "NoPermissionError" in listener.activity.errors:
                    broken = True
                    proxy.cut()

            listener._transport._called = break_it
            # Together, so that they come to be dealt with in one call, which is refused.
            with stack.pipeline() as pipeline:
                for name in (*names, refused):
                    add(pipeline, name, "1", parent="")
                pipeline.execute()
            await until(lambda: broken)
            proxy.mend()
            await until(lambda: all(indexed(stack, name) for name in names))
    stack.acl_deluser("partly")


async def test_a_cluster(started: Callable[..., Server]) -> None:
    server = started("redis-stack", cluster=True)
    with server.client() as plain:
        client = redis.asyncio.RedisCluster.from_url(server.url)
        async with listening(client) as (listener, _):
            for name in ("{a}", "{b}"):
                for number in range(40):
                    add(plain, name, f"{number:03}", parent=f"{number - 1:03}")
            await until(lambda: all(len(ids(plain, name)) <= 30 for name in ("{a}", "{b}")))
        assert not listener.activity.errors


def add(client: redis.Redis, name: str, id: str, parent: str) -> None:
    """A checkpoint by hand: the saver's client for clusters wants more than one node."""
    document: Any = {
        "thread_id": name,
        "checkpoint_ns": "__empty__",
        "checkpoint_id": id,
        "parent_checkpoint_id": parent,
        "checkpoint": {"v": 4, "channel_values": {}, "channel_versions": {}},
        "metadata": '{"source": "loop"}',
        "source": "loop",
    }
    with suppress(AssertionError):
        client.json().set(f"checkpoint:{name}:__empty__:{id}", "$", document)
