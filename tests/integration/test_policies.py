"""The rules that say what to keep, where a server has to answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import redis

from redis_retention import Policy, Retention
from tests.model.threads import PutCheckpoint, timeless_id_at, ulid_at, uuid6_at, write_to

HOUR = 3600.0


def kept(client: redis.Redis, thread: str, policy: Policy) -> list[tuple[str, tuple[str, ...]]]:
    plan = Retention(client).plan(thread, policy)
    return [(c.checkpoint_id, c.reasons) for c in plan.checkpoints if c.kept]


@pytest.mark.parametrize("make", [uuid6_at, ulid_at, timeless_id_at])
def test_the_age_of_a_checkpoint_is_that_of_its_id_or_else_of_its_put(
    stack: redis.Redis, make: object
) -> None:
    seconds, _ = redis.Redis.time(stack)
    ids = [make(seconds - hours * HOUR, 1) for hours in (50, 30, 20, 2)]  # type: ignore[operator]
    puts = [
        PutCheckpoint("", name, parent=parent, stored_at=seconds - hours * HOUR)
        for name, parent, hours in zip(ids, ["", *ids[:-1]], (50, 30, 20, 2), strict=True)
    ]
    write_to(stack, "a", puts)

    found = kept(stack, "a", Policy(keep_within=timedelta(hours=24)))

    assert found == [(ids[2], ("within",)), (ids[3], ("last", "latest"))]


def test_a_run_of_durability_exit_is_one_checkpoint(stack: redis.Redis) -> None:
    ids = [uuid6_at(1_750_000_000 + n) for n in range(5)]
    steps = [2, 6, 10, 14, 18]
    parents = ["", *ids]
    puts = [
        PutCheckpoint("", name, parent, step=step)
        for name, parent, step in zip(ids, parents, steps, strict=False)
    ]
    write_to(stack, "a", puts)

    found = kept(stack, "a", Policy(keep_runs=3))

    assert [name for name, _ in found] == ids[2:]


def test_the_ends_of_runs_are_retained_through_many_trims(stack: redis.Redis) -> None:
    retention = Retention(stack)
    ends: list[str] = []
    parent, step = "", -1
    for run in range(6):
        for n in range(4):
            name = uuid6_at(1_750_000_000 + run * 10 + n)
            source = "input" if n == 0 else "loop"
            write_to(stack, "a", [PutCheckpoint("", name, parent, source=source, step=step)])
            parent, step = name, step + 1
        ends.append(parent)
        retention.trim("a", Policy(keep_runs=3), indexed_only=run % 2 == 1)
        retention.trim("a", Policy(keep_runs=3))

    assert [name for name, _ in kept(stack, "a", Policy(keep_runs=3))] == ends[-3:]


def line(ns: str, ids: Sequence[str]) -> list[PutCheckpoint]:
    """Checkpoints each of which is the parent of the next."""
    return [PutCheckpoint(ns, name, parent) for parent, name in zip(["", *ids], ids, strict=False)]


def test_a_pinned_checkpoint_is_retained_until_it_is_unpinned(stack: redis.Redis) -> None:
    ids = [uuid6_at(1_750_000_000 + n) for n in range(5)]
    write_to(stack, "a", line("", ids))
    retention = Retention(stack)
    retention.pin("a", ids[1], note="before the refund")

    retention.trim("a", Policy(keep_last=1))
    assert [name for name, _ in kept(stack, "a", Policy(keep_last=1))] == [ids[1], ids[4]]

    retention.unpin("a", ids[1])
    retention.trim("a", Policy(keep_last=1))
    assert [name for name, _ in kept(stack, "a", Policy(keep_last=1))] == [ids[4]]


def test_a_pin_in_a_subgraph_called_all_is_no_pin_of_the_thread(stack: redis.Redis) -> None:
    ids = [uuid6_at(1_750_000_000 + n) for n in range(4)]
    write_to(stack, "a", [*line("", ids), *line("all", ids)])
    retention = Retention(stack)
    retention.pin("a", ids[1], namespace="all")

    retention.trim("a", Policy(keep_last=1))

    left = retention.plan("a", Policy(keep_last=1)).checkpoints
    assert [(c.namespace, c.checkpoint_id) for c in left] == [
        ("", ids[3]),
        ("all", ids[1]),
        ("all", ids[3]),
    ]


def test_more_pins_than_a_call_reads_retain_the_whole_thread(stack: redis.Redis) -> None:
    ids = [uuid6_at(1_750_000_000 + n) for n in range(5)]
    write_to(stack, "a", line("", ids))
    pins: Any = {f"\0{uuid6_at(1_700_000_000 + n)}": "" for n in range(2_001)}
    stack.hset("retention:pins:checkpoint:a", mapping=pins)
    retention = Retention(stack)

    assert retention.trim("a", Policy(keep_last=1)).checkpoints_deleted == 0

    retention.unpin("a", uuid6_at(1_700_000_000))
    assert retention.trim("a", Policy(keep_last=1)).checkpoints_deleted == 4


def test_a_pinned_thread_is_retained_whole(stack: redis.Redis) -> None:
    write_to(stack, "a", [PutCheckpoint("", uuid6_at(1_750_000_000 + n)) for n in range(5)])
    retention = Retention(stack)
    retention.pin("a")
    assert retention.trim("a", Policy(keep_last=1)).checkpoints_deleted == 0
