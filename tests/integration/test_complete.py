"""Where a service says that the indexes are complete, nothing else is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver

from redis_retention import AsyncRetention, Policy, Retention
from redis_retention.complete import Completeness, indexes_are_complete
from redis_retention.engine import Engine
from redis_retention.layouts import LangGraphRedis
from redis_retention.sans_io import Operation
from redis_retention.scripts import load
from redis_retention.sources.sweep import Sweeper, SweepResult
from redis_retention.transport import Transport
from tests.integration.test_round_trips import monitored
from tests.integration.threads import DEFAULT, fill_fast, ids
from tests.servers.start import Server

KEEP_10 = Policy(keep_last=10)
KEY = "retention:complete:checkpoint"
ENGINE = Engine()
SCRIPTS = ("trim", "plan", "describe")


@contextmanager
def prepared(server: Server) -> Iterator[redis.Redis]:
    """A client of a server with the saver's search indexes, on which the scripts are known."""
    with server.client(socket_timeout=60) as client:
        client.flushall()
        RedisSaver(redis_client=client).setup()
        for name in SCRIPTS:
            for beside in (False, True):
                client.script_load(load(name, "langgraph_redis", beside=beside).text)
        yield client


@pytest.fixture
def stack(redis_stack: Server) -> Iterator[redis.Redis]:
    with prepared(redis_stack) as client:
        yield client


@pytest.fixture
def certain(stack: redis.Redis) -> Completeness:
    """What a service knows that has swept while it listened."""
    found = Completeness(ENGINE)
    found.listen()
    Transport(stack).run(found.during(Sweeper(ENGINE, []).sweep()))
    return found


def say(client: redis.Redis, found: Completeness) -> bool:
    return Transport(client).run(found.say())


def is_said(client: redis.Redis, engine: Engine | None = None) -> bool:
    return Transport(client).run(indexes_are_complete(engine or Engine()))


def track(client: redis.Redis, thread: str, names: list[str]) -> None:
    """The service hears of documents."""
    documents = [DEFAULT.document(thread, "", name) for name in names]
    Transport(client).run(Engine().track(documents))


@pytest.fixture
def thread(stack: redis.Redis, certain: Completeness) -> list[str]:
    """A thread of 36 checkpoints, all of which the service has heard of."""
    names = fill_fast(stack, "a", 36, writes=2)
    track(stack, "a", names)
    assert say(stack, certain)
    return names


# --- what is sent -------------------------------------------------------------------------------


def trim(retention: Retention) -> int:
    return retention.trim("a", KEEP_10).checkpoints_deleted


def dry_run(retention: Retention) -> int:
    return retention.trim("a", KEEP_10, dry_run=True).checkpoints_deleted


def plan(retention: Retention) -> int:
    return sum(not c.kept for c in retention.plan("a", KEEP_10).checkpoints)


@pytest.mark.parametrize("act", [trim, dry_run, plan])
def test_nothing_is_searched_for(
    redis_stack: Server,
    stack: redis.Redis,
    thread: list[str],
    act: Callable[[Retention], int],
) -> None:
    with monitored(redis_stack) as commands:
        assert act(Retention(stack)) == 26
        sent = commands()

    assert sent[0] == "GET"
    assert set(sent[1:]) == {"EVALSHA"}


async def test_nothing_is_searched_for_without_blocking(
    redis_stack: Server, thread: list[str]
) -> None:
    async with redis.asyncio.Redis.from_url(redis_stack.url) as client:
        await client.ping()
        with monitored(redis_stack) as commands:
            result = await AsyncRetention(client).trim("a", KEEP_10)
            assert commands() == ["GET", "EVALSHA"]
    assert result.checkpoints_deleted == 26


def test_it_is_asked_once_for_several_threads(
    redis_stack: Server, stack: redis.Redis, thread: list[str]
) -> None:
    track(stack, "b", fill_fast(stack, "b", 12))
    with monitored(redis_stack) as commands:
        assert Retention(stack).trim(["a", "b"], KEEP_10).checkpoints_deleted == 28
        assert commands() == ["GET", "EVALSHA", "EVALSHA"]


def test_a_thread_whose_index_is_gone_is_searched_for(
    redis_stack: Server, stack: redis.Redis, thread: list[str]
) -> None:
    for act in (dry_run, plan, trim):
        stack.delete(Engine().index_key(b"a"))
        with monitored(redis_stack) as commands:
            assert act(Retention(stack)) == 26
            assert "FT.AGGREGATE" in commands()


def test_what_has_just_been_put_counts_a_moment_later(
    stack: redis.Redis, thread: list[str]
) -> None:
    """The one thing that can be seen of it."""
    [newest] = fill_fast(stack, "a", ids(1, newest_age=0), parent=thread[-1])

    assert Retention(stack).trim("a", KEEP_10).checkpoints_kept == 10
    assert stack.exists(DEFAULT.document("a", "", newest)) == 1
    track(stack, "a", [newest])
    assert Retention(stack).trim("a", KEEP_10).checkpoints_deleted == 1


