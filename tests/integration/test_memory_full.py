"""Retention is needed most when memory is full, and works then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from redis_retention import Policy, Retention
from tests.conftest import WITH_MODULES
from tests.integration.threads import fill_fast, keys_of
from tests.integration.watching import Changes, changes, snapshot
from tests.servers.start import Server

CHECKPOINTS = 1_000
KEEP_10 = Policy(keep_last=10)


@pytest.fixture(params=[*WITH_MODULES, "redis-7.0"])
def full(request: pytest.FixtureRequest, started: Callable[..., Server]) -> Iterator[redis.Redis]:
    """A client of a server that accepts no write any more, with room for none."""
    server = started(request.param, config={"maxmemory-policy": "noeviction"})
    with server.client(socket_timeout=60) as client:
        yield client


def fill_up(client: redis.Redis) -> None:
    client.config_set("maxmemory", used(client) // 2)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        client.set("x", "y")


def used(client: redis.Redis) -> int:
    memory: Any = client.info("memory")
    return int(memory["used_memory"])


def test_an_indexed_thread_is_trimmed(full: redis.Redis) -> None:
    names = fill_fast(full, "a", CHECKPOINTS)
    retention = Retention(full)
    retention.trim("a", Policy(keep_last=CHECKPOINTS))
    before, occupied = snapshot(full), used(full)
    fill_up(full)

    result = retention.trim("a", KEEP_10, indexed_only=True)

    assert changes(before, snapshot(full)) == Changes(gone=keys_of(before, "a", names[:-10]))
    assert result.checkpoints_deleted == CHECKPOINTS - 10
    assert used(full) < occupied - 100 * CHECKPOINTS


def test_a_thread_that_was_never_seen_is_trimmed(full: redis.Redis) -> None:
    names = fill_fast(full, "a", CHECKPOINTS)
    before, occupied = snapshot(full), used(full)
    fill_up(full)

    result = Retention(full).trim("a", KEEP_10)

    assert changes(before, snapshot(full)) == Changes(gone=keys_of(before, "a", names[:-10]))
    assert result.checkpoints_deleted == CHECKPOINTS - 10
    assert used(full) < occupied - 100 * CHECKPOINTS
