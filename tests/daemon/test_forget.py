"""Index entries of checkpoints that are gone, and only those, are taken out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from redis_retention.engine import Engine
from redis_retention.transport import Transport

ENGINE = Engine()
Forget = Callable[..., int]


@pytest.fixture
def forget(stack: redis.Redis) -> Forget:
    def forget(*keys: str) -> int:
        return Transport(stack).run(ENGINE.forget([key.encode() for key in keys]))

    return forget


def put(client: redis.Redis, thread: str, *members: str) -> str:
    key = f"retention:index:checkpoint:{thread}"
    client.zadd(key, dict.fromkeys(members, 0))
    return key


def members(client: redis.Redis, key: str) -> list[str]:
    found: Any = client.zrange(key, 0, -1)
    return [member.decode() for member in found]


def test_every_reading_of_a_name_is_looked_up(stack: redis.Redis, forget: Forget) -> None:
    index = put(stack, "a:b", "s\0001", "sx:y\0002", "sx:y\0003\0002\0v")
    other = put(stack, "a", "s\0001", "sb\0001")
    assert forget("checkpoint:a:b:x:y:2", "checkpoint:a:b:x:y:3", "checkpoint:a:b:x:y:4") == 2
    assert members(stack, index) == ["s\0001"]
    assert forget("checkpoint:a:b:__empty__:1") == 1
    assert not stack.exists(index)
    assert members(stack, other) == ["s\0001", "sb\0001"]


def test_entries_of_what_exists_are_retained(stack: redis.Redis, forget: Forget) -> None:
    index = put(stack, "a", "s\0001")
    stack.set("checkpoint:a:__empty__:1", "there again")
    assert forget("checkpoint:a:__empty__:1") == 0
    assert members(stack, index) == ["s\0001"]


def test_entries_that_remember_keys_to_delete_are_retained(
    stack: redis.Redis, forget: Forget
) -> None:
    index = put(stack, "a", "s\0001", "s\0002", "p2\0sub:1")
    stack.zadd("write_keys_zset:a:__empty__:1", {"checkpoint_write:a:__empty__:1:t:0": 0})
    assert forget("checkpoint:a:__empty__:1", "checkpoint:a:__empty__:2") == 0
    assert len(members(stack, index)) == 3


def test_an_invocation_without_checkpoints_is_no_longer_named(
    stack: redis.Redis, forget: Forget
) -> None:
    index = put(stack, "a", "s\0001", "tsub:1\0002", "tsub:1\0003", "p1\0sub:1", "nsub:1\0001")
    assert forget("checkpoint:a:sub:1:2") == 1
    assert "p1\0sub:1" in members(stack, index)
    assert forget("checkpoint:a:sub:1:3") == 1
    assert members(stack, index) == ["s\0001"]


def test_a_thread_of_which_nothing_is_left_has_no_index(stack: redis.Redis, forget: Forget) -> None:
    index = put(stack, "a", "s\0001", "b1", "x\0002")
    assert forget("checkpoint:a:__empty__:1") == 1
    assert stack.exists(index)
    assert forget("checkpoint:a:__empty__:2") == 1
    assert not stack.exists(index)


def test_names_that_are_none_of_ours(stack: redis.Redis, forget: Forget) -> None:
    assert forget("checkpoint", "checkpoint:", "checkpoint:a", "other:a:b:c", "checkpoint:::") == 0