# --- who says it, and of what -------------------------------------------------------------------


def test_it_is_said_of_one_saver_below_one_prefix(stack: redis.Redis, thread: list[str]) -> None:
    assert is_said(stack)
    assert not is_said(stack, Engine(prefix="other:"))
    assert not is_said(stack, Engine(LangGraphRedis("other", "other_write")))


def test_it_ends_by_itself(stack: redis.Redis, thread: list[str]) -> None:
    assert 0 < stack.pttl(KEY) <= 30_000


def test_a_user_who_may_not_read_it_searches(
    redis_stack: Server, stack: redis.Redis, thread: list[str]
) -> None:
    words = "on nopass ~* &* +@all -get"
    acl: Any = stack.execute_command
    acl("ACL", "SETUSER", "reader", *words.split())
    url = redis_stack.url.replace("redis://", "redis://reader:any@")
    with redis.Redis.from_url(url) as client:
        assert not is_said(client)


def test_what_is_somebody_elses_says_nothing(stack: redis.Redis) -> None:
    stack.hset(KEY, "of", "others")

    assert not is_said(stack)


def test_of_two_services_each_takes_back_its_own_word(
    stack: redis.Redis, certain: Completeness
) -> None:
    other = Completeness(ENGINE)
    other.listen()
    Transport(stack).run(other.during(Sweeper(ENGINE, []).sweep()))
    assert say(stack, certain)
    assert say(stack, other)

    Transport(stack).run(certain.withdraw())

    assert is_said(stack)
    Transport(stack).run(other.withdraw())
    assert not is_said(stack)


# --- doubts -------------------------------------------------------------------------------------


def swept() -> Operation[SweepResult]:
    yield from ()
    return SweepResult(indexed={ENGINE})


def after(client: redis.Redis, *what: Callable[[Completeness], Any]) -> bool:
    """Whether a service says so to which this has happened, one after the other."""
    found = Completeness(ENGINE)
    for one in what:
        one(found)
    say(client, found)
    return is_said(client)


def sweep(found: Completeness) -> None:
    list(found.during(swept()))


def doubt_during_a_sweep(found: Completeness) -> None:
    def sweeping() -> Operation[SweepResult]:
        found.doubt()
        return (yield from swept())

    list(found.during(sweeping()))


LISTEN, DOUBT, STOP = Completeness.listen, Completeness.doubt, Completeness.stop_listening


@pytest.mark.parametrize(
    ("certain", "what"),
    [
        (True, (LISTEN, sweep)),
        (True, (LISTEN, DOUBT, sweep, LISTEN)),
        (True, (LISTEN, sweep, STOP, LISTEN, sweep)),
        (False, (LISTEN,)),
        (False, (sweep,)),
        (False, (sweep, LISTEN)),
        (False, (LISTEN, sweep, DOUBT)),
        (False, (LISTEN, sweep, STOP)),
        (False, (LISTEN, sweep, STOP, LISTEN)),
        (False, (LISTEN, STOP, sweep, LISTEN)),
        (False, (LISTEN, doubt_during_a_sweep)),
    ],
)
def test_a_service_is_certain_that_has_missed_nothing_since_a_sweep_began(
    stack: redis.Redis, certain: bool, what: tuple[Callable[[Completeness], Any], ...]
) -> None:
    assert after(stack, *what) == certain


def test_a_sweep_that_was_refused_something_makes_nothing_certain(stack: redis.Redis) -> None:
    fill_fast(stack, "a", 3)
    stack.set(ENGINE.index_key(b"a"), "somebody else's")
    found = Completeness(ENGINE)
    found.listen()

    result = Transport(stack).run(found.during(Sweeper(ENGINE, []).sweep()))

    assert set(result.refused) == {b"a"}
    assert not found.certain


def test_a_doubt_takes_the_key_away(stack: redis.Redis, certain: Completeness) -> None:
    assert say(stack, certain)
    certain.doubt()

    assert say(stack, certain)

    assert not is_said(stack)


def test_where_the_key_was_deleted_indexes_may_have_been_too(
    stack: redis.Redis, certain: Completeness
) -> None:
    assert say(stack, certain)
    stack.delete(KEY)

    assert not say(stack, certain)

    assert not certain.certain
    assert not is_said(stack)


def test_it_is_not_said_where_the_server_may_evict_indexes(
    started: Callable[..., Server],
) -> None:
    with started(config={"maxmemory": "1gb"}).client() as client:
        for policy, said in (("allkeys-lru", False), ("volatile-lru", True), ("noeviction", True)):
            client.config_set("maxmemory-policy", policy)
            assert after(client, LISTEN, sweep) == said
