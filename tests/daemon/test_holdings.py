"""`doctor` and `stats` say whose checkpoints a database holds."""

from __future__ import annotations

import json

import redis
from click.testing import CliRunner

from redis_retention import Policy, Retention
from redis_retention.cli import main
from redis_retention.wording import counted
from tests.layouts.formats import FORMATS
from tests.servers.start import Server

NAMED = [one for one in FORMATS if isinstance(one.layout, str)]


def said(server: Server, *arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(main, ["--url", server.url, *arguments, "--json"])
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_the_doctor_needs_no_index_for_that(redis_stack: Server, stack: redis.Redis) -> None:
    for threads, one in enumerate(NAMED, 1):
        for thread in range(threads):
            one.fill(stack, f"{thread}", 3)
    before = stack.dbsize()
    checks: object = said(redis_stack, "doctor")["checks"]
    assert isinstance(checks, list)
    found = {check["name"]: check["found"] for check in checks}
    for threads, one in enumerate(NAMED, 1):
        start = f"{counted(threads, 'thread')}, {3 * threads} checkpoints, about "
        assert found[f"saver: {one.title}"].startswith(start)
    assert stack.dbsize() == before


def test_it_says_when_there_is_nothing(redis_stack: Server, stack: redis.Redis) -> None:
    stack.set("something", "else")
    checks: object = said(redis_stack, "doctor")["checks"]
    assert isinstance(checks, list)
    assert {check["name"]: check["found"] for check in checks}["savers"] == "no checkpoints"


def test_the_stats_say_how_much_there_is_of_each(redis_stack: Server, stack: redis.Redis) -> None:
    for some in NAMED:
        some.fill(stack, "a", 3)
    Retention(stack).sweep(Policy(keep_last=3))
    layouts = said(redis_stack, "stats")["layouts"]
    assert isinstance(layouts, dict)
    assert set(layouts) == {some.title for some in NAMED}
    for size in layouts.values():
        assert (size["threads"], size["checkpoints"]) == (1, 3)
        assert size["bytes"] > 0
