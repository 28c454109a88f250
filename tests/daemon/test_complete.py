"""The service says that the indexes are complete, while that is certain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

from tests.daemon.conftest import POLICY
from tests.daemon.service import Service, eventually
from tests.daemon.writers import Writer
from tests.servers.start import Server

KEY = "retention:complete:checkpoint"
OFTEN = (*POLICY, "--check-every", "0.2")


def is_said(client: redis.Redis) -> bool:
    return client.exists(KEY) == 1


def test_it_says_so_after_its_first_sweep_and_ends_with_the_service(
    redis_stack: Server, stack: redis.Redis, service: Callable[..., Service]
) -> None:
    Writer(redis_stack.client(), ["a"]).write(3)
    running = service(redis_stack, *OFTEN)
    running.wait_for("swept")
    eventually(lambda: is_said(stack), running.output)

    assert running.stop() == 0

    assert not is_said(stack)


def test_a_lost_connection_takes_it_away_until_a_sweep_has_made_up_for_it(
    redis_stack: Server, stack: redis.Redis, service: Callable[..., Service]
) -> None:
    running = service(redis_stack, *OFTEN)
    eventually(lambda: is_said(stack), running.output)
    sweeps = len(running.said("swept"))
    token = stack.get(KEY)

    watching: Any = stack.monitor
    with watching() as monitor:
        stack.client_kill_filter(_type="pubsub")
        while (KEY not in (one := monitor.next_command()["command"])) or "EVALSHA" not in one:
            assert not one.startswith(f"SET {KEY}"), "renewed in doubt"

    eventually(lambda: is_said(stack), running.output)
    assert len(running.said("swept")) > sweeps
    assert stack.get(KEY) == token


def test_a_listener_alone_does_not_say_it(
    redis_stack: Server, stack: redis.Redis, service: Callable[..., Service]
) -> None:
    running = service(redis_stack, *OFTEN, command="listen")
    running.wait_for("ready")
    probes = "retention:probe:"
    watching: Any = stack.monitor
    with watching() as monitor:
        for _ in range(3):
            while probes not in (command := monitor.next_command()["command"]):
                assert KEY not in command

    assert not is_said(stack)
