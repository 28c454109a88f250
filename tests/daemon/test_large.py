"""Checkpoints that are larger than they should be are counted and named."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from click.testing import CliRunner

from redis_retention import Policy, Retention
from redis_retention.activity import Activity
from redis_retention.cli import main
from redis_retention.engine import Engine
from redis_retention.layouts import LangGraphRedis
from redis_retention.sources.keyspace import Listener
from redis_retention.sources.large import LargeCheckpoints
from redis_retention.transport import Transport
from tests.daemon.service import PATIENCE, Service, eventually
from tests.daemon.test_listener import add
from tests.daemon.test_metrics import samples
from tests.daemon.test_stats import stats
from tests.daemon.writers import Writer, ids
from tests.servers.start import Server

SMALL, LARGE = 100, 1_000_000
"""Below and above what the writer's documents take."""


@asynccontextmanager
async def listening(
    url: str, threshold: int | None, kind: Any = redis.asyncio.Redis
) -> AsyncIterator[Listener]:
    client = kind.from_url(url)
    listener = Listener(client, Engine(), [])
    listener.tracker.large.threshold = threshold
    running = asyncio.create_task(listener.run())
    try:
        await asyncio.wait_for(listener.settled(), PATIENCE)
        yield listener
    finally:
        listener.stop()
        await asyncio.wait_for(running, PATIENCE)
        await client.aclose()


async def write(server: Server, listener: Listener, names: list[str], steps: int) -> None:
    """Let threads grow, and wait until the listener has dealt with that."""
    already = listener.activity.events
    expected = already + steps * len(names)
    await asyncio.to_thread(Writer(server.client(), names).write, steps)

    def dealt_with() -> bool:
        return sum(listener.activity.lag.counts) >= expected

    await asyncio.to_thread(eventually, dealt_with)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        vars(record)["fields"]
        for record in caplog.records
        if record.getMessage() == "a large checkpoint"
    ]


