"""The daemon serves all storage formats that there are, and begins with one when it appears."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from redis_retention.layouts.names import AUTO
from redis_retention.served import Served
from redis_retention.sources.keyspace import Listener
from tests.daemon.service import Service, eventually
from tests.daemon.test_metrics import get
from tests.layouts.formats import FORMATS, HOSTILE, Format, keys
from tests.servers.start import Server

NAMED = [one for one in FORMATS if isinstance(one.layout, str)]
POLICY = ("--keep-last", "2", "--trigger", "4", "--grace", "0s")
PYTHON, JS, GO, ZSET, PLAIN = NAMED


def left(client: redis.Redis, one: Format, thread: str, added: list[frozenset[bytes]]) -> int:
    """How many checkpoints a thread has that was written with these keys."""
    for name in one.lists(thread):
        return int(client.zcard(name))
    documents = {key for key in keys(client) if key.startswith(b"checkpoint:")}
    return sum(not of_checkpoint.isdisjoint(documents) for of_checkpoint in added)


def trims(client: redis.Redis, one: Format, thread: str, checkpoints: int) -> None:
    """Write a thread that crosses its trigger, and wait until it is trimmed."""
    added = one.fill(client, thread, checkpoints)
    eventually(lambda: left(client, one, thread, added) <= 4)


def notified(client: redis.Redis) -> str:
    """The letters of the events that the server reports."""
    return str(client.config_get("notify-keyspace-events")["notify-keyspace-events"])


def test_all_that_there_are_are_swept_and_listened_to(
    redis_stack: Server, stack: redis.Redis, service: Callable[..., Service]
) -> None:
    before = {one.title: one.fill(stack, "old", 5) for one in NAMED}
    running = service(redis_stack, *POLICY)
    running.wait_for("swept")
    for one in NAMED:
        assert left(stack, one, "old", before[one.title]) == 2
    running.wait_for("ready")
    for one in NAMED:
        trims(stack, one, "new", 6)
    assert running.stop() == 0


@pytest.mark.parametrize("served", [*NAMED, None], ids=[*(one.title for one in NAMED), AUTO])
def test_a_listener_deletes_what_is_of_its_formats_alone(
    redis_stack: Server, stack: redis.Redis, service: Callable[..., Service], served: Format | None
) -> None:
    # What is there already tells which formats there are.
    for one in NAMED:
        one.fill(stack, "old", 2)
    layout = served.title if served else AUTO
    running = service(redis_stack, *POLICY, "--layout", layout, command="listen")
    running.wait_for("ready")
    written = {
        (one, thread): one.fill(stack, thread, 5)
        for thread in HOSTILE
        for one in NAMED
        if not one.refuses(thread)
    }
    trimmed = {of for of in written if served in (of[0], None)}

    eventually(lambda: all(left(stack, *of, written[of]) == 2 for of in trimmed))
    assert running.stop() == 0

    remaining = keys(stack)
    old: set[bytes] = set()
    others: set[bytes] = set()
    for of, added in written.items():
        one, thread = of
        first, last = (added[:-2], added[-2:]) if of in trimmed else ([], added)
        old.update(*first)
        others.update(*last, one.lists(thread))
        assert left(stack, one, thread, added) == (2 if of in trimmed else 5)
    assert others <= remaining
    # A pointer came with the first checkpoint; blobs are left to sweeps.
    assert {
        key
        for key in old & remaining
        if not key.startswith((b"checkpoint_latest:", b"checkpoint_blob:", b"lg:blob:"))
    } == set()


def test_one_that_appears_is_served_from_the_next_sweep_on(
    redis_stack: Server, stack: redis.Redis, service: Callable[..., Service]
) -> None:
    stack.config_set("notify-keyspace-events", "")
    PYTHON.fill(stack, "a", 2)
    running = service(redis_stack, *POLICY, "--sweep-every", "1s")
    running.wait_for("swept")
    assert "z" not in notified(stack)
    added = ZSET.fill(stack, "a", 6)
    eventually(lambda: left(stack, ZSET, "a", added) == 2)
    running.wait_for("switched on notifications", 2)
    assert "z" in notified(stack)


def test_metrics_name_the_layouts(
    redis_stack: Server, stack: redis.Redis, service: Callable[..., Service]
) -> None:
    for one in (PYTHON, ZSET):
        one.fill(stack, "a", 5)
    running = service(redis_stack, *POLICY, "--metrics-port", "0")
    running.wait_for("swept")
    _, text = get(running.wait_for("serving metrics")["port"], "/metrics")
    for one in (PYTHON, ZSET):
        name = f'redis_retention_checkpoints_deleted_total{{layout="{one.title}"}}'
        assert f"{name} 3.0" in text
    assert JS.title not in text


@pytest.mark.parametrize(
    ("key", "event", "titles"),
    [
        ("checkpoint:a:__empty__:1f1ea77b-9d22-6728-8000-f170cacf9122", "json.set", [PYTHON.title]),
        ("checkpoint:a::1f1ea77b-9d22-6728-8000-f170cacf9122", "json.set", [JS.title]),
        ("checkpoint:a:sub:1f1ea77b-9d22-6728-8000-f170cacf9122", "json.set", [PYTHON.title]),
        ("checkpoint:a", "zadd", [ZSET.title]),
        ("langgraph:thread:a:checkpoints", "zadd", [GO.title]),
        ("langgraph:execution:a:checkpoints", "sadd", [GO.title]),
        ("lg:cp:a::1f06cd04-0000-6000-8000-000000000000", "set", [PLAIN.title]),
        ("langgraph:checkpoint:a", "set", []),
        ("checkpoint:a:__empty__:1f1ea77b-9d22-6728-8000-f170cacf9122", "json.merge", []),
    ],
)
async def test_an_event_goes_to_the_layouts_whose_it_can_be(
    key: str, event: str, titles: list[str]
) -> None:
    """Of several to which a name may belong, to those of which something is there."""
    listener = Listener(redis.asyncio.Redis(), Served.chosen(AUTO), ())
    routes = listener.routes.of(key.encode(), event.encode())
    assert [route.engine.layout.name.replace("_", "-") for route, _ in routes] == titles
