"""What can be done with threads of a format that needs no other client than a plain one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import redis

from redis_retention import Policy
from redis_retention.engine import Decision, Engine, Rule
from redis_retention.layouts import Layout
from redis_retention.operations.named import NamedThreads
from redis_retention.operations.pins import Pins
from redis_retention.operations.stats import Stats, stats
from redis_retention.results import EachThread, TrimResult
from redis_retention.sans_io import Operation
from redis_retention.served import Served
from redis_retention.sources.sweep import Sweeper, SweepResult
from redis_retention.transport import Transport
from tests.integration import watching
from tests.integration.watching import Snapshot

T = TypeVar("T")


class Doing:
    """Trims, plans and sweeps with one layout on one server, as the command line does.

    Args:
        client: Of the server.
        layout: The format.
        grace_ms: As of the engine.
        keys_per_call: As of the engine.
        called: Is told after each call of a script.
    """

    def __init__(
        self,
        client: redis.Redis,
        layout: Layout,
        *,
        grace_ms: int = 0,
        keys_per_call: int = 200,
        called: Callable[[], None] = lambda: None,
    ) -> None:
        self.layout = layout
        self.engine = Engine(
            layout, grace_ms=grace_ms, keys_per_call=keys_per_call, max_stall_ms=None
        )
        self.pins = Pins(self.engine)
        self.calls = 0
        self._called = called
        self._named = NamedThreads(Served.of(self.engine), "auto", None)
        self._transport = Transport(client, self._count_call)

    def _count_call(self, _script: str, _seconds: float) -> None:
        self.calls += 1
        self._called()

    def run(self, operation: Operation[T]) -> T:
        return self._transport.run(operation)

    def trim(self, thread: str, policy: Policy, *, dry_run: bool = False) -> TrimResult:
        result = TrimResult(dry_run=dry_run)
        policies = {self.engine: {self.layout.stored_thread(thread): policy}}
        each = {self.engine: EachThread(result, only_one=True)}
        self.run(self._named.trim(policies, each))
        return result

    def plan(self, thread: str, policy: Policy) -> list[Decision]:
        policies = {self.engine: {self.layout.stored_thread(thread): policy}}
        return self.run(self._named.plan(policies))[self.engine].checkpoints

    def reasons(self, thread: str, policy: Policy) -> dict[str, tuple[str, ...]]:
        """The reasons for which a plan retains each checkpoint, by their names."""
        found = self.plan(thread, policy)
        return {one.place.checkpoint_id.decode(): one.reasons for one in found}

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
