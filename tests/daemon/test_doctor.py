"""What the doctor finds, and what it says to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from redis_retention.cli import main
from tests.servers.start import Server

LIMITED = {"maxmemory": "100mb"}


def doctor(url: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["--url", url, "doctor", *options])


def checks(url: str) -> dict[str, dict[str, Any]]:
    found = json.loads(doctor(url, "--json").stdout)["checks"]
    return {check["name"]: check for check in found}


def test_a_server_on_which_everything_works(server: Server, client: redis.Redis) -> None:
    client.config_set("notify-keyspace-events", "KEA")
    before = client.dbsize()
    result = doctor(server.url)
    assert result.exit_code == 0, result.output
    assert "Everything works." in result.output
    name = "Valkey" if server.name == "valkey-8" else "Redis"
    assert checks(server.url)["server"]["found"].startswith(f"{name} {server.version[:3]}")
    assert client.dbsize() == before
    assert client.config_get("notify-keyspace-events") == {"notify-keyspace-events": "AKE"}


def test_notifications_are_proved_and_not_switched_on(server: Server, client: redis.Redis) -> None:
    client.config_set("notify-keyspace-events", "")
    result = doctor(server.url)
    assert result.exit_code == 1
    for words in ("no event arrived", "redis.conf", "Kdgx"):
        assert words in result.stdout
    assert client.config_get("notify-keyspace-events") == {"notify-keyspace-events": ""}


def test_flags_that_are_enough_for_documents_only(redis_stack: Server, stack: redis.Redis) -> None:
    stack.config_set("notify-keyspace-events", "Kd")
    found = checks(redis_stack.url)
    assert found["events"]["state"] == "fine"
    assert found["notify-keyspace-events"]["state"] == "warning"
    assert "gx" in found["notify-keyspace-events"]["found"]


@pytest.mark.parametrize(
    ("options", "name", "state"),
    [
        ({"modules": ()}, "RedisJSON", "broken"),
        ({"config": LIMITED | {"maxmemory-policy": "allkeys-lru"}}, "eviction", "broken"),
        ({"config": LIMITED | {"maxmemory-policy": "volatile-ttl"}}, "eviction", "warning"),
        ({"config": {"maxmemory": "1mb"}}, "memory", "warning"),
        ({"config": {"rename-command": "UNLINK none"}}, "may: delete", "broken"),
        ({"config": {"rename-command": "CONFIG none"}}, "notify-keyspace-events", "fine"),
    ],
)
def test_what_can_be_wrong(
    started: Callable[..., Server], options: dict[str, Any], name: str, state: str
) -> None:
    found = checks(started("redis-stack", **options).url)[name]
    assert found["state"] == state
    assert bool(found["mend"]) == (state != "fine")


def test_a_replica(started: Callable[..., Server]) -> None:
    primary = started("redis-stack")
    replica = started("redis-stack", replica_of=primary)
    assert checks(replica.url)["role"]["state"] == "broken"


def test_no_server() -> None:
    result = doctor("redis://127.0.0.1:1/0", "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
