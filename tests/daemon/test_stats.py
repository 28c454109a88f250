"""How much there is."""

from __future__ import annotations

import json
from typing import Any

import redis
from click.testing import CliRunner

from redis_retention import Policy, Retention
from redis_retention.cli import main
from tests.daemon.writers import Writer
from tests.servers.start import Server

ALL = Policy(keep_last=1000)
# Samples differ, documents here hardly do.
TOLERANCE = 0.3


def stats(server: Server, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["--url", server.url, "stats", "--json", *options])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_threads_and_checkpoints(server: Server, client: redis.Redis) -> None:
    names = ["a", "a:b", "line\nbreak", "*"]
    for number, name in enumerate(names, 1):
        Writer(server.client(), [name]).write(number * 5)
    Retention(client).trim(names, ALL)
    used = sum(client.memory_usage(key) or 0 for key in saver_keys(client))
    found = stats(server)
    assert (found["threads"], found["checkpoints"]) == (4, 50)
    assert [(one["thread"], one["checkpoints"]) for one in found["largest"]] == [
        ("*", 20),
        ("line\nbreak", 15),
        ("a:b", 10),
        ("a", 5),
    ]
    assert abs(found["bytes"] - used) < TOLERANCE * used
    assert found["bytes_sampled"] == 20
    by_thread = sum(one["bytes"] for one in found["largest"])
    assert abs(by_thread - used) < TOLERANCE * used


def saver_keys(client: redis.Redis) -> list[bytes]:
    prefixes = (b"checkpoint:", b"checkpoint_write:", b"write_keys_zset:")
    return [key for key in client.scan_iter() if key.startswith(prefixes)]


def test_only_the_largest_are_named(redis_stack: Server, stack: redis.Redis) -> None:
    names = [f"{number}" for number in range(30)]
    Writer(redis_stack.client(), names).write(2)
    Writer(redis_stack.client(), ["large"]).write(4)
    Retention(stack).trim([*names, "large"], ALL)
    assert [one["thread"] for one in stats(redis_stack, "--top", "1")["largest"]] == ["large"]
    assert len(stats(redis_stack)["largest"]) == 20
    assert stats(redis_stack, "--top", "0")["largest"] == []


def test_for_people(redis_stack: Server, stack: redis.Redis) -> None:
    def shown() -> str:
        return CliRunner().invoke(main, ["--url", redis_stack.url, "stats"]).stdout

    assert shown().startswith("No thread is indexed")
    Writer(redis_stack.client(), ["a"]).write(3)
    Retention(stack).trim("a", ALL)
    assert shown().startswith("1 thread, 3 checkpoints, about ")
    assert "estimated from 3 of them" in shown()


def test_another_prefix_has_its_own_numbers(redis_stack: Server, stack: redis.Redis) -> None:
    Writer(redis_stack.client(), ["a"]).write(3)
    Retention(stack).trim("a", ALL)
    result = CliRunner().invoke(
        main, ["--url", redis_stack.url, "--checkpoint-prefix", "other", "stats", "--json"]
    )
    assert json.loads(result.stdout)["threads"] == 0
