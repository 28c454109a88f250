"""What the process remembers of how much there was, and of what was trimmed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
import redis
import redis.asyncio

from redis_retention import Policy, Retention
from redis_retention.activity import Trim
from redis_retention.http import history as module
from redis_retention.http.backend import Backend
from redis_retention.http.history import History
from tests.cli.conftest import fill
from tests.servers.start import Server

BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Clock:
    """A clock that is set by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def history(async_client: Any, clock: Clock) -> History:
    return History(Backend(async_client), clock, clock.now)


async def test_a_sample_says_how_much_there_is(
    history: History, stack: redis.Redis, clock: Clock
) -> None:
    fill(stack, "a", 5)
    fill(stack, "b", 3)
    Retention(stack).sweep(Policy(keep_last=100))
    await history.sample()
    [sample] = history.body()["samples"]
    assert (sample["checkpoints"], sample["threads"]) == (8, 2)
    assert sample["time"] == "2026-01-01T00:00:00.000+00:00"
    # A server gives back what an earlier test has used when it comes to it.
    used = int(stack.info("memory")["used_memory"])
    assert used / 2 < sample["memory"] < 2 * used


async def test_it_looks_no_more_often_than_needed(history: History, clock: Clock) -> None:
    for clock.seconds in (0.0, 1.0, 8.0, 10.0, 11.0, 20.0):
        await history.sample()
    times = [sample["time"][17:19] for sample in history.body()["samples"]]
    assert times == ["00", "10", "20"]


async def test_counting_takes_no_more_than_its_share(
    history: History, stack: redis.Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = history._backend.retention.stats

    async def slow(*arguments: Any) -> Any:
        clock.seconds += 1.0
        return await count(*arguments)

    monkeypatch.setattr(history._backend.retention, "stats", slow)
    await history.sample()
    fill(stack, "a", 5)
    Retention(stack).sweep(Policy(keep_last=100))
    for clock.seconds, threads in ((50.0, 0), (100.5, 0), (101.5 + 10, 1)):
        await history.sample()
        assert history.body()["samples"][-1]["threads"] == threads


async def test_what_is_older_than_an_hour_is_remembered_less_often(
    history: History, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def memory() -> int:
        return 1

    monkeypatch.setattr(history._backend, "memory", memory)
    history._count_at = float("inf")
    for step in range(3 * 360):
        clock.seconds = step * 10.0
        await history.sample()
    seconds = [
        (datetime.fromisoformat(sample["time"]) - BEGAN).total_seconds()
        for sample in history.body()["samples"]
    ]
    assert seconds == sorted(seconds)
    assert seconds[:12] == [600.0 * number for number in range(12)]
    assert seconds[-360:] == [10.0 * number for number in range(720, 1080)]
    assert len(seconds) == 12 + 360


def test_trims_are_remembered_within_a_bound(history: History, clock: Clock) -> None:
    for number in range(module.TRIMS + 10):
        clock.seconds = float(number)
        history.note(Trim("listener", b"b/\xff", 1, number, 3 * number, 0))
    trims = history.body()["trims"]
    assert len(trims) == module.TRIMS
    assert trims[-1] == {
        "time": "2026-01-01T00:08:29.000+00:00",
        "thread": "b/\ufffd",
        "encoded": "b%2F%FF",
        "checkpoints": 509,
        "keys": 1527,
        "bytes": None,
        "source": "listener",
    }


async def test_a_server_that_is_away_leaves_a_gap(clock: Clock) -> None:
    async with redis.asyncio.Redis(port=1) as client:
        history = History(Backend(client), clock, clock.now)
        await history.sample()
        assert history.body() == {"samples": [], "trims": []}


async def test_the_primaries_of_a_cluster_count_together(
    started: Callable[..., Server], clock: Clock
) -> None:
    server = started("redis-stack", cluster=True)
    async with redis.asyncio.RedisCluster.from_url(server.url) as client:
        history = History(Backend(client), clock, clock.now)
        await history.sample()
    with redis.RedisCluster.from_url(server.url) as blocking:
        blocked = History(Backend(blocking), clock, clock.now)
        await blocked.sample()
    for told in (history, blocked):
        [sample] = told.body()["samples"]
        assert sample["memory"] > 1_000_000
        assert sample["threads"] == 0


async def test_it_is_served_with_what_requests_have_trimmed(
    serving: Callable[..., httpx.AsyncClient], stack: redis.Redis
) -> None:
    fill(stack, "a/b", 12)
    browser = serving(Policy(keep_last=10))
    assert (await browser.post("/api/cleanup/thread/a%2Fb", json={"dry_run": True})).is_success
    trimmed = (await browser.post("/api/cleanup/thread/a%2Fb")).json()
    told = (await browser.get("/api/history")).json()
    [trim] = told["trims"]
    assert (trim["thread"], trim["encoded"], trim["source"]) == ("a/b", "a%2Fb", "request")
    assert (trim["checkpoints"], trim["keys"]) == (2, trimmed["keys_deleted"])
    assert trim["bytes"] == trimmed["bytes_deleted"] > 0
    assert [sample["checkpoints"] for sample in told["samples"]] == [10]
