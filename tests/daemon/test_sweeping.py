"""When to sweep, and by whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone

import pytest
import redis
import redis.asyncio

from redis_retention import lease
from redis_retention.activity import Activity
from redis_retention.engine import Engine
from redis_retention.sans_io import Operation, command
from redis_retention.service import sweeping
from redis_retention.service.schedule import Schedule
from redis_retention.service.sweeping import SharedSweeper, utc_now
from redis_retention.sources.sweep import SweepResult
from tests.daemon.proxy import Proxy
from tests.daemon.service import PATIENCE, eventually
from tests.servers.start import Server

NEVER = Schedule()
LEASE = "retention:lease:sweep:checkpoint"
SWEPT = "retention:swept:checkpoint"


class Sweeps:
    """Pretends to sweep, and notes when."""

    def __init__(self, calls: int = 1, error: Exception | None = None) -> None:
        self.running = self.most = self.done = 0
        self._calls = calls
        self._error = error

    def sweep(self) -> Operation[SweepResult]:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(self._calls):
                yield from command("PING")
            error, self._error = self._error, None
            if error is not None:
                raise error
        finally:
            self.running -= 1
        self.done += 1
        return SweepResult(threads=7)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "_LOOK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(sweeping, "_LOOK_AT_CLOCK_SECONDS", 0.05)
    monkeypatch.setattr(sweeping, "_SHORTEST_REST_SECONDS", 0.05)
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)


@asynccontextmanager
async def sweeper(
    server: Server | Proxy,
    sweeps: Sweeps,
    schedule: Schedule = NEVER,
    clock: Callable[[], datetime] | None = None,
    activity: Activity | None = None,
) -> AsyncIterator[SharedSweeper]:
    client = redis.asyncio.Redis.from_url(server.url)
    made = SharedSweeper(
        client, Engine(), sweeps.sweep, schedule, activity or Activity(), clock or utc_now
    )
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        made.stop()
        await asyncio.wait_for(running, PATIENCE)
        await client.aclose()


async def until(fulfilled: Callable[[], bool]) -> None:
    await asyncio.to_thread(eventually, fulfilled)


async def done(sweeps: Sweeps, times: int) -> None:
    await until(lambda: sweeps.done >= times)


async def test_it_sweeps_when_asked(redis_stack: Server, stack: redis.Redis) -> None:
    sweeps = Sweeps()
    async with sweeper(redis_stack, sweeps) as made:
        await asyncio.sleep(0.2)
        assert sweeps.done == 0
        made.ask("a test")
        await done(sweeps, 1)
        made.ask("another test")
        await done(sweeps, 2)
    assert not stack.exists(LEASE)


async def test_it_sweeps_when_it_is_due(redis_stack: Server, stack: redis.Redis) -> None:
    sweeps = Sweeps()
    async with sweeper(redis_stack, sweeps, Schedule(every=timedelta(seconds=0.1))):
        await done(sweeps, 3)


async def test_two_sweep_one_at_a_time_and_no_more_often_than_one(
    redis_stack: Server, stack: redis.Redis
) -> None:
    sweeps = Sweeps(calls=50)
    schedule = Schedule(every=timedelta(hours=1))
    async with sweeper(redis_stack, sweeps, schedule), sweeper(redis_stack, sweeps, schedule):
        await done(sweeps, 1)
        await asyncio.sleep(0.3)
    assert (sweeps.most, sweeps.done) == (1, 1)


async def test_a_lease_survives_no_death_of_its_holder(
    redis_stack: Server, stack: redis.Redis
) -> None:
    stack.set(LEASE, "somebody who was killed", px=500)
    sweeps = Sweeps()
    async with sweeper(redis_stack, sweeps) as made:
        made.ask("a test")
        await asyncio.sleep(0.2)
        assert sweeps.done == 0
        await done(sweeps, 1)


async def test_a_lease_is_renewed_during_a_long_sweep(
    redis_stack: Server, stack: redis.Redis
) -> None:
    sweeps = Sweeps(calls=1_000_000)
    async with sweeper(redis_stack, sweeps) as made:
        made.ask("a test")
        for _ in range(15):
            await asyncio.sleep(0.1)
            assert sweeps.running == 1
        assert stack.pttl(LEASE) > 0


async def test_who_loses_the_lease_stops(redis_stack: Server, stack: redis.Redis) -> None:
    sweeps = Sweeps(calls=1_000_000)
    async with sweeper(redis_stack, sweeps) as made:
        made.ask("a test")
        await until(lambda: sweeps.running == 1)
        stack.set(LEASE, "somebody else", px=60_000)
        await until(lambda: not sweeps.running)
    assert stack.get(LEASE) == b"somebody else"


async def test_a_sweep_that_fails_is_done_again(redis_stack: Server, stack: redis.Redis) -> None:
    sweeps = Sweeps(error=redis.ResponseError("LOADING"))
    async with sweeper(redis_stack, sweeps) as made:
        made.ask("a test")
        await done(sweeps, 1)


async def test_it_follows_a_primary_that_was_demoted_and_kept_its_connections(
    redis_stack: Server, stack: redis.Redis
) -> None:
    sweeps = Sweeps()
    with (
        Server(redis_stack.name, replica_of=redis_stack) as promoted,
        promoted.client() as primary,
        Proxy(redis_stack.port) as proxy,
    ):
        async with sweeper(proxy, sweeps) as made:
            try:
                made.ask("a test")
                await done(sweeps, 1)
                primary.replicaof("NO", "ONE")
                proxy.move(promoted.port)
                stack.replicaof("127.0.0.1", str(promoted.port))
                made.ask("another test")
                await done(sweeps, 2)
                assert made._activity.errors["ReadOnlyError"] >= 1
            finally:
                stack.replicaof("NO", "ONE")


class Clock:
    """A clock that is set by hand."""

    def __init__(self, time: str) -> None:
        self.now = datetime.fromisoformat(time)

    def __call__(self) -> datetime:
        return self.now


async def test_it_sweeps_at_the_time_of_day(redis_stack: Server, stack: redis.Redis) -> None:
    sweeps, clock = Sweeps(), Clock("2026-01-01T01:59:00+00:00")
    activity = Activity()
    async with sweeper(redis_stack, sweeps, Schedule(at=["02:00"]), clock, activity):
        two = datetime(2026, 1, 1, 2, tzinfo=timezone.utc).timestamp()
        await until(lambda: activity.sweep_next == two)
        assert sweeps.done == 0
        clock.now += timedelta(minutes=1)
        await done(sweeps, 1)
        await until(lambda: activity.sweep_next == two + 86_400)


async def test_each_time_is_one_sweep_for_several_daemons(
    redis_stack: Server, stack: redis.Redis
) -> None:
    first, second = Sweeps(), Sweeps()
    early, late = Clock("2026-01-01T01:59:00+00:00"), Clock("2026-01-01T01:59:00+00:00")
    at_two = Schedule(at=["02:00"])
    activity = Activity()
    async with (
        sweeper(redis_stack, first, at_two, early),
        sweeper(redis_stack, second, at_two, late, activity),
    ):
        early.now += timedelta(minutes=1)
        await done(first, 1)
        late.now += timedelta(minutes=1)
        tomorrow = datetime(2026, 1, 2, 2, tzinfo=timezone.utc).timestamp()
        await until(lambda: activity.sweep_next == tomorrow)
    assert second.done == 0


async def test_times_that_follow_closely_are_a_sweep_each(
    redis_stack: Server, stack: redis.Redis
) -> None:
    sweeps, clock = Sweeps(), Clock("2026-01-01T00:00:30+00:00")
    server_ms = int(stack.time()[0]) * 1000
    stack.set(SWEPT, server_ms - 59_000)
    async with sweeper(redis_stack, sweeps, Schedule(at=["* * * * *"]), clock):
        clock.now += timedelta(seconds=30)
        await done(sweeps, 1)


async def test_what_is_asked_for_while_the_server_is_away_is_done_later(
    redis_stack: Server, stack: redis.Redis
) -> None:
    sweeps = Sweeps()
    async with sweeper(redis_stack, sweeps) as made:
        stack.config_set("maxclients", 1)
        try:
            stack.client_kill_filter(_type="normal", skipme=True)
            made.ask("a test")
            await until(lambda: bool(made._activity.errors))
        finally:
            stack.config_set("maxclients", 10_000)
        await done(sweeps, 1)
