"""Fixtures of the model's tests."""

from __future__ import annotations

from collections.abc import Iterator

import fakeredis
import pytest
import redis


@pytest.fixture
def fake() -> Iterator[redis.Redis]:
    with fakeredis.FakeRedis(server=fakeredis.FakeServer()) as client:
        yield client
