"""Which policy counts: the given one, else a stored one, else the default of this program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from redis_retention.engine import Engine, Rule
from redis_retention.errors import RetentionError
from redis_retention.layouts.names import title
from redis_retention.policies import for_layout, rule_for, with_default
from redis_retention.policy import Policy
from redis_retention.sans_io import Operation
from redis_retention.served import Served


class NoPolicy(RetentionError):
    """No policy was given, and none that is stored matches."""


class Choice:
    """Chooses the policies of threads.

    Args:
        served: The formats, and the stored policies.
        default: A policy, and its trigger, in place of the stored default; None for that.
    """

    def __init__(self, served: Served, default: tuple[Policy | None, int | None]) -> None:
        self._served = served
        self.default = default

    def of_threads(
        self, names: Sequence[bytes], policy: Policy | None
    ) -> Operation[dict[Engine, dict[bytes, Policy]]]:
        """The policy of each thread in each format, without those that no stored one matches."""
        if policy is not None:
            return {engine: dict.fromkeys(names, policy) for engine in self._served.engines}
        rules = yield from self._stored()
        found = {}
        for engine in self._served.engines:
            counting = for_layout(rules, title(engine.layout))
            matched = {name: rule_for(counting, name) for name in names}
            found[engine] = {name: rule.policy for name, rule in matched.items() if rule}
        if names and not any(found.values()):
            raise NoPolicy("no policy given, and no stored one matches")
        return found

    def of_sweep(self, policy: Policy | None, trigger: int | None) -> Operation[list[Rule]]:
        """The rules of a sweep."""
        if policy is not None:
            return [Rule(b"*", policy, trigger)]
        rules = yield from self._stored()
        if not rules:
            raise NoPolicy("no policy given, and none is stored")
        return [replace(rule, trigger=trigger or rule.trigger) for rule in rules]

    def _stored(self) -> Operation[list[Rule]]:
        return with_default((yield from self._served.policies.rules()), *self.default)