async def test_each_is_counted_and_each_thread_named_once(
    server: Server, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(server.url, SMALL) as listener:
        await write(server, listener, ["a", "b"], 3)
        assert listener.activity.large_checkpoints == 6
    named = lines(caplog)
    assert sorted(line["key"].split(":")[1] for line in named) == ["a", "b"]
    for line in named:
        assert line["bytes"] == client.memory_usage(line["key"])


async def test_in_a_cluster_they_are_counted_too(started: Callable[..., Server]) -> None:
    cluster = started("redis-stack", cluster=True)
    async with listening(cluster.url, SMALL, redis.asyncio.RedisCluster) as listener:
        with cluster.client() as plain:
            for number in range(3):
                for name in ("{a}", "{b}"):
                    add(plain, name, f"{number:03}", parent=f"{number - 1:03}")
        await asyncio.to_thread(eventually, lambda: listener.activity.large_checkpoints == 6)


async def test_what_is_not_above_the_threshold_is_not_counted(
    redis_stack: Server, stack: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(redis_stack.url, LARGE) as listener:
        await write(redis_stack, listener, ["a"], 3)
        assert listener.activity.large_checkpoints == 0
    assert lines(caplog) == []


async def test_without_a_threshold_nothing_is_measured(
    redis_stack: Server, stack: redis.Redis
) -> None:
    stack.config_resetstat()
    async with listening(redis_stack.url, None) as listener:
        await write(redis_stack, listener, ["a"], 3)
    assert not [name for name in stack.info("commandstats") if "memory" in name]


async def test_a_user_who_may_not_measure_still_listens(
    redis_stack: Server, stack: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    everything = {"enabled": True, "nopass": True, "keys": ["*"], "channels": ["*"]}
    stack.acl_setuser("unmeasured", **everything, commands=["+@all", "-memory"])  # type: ignore[arg-type]
    try:
        url = f"redis://unmeasured:any@127.0.0.1:{redis_stack.port}/0"
        async with listening(url, SMALL) as listener:
            await write(redis_stack, listener, ["a", "b"], 3)
            assert listener.activity.large_checkpoints == 0
    finally:
        stack.acl_deluser("unmeasured")
    refusals = [one for one in caplog.records if "the server refuses" in one.getMessage()]
    assert len(refusals) == 1


def test_a_thread_is_named_again_after_a_while(
    redis_stack: Server, stack: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    activity = Activity()
    large = LargeCheckpoints(LangGraphRedis(), activity, clock=lambda: now[0])
    large.threshold = SMALL
    Writer(redis_stack.client(), ["a"]).write(1)
    key = f"checkpoint:a:__empty__:{ids(stack, 'a')[0]}".encode()
    transport = Transport(stack)
    for seconds, named in ((0.0, 1), (599.0, 1), (600.0, 2), (601.0, 2)):
        now[0] = seconds
        transport.run(large.measure([key, b"checkpoint:gone"]))
        assert len(lines(caplog)) == named
    assert activity.large_checkpoints == 4


def test_the_service_tells_of_them_from_the_moment_it_is_told_to(
    redis_stack: Server, stack: redis.Redis, service: Callable[..., Service], tmp_path: Path
) -> None:
    path = tmp_path / "retention.toml"
    path.write_text("keep-last = 5\ntrigger = 100\n")
    running = service(redis_stack, "--config", str(path), "--metrics-port", "0")
    port = running.wait_for("serving metrics")["port"]
    running.wait_for("swept")
    path.write_text(f"keep-last = 5\ntrigger = 100\nwarn-checkpoint-bytes = {SMALL}\n")
    running.send(signal.SIGHUP)
    running.wait_for("reading the configuration again")
    Writer(redis_stack.client(), ["a"]).write(2)
    assert running.wait_for("a large checkpoint")["key"].startswith("checkpoint:a:")
    eventually(lambda: samples(port)["redis_retention_large_checkpoints_total"] == 2)


def test_stats_count_threads_whose_newest_is_large(server: Server, client: redis.Redis) -> None:
    writer = Writer(server.client(), ["a", "b"])
    writer.write(3)
    for number in (1, 2):
        key = f"checkpoint:b:__empty__:{writer.newest('b', number)[0]}"
        client.json().set(key, "$.checkpoint.channel_values.messages", ["x" * LARGE])
    Retention(client).trim(["a", "b"], Policy(keep_last=1000))
    found = stats(server, "--warn-checkpoint-bytes", "500kB")
    assert found["large_checkpoints"] == 1
    [named] = found["largest_checkpoints"]
    assert (named["thread"], named["checkpoint_id"]) == ("b", writer.newest("b", 1)[0])
    assert named["bytes"] == client.memory_usage(f"checkpoint:b:__empty__:{ids(client, 'b')[-1]}")
    assert stats(server, "--warn-checkpoint-bytes", "100B")["large_checkpoints"] == 2
    assert stats(server)["large_checkpoints"] is None


def test_stats_for_people(redis_stack: Server, stack: redis.Redis) -> None:
    Writer(redis_stack.client(), ["a"]).write(3)
    Retention(stack).trim("a", Policy(keep_last=1000))

    def shown(size: str) -> str:
        options = ["--url", redis_stack.url, "stats", "--warn-checkpoint-bytes", size]
        return CliRunner().invoke(main, options).output

    assert "1 thread has a newest checkpoint above 100 bytes." in shown("100")
    assert "0 threads have a newest checkpoint above 1.0 MB." in shown("1MB")


@pytest.mark.parametrize("size", ["", "0", "1 MB", "-1", "1.5MB", "1TB", "many"])
def test_what_is_no_size_is_refused(size: str) -> None:
    result = CliRunner().invoke(main, ["stats", "--warn-checkpoint-bytes", size])
    assert result.exit_code == 2
    assert "is not a size such as 500kB, 1MB or 2MiB" in result.output


@pytest.fixture(autouse=True)
def captured(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "redis_retention")
