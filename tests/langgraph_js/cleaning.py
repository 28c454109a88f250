"""Ways in which threads of LangGraph.js are trimmed in these tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import redis

from redis_retention import Policy
from redis_retention.engine import Engine, Rule
from redis_retention.layouts import LangGraphJs
from redis_retention.sources import one_thread, scan, shared_keys
from redis_retention.sources.sweep import Sweeper
from redis_retention.transport import Transport
from tests.langgraph_js.documents import Line

KEEP_2 = Policy(keep_last=2)
OLD = 9 * 3600.0
"""Seconds: old enough for anything that has no checkpoint."""


def engine(**options: Any) -> Engine:
    return Engine(LangGraphJs(), grace_ms=0, **options)


def trim(client: redis.Redis, policy: Policy = KEEP_2, thread: str = "a") -> int:
    """Trim one thread, as the command does where there is no search; how many keys are gone."""
    transport, name = Transport(client), thread.encode()
    found = transport.run(scan.find(LangGraphJs(), [name]))[name]
    return transport.run(shared_keys.trim(engine(), name, found, policy)).deleted.keys


def dry_run(client: redis.Redis, policy: Policy = KEEP_2, thread: str = "a") -> int:
    """How many keys `trim` would delete."""
    transport, name = Transport(client), thread.encode()
    found = transport.run(scan.find(LangGraphJs(), [name]))[name]
    return transport.run(one_thread.dry_run(engine(), name, found, policy)).deleted.keys


def trim_by_index(client: redis.Redis, policy: Policy = KEEP_2, thread: str = "a") -> int:
    return Transport(client).run(engine().trim(thread.encode(), policy)).deleted.keys


def sweep(client: redis.Redis, policy: Policy = KEEP_2, pattern: str = "*") -> int:
    """Sweep once; how many keys are gone."""
    rule = Rule(b"*", policy)
    sweeper = Sweeper(engine(), [rule], match=pattern.encode())
    return Transport(client).run(sweeper.sweep()).keys_deleted


def line(client: redis.Redis, made: Iterable[str], thread: str = "a", **options: Any) -> Line:
    """A thread of these checkpoints, each of which has written one channel."""
    its = Line(client, thread, **options)
    for checkpoint_id in made:
        its.add(checkpoint_id)
    return its
