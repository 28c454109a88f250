"""What goes over the wire: one call for a thread that is kept trimmed, and lost scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import redis

from redis_retention import AsyncRetention, Policy, Retention
from redis_retention.engine import Engine
from redis_retention.sans_io import Argument, Call, Command, Operation, Receive, Request, SendAhead
from redis_retention.scripts import load
from redis_retention.transport import AsyncTransport, ClientCalls, Transport
from tests.integration.threads import DEFAULT, fill_fast
from tests.integration.watching import count_keys
from tests.servers.start import Server

KEEP_10 = Policy(keep_last=10)
KEYS_OF_A_CHECKPOINT = 4  # its document, two writes, its registry


def indexed(client: redis.Redis, checkpoints: int) -> list[str]:
    """A thread of so many checkpoints that is known to the index, on a server that knows the
    scripts."""
    names = fill_fast(client, "a", checkpoints, writes=2)
    Retention(client).trim("a", Policy(keep_last=checkpoints))
    client.script_load(load("continue", "langgraph_redis").text)
    return names


@contextmanager
def monitored(server: Server) -> Iterator[Callable[[], list[str]]]:
    """Yields a function that gives the commands that clients have sent since, without those
    that scripts have."""
    with server.client() as watching, server.client() as marking, watching.monitor() as monitor:
        marking.echo("begin")
        while "begin" not in monitor.next_command()["command"]:
            pass

        def commands() -> list[str]:
            found = []
            marking.echo("end")
            while (one := monitor.next_command())["command"].upper() != "ECHO END":
                if one["client_type"] != "lua":
                    found.append(one["command"].split()[0].upper())
            return found

        yield commands


def test_an_indexed_thread_is_trimmed_by_one_call_and_nothing_else(
    server: Server, client: redis.Redis, retention: Retention
) -> None:
    indexed(client, 36)
    with monitored(server) as commands:
        result = retention.trim("a", KEEP_10, indexed_only=True)
        assert commands() == ["EVALSHA"]
    assert result.checkpoints_deleted == 26


async def test_an_async_trim_is_one_call_too(server: Server, client: redis.Redis) -> None:
    indexed(client, 36)
    async with redis.asyncio.Redis.from_url(server.url) as async_client:
        await async_client.ping()
        with monitored(server) as commands:
            result = await AsyncRetention(async_client).trim("a", KEEP_10, indexed_only=True)
            assert commands() == ["EVALSHA"]
    assert result.checkpoints_deleted == 26


def test_a_dry_run_of_an_indexed_thread_sends_nothing_but_calls(
    redis_stack: Server, stack: redis.Redis
) -> None:
    indexed(stack, 36)
    retention = Retention(stack)
    retention.trim("a", KEEP_10, indexed_only=True, dry_run=True)  # loads the scripts
    with monitored(redis_stack) as commands:
        result = retention.trim("a", KEEP_10, indexed_only=True, dry_run=True)
        # What is decided, and what that would delete.
        assert commands() == ["EVALSHA", "EVALSHA"]
    assert result.checkpoints_deleted == 26


@pytest.mark.parametrize(("checkpoints", "calls"), [(35, 1), (36, 2), (60, 2), (61, 3), (210, 8)])
def test_beyond_the_bound_there_are_as_many_calls_as_it_takes(
    redis_stack: Server, stack: redis.Redis, checkpoints: int, calls: int
) -> None:
    indexed(stack, checkpoints)
    # Room for 25 checkpoints; one key more is set aside for the pointer of an emptied namespace.
    keys = 25 * KEYS_OF_A_CHECKPOINT + 1
    retention = Retention(stack, keys_per_call=keys, max_stall=None)
    with monitored(redis_stack) as commands:
        result = retention.trim("a", KEEP_10, indexed_only=True)
        assert commands() == ["EVALSHA"] * calls
    assert result.checkpoints_deleted == checkpoints - 10


@pytest.mark.parametrize("keys_per_call", [10, 37, 250])
def test_no_call_deletes_more_than_the_bound(stack: redis.Redis, keys_per_call: int) -> None:
    indexed(stack, 100)
    deleted = []

    class Counting(Transport):
        def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
            before = stack.dbsize()
            replies = yield from super()._send_all(requests)
            deleted.append(before - stack.dbsize())
            return replies

    Counting(stack).run(Engine(keys_per_call=keys_per_call).trim(b"a", KEEP_10))

    assert max(deleted) <= keys_per_call
    assert sum(deleted) == 90 * KEYS_OF_A_CHECKPOINT


# --- how long a call takes ----------------------------------------------------------------------


class Elsewhere:
    """A clock by which each reply takes some time, and each key that a trim deletes."""

    def __init__(self, away: float, per_key: float) -> None:
        self._away, self._per_key = away, per_key
        self.seconds = 0.0
        self.deleted: list[int] = []

    def now(self) -> float:
        return self.seconds

    def hear(self, reply: Any) -> Any:
        self.seconds += self._away
        if isinstance(reply, list):
            self.deleted.append(reply[2])
            self.seconds += reply[2] * self._per_key
        return reply


AWAY = [0.0, 0.05]


@pytest.mark.parametrize("away", AWAY)
def test_calls_delete_what_the_server_deletes_in_the_time_that_each_may_take(
    redis_stack: Server, stack: redis.Redis, away: float
) -> None:
    indexed(stack, 400)
    there = Elsewhere(away, 10e-6)

    class Client(redis.Redis):
        def execute_command(self, *words: Any, **options: Any) -> Any:
            send: Any = super().execute_command
            return there.hear(send(*words, **options))

    with Client.from_url(redis_stack.url) as client:
        transport = Transport(client)
        transport._now = there.now
        transport.run(Engine().trim(b"a", KEEP_10))

    # A millisecond is a hundred keys; as many checkpoints go as fit.
    assert there.deleted[:2] == [196, 100]
    assert set(there.deleted[1:-1]) == {100}


@pytest.mark.parametrize("away", AWAY)
async def test_calls_delete_what_they_may_take_the_time_for_without_blocking(
    redis_stack: Server, stack: redis.Redis, away: float
) -> None:
    indexed(stack, 400)
    there = Elsewhere(away, 10e-6)

    class Client(redis.asyncio.Redis):
        async def execute_command(self, *words: Any, **options: Any) -> Any:
            send: Any = super().execute_command
            return there.hear(await send(*words, **options))

    async with Client.from_url(redis_stack.url) as client:
        transport = AsyncTransport(client)
        transport._now = there.now
        await transport.run(Engine().trim(b"a", KEEP_10))

    assert there.deleted[:2] == [196, 100]
    assert set(there.deleted[1:-1]) == {100}


# --- lost scripts -------------------------------------------------------------------------------


def test_a_server_that_has_lost_its_scripts_is_given_them_again(
    client: redis.Redis, retention: Retention
) -> None:
    indexed(client, 36)
    client.script_flush()

    assert retention.trim("a", KEEP_10, indexed_only=True).checkpoints_deleted == 26


async def test_async_gives_them_again_too(server: Server, client: redis.Redis) -> None:
    indexed(client, 36)
    client.script_flush()
    async with redis.asyncio.Redis.from_url(server.url) as async_client:
        result = await AsyncRetention(async_client).trim("a", KEEP_10, indexed_only=True)

    assert result.checkpoints_deleted == 26


class Forgetful(Transport):
    """The server loses its scripts whenever a thing has been sent, but for loading one."""

    def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
        replies = yield from super()._send_all(requests)
        if all(isinstance(request, Call) for request in requests):
            failed = any(isinstance(reply, redis.exceptions.NoScriptError) for reply in replies)
            if not failed:
                self._client.script_flush()
        return replies


def test_scripts_lost_in_the_middle_of_a_trim_are_loaded_again(client: redis.Redis) -> None:
    indexed(client, 210)
    engine = Engine(keys_per_call=100)

    trimmed = Forgetful(client).run(engine.trim(b"a", KEEP_10))

    assert (trimmed.deleted.checkpoints, trimmed.left) == (200, 10)
    assert count_keys(client, "checkpoint") == 10


def several(names: list[str]) -> Operation[list[Any]]:
    """Two scripts and a command, all sent in one go."""
    first, second = (DEFAULT.document("a", "", name) for name in names[:2])
    reading: list[Argument] = ["checkpoint", "checkpoint_write", "a", 1]
    replies = yield [
        Call(load("index/read", "langgraph_redis"), [first], reading),
        Command(("ECHO", "between")),
        Call(
            load("index/measure", "langgraph_redis"),
            [],
            ["", "checkpoint", "checkpoint_write", 1, 0],
        ),
        Call(load("index/read", "langgraph_redis"), [second, b"nothing"], [*reading, 1]),
    ]
    return [replies[0][0], replies[1], replies[3][0]]


EXPECTED = [[b"checkpoint"], b"between", [b"checkpoint", b"foreign"]]


def test_lost_scripts_are_no_matter_inside_a_pipeline(client: redis.Redis) -> None:
    names = fill_fast(client, "a", 2)
    client.script_flush()

    assert Transport(client).run(several(names)) == EXPECTED
    assert Transport(client).run(several(names)) == EXPECTED


async def test_lost_scripts_are_no_matter_inside_an_async_pipeline(
    server: Server, client: redis.Redis
) -> None:
    names = fill_fast(client, "a", 2)
    client.script_flush()
    async with redis.asyncio.Redis.from_url(server.url) as async_client:
        assert await AsyncTransport(async_client).run(several(names)) == EXPECTED


def sent_ahead() -> Operation[list[Any]]:
    """A command beside which another is sent, and one that the server refuses."""
    ticket = yield SendAhead(Command(("ECHO", "ahead")))
    beside = yield [Command(("ECHO", "beside"))]
    reply, seconds = yield Receive(ticket)
    refused = yield SendAhead(Command(("ECHO",)))
    try:
        yield Receive(refused)
    except redis.ResponseError as error:
        return [reply, seconds >= 0, *beside, str(error)]
    return []


ARRIVED = [b"ahead", True, b"beside", "wrong number of arguments for 'echo' command"]


def test_what_is_sent_ahead_arrives_when_it_is_asked_for(server: Server) -> None:
    for options in ({}, {"max_connections": 1}, {"single_connection_client": True}):
        with server.client(**options) as client:
            assert Transport(client).run(sent_ahead()) == ARRIVED


async def test_what_is_sent_ahead_arrives_without_blocking(server: Server) -> None:
    async with redis.asyncio.Redis.from_url(server.url) as client:
        assert await AsyncTransport(client).run(sent_ahead()) == ARRIVED


def cut_off() -> Operation[Any]:
    """A command whose connection is gone before it is answered."""
    ticket = yield SendAhead(Command(("BLPOP", "nothing", "0.1")))
    yield [Command(("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))]
    reply, _ = yield Receive(ticket)
    return reply


def test_what_is_sent_ahead_is_sent_again_when_its_connection_breaks(client: redis.Redis) -> None:
    assert Transport(client).run(cut_off()) is None


async def test_what_is_sent_ahead_is_sent_again_without_blocking(server: Server) -> None:
    async with redis.asyncio.Redis.from_url(server.url) as client:
        assert await AsyncTransport(client).run(cut_off()) is None


def given_up() -> Operation[None]:
    """A command whose reply nobody asks for."""
    yield SendAhead(Command(("ECHO", "ahead")))
    raise ZeroDivisionError


def test_a_reply_that_nobody_has_asked_for_is_not_taken_for_another(server: Server) -> None:
    with server.client(max_connections=2) as client:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                Transport(client).run(given_up())
        replies = [client.echo(str(number)) for number in range(4)]

    assert replies == [b"0", b"1", b"2", b"3"]


async def test_a_reply_that_nobody_has_asked_for_is_not_taken_without_blocking(
    server: Server,
) -> None:
    async with redis.asyncio.Redis.from_url(server.url, max_connections=2) as client:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await AsyncTransport(client).run(given_up())
        replies = [await client.echo(str(number)) for number in range(4)]

    assert replies == [b"0", b"1", b"2", b"3"]


def test_a_server_that_goes_away_meanwhile_ends_the_steps(
    started: Callable[..., Server],
) -> None:
    server = started()

    def steps() -> Operation[None]:
        ticket = yield SendAhead(Command(("BLPOP", "nothing", 5)))
        yield [Command(("PING",))]
        server.kill()
        yield Receive(ticket)

    with server.client() as client, pytest.raises(redis.ConnectionError):
        Transport(client).run(steps())


@pytest.mark.parametrize(("megabytes", "calls"), [(0.01, 1), (0.6, 4), (3.0, 10)])
def test_of_large_checkpoints_a_call_frees_a_few(
    redis_stack: Server, stack: redis.Redis, megabytes: float, calls: int
) -> None:
    """UNLINK frees a document of RedisJSON before it serves anybody else."""
    names = fill_fast(stack, "a", 11, writes=0)
    for name in names:
        key = f"checkpoint:a:__empty__:{name}"
        stack.json().set(key, "$.checkpoint.channel_values.large", "x" * int(megabytes * 2**20))
    retention = Retention(stack, keys_per_call=200, max_stall=None)
    retention.trim("a", Policy(keep_last=11))
    stack.script_load(load("continue", "langgraph_redis").text)
    with monitored(redis_stack) as commands:
        result = retention.trim("a", Policy(keep_last=1), indexed_only=True)
        assert len(commands()) == calls
    assert result.checkpoints_deleted == 10


def test_a_name_of_very_many_colons_costs_a_bounded_number_of_look_ups(
    stack: redis.Redis,
) -> None:
    """Each reading may be a thread with an index."""
    for colons in range(100):
        stack.zadd(f"retention:index:checkpoint:{':' * colons}", {b"s\0x": 0})
    names = [b"checkpoint:" + b":" * 2000 + b"node:%d" % n for n in range(40)]
    dealt_with: list[int] = []

    class Counting(Transport):
        def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
            replies = yield from super()._send_all(requests)
            dealt_with.extend(reply[1] for reply in replies)
            return replies

    Transport(stack).run(Engine().forget([b"checkpoint:none"]))  # loads the script
    assert Counting(stack).run(Engine().forget(names)) == 0
    assert sum(dealt_with) == 40
    assert max(dealt_with) <= 2


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_plan_of_a_thread_without_an_index_sends_its_entries_a_few_times(
    stack: redis.Redis, retention: Retention, dry_run: bool
) -> None:
    count = 4_000
    names = fill_fast(stack, "a", count, writes=0)
    entry = len(names[0]) + len("s..")
    # A server that was just started gets the scripts, too.
    Retention(stack).plan("b", KEEP_10)
    Retention(stack).trim("b", KEEP_10, dry_run=True)

    def sent() -> int:
        return int(stack.info("stats")["total_net_input_bytes"])

    before = sent()
    if dry_run:
        assert Retention(stack).trim("a", KEEP_10, dry_run=True).checkpoints_deleted == count - 10
    else:
        assert len(Retention(stack).plan("a", KEEP_10).deleted) == count - 10
    # Each once to be read and once to be counted, with the names of keys; and the pages.
    assert sent() - before < 12 * count * entry


def test_more_than_one_call_can_read_are_proved_by_several(
    redis_stack: Server, stack: redis.Redis
) -> None:
    names = fill_fast(stack, "a", 5_200, writes=0)
    Retention(stack).trim("a", Policy(keep_within=timedelta(days=365)))
    keys = [stack.dbsize()]

    with redis_stack.client() as watching:
        transport = Transport(stack, lambda script, _: keys.append(watching.dbsize()))
        transport.run(Engine().trim(b"a", Policy(keep_last=5_000)))

    # 2,000 documents each; the third call goes on to delete.
    assert keys[0] == keys[1] == keys[2] > keys[3]
    left = sorted(stack.scan_iter("checkpoint:a:*", count=1_000))
    assert left == [DEFAULT.document("a", "", name) for name in names[-5_000:]]
