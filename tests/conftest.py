"""Real servers for the tests, started once each, and flushed before every test."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import cache

import hypothesis
import pytest
import redis

from redis_retention import Retention
from tests.servers.fetch import ServerUnavailable
from tests.servers.start import Server

# The same random threads every time; `make soak` looks for new ones.
hypothesis.settings.register_profile("suite", deadline=None, max_examples=60, derandomize=True)
hypothesis.settings.load_profile("suite")

# A shell that runs the tests in the background lets them ignore it, and so each program they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

_CRASH_REPORT_LINES = 300
WITH_MODULES = ("redis-stack", "redis-8", "valkey-8")


@cache
def _started(name: str) -> Server:
    return Server(name).start()


def real_server(name: str) -> Server:
    """The running server of that name; skips the test where there is none, except in CI."""
    try:
        return _started(name)
    except ServerUnavailable as unavailable:
        if os.environ.get("CI"):
            pytest.fail(f"CI has every server, but {unavailable}")
        pytest.skip(str(unavailable))


@pytest.fixture(params=WITH_MODULES)
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the servers that have RediSearch and RedisJSON, one after the other."""
    return real_server(request.param)


@pytest.fixture
def redis_stack() -> Server:
    """One server with RediSearch and RedisJSON, where one proves it."""
    return real_server("redis-stack")


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    """A client of `server`, on an empty database."""
    yield from _flushed(server)


@pytest.fixture
def stack(redis_stack: Server) -> Iterator[redis.Redis]:
    """A client of one server with all modules, on an empty database."""
    yield from _flushed(redis_stack)


@pytest.fixture
def plain_json() -> Iterator[redis.Redis]:
    """A client of a Redis 7.0 that has RedisJSON and no RediSearch, on an empty database."""
    yield from _flushed(real_server("redis-7.0"))


@pytest.fixture
def retention(client: redis.Redis) -> Retention:
    return Retention(client)


@pytest.fixture
def started() -> Iterator[Callable[..., Server]]:
    """Starts servers that a test may stop, fill up or misconfigure, and closes them after it."""
    servers: list[Server] = []

    def start(name: str = "redis-stack", **options: object) -> Server:
        real_server(name)
        servers.append(Server(name, **options).start())  # type: ignore[arg-type]
        return servers[-1]

    yield start
    for one in reversed(servers):
        one.close()


def _flushed(server: Server) -> Iterator[redis.Redis]:
    with server.client(socket_timeout=60) as client:
        client.flushall()
        yield client
    if not server.running:
        end = server.log_end(_CRASH_REPORT_LINES)
        # The next tests need not pay for it.
        server.restart()
        pytest.fail(f"{server.name} has died in this test. {end}")
