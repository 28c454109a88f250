"""The rules of a service: stored ones and those of its options, read anew while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from redis.exceptions import RedisError

from redis_retention import policies
from redis_retention.activity import Activity
from redis_retention.engine import Rule
from redis_retention.errors import RetentionError
from redis_retention.logs import fields, logger
from redis_retention.policy import Policy
from redis_retention.service.schedule import Schedule
from redis_retention.transport import AsyncTransport

log = logger("daemon")

_READ_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """What to do; may be read anew while the service runs.

    Attributes:
        policy: What to keep of threads for which no stored policy counts.
        trigger: When to trim threads whose rule does not say it.
        schedule: When to sweep; None for the listener alone.
        warn_checkpoint_bytes: Above how many bytes a new checkpoint is counted and named; None
            measures none.
    """

    policy: Policy | None = None
    trigger: int | None = None
    schedule: Schedule | None = field(default_factory=Schedule)
    warn_checkpoint_bytes: int | None = None


def with_options(stored: Sequence[Rule], options: Options) -> list[Rule]:
    """The rules that count: the stored ones, and the given policy in place of the default."""
    rules = policies.with_default(stored, options.policy, options.trigger)
    triggered = [_with_trigger(rule, options.trigger) for rule in rules]
    for rule in triggered:
        policies.check(rule)
    return triggered


def _with_trigger(rule: Rule, trigger: int | None) -> Rule:
    if rule.trigger is not None or trigger is None:
        return rule
    return replace(rule, trigger=max(trigger, rule.policy.keep_last or 0))


class ServiceRules:
    """Reads the rules, from time to time and on request.

    Args:
        transport: Reads the stored policies.
        stored: Where these are.
        options: What counts beside them.
        activity: Where to count what goes wrong.
        use: Is told the rules each time that they were read.

    Attributes:
        options: What counts beside the stored policies.
        current: The rules that count.
    """

    def __init__(
        self,
        transport: AsyncTransport,
        stored: policies.Policies,
        options: Options,
        activity: Activity,
        use: Callable[[Sequence[Rule]], None],
    ) -> None:
        self.options = options
        self.current: list[Rule] = []
        self._transport = transport
        self._stored = stored
        self._activity = activity
        self._use = use
        self._wanted = asyncio.Event()

    def ask(self) -> None:
        """Let `follow` read the rules anew, soon."""
        self._wanted.set()

    def follow_options(self, options: Options) -> None:
        """Let other options count from now on."""
        self.options = options
        self.ask()

    async def follow(self) -> None:
        """Read the rules anew for ever; what cannot be read leaves the old ones in place."""
        while True:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), _READ_SECONDS)
            self._wanted.clear()
            try:
                await self.read()
            except (RedisError, RetentionError, ValueError, OSError) as error:
                self._activity.failed(error)
                log.warning("kept the old policies: %s", error)

    async def read(self) -> None:
        """Read the rules."""
        rules = with_options(await self._transport.run(self._stored.rules()), self.options)
        if rules != self.current and self.current:
            log.info("policies changed", extra=fields(rules=len(rules)))
        if rules != self.current and all(rule.trigger is None for rule in rules):
            log.warning(
                "no policy has a trigger, so that events trim nothing: give --trigger, or store "
                "one with `redis-retention policy set`"
            )
        self.current = rules
        self._use(rules)
