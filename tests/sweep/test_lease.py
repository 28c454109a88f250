"""A sweep that is alone: it holds the lease of the daemons, and gives it back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from redis_retention import LeaseTaken, Policy, Retention, RetentionError, Stopped, lease
from redis_retention.engine import Engine
from redis_retention.layouts import LangGraphRedis
from redis_retention.lease import Lease
from redis_retention.sans_io import Operation, Sleep, command
from redis_retention.sources.sweep import Progress
from redis_retention.transport import Transport
from tests.cli.conftest import documents, fill

LEASE = "retention:lease:sweep:checkpoint"


@pytest.fixture
def retention(stack: redis.Redis) -> Retention:
    return Retention(stack)


def at_progress(do: Callable[[], object]) -> Callable[[Progress], None]:
    """Does something while a sweep is under way."""

    def progress(_: Progress) -> None:
        do()

    return progress


def test_it_holds_the_lease_while_it_sweeps(stack: redis.Redis, retention: Retention) -> None:
    fill(stack, "a", 5)
    held = []
    look = at_progress(lambda: held.append(stack.pttl(LEASE)))
    result = retention.sweep(Policy(keep_last=2), alone=True, progress=look)
    assert result.checkpoints_deleted == 3
    assert held
    assert all(0 < milliseconds <= 30_000 for milliseconds in held)
    assert not stack.exists(LEASE)


def test_two_are_never_alone(stack: redis.Redis, retention: Retention) -> None:
    fill(stack, "a", 5)

    def second() -> None:
        with pytest.raises(LeaseTaken, match="somebody else is sweeping"):
            Retention(stack).sweep(Policy(keep_last=1), alone=True)

    result = retention.sweep(Policy(keep_last=2), alone=True, progress=at_progress(second))
    assert result.checkpoints_kept == len(documents(stack, "a")) == 2


def test_a_sweep_that_cannot_begin_gives_it_back(stack: redis.Redis, retention: Retention) -> None:
    with pytest.raises(RetentionError, match="no policy given"):
        retention.sweep(alone=True)
    assert not stack.exists(LEASE)


def test_a_sweep_can_be_stopped_between_two_requests(
    stack: redis.Redis, retention: Retention
) -> None:
    for thread in "abc":
        fill(stack, thread, 5)
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Stopped):
        retention.sweep(Policy(keep_last=2), alone=True, stopped=stopped)
    assert asked == 4
    assert not stack.exists(LEASE)
    retention.sweep(Policy(keep_last=2))
    assert [len(documents(stack, thread)) for thread in "abc"] == [2, 2, 2]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Lease:
    """A lease of 300 ms."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.3)
    return Lease(Engine(LangGraphRedis("checkpoint", "checkpoint_write")))


def test_it_is_renewed_through_a_long_rest(stack: redis.Redis, short: Lease) -> None:
    def rest() -> Operation[int]:
        yield Sleep(1.0)
        return int((yield from command("PTTL", LEASE)))

    assert 0 < Transport(stack).run(short.during(rest())) <= 300
    assert not stack.exists(LEASE)


def test_who_has_lost_it_stops_and_leaves_it_to_the_other(stack: redis.Redis, short: Lease) -> None:
    done = []

    def lose() -> Operation[None]:
        yield from command("SET", LEASE, "somebody else")
        yield Sleep(0.2)
        done.append("went on")

    with pytest.raises(Stopped, match="the lease was lost"):
        Transport(stack).run(short.during(lose()))
    assert done == []
    assert stack.get(LEASE) == b"somebody else"
