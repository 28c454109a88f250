"""Policies that are stored in Redis, so that everybody who trims a database does it alike.

One hash, ``{prefix}policies:{checkpoint prefix}``: a field is a glob pattern for thread ids, as
for Redis' KEYS (``*``, ``?``, ``[a-z]``, a backslash before what is meant literally); its value is
the policy as JSON. The pattern ``*`` is everybody's default.

**The most specific pattern wins, and its policy counts as a whole**: nothing is merged. That is

1. a pattern without any wildcard, which is a thread id, before all others;
2. then the one with more literal characters: ``user-eu-*`` before ``user-*``;
3. then the one with fewer wildcards: ``user-*`` before ``*user-*``;
4. then the one that comes first in the order of bytes.

A policy counts for all storage formats unless it names one: then its field is the pattern, NUL and
the name, and it wins over one with the same pattern that names none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from redis.exceptions import ResponseError

from redis_retention.engine import DEFAULT_PREFIX, Rule
from redis_retention.errors import RetentionError
from redis_retention.glob import parse
from redis_retention.layouts import Layout
from redis_retention.policy import InvalidPolicy, Policy
from redis_retention.sans_io import Argument, Operation, command

DEFAULT_PATTERN = b"*"

OPTIONS = frozenset(
    {"keep_last", "keep_within", "keep_runs", "expire_after", "expire_waiting", "trigger", "layout"}
)


# Comes after the name of any storage format.
_LAST = "\x7f"


def rank(pattern: bytes) -> tuple[bool, int, int, bytes]:
    """What patterns are sorted by, the most specific first."""
    glob = parse(pattern)
    return not glob.exact, -glob.literals, glob.wildcards, pattern


def matching(rules: Iterable[Rule], thread: bytes) -> list[Rule]:
    """The rules whose patterns match a thread, in the order given: the first one wins."""
    return [rule for rule in rules if parse(rule.pattern).matches(thread)]


def rule_for(rules: Iterable[Rule], thread: bytes) -> Rule | None:
    """The rule that counts for a thread, None when no pattern matches."""
    return next(iter(matching(rules, thread)), None)


def for_layout(rules: Iterable[Rule], layout: str) -> list[Rule]:
    """The rules that count for a storage format, in the order given.

    Args:
        rules: Rules, the most specific first.
        layout: What the format is called.
    """
    counting = [rule for rule in rules if rule.layout in (None, layout)]
    named = {rule.pattern for rule in counting if rule.layout is not None}
    return [rule for rule in counting if rule.layout is not None or rule.pattern not in named]


def is_eligible(checkpoints: int, rule: Rule) -> bool:
    """Whether a trim of a thread could find anything: it costs ten times as much as a look.

    Args:
        checkpoints: How many the thread has.
        rule: What to keep of it; without a trigger, more than that is too many.
    """
    if rule.policy.expire_after is not None:
        return True
    allowed = rule.policy.keep_last if rule.trigger is None else rule.trigger
    return allowed is not None and checkpoints > allowed


def with_default(
    stored: Iterable[Rule], policy: Policy | None, trigger: int | None = None
) -> list[Rule]:
    """Stored rules, and a policy in place of the default among them, where one is given."""
    if policy is None:
        return list(stored)
    default = DEFAULT_PATTERN, None
    others = [rule for rule in stored if (rule.pattern, rule.layout) != default]
    return [*others, Rule(DEFAULT_PATTERN, policy, trigger)]


def check(rule: Rule) -> None:
    """Refuse a rule that would mean nothing.

    Raises:
        InvalidPolicy: Its pattern is wrong, or its trigger is less than what it keeps.
    """
    parse(rule.pattern)
    trigger = rule.trigger
    if trigger is None:
        return
    if isinstance(trigger, bool) or not isinstance(trigger, int):
        raise InvalidPolicy(f"trigger must be a whole number, not {trigger!r}")
    if rule.policy.keep_last is not None and trigger < rule.policy.keep_last:
        raise InvalidPolicy(
            f"the trigger, {trigger}, must not be less than what is kept, the last "
            f"{rule.policy.keep_last}"
        )


def stated(rule: Rule) -> dict[str, Any]:
    """The options of a rule that are set, times in seconds, as they are stored."""
    policy = rule.policy
    options = {
        "keep_last": policy.keep_last,
        "keep_within": _seconds(policy.keep_within),
        "keep_runs": policy.keep_runs,
        "expire_after": _seconds(policy.expire_after),
        "expire_waiting": policy.expire_waiting or None,
        "trigger": rule.trigger,
        "layout": rule.layout,
    }
    return {name: value for name, value in options.items() if value is not None}


def _seconds(span: timedelta | None) -> float | None:
    if span is None:
        return None
    seconds = span.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _field(pattern: bytes, layout: str | None) -> bytes:
    return pattern if layout is None else pattern + b"\0" + layout.encode()


def _rule(pattern: bytes, stored: bytes) -> Rule:
    try:
        options = json.loads(stored)
        # An option that only a newer version knows may be what keeps something.
        unknown = options.keys() - OPTIONS
        if unknown:
            raise InvalidPolicy(f"unknown option {min(unknown)!r}")
        policy = Policy(
            keep_last=options.get("keep_last"),
            keep_within=_span(options.get("keep_within")),
            keep_runs=options.get("keep_runs"),
            expire_after=_span(options.get("expire_after")),
            expire_waiting=options.get("expire_waiting") is True,
        )
        layout = options.get("layout")
        if layout is not None:
            pattern, _, named = pattern.rpartition(b"\0")
            if named != layout.encode():
                raise InvalidPolicy(f"it names the layout {layout!r}, and is stored for another")
        rule = Rule(pattern, policy, options.get("trigger"), layout)
        check(rule)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        shown = pattern.decode("utf-8", "replace")
        raise RetentionError(
            f"the policy stored for {shown!r} cannot be read ({error}): set it anew with "
            "`redis-retention policy set`, or remove it"
        ) from error
    return rule


class Policies:
    """The policies stored for the threads of one saver, as operations.

    Args:
        layout: The saver's storage format.
        prefix: What all keys of our own begin with.
    """

    def __init__(self, layout: Layout, prefix: str = DEFAULT_PREFIX) -> None:
        self.key = f"{prefix}policies:{layout.tag}".encode()

    def rules(self) -> Operation[list[Rule]]:
        """All of them, the most specific first.

        Raises:
            RetentionError: One cannot be read. Without it another would count for its threads.
        """
        stored = yield from self._ask("HGETALL", self.key)
        rules = [_rule(pattern, value) for pattern, value in stored.items()]
        return sorted(rules, key=lambda rule: (rank(rule.pattern), rule.layout or _LAST))

    def get(self, thread: bytes) -> Operation[Rule | None]:
        """The one that counts for a thread, None when no pattern matches."""
        return rule_for((yield from self.rules()), thread)

    def set(self, rule: Rule) -> Operation[None]:
        """Store one, in place of the one with the same pattern for the same storage format.

        Raises:
            InvalidPolicy: It would mean nothing.
        """
        check(rule)
        field = _field(rule.pattern, rule.layout)
        yield from self._ask("HSET", self.key, field, json.dumps(stated(rule)))

    def remove(self, pattern: bytes, layout: str | None = None) -> Operation[bool]:
        """Remove the one with exactly this pattern and layout; False when there is none."""
        return bool((yield from self._ask("HDEL", self.key, _field(pattern, layout))))

    def _ask(self, *words: Argument) -> Operation[Any]:
        try:
            return (yield from command(*words))
        except ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            raise RetentionError(
                f"the key {self.key.decode('utf-8', 'replace')} is not a hash of ours: give it "
                "another name, or choose another prefix with --prefix"
            ) from error
