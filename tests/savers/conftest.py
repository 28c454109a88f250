"""Servers without any modules, for formats that need none."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import redis

from tests.conftest import real_server
from tests.servers.start import Server

WITHOUT_MODULES = ("redis-7.0", "valkey-8")


@cache
def _started(name: str) -> Server:
    real_server(name)
    return Server(name, modules=()).start()


@pytest.fixture(params=WITHOUT_MODULES)
def bare_server(request: pytest.FixtureRequest) -> Server:
    """A Redis and a Valkey without modules, one after the other."""
    return _started(request.param)


@pytest.fixture
def bare(bare_server: Server) -> Iterator[redis.Redis]:
    """A client of `bare_server`, on an empty database."""
    with bare_server.client(socket_timeout=60) as client:
        client.flushall()
        yield client
