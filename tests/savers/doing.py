"""What can be done with threads of a format that needs no other client than a plain one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import redis

from redis_retention import Policy
from redis_retention.engine import Engine, Judged, Rule
from redis_retention.layouts import Layout
from redis_retention.pins import Pins
from redis_retention.sources import scan
from redis_retention.sources.sweep import Sweeper, SweepResult
from redis_retention.stats import Stats, stats
from redis_retention.transport import Transport
from tests.integration import watching
from tests.integration.watching import Snapshot


@dataclass
class Doing:
    """Trims, plans and sweeps with one layout on one server, as the command line does."""

    client: redis.Redis
    layout: Layout
    grace_ms: int = 0
    keys_per_call: int = 200

    def __post_init__(self) -> None:
        options: dict[str, Any] = {"grace_ms": self.grace_ms, "keys_per_call": self.keys_per_call}
        self.engine = Engine(self.layout, **options)
        self.calls = 0
        self._transport = Transport(self.client, self._count_call)
        self.pins = Pins(self.engine)
        self.run = self._transport.run

    def _count_call(self, _script: str, _seconds: float) -> None:
        self.calls += 1

    def trim(self, thread: str, policy: Policy) -> scan.ThreadResult:
        name = self.layout.stored_thread(thread)
        found = self.run(scan.find(self.layout, [name]))[name]
        return self.run(scan.trim(self.engine, name, found, policy))

    def dry_run(self, thread: str, policy: Policy) -> scan.ThreadResult:
        name = self.layout.stored_thread(thread)
        found = self.run(scan.find(self.layout, [name]))[name]
        return self.run(scan.dry_run(self.engine, name, found, policy))

    def plan(self, thread: str, policy: Policy) -> Judged:
        name = self.layout.stored_thread(thread)
        found = self.run(scan.find(self.layout, [name]))[name]
        return self.run(scan.plan(self.engine, name, found, policy))

    def retained(self, thread: str, policy: Policy) -> dict[str, tuple[str, ...]]:
        """The reasons of what a plan retains, by the names of the checkpoints."""
        verdicts = self.plan(thread, policy).verdicts
        return {v.place.checkpoint_id.decode(): v.reasons for v in verdicts if v.reasons}

    def sweep(self, policy: Policy, match: bytes = b"*", trigger: int | None = None) -> SweepResult:
        sweeper = Sweeper(self.engine, [Rule(b"*", policy, trigger)], match=match)
        return self.run(sweeper.sweep())

    def stats(self) -> Stats:
        return self.run(stats(self.engine, top=10))


def snapshot(client: redis.Redis) -> Snapshot:
    """The whole database; a set, which has no order, by its members."""
    plain: Any = client
    found = {}
    for key, (value, expires) in watching.snapshot(client).items():
        members = plain.smembers(key) if plain.type(key) == b"set" else None
        found[key] = (value if members is None else repr(sorted(members)).encode(), expires)
    return found


def own_keys(client: redis.Redis) -> set[bytes]:
    """The keys of ours that there are."""
    return set(client.scan_iter("retention:*", count=1000))


def commands_used(client: redis.Redis) -> set[str]:
    """The commands that the server has worked off since the last CONFIG RESETSTAT."""
    found: Iterable[str] = client.info("commandstats")
    return {name.removeprefix("cmdstat_") for name in found}
